"""Whether a model is idle, and since when: what its pods say of their requests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ekiben.core.asking import Answer, Question
from ekiben.core.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRequest(Question):
    """When the last request came to any of these pods, given as (uid, IP), and whether one is in flight.

    `after` tells one asking from the one before it.
    """

    pods: tuple[tuple[str, str], ...]
    after: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What pods say of their requests: `last` is None where there was none, `busy` counts those in flight."""

    last: datetime | None
    busy: int


def pods_of(view: View) -> tuple[tuple[str, str], ...]:
    """Return stable's pods that can be asked, as (uid, IP)."""
    pods = view.stable.pods if view.stable else ()
    return tuple(sorted((pod.uid, pod.ip) for pod in pods if pod.ip and not pod.deleting))


def newest(view: View) -> tuple[LastRequest, Answer] | None:
    """Return the last answer of the pods that there are now."""
    pods = pods_of(view)
    found = [
        (question, answer)
        for question, answer in view.snapshot.answers.items()
        if isinstance(question, LastRequest) and question.pods == pods
    ]
    return max(found, key=lambda item: item[1].at, default=None)


def is_idle(view: View, answer: Answer) -> bool:
    """Tell whether nobody has asked these pods for long enough."""
    seen: Seen = answer.value
    return not seen.busy and answer.at >= _last(view, seen) + _idle_after(view)


def first_due(view: View) -> datetime:
    """Return when pods that were never asked may be idle."""
    return _ready_since(view) + _idle_after(view)


def next_due(view: View, answer: Answer) -> datetime:
    """Return when pods that were not idle may be; a request in flight was the last one only now."""
    seen: Seen = answer.value
    return (answer.at if seen.busy else _last(view, seen)) + _idle_after(view)


def _last(view: View, seen: Seen) -> datetime:
    """Return since when nobody has asked: pods that have just got ready were made for somebody."""
    ready = _ready_since(view)
    return max(ready, seen.last) if seen.last else ready


def _ready_since(view: View) -> datetime:
    pods = view.stable.pods if view.stable else ()
    known = [pod.ready_changed_at for pod in pods if pod.ready_changed_at and not pod.deleting]
    return max(known, default=view.now)


def _idle_after(view: View) -> timedelta:
    autoscaling = view.spec.autoscaling
    return timedelta(seconds=autoscaling.idle_seconds if autoscaling else 0.0)

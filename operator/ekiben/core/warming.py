"""Which pods are warm: a pod that answered its warm-up calls counts for a weight, and is measured.

A pod is measured only from then on, so that its first reading is a baseline that has the warm-up in it: no
such call is ever judged. What clients send it meanwhile is missed, never counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ekiben.api.fields import seconds
from ekiben.api.status import Stage
from ekiben.core import names
from ekiben.core.asking import Answer, Question
from ekiben.core.revision import timeout_of
from ekiben.core.snapshot import Pod
from ekiben.core.view import Side, View, once

# Problems that are the revision's own: it answered, and not as it should, or not in time.
WARMUP_FAILED, WARMUP_REFUSED = "WarmupFailed", "WarmupRefused"
OWN_FAULT = frozenset({WARMUP_FAILED, "TimedOut"})
_WARMING = frozenset(
    {Stage.PREPARING, Stage.SHIFTING, Stage.HOLDING, Stage.PAUSED, Stage.ENLARGING, Stage.TAKING_ALL}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUpCall(Question):
    """Call one pod until it is warm; there is no value, only the absence of a problem.

    `restarts` tells one container of a pod from the next; `call_timeout` and `max_latency` are in seconds.
    """

    rollout: str
    uid: str
    ip: str
    restarts: int
    requests: int
    path: str
    method: str
    body: str
    content_type: str
    call_timeout: float
    max_latency: float | None
    port: int = names.PORT


def open_questions(view: View) -> Iterable[Question]:
    """Ask for a warm-up of every pod that needs one."""
    return asked(view).values()


@once
def asked(view: View) -> dict[str, WarmUpCall]:
    """Return the warm-up of each pod that needs one, by the pod's uid.

    The canary's pods need one, and those of stable that started since the rollout did.
    """
    rollout, found = view.trial, dict[str, WarmUpCall]()
    if rollout is None or rollout.stage not in _WARMING or view.spec.rollout.warmup is None:
        return found
    for side in (view.canary, view.stable):
        for pod in side.pods if side else ():
            call = _call(view, rollout.id, pod)
            if side is view.stable and not _started_since(rollout.started_at, pod):
                continue
            # A pod that goes is not called any more, but that it was warm is still worth knowing.
            if call and (not pod.deleting or call in view.snapshot.answers):
                found[pod.uid] = call
    return found


def _started_since(since: datetime | None, pod: Pod) -> bool:
    return since is not None and pod.started_at is not None and pod.started_at > since


def _call(view: View, rollout: str, pod: Pod) -> WarmUpCall | None:
    wanted, record = view.spec.rollout.warmup, view.record(pod.revision)
    if wanted is None or pod.ip is None or not (pod.ready or pod.deleting):
        return None
    return WarmUpCall(
        timeout=seconds(view.spec.rollout.progress_deadline),
        rollout=rollout,
        uid=pod.uid,
        ip=pod.ip,
        restarts=pod.restarts,
        requests=wanted.requests,
        path=wanted.path,
        method=wanted.method,
        body=wanted.body,
        content_type=wanted.content_type,
        call_timeout=timeout_of(record) if record else 60.0,
        max_latency=seconds(wanted.max_latency) if wanted.max_latency else None,
    )


def answer_of(view: View, pod: Pod) -> Answer | None:
    """Return what came of the last warm-up of a pod; None where none is needed, or it is not over."""
    call = asked(view).get(pod.uid)
    return view.snapshot.answers.get(call) if call else None


def is_warm(view: View, pod: Pod) -> bool:
    """Tell whether a pod needs no warm-up any more."""
    if pod.uid not in asked(view):
        return True
    answer = answer_of(view, pod)
    return answer is not None and not answer.problem


def is_measured(view: View, pod: Pod) -> bool:
    """Tell whether a pod's requests count: not while it is called to be warmed.

    A pod of stable is called once and no more is made of it, or a bad one could not be compared with.
    """
    return is_warm(view, pod) or (pod.revision == view.stable_revision and answer_of(view, pod) is not None)


def warm_pods(view: View, side: Side) -> int:
    """Count the pods of a revision that are ready and warm."""
    return sum(pod.serves and is_warm(view, pod) for pod in side.pods)

"""What keeps a revision from being begun, or from going on, that lies in the config that the spec tracks.

A spec whose config is not known asks for no revision that could be named: until it is, what serves goes on
serving, and a rollout that is in flight takes no step by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ekiben.api.status import Stage, Status
from ekiben.api.v1alpha1 import Spec
from ekiben.core.asking import Question
from ekiben.core.gates import Wait
from ekiben.core.revision import revision_of
from ekiben.core.snapshot import Record, Snapshot
from ekiben.core.tracking import tracked_maps, tracked_secrets
from ekiben.core.view import View

# What only a hand can mend: it shows as Stalled.
NEEDS_HAND = frozenset({"SecretNotImmutable", "SecretForbidden", "TemplateUnusable"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretLook(Question):
    """Is this Secret of the model's namespace there, and immutable? True, or the problem says what it is."""

    name: str
    every: float | None = 60.0


def wanted_of(snapshot: Snapshot, spec: Spec, status: Status) -> Record:
    """Return what the spec asks for; while its config is not known, what is on its way or serves.

    Where there is neither, or a rollout has its place in the line, a record stands in that nobody may begin.
    """
    queued = status.rollout is not None and status.rollout.stage is Stage.QUEUED
    record = snapshot.records.get(status.moving or "")
    if _unknown(snapshot, spec) and record is not None and not queued:
        return record
    return snapshot.wanted or revision_of(spec, config=snapshot.config)


def configured(view: View) -> Wait | None:
    """Wait until every ConfigMap that the spec tracks is there and can be read."""
    wait = _unknown(view.snapshot, view.spec)
    if wait is None or view.stable is None:
        return wait
    return Wait(wait.reason, f"{wait.message}; {view.stable_revision} goes on with what it has")


def secrets_immutable(view: View) -> Wait | None:
    """Wait until every Secret that the spec tracks is known to be immutable."""
    for question in secret_looks(view):
        answer = view.snapshot.answers.get(question)
        if answer is None:
            return Wait("Starting", f"looking whether Secret {question.name} is immutable")
        if answer.problem:
            return Wait(answer.reason, answer.problem)
    return None


def secret_looks(view: View) -> Iterator[SecretLook]:
    """Yield what has to be known of the tracked Secrets before a revision is begun."""
    return (SecretLook(name=name) for name in tracked_secrets(view.spec))


def _unknown(snapshot: Snapshot, spec: Spec) -> Wait | None:
    for name in tracked_maps(spec):
        content = snapshot.config.get(name)
        if content is None:
            return Wait("MissingConfig", f"reading ConfigMap {name}")
        if content.problem:
            return Wait("ConfigUnreadable", f"ConfigMap {name} can't be read: {content.problem}")
        if content.digest is None:
            return Wait(
                "MissingConfig",
                f"ConfigMap {name}, which bento.trackedConfig names, does not exist: create it",
            )
    return None

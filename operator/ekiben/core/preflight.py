"""Preflight: before anybody's pods are touched, is there room for the new ones?

A rollout begins in Preflight where the operator may look (`snapshot.cluster.preflight`), and leaves it when
the new revision's pods may find room at the largest size that they get. It waits there only while it is
certain that they don't, and falls back to the strategy that the user allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from ekiben.api.status import RolloutPlan, RolloutStatus, Stage
from ekiben.core.asking import Answer, Question
from ekiben.core.canonical import canonical_json
from ekiben.core.capacity import Capacity, Room, deciding
from ekiben.core.freezing import frozen_until
from ekiben.core.gates import Wait
from ekiben.core.render import TEMPLATES
from ekiben.core.room import shortage
from ekiben.core.scaling import need, pods_granted, replacing_size, surge_limit
from ekiben.core.snapshot import Record
from ekiben.core.steps import steps_of
from ekiben.core.view import View, recreates

# A shortage must last so long before serving is stopped for it: pods that end leave their room late.
FALLBACK_AFTER = timedelta(seconds=30)


def is_on(view: View) -> bool:
    """Tell whether a rollout is to look for room, and may."""
    return view.snapshot.cluster.preflight != "none" and view.spec.rollout.preflight.enabled


def is_wanted(view: View, plan: RolloutPlan | None) -> bool:
    """Tell whether a rollout begins in Preflight; Recreate looks in Preparing, where it has no pods."""
    return is_on(view) and (plan is None or plan.strategy != "Recreate")


def open_questions(view: View) -> Iterable[Question]:
    """Ask for room while a rollout waits to begin, and for nothing while somebody's hand holds it."""
    rollout = view.rollout
    if rollout is None or not is_on(view):
        return
    if rollout.stage is Stage.PREFLIGHT and (beside := _beside(view, rollout)):
        yield beside
        if view.spec.rollout.preflight.fallback and view.stable is not None:
            yield _instead(view, rollout)
    elif view.recreates and rollout.stage is Stage.PREPARING and not _is_held(view):
        yield _instead(view, rollout)


def room(view: View) -> Wait | None:
    """Wait while it is certain that the new pods find no room."""
    rollout = view.rollout
    if rollout is None or not is_on(view):
        return None
    question = _instead(view, rollout) if view.recreates else _beside(view, rollout)
    if question is None:
        return None
    answer = view.snapshot.answers.get(question)
    if answer is None:
        return Wait("Preflight", f"looking for room for {question.pods} pods of {rollout.revision}")
    if (found := _found(answer)) is None or found.is_enough(question.pods):
        return None
    return Wait("InsufficientCapacity", shortage(found, question.pods, rollout.revision))


def falls_back(view: View, rollout: RolloutStatus) -> str:
    """Say why the rollout takes the way that `preflight.fallback` allows; empty while it does not.

    Only where there is room for that way: otherwise nothing would be won by it.
    """
    if rollout.stage is not Stage.PREFLIGHT or view.spec.rollout.preflight.fallback is None:
        return ""
    if view.stable is None or (beside := _beside(view, rollout)) is None:
        return ""
    short, instead = view.snapshot.answers.get(beside), view.snapshot.answers.get(_instead(view, rollout))
    if short is None or instead is None or rollout.stage_started_at is None:
        return ""
    room_beside, room_instead = _found(short), _found(instead)
    if room_beside is None or room_instead is None or short.at < rollout.stage_started_at + FALLBACK_AFTER:
        return ""
    if room_beside.is_enough(beside.pods) or not room_instead.is_enough(_instead(view, rollout).pods):
        return ""
    return shortage(room_beside, beside.pods, rollout.revision)


def unseen(view: View, rollout: RolloutStatus) -> str:
    """Say what preflight could not look at; empty when it saw everything that it was to look at."""
    question = _instead(view, rollout) if view.recreates else _beside(view, rollout)
    answer = view.snapshot.answers.get(question) if question and is_on(view) else None
    if answer is None:
        return ""
    if answer.problem:
        return f"preflight: {answer.problem}"
    found = _found(answer)
    return f"preflight: {'; '.join(found.unseen)}" if found and found.unseen else ""


def planned(view: View, rollout: RolloutStatus) -> Capacity | None:
    """Return what a rollout that has not begun would ask; None where it has all its pods."""
    instead = recreates(rollout) and view.stable is not None
    return _instead(view, rollout) if instead else _beside(view, rollout)


def largest_size(view: View, rollout: RolloutStatus) -> int:
    """Return the most pods that the new revision gets beside stable; a first one must find room for one."""
    if view.stable is None:
        return 1
    steps = steps_of(rollout)
    sizes = [need(step.weight, view.full_size, gateway=view.uses_gateway) for step in steps if step.weight]
    apart = [pods_granted(view, (step,)) for step in steps if step.replicas is not None]
    if view.spec.rollout.canary.shrink_stable:
        # Stable makes room as it goes: only what the first step needs must be there before.
        return min(next(iter([*sizes, *apart]), 1), surge_limit(view))
    return min(max([view.full_size, *sizes, *apart]), surge_limit(view))


def _beside(view: View, rollout: RolloutStatus) -> Capacity | None:
    """Ask for room beside stable's pods; None where the revision has all its pods already."""
    has = sum(pod.scheduled and not pod.deleting for pod in view.side(rollout.revision).pods)
    pods = largest_size(view, rollout) - has
    return _question(view, rollout, pods) if pods > 0 else None


def _instead(view: View, rollout: RolloutStatus) -> Capacity:
    """Ask for room once stable's pods have gone."""
    return _question(view, rollout, replacing_size(view), leaves=view.stable_revision or "")


def _question(view: View, rollout: RolloutStatus, pods: int, leaves: str = "") -> Capacity:
    record = view.record(rollout.revision)
    pod = pod_text(view, record) if record else "{}"
    nodes = view.snapshot.cluster.preflight == "nodes"
    return Capacity(model=view.model.name, pod=pod, pods=pods, leaves=leaves, nodes=nodes)


def pod_text(view: View, record: Record) -> str:
    """Return what of a revision's pods decides where there is room for them, as canonical JSON."""
    build = TEMPLATES.get(record.template_version)
    return canonical_json(deciding(build(view.model, record)["spec"])) if build else "{}"


def _found(answer: Answer) -> Room | None:
    return answer.value if isinstance(answer.value, Room) else None


def _is_held(view: View) -> bool:
    return view.spec.rollout.paused or frozen_until(view.spec.rollout.freeze, view.now) is not None

"""What became of the commands in `spec.rollout`: a command names a rollout, so an old line does nothing."""

from __future__ import annotations

from ekiben.api.status import Command, Outcome, RolloutStatus, Stage
from ekiben.core import names
from ekiben.core.view import FINISHING, View

PROMOTING = FINISHING | {
    Stage.ENLARGING,
    Stage.TAKING_ALL,
    Stage.BAKING,
    Stage.DRAINING,
    Stage.REPLACING,
}


def commands(view: View) -> tuple[Command, ...]:
    """Report each command that the spec carries: honoured, or ignored and why."""
    return tuple(
        _honoured(view, name, value) or Command(command=name, value=value, result="Ignored", message=message)
        for name, value, message in _given(view)
    )


def _given(view: View) -> list[tuple[str, str, str]]:
    asked = view.spec.rollout
    current = view.rollout or view.queued
    where = "in flight" if view.rollout else "in the line"
    names_other = f"the rollout {where} is {current.id}" if current else "no rollout is in flight"
    failed = ", ".join(item.rollout for item in view.status.failed_revisions)
    given = [
        ("promote", asked.promote, names_other),
        ("resume", asked.resume, f"{names_other}, or not at that step"),
        ("abort", asked.abort, names_other),
        ("retry", asked.retry, f"failed rollouts are: {failed}" if failed else "no rollout has failed"),
    ]
    return [(name, value, message) for name, value, message in given if value]


def _honoured(view: View, name: str, value: str) -> Command | None:
    """Recognise a command that is in force now, or was honoured before and still stands in the spec."""
    before = next((c for c in view.status.commands if c.command == name and c.value == value), None)
    if before and before.result == "Honoured":
        return before
    rollout = view.rollout
    in_force = rollout is not None and (
        (name == "promote" and value == rollout.id and rollout.stage in PROMOTING)
        or (name == "abort" and value == rollout.id and rollout.outcome is Outcome.ABORTED)
        or (name == "resume" and value == pause_of(rollout) and _is_left_by_hand(view, rollout))
    )
    in_force |= name == "promote" and view.queued is not None and value == view.queued.id
    released = name == "retry" and any(value == item.rollout for item in view.status.failed_revisions)
    if not (in_force or released):
        return None
    return Command.model_validate({"command": name, "value": value, "result": "Honoured"})


def is_paused(rollout: RolloutStatus) -> bool:
    """Tell whether a rollout waits for `rollout.resume`."""
    return rollout.stage is Stage.PAUSED or rollout.reason == "GateTimeout"


def _is_left_by_hand(view: View, rollout: RolloutStatus) -> bool:
    """Tell whether `resume` takes hold now: a pause can be left, and a hold that `paused` does not stop."""
    held = rollout.stage is Stage.HOLDING and not view.spec.rollout.paused
    return held or is_paused(rollout)


def pause_of(rollout: RolloutStatus) -> str:
    """Name a pause, as `rollout.resume` does."""
    return names.pause_of(rollout.id, rollout.step)

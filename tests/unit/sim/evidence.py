"""Checks the operator's evidence against what the pods really served: nothing invented, nothing skipped."""

from __future__ import annotations

from collections.abc import Iterator

from ekiben.api.fields import seconds
from ekiben.api.status import RolloutStatus, Stage
from ekiben.core import names
from unit.sim.operator import Pass
from unit.sim.world import MODEL, World

DEFAULT_HOLD = "1m"
INSTANT = 0.2
# Requests between the last look and the moment that a step begins.
SLACK = 10


class Evidence:
    """I13: a step is passed on its hold and its samples; I14: no request counts twice, or before its step."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._step = ("", 0)
        self._before: float = 0.0

    def written(self, done: Pass) -> Iterator[str]:
        """Look at a status that was just written."""
        old, new = done.snapshot.status.rollout, done.plan.status.rollout if done.plan.status else None
        if new is None:
            return
        if new.stage is Stage.HOLDING and old and _took_no_time(done, old):
            # The traffic already was as the step wants it: the window began with the last look before.
            self._step = ("", 0)
        if new.stage is Stage.HOLDING:
            yield from self._not_invented(new)
        if old and old.id == new.id and old.stage is Stage.HOLDING and _goes_on(old, new):
            yield from self._not_skipped(done, old)
        if new.stage is Stage.SHIFTING and (old is None or old.stage is not Stage.SHIFTING):
            # After an edit the window starts anew at a weight that the canary has had for a while.
            edited = old is not None and old.plan != new.plan
            self._step, self._before = ("", 0) if edited else (new.id, new.step), self._served(new)

    def _served(self, rollout: RolloutStatus) -> float:
        return self.world.traffic.served_by[names.revision_child(MODEL, rollout.revision)]

    def _not_invented(self, rollout: RolloutStatus) -> Iterator[str]:
        counted = rollout.totals.canary.requests if rollout.totals else 0
        served = self._served(rollout) - self._before
        if self._step == (rollout.id, rollout.step) and counted > served + SLACK:
            yield f"I14: {counted} requests counted in step {rollout.step}, {served:.0f} were served"

    def _not_skipped(self, done: Pass, rollout: RolloutStatus) -> Iterator[str]:
        snapshot, steps = done.snapshot, rollout.plan.steps if rollout.plan else ()
        rules, spec = self.world.spec.analysis, self.world.spec.rollout
        since = rollout.step_started_at
        by_hand = rollout.id in (spec.promote, (spec.resume or "").removesuffix(f"/{rollout.step}"))
        if by_hand or since is None or not self._is_judged(done):
            return
        held = (snapshot.now - since).total_seconds()
        step = steps[rollout.step - 1]
        if held < seconds((step.analysis or step).hold or DEFAULT_HOLD):
            yield f"I13: step {rollout.step} was left after {held:.1f}s"
        served = self._served(rollout) - self._before
        carries = any(item.weight for item in steps[: rollout.step])
        if carries and served < rules.min_samples and rules.on_no_data != "pass":
            yield f"I13: step {rollout.step} was passed on {served:.0f} requests"

    def _is_judged(self, done: Pass) -> bool:
        """Tell whether stable serves, so that nothing but the evidence may move the rollout on."""
        stable = done.snapshot.status.stable
        return stable is not None and stable.unready_since is None


def _took_no_time(done: Pass, old: RolloutStatus) -> bool:
    if old.stage is not Stage.SHIFTING or old.stage_started_at is None:
        return False
    return (done.snapshot.now - old.stage_started_at).total_seconds() < INSTANT


def _goes_on(old: RolloutStatus, new: RolloutStatus) -> bool:
    """Tell whether a step was passed: not left for a pause without data, an edit or an end."""
    if old.plan != new.plan or new.reason == "NoData":
        return False
    return new.step > old.step or new.stage is Stage.ENLARGING

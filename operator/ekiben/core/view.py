"""What a decision derives once from its snapshot: sides, stages and commands by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, wraps
from typing import Any, TypeVar

from ekiben.api.fields import delta
from ekiben.api.status import FailedRevision, RolloutStatus, Stage, Status
from ekiben.api.v1alpha1 import Spec
from ekiben.core import names
from ekiben.core.snapshot import Manifest, Model, Observation, Pod, Record, Ref, Snapshot
from ekiben.core.steps import judged_step

# How long stable must have had no ready pod before the canary may carry everything.
STABLE_DOWN_AFTER = timedelta(seconds=60)

# From here on the new revision is stable: a rollout can only be finished.
FINISHING = frozenset({Stage.REPOINTING, Stage.RETURNING})
# The rollout is given up, and on its way back to stable: nothing interrupts that.
GIVEN_UP = frozenset({Stage.ABORTING, Stage.RECALLING, Stage.REINSTATING, Stage.CLEARING, Stage.RESTORING})
# The new revision is stable, and the one before it still has all its pods.
RECALLABLE = frozenset({Stage.BAKING, Stage.RECALLING})

# Stages in which the weight of the rollout's step is what the canary carries; before, it is the last one's.
_AT_ITS_STEP = frozenset(
    {Stage.HOLDING, Stage.PAUSED, Stage.ENLARGING, Stage.TAKING_ALL, Stage.BAKING, Stage.ABORTING}
)


@dataclass(frozen=True, slots=True)
class Side:
    """One revision as it stands in the cluster: its Deployment and its pods."""

    revision: str
    record: Record | None
    deployment: Manifest | None
    pods: tuple[Pod, ...]

    @property
    def replicas(self) -> int:
        """Pods that its Deployment asks for; 0 while there is none."""
        if self.deployment is None:
            return 0
        return int(self.deployment.get("spec", {}).get("replicas", 1))

    @property
    def ready(self) -> int:
        """Pods that can serve now."""
        return sum(pod.serves for pod in self.pods)

    @property
    def replica_failure(self) -> str:
        """What the Deployment says of pods that it may not create, such as a quota."""
        status = (self.deployment or {}).get("status", {})
        for condition in status.get("conditions", ()):
            if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
                return str(condition.get("message", "pods can't be created"))
        return ""


T = TypeVar("T")


@dataclass(frozen=True)
class View:
    """One model at one instant: what is wanted, what is served, what is on its way.

    It never changes, so what follows from it is worked out once: `memo` is where.
    """

    snapshot: Snapshot
    spec: Spec
    status: Status
    wanted: Record
    memo: dict[Any, Any] = field(init=False, default_factory=dict, compare=False, repr=False)

    @property
    def model(self) -> Model:
        """The model's metadata."""
        return self.snapshot.model

    @property
    def now(self) -> datetime:
        """The instant of this decision."""
        return self.snapshot.now

    @property
    def live(self) -> Mapping[Ref, Manifest]:
        """Our children as they are."""
        return self.snapshot.live

    @cached_property
    def rollout(self) -> RolloutStatus | None:
        """The rollout in flight, if there is one."""
        rollout = self.status.rollout
        return rollout if rollout and rollout.stage not in (Stage.OVER, Stage.QUEUED) else None

    @cached_property
    def queued(self) -> RolloutStatus | None:
        """The rollout that waits for its turn; it is not in flight yet."""
        rollout = self.status.rollout
        return rollout if rollout and rollout.stage is Stage.QUEUED else None

    @cached_property
    def stable_revision(self) -> str | None:
        """The revision that serves."""
        return self.status.stable.revision if self.status.stable else None

    @cached_property
    def canary_revision(self) -> str | None:
        """The revision under trial; None once it is stable."""
        if self.rollout and self.rollout.revision != self.stable_revision:
            return self.rollout.revision
        return None

    @cached_property
    def is_first(self) -> bool:
        """Tell whether the rollout in flight is that of the very first revision."""
        rollout = self.rollout
        return (
            rollout is not None
            and rollout.stage is Stage.PREPARING
            and rollout.revision == self.stable_revision
        )

    @cached_property
    def trial(self) -> RolloutStatus | None:
        """The rollout in flight, unless it is a first revision's that goes straight to stable."""
        return None if self.is_first else self.rollout

    @cached_property
    def recreates(self) -> bool:
        """Tell whether the rollout in flight takes stable down before the new revision comes up."""
        return recreates(self.rollout)

    @cached_property
    def is_fielded(self) -> bool:
        """Tell whether the canary has pods at this stage."""
        if self.rollout is None or self.rollout.stage is Stage.PREFLIGHT:
            return False
        return not self.recreates or self.rollout.stage is Stage.REPLACING

    @property
    def is_asleep(self) -> bool:
        """Tell whether the model has no pods because nobody asks for it; never beside a rollout."""
        sleep = self.status.sleep
        return sleep is not None and sleep.state == "Asleep" and self.rollout is None

    @cached_property
    def failure(self) -> FailedRevision | None:
        """How the revision that the spec asks for failed before; None when it did not."""
        failed = self.status.failed_revisions
        return next((item for item in failed if item.revision == self.wanted.revision), None)

    @cached_property
    def stable(self) -> Side | None:
        """The serving side."""
        return self.side(self.stable_revision) if self.stable_revision else None

    @cached_property
    def canary(self) -> Side | None:
        """The side under trial."""
        return self.side(self.canary_revision) if self.canary_revision else None

    @cached_property
    def previous(self) -> Side | None:
        """The side that everything can go back to, in a bake; None at any other time."""
        rollout = self.rollout
        if rollout is None or rollout.stage not in RECALLABLE or rollout.previous is None:
            return None
        return self.side(rollout.previous)

    @cached_property
    def judged(self) -> Side | None:
        """The side that is judged: the one under trial, in a bake the new stable."""
        is_baking = self.rollout is not None and self.rollout.stage is Stage.BAKING
        return self.stable if is_baking else self.canary

    def side(self, revision: str) -> Side:
        """Return one revision as it stands."""
        if revision not in self.memo:
            self.memo[revision] = self._side(revision)
        found: Side = self.memo[revision]
        return found

    def _side(self, revision: str) -> Side:
        return Side(
            revision=revision,
            record=self.record(revision),
            deployment=self.live.get(Ref("Deployment", names.revision_child(self.model.name, revision))),
            pods=tuple(pod for pod in self.snapshot.pods if pod.revision == revision),
        )

    def record(self, revision: str) -> Record | None:
        """Return what a revision was when it was born; the wanted one may not be recorded yet."""
        if revision in self.snapshot.records:
            return self.snapshot.records[revision]
        return self.wanted if revision == self.wanted.revision else None

    @property
    def uses_gateway(self) -> bool:
        """Tell what splits the traffic: a rollout keeps to what it began with."""
        if self.rollout:
            return self.rollout.provider == "Gateway"
        return self.spec.traffic is not None

    @property
    def floor(self) -> int:
        """Fewest pods of the serving revision."""
        return self.spec.scaled.floor if self.spec.scaled else self.spec.replicas

    @cached_property
    def full_size(self) -> int:
        """Pods that carry all traffic now: stable's size, before it shrank; the unit of every weight."""
        if self.trial and self.trial.full_size:
            return max(self.trial.full_size, self.spec.replicas)
        stable = self.stable
        return max(stable.replicas if stable and stable.deployment else self.floor, 1)

    @cached_property
    def stable_is_down(self) -> bool:
        """Tell whether stable has had no ready pod for so long that the canary may carry everything."""
        since = self.status.stable.unready_since if self.status.stable else None
        return (
            since is not None
            and not self.recreates
            and self.now - since >= STABLE_DOWN_AFTER
            and self.snapshot.cluster.watches_fresh
            and (self.stable is None or self.stable.ready == 0)
        )

    @cached_property
    def observation(self) -> Observation | None:
        """What was counted in the current window; None while nothing was counted in it."""
        seen = self.snapshot.observation
        return seen if seen and seen.window == self.window else None

    @cached_property
    def judged_step(self) -> int:
        """Return the step that is judged now, from 1; 0 before the first is."""
        rollout = self.status.rollout
        if rollout is None:
            return 0
        judged = rollout.step if rollout.stage in _AT_ITS_STEP else rollout.step - 1
        return judged_step(rollout, judged)

    @cached_property
    def window(self) -> str:
        """Name the window that requests are counted in now: it changes with each weight and each edit."""
        rollout = self.status.rollout
        if rollout is None:
            return ""
        if rollout.stage is Stage.BAKING:
            return f"{rollout.id}/bake"
        if rollout.stage in FINISHING | {Stage.RECALLING, Stage.REINSTATING, Stage.OVER, Stage.QUEUED}:
            return f"{rollout.id}/over"
        if not self.is_past_initial_delay:
            return f"{rollout.id}/{rollout.step}/delay"
        return f"{rollout.id}/{self.judged_step}/{rollout.plan.hash if rollout.plan else ''}"

    @cached_property
    def is_past_initial_delay(self) -> bool:
        """Tell whether the requests of this step are judged already."""
        rollout = self.status.rollout
        if rollout is None or rollout.stage is not Stage.HOLDING or rollout.step_started_at is None:
            return True
        return self.now >= rollout.step_started_at + delta(self.spec.analysis.initial_delay)


def once(function: Callable[[View], T]) -> Callable[[View], T]:
    """Work a function of a view out once for each view."""

    @wraps(function)
    def remembered(view: View) -> T:
        if function not in view.memo:
            view.memo[function] = function(view)
        found: T = view.memo[function]
        return found

    return remembered


def recreates(rollout: RolloutStatus | None) -> bool:
    """Tell whether a rollout takes stable down before the new revision comes up."""
    return rollout is not None and rollout.plan is not None and rollout.plan.strategy == "Recreate"


def switches_at_once(rollout: RolloutStatus) -> bool:
    """Tell whether both revisions never serve at the same time."""
    return rollout.plan is not None and rollout.plan.strategy == "BlueGreen"

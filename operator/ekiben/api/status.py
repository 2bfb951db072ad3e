"""What the operator reports and remembers: `ModelDeployment.status`.

Everything that a decision needs to survive a restart is here and nowhere else.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from ekiben.api.fields import ApiModel, keyed_by
from ekiben.api.judging import Check
from ekiben.api.kept import Kept
from ekiben.api.measured import CheckResult, SetAside, Totals
from ekiben.api.rollout import Step
from ekiben.api.sizing import ScalingStatus, Sleep
from ekiben.api.strategy import Strategy
from ekiben.api.written import Time, WrittenId


class Phase(StrEnum):
    """The word for people; machines read the conditions."""

    PENDING = "Pending"
    QUEUED = "Queued"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    HEALTHY = "Healthy"
    ASLEEP = "Asleep"
    DEGRADED = "Degraded"


class Stage(StrEnum):
    """Where a rollout is; `core/rollout.py` holds the theory and the transitions."""

    QUEUED = "Queued"
    PREFLIGHT = "Preflight"
    PREPARING = "Preparing"
    SHIFTING = "Shifting"
    HOLDING = "Holding"
    PAUSED = "Paused"
    ENLARGING = "Enlarging"
    TAKING_ALL = "TakingAll"
    REPOINTING = "Repointing"
    RETURNING = "Returning"
    BAKING = "Baking"
    RECALLING = "Recalling"
    REINSTATING = "Reinstating"
    ABORTING = "Aborting"
    DRAINING = "Draining"
    REPLACING = "Replacing"
    CLEARING = "Clearing"
    RESTORING = "Restoring"
    OVER = "Over"


class Outcome(StrEnum):
    """How a rollout ended."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    ABORTED = "Aborted"
    SUPERSEDED = "Superseded"
    REVERTED = "Reverted"


class RevisionStatus(ApiModel):
    """One revision that has pods."""

    revision: Annotated[str, Field(description="Its name.")]
    image: Annotated[str, Field(description="The image as the spec named it.")] = ""
    image_digest: Annotated[str | None, Field(description="The digest that its pods really run.")] = None
    replicas: Annotated[int, Field(description="Pods that it has.")] = 0
    ready_replicas: Annotated[int, Field(description="Pods that are ready.")] = 0
    served_at: Annotated[Time | None, Field(description="When it first had a ready pod.")] = None
    unready_since: Annotated[Time | None, Field(description="Since when it has had no ready pod.")] = None


class RolloutPlan(ApiModel):
    """The way up and the checks as they were when the rollout started, or re-entered after an edit."""

    hash: Annotated[str, Field(description="Hash of all this, to notice an edit.")]
    strategy: Annotated[Strategy, Field(description="Which way the new revision takes.")] = "Canary"
    steps: Annotated[tuple[Step, ...], Field(description="The steps.")] = ()
    checks: Annotated[tuple[Check, ...], Field(description="The checks.")] = ()
    exclude_paths: Annotated[
        tuple[str, ...] | None, Field(description="Paths whose requests don't count.")
    ] = None


class RolloutStatus(ApiModel):
    """The rollout in flight, or the last one."""

    id: Annotated[WrittenId, Field(description="`<revision>.<n>`: what the commands in `spec.rollout` name.")]
    revision: Annotated[str, Field(description="The revision that is to take over.")]
    previous: Annotated[str | None, Field(description="The revision that a bake can go back to.")] = None
    provider: Annotated[
        Literal["Gateway", "Service"], Field(description="What splits the traffic in this rollout.")
    ] = "Service"
    stage: Annotated[Stage, Field(description="Where it is on its way.")]
    stage_started_at: Annotated[Time | None, Field(description="Since when it is there.")] = None
    outcome: Annotated[Outcome | None, Field(description="How it ended; absent while it is in flight.")] = (
        None
    )
    reason: Annotated[str, Field(description="Why it is over or being aborted.")] = ""
    message: Annotated[str, Field(description="The same as a sentence.")] = ""
    started_at: Annotated[Time | None, Field(description="When it began.")] = None
    from_: Annotated[str, Field(alias="from", description="The revision that served when it began.")] = ""
    by: Annotated[str, Field(description="Whose change or command began it.")] = ""
    decided_by: Annotated[
        str, Field(description="Who or what decided that it goes all the way, or back.")
    ] = ""
    step: Annotated[int, Field(description="Current step, from 1; 0 before the first.")] = 0
    step_started_at: Annotated[Time | None, Field(description="When its weight was observed.")] = None
    gates_asked_at: Annotated[
        Time | None, Field(description="Since when the gates before the next step are asked.")
    ] = None
    weight: Annotated[int, Field(description="Percent that the traffic really carries, as observed.")] = 0
    headers: Annotated[
        tuple[str, ...] | None,
        Field(description="Headers of the requests that go to the canary whatever the weight, as observed."),
    ] = None
    full_size: Annotated[
        int | None,
        Field(ge=1, le=10000, description="Pods that carried all traffic at its start; with `shrinkStable`."),
    ] = None
    returning_from: Annotated[
        int | None, Field(description="Percent that it had when `trafficRamp` began to take it back.")
    ] = None
    shortfalls: Annotated[
        tuple[str, ...] | None,
        Field(description="What its steps ask for and can't have, such as a weight by whole pods."),
    ] = None
    observed_share: Annotated[
        str | None, Field(description="The canary's share of the step's requests, as counted.")
    ] = None
    stable_replicas: Annotated[
        int | None, Field(description="Recreate: pods that stable had, and gets back if this fails.")
    ] = None
    plan: RolloutPlan | None = None
    kept: Annotated[
        Kept | None,
        Field(description="What counts on while the spec is refused: parts of the last good one."),
    ] = None
    totals: Totals | None = None
    growing_since: Annotated[
        Time | None, Field(description="Since when pods are missing that its autoscaler wants.")
    ] = None
    set_aside: SetAside | None = None
    failed_looks: Annotated[int, Field(description="Failed looks of this step.")] = 0
    failed_look_at: Annotated[Time | None, Field(description="When the last of them was.")] = None
    checks: Annotated[
        tuple[CheckResult, ...], Field(description="What each check said at the last look.")
    ] = ()


class RetiringRevision(ApiModel):
    """A revision that keeps its pods until `until`."""

    revision: Annotated[str, Field(description="Its name.")]
    since: Annotated[Time, Field(description="When it stopped serving.")]
    until: Annotated[Time, Field(description="When its pods may go.")]


class FailedRevision(ApiModel):
    """A revision that is not tried again until it is released."""

    revision: Annotated[str, Field(description="Its name.")]
    rollout: Annotated[WrittenId, Field(description="ID to name in `rollout.retry`.")]
    reason: Annotated[str, Field(description="Why, as one word.")]
    message: Annotated[str, Field(description="Why, as a sentence.")] = ""
    at: Annotated[Time, Field(description="When it failed.")]


class HistoryEntry(ApiModel):
    """How one rollout ended."""

    rollout: Annotated[WrittenId, Field(description="The rollout's ID.")]
    revision: Annotated[str, Field(description="The revision that was to take over.")]
    outcome: Annotated[Outcome, Field(description="How it ended.")]
    message: Annotated[str, Field(description="Why, as a sentence.")] = ""
    at: Annotated[Time, Field(description="When it ended.")]
    from_: Annotated[
        str | None, Field(alias="from", description="The revision that served when it began.")
    ] = None
    started_at: Annotated[Time | None, Field(description="When it began.")] = None
    started_by: Annotated[str | None, Field(description="Whose change or command began it.")] = None
    by: Annotated[str | None, Field(description="Who or what decided how it ended.")] = None


class Command(ApiModel):
    """What became of one of the commands in `spec.rollout`."""

    command: Annotated[Literal["promote", "resume", "abort", "retry"], Field(description="Its field.")]
    value: Annotated[str, Field(description="What the field said.")]
    result: Annotated[Literal["Honoured", "Ignored"], Field(description="Whether it was obeyed.")]
    message: Annotated[str, Field(description="Why not, as a sentence.")] = ""


class Condition(ApiModel):
    """A Kubernetes condition."""

    type: Annotated[str, Field(description="Which condition.")]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="Whether it holds.")]
    observed_generation: Annotated[
        int | None, Field(description="The `metadata.generation` that it is about.")
    ] = None
    last_transition_time: Annotated[Time, Field(description="When the status last changed.")]
    reason: Annotated[str, Field(description="Why, as one word.")]
    message: Annotated[str, Field(description="Why, as a sentence.")] = ""


class Status(ApiModel):
    """What is served now, and what is on its way."""

    observed_generation: Annotated[
        int | None, Field(description="The `metadata.generation` that all this is about.")
    ] = None
    phase: Annotated[
        Phase | None, Field(description="One word for people; programs read the conditions.")
    ] = None
    message: Annotated[str, Field(description="The one thing that it does or waits for.")] = ""
    url: Annotated[str | None, Field(description="Where the model answers.")] = None
    replicas: Annotated[int | None, Field(description="Pods of the serving stable (/scale).")] = None
    selector: Annotated[str | None, Field(description="Selector of those pods (/scale).")] = None
    ready: Annotated[str | None, Field(description="Ready pods of all, for the READY column.")] = None
    stable: Annotated[RevisionStatus | None, Field(description="The revision that serves.")] = None
    canary: Annotated[RevisionStatus | None, Field(description="The revision that is on its way.")] = None
    rollout: Annotated[RolloutStatus | None, Field(description="The rollout in flight, or the last one.")] = (
        None
    )
    scaling: Annotated[ScalingStatus | None, Field(description="Who scales; with `autoscaling`.")] = None
    sleep: Annotated[
        Sleep | None, Field(description="With `minReplicas: 0`: how a model without requests stands.")
    ] = None
    retiring: Annotated[
        tuple[RetiringRevision, ...], Field(description="Revisions that served and still have pods.")
    ] = ()
    failed_revisions: Annotated[
        tuple[FailedRevision, ...], Field(description="Revisions that are not tried again; the last 10.")
    ] = ()
    history: Annotated[tuple[HistoryEntry, ...], Field(description="How the last 10 rollouts ended.")] = ()
    commands: Annotated[
        tuple[Command, ...], Field(description="What became of the commands in `spec.rollout`.")
    ] = ()
    conditions: Annotated[
        tuple[Condition, ...],
        Field(description="For programs: see the conditions below.", json_schema_extra=keyed_by("type")),
    ] = ()

    @property
    def moving(self) -> str | None:
        """The revision that is on its way, else the one that serves."""
        if self.rollout and self.rollout.stage not in (Stage.OVER, Stage.QUEUED):
            return self.rollout.revision
        return self.stable.revision if self.stable else None

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON form, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

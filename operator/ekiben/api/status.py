"""What the operator reports and remembers: `ModelDeployment.status`.

Everything that a decision needs to survive a restart is here and nowhere else.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from ekiben.api.fields import ApiModel
from ekiben.api.v1alpha1 import Check, Step

Time = Annotated[datetime, WithJsonSchema({"type": "string", "format": "date-time"})]


class Phase(StrEnum):
    """The word for people; machines read the conditions."""

    PENDING = "Pending"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    HEALTHY = "Healthy"
    DEGRADED = "Degraded"


class Stage(StrEnum):
    """Where a rollout is; `core/rollout.py` holds the theory and the transitions."""

    PREPARING = "Preparing"
    SHIFTING = "Shifting"
    HOLDING = "Holding"
    PAUSED = "Paused"
    ENLARGING = "Enlarging"
    TAKING_ALL = "TakingAll"
    REPOINTING = "Repointing"
    RETURNING = "Returning"
    ABORTING = "Aborting"
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

    revision: str
    image: str = ""
    image_digest: str | None = None
    replicas: int = 0
    ready_replicas: int = 0
    served_at: Annotated[Time | None, Field(description="When it first had a ready pod.")] = None
    unready_since: Annotated[Time | None, Field(description="Since when it has had no ready pod.")] = None


class Counters(ApiModel):
    """Requests of one revision within the window of a step, probes excluded."""

    requests: int = 0
    errors: Annotated[int, Field(description="Answers 5xx.")] = 0
    sheds: Annotated[int, Field(description="Answers 429 and 503.")] = 0
    sheds_5xx: Annotated[int, Field(alias="sheds5xx", description="Answers 503, counted in errors too.")] = 0
    slow: Annotated[
        dict[str, int],
        WithJsonSchema({"type": "object", "additionalProperties": {"type": "integer"}}),
        Field(default_factory=dict, description="Requests slower than each bound."),
    ]


class Totals(ApiModel):
    """Both sides' counters since the step's weight was observed."""

    window: Annotated[str, Field(description="What they belong to: rollout id and step.")] = ""
    measured_at: Time | None = None
    stable: Counters = Counters()
    canary: Counters = Counters()
    resets: Annotated[int, Field(description="Canary counters that fell back.")] = 0


class CheckResult(ApiModel):
    """What one check says, with the numbers it rests on."""

    metric: str
    verdict: Literal["Pass", "Fail", "Waiting", "Error"]
    value: str | None = None
    limit: str | None = None
    samples: int = 0
    message: str = ""


class RolloutPlan(ApiModel):
    """The steps and checks as they were when the rollout started, or re-entered after an edit."""

    hash: str
    steps: tuple[Step, ...] = ()
    checks: tuple[Check, ...] = ()


class RolloutStatus(ApiModel):
    """The rollout in flight, or the last one."""

    id: str
    revision: str
    provider: Annotated[
        Literal["Gateway", "Service"], Field(description="What splits the traffic in this rollout.")
    ] = "Service"
    stage: Stage
    stage_started_at: Time | None = None
    outcome: Outcome | None = None
    reason: Annotated[str, Field(description="Why it is over or being aborted.")] = ""
    message: str = ""
    started_at: Time | None = None
    step: Annotated[int, Field(description="Current step, from 1; 0 before the first.")] = 0
    step_started_at: Annotated[Time | None, Field(description="When its weight was observed.")] = None
    weight: Annotated[int, Field(description="Percent that the traffic really carries, as observed.")] = 0
    observed_share: Annotated[
        str | None, Field(description="The canary's share of the step's requests, as counted.")
    ] = None
    plan: RolloutPlan | None = None
    totals: Totals | None = None
    failed_looks: int = 0
    failed_look_at: Time | None = None
    checks: tuple[CheckResult, ...] = ()


class RetiringRevision(ApiModel):
    """A revision that keeps its pods until `until`."""

    revision: str
    since: Time
    until: Time


class FailedRevision(ApiModel):
    """A revision that is not tried again until it is released."""

    revision: str
    rollout: Annotated[str, Field(description="ID to name in `rollout.retry`.")]
    reason: str
    message: str = ""
    at: Time


class HistoryEntry(ApiModel):
    """How one rollout ended."""

    rollout: str
    revision: str
    outcome: Outcome
    message: str = ""
    at: Time


class Command(ApiModel):
    """What became of one of the commands in `spec.rollout`."""

    command: Literal["promote", "resume", "abort", "retry"]
    value: str
    result: Literal["Honoured", "Ignored"]
    message: str = ""


class Condition(ApiModel):
    """A Kubernetes condition."""

    type: str
    status: Literal["True", "False", "Unknown"]
    observed_generation: int | None = None
    last_transition_time: Time
    reason: str
    message: str = ""


class Status(ApiModel):
    """What is served now, and what is on its way."""

    observed_generation: int | None = None
    phase: Phase | None = None
    message: str = ""
    url: str | None = None
    replicas: Annotated[int | None, Field(description="Pods of the serving stable (/scale).")] = None
    selector: Annotated[str | None, Field(description="Selector of those pods (/scale).")] = None
    ready: Annotated[str | None, Field(description="Ready pods of all, for the READY column.")] = None
    stable: RevisionStatus | None = None
    canary: RevisionStatus | None = None
    rollout: RolloutStatus | None = None
    retiring: tuple[RetiringRevision, ...] = ()
    failed_revisions: tuple[FailedRevision, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    commands: tuple[Command, ...] = ()
    conditions: Annotated[
        tuple[Condition, ...],
        Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
    ] = ()

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON form, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

"""What the operator reports and remembers: `ModelDeployment.status`.

Everything that a decision needs to survive a restart is here and nowhere else.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from ekiben.api.fields import ApiModel, keyed_by
from ekiben.api.judging import Check
from ekiben.api.kept import Kept
from ekiben.api.rollout import Step
from ekiben.api.strategy import Strategy


def _sane_time(value: datetime) -> datetime:
    """Read a time without zone as UTC; refuse one so far off that adding to it or subtracting overflows."""
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    if not 1970 <= aware.year <= 9000:
        raise ValueError("is no time that this operator wrote")
    return aware


def _rollout_id(value: str) -> str:
    """Refuse what is no rollout's ID: its number is counted on from."""
    if not re.fullmatch(r"[^.]+[.][0-9]{1,9}", value, re.ASCII):
        raise ValueError("is no rollout's ID, such as k7c4f9xw2p.1")
    return value


Verdict = Literal["Pass", "Fail", "Waiting", "Inconclusive", "Error"]

# A status that another version or a tool wrote may hold anything of the right type. What these refuse makes
# it count as lost, and a status that is lost is rebuilt.
Time = Annotated[
    datetime, AfterValidator(_sane_time), WithJsonSchema({"type": "string", "format": "date-time"})
]
WrittenId = Annotated[str, AfterValidator(_rollout_id)]


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


class Load(ApiModel):
    """What the pods of one revision had to do; counted only where a check asks."""

    batches: Annotated[int, Field(description="Batches that adaptive batching made.")] = 0
    batched: Annotated[int, Field(description="Inputs in these batches.")] = 0
    busy_ms: Annotated[int, Field(description="How long all finished requests took together, in ms.")] = 0
    watched_ms: Annotated[
        int, Field(description="How long the pods were watched for that, all together, in ms.")
    ] = 0


class Latency(ApiModel):
    """Bounds of the buckets that quantiles fall into, for people; counted since the operator started."""

    p50: Annotated[str, Field(description="Half of the requests took no longer.")]
    p95: Annotated[str, Field(description="95 of 100 requests took no longer.")]
    p99: Annotated[str, Field(description="99 of 100 requests took no longer.")]


class Counters(ApiModel):
    """Requests of one revision within the window of a step, probes excluded."""

    requests: Annotated[int, Field(description="All answers.")] = 0
    errors: Annotated[int, Field(description="Answers 5xx.")] = 0
    sheds: Annotated[int, Field(description="Answers 429 and 503.")] = 0
    sheds_5xx: Annotated[int, Field(alias="sheds5xx", description="Answers 503, counted in errors too.")] = 0
    slow: Annotated[
        dict[str, int],
        WithJsonSchema({"type": "object", "additionalProperties": {"type": "integer"}}),
        Field(default_factory=dict, description="Requests slower than each bound."),
    ]
    load: Annotated[
        Load | None, Field(description="For mean-batch-size and concurrency, where a check asks.")
    ] = None
    latency: Annotated[Latency | None, Field(description="With `analysis.showLatency`.")] = None


class Totals(ApiModel):
    """Both sides' counters since the step's weight was observed."""

    window: Annotated[str, Field(description="What they belong to: rollout id and step.")] = ""
    measured_at: Annotated[Time | None, Field(description="When the pods were last read.")] = None
    stable: Annotated[Counters, Field(default_factory=Counters, description="Stable's counters.")]
    canary: Annotated[Counters, Field(default_factory=Counters, description="The canary's counters.")]
    resets: Annotated[int, Field(description="Canary counters that fell back.")] = 0


class CheckResult(ApiModel):
    """What one check says, with the numbers it rests on."""

    metric: Annotated[str, Field(description="The check's metric, with its bound.")]
    verdict: Annotated[
        Verdict,
        Field(
            description="What it says; Waiting: more requests are needed, Error: it can't be judged,"
            " Inconclusive: over the limit, but not for certain, when `maxWait` was over."
        ),
    ]
    since: Annotated[Time | None, Field(description="Since when it says so, look after look.")] = None
    dry_run: Annotated[bool | None, Field(description="True: it is told, and decides nothing.")] = None
    value: Annotated[str | None, Field(description="What was measured.")] = None
    limit: Annotated[str | None, Field(description="What is allowed.")] = None
    samples: Annotated[int, Field(description="Requests that the value rests on.")] = 0
    message: Annotated[str, Field(description="The same as a sentence.")] = ""


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


class ScalingStatus(ApiModel):
    """Who scales the pods, where `spec.autoscaling` says anything about it."""

    engine: Annotated[
        Literal["hpa", "keda", "external", "none"], Field(description="The engine that was taken.")
    ]
    why: Annotated[str, Field(description="Why this one.")] = ""
    asked: Annotated[
        int | None, Field(description="The `spec.replicas` that was carried out, or is not to be.")
    ] = None


class Sleep(ApiModel):
    """A model with `minReplicas: 0` on its way to having no pods, without any, or on its way back."""

    state: Annotated[
        Literal["Idling", "Asleep", "Waking"],
        Field(
            description="Idling: the activator is in the path, and the pods go if nobody asks."
            " Asleep: no pods. Waking: pods are on their way."
        ),
    ]
    since: Annotated[Time, Field(description="Since when.")]
    last_request_at: Annotated[
        Time | None, Field(description="When the last request came, as the pods said; absent if none did.")
    ] = None
    unheld_since: Annotated[
        Time | None, Field(description="Since when no activator has been there to hold requests.")
    ] = None


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

"""The fields of the API that say how a new revision takes over, and the hands on the wheel."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from ekiben.api.fields import (
    DURATION,
    ApiModel,
    Duration,
    PositivePercent,
    Worded,
    at_least,
    checked,
    keyed_by,
    rules,
)
from ekiben.api.freeze import Freeze
from ekiben.api.gates import RolloutGate
from ekiben.api.preflight import Preflight
from ekiben.api.rules import rollout as say
from ekiben.api.steps import HeaderMatch, PodCount, TrafficRamp
from ekiben.api.strategy import BlueGreen, Strategy
from ekiben.api.warmup import WarmUp

_ROLLOUT_ID = r"[a-z][a-z0-9]{9}\.[1-9][0-9]{0,8}"
RolloutId = Annotated[
    str,
    StringConstraints(pattern=f"^{_ROLLOUT_ID}$", max_length=24),
    Worded("must be a rollout's ID as status.rollout.id shows it, such as k7c4f9xw2p.1"),
]
RolloutStep = Annotated[
    str,
    StringConstraints(pattern=f"^{_ROLLOUT_ID}/(0|[1-9][0-9]?)$", max_length=28),
    Worded("must be ID/STEP as status.rollout.id and .step show them, such as k7c4f9xw2p.1/2"),
]


class Pause(ApiModel):
    """Wait for `rollout.resume`."""


class StepAnalysis(ApiModel):
    """Judge the canary in place, at the weight that it has."""

    hold: Annotated[Duration | None, Field(description="Judge at least this long. Default: 1m.")] = None
    max_wait: Annotated[
        Duration | None,
        Field(description="Longest wait for samples beyond `hold`. Default: analysis.maxWait."),
    ] = None


class Step(ApiModel):
    """One step of a canary rollout: exactly one kind, where `weight` may have a `hold`."""

    model_config = rules(say.STEP_ONE_KIND, say.HOLD_NEEDS_WEIGHT)

    weight: Annotated[int | None, Field(ge=1, le=100, description="Percent of the traffic.")] = None
    hold: Annotated[
        Duration | None, Field(description="Stay at least this long, analysing. Default: 1m.")
    ] = None
    pause: Annotated[Pause | None, Field(description="Wait for `rollout.resume: ID/STEP`.")] = None
    replicas: Annotated[
        PodCount | None,
        Field(
            description="From here on the canary has at least so many pods: a number, or a percentage of"
            " stable's size; as far as `maxSurge` and `autoscaling.maxReplicas` allow. The weight stays, and"
            " no weight gets fewer pods than it needs. Needs `traffic`."
        ),
    ] = None
    headers: Annotated[
        tuple[HeaderMatch, ...] | None,
        Field(
            min_length=1,
            max_length=4,
            description="From here on requests with all of these headers go to the canary, whatever the"
            " weight. Needs `traffic`.",
            json_schema_extra=checked(say.HEADERS_DIFFER),
        ),
    ] = None
    analysis: Annotated[
        StepAnalysis | None,
        Field(
            description="Judge the canary once more, on what it serves from here on; the weight stays. Before"
            " the first weight only pods that fail, and checks that count no requests, decide."
        ),
    ] = None


class Canary(ApiModel):
    """A rollout that moves traffic step by step."""

    steps: Annotated[
        tuple[Step, ...],
        Field(
            max_length=20,
            description="The way up, after which the canary takes all traffic."
            " Default: 5% for 2m, 25% for 5m, 50% for 5m; without a Gateway 50% for 5m.",
            json_schema_extra=checked(say.WEIGHTS_RISE, say.FEW_HEADER_STEPS),
        ),
    ] = ()
    shrink_stable: Annotated[
        bool,
        Field(
            description="True: stable gives up pods as the canary's share grows, and `maxSurge` bounds the"
            " pods of both together. An abort then takes the traffic back as stable's pods get ready; a"
            " canary whose pods fail loses it at once. Needs `traffic`, and no `autoscaling`."
        ),
    ] = False
    traffic_ramp: Annotated[
        TrafficRamp | None,
        Field(
            description="How an abort takes the traffic back where pods of stable are new since the rollout"
            " began, or missing. Default: at once. Needs `traffic`."
        ),
    ] = None


class Rollout(ApiModel):
    """How a new revision takes over; and the hands on the wheel, each naming `status.rollout.id`."""

    model_config = rules(
        say.WARMUP_BESIDE_STABLE,
        say.STEPS_FOR_CANARY,
        say.SHRINKING_FOR_CANARY,
        say.BLOCK_FOR_BLUE_GREEN,
        say.BLUE_GREEN_NEEDS_ROOM,
        say.RECREATE_HAS_NO_SURGE,
        say.FALLBACK_FROM_TWO,
    )

    strategy: Annotated[
        Strategy,
        Field(
            description="Canary: traffic moves step by step. BlueGreen: the new revision gets all its pods"
            " beside stable's, is judged without traffic, and takes everything at once. Recreate: stable's"
            " pods go, then the new ones come, and nobody serves meanwhile."
        ),
    ] = "Canary"
    blue_green: Annotated[BlueGreen | None, Field(description="How strategy BlueGreen switches.")] = None
    canary: Canary = Canary()
    initial: Annotated[
        Literal["Stable", "Held"],
        Field(description="What the very first revision is: stable at once, or held until `promote`."),
    ] = "Stable"
    paused: Annotated[bool, Field(description="True: no step is taken by itself; aborting still works.")] = (
        False
    )
    promote: Annotated[RolloutId | None, Field(description="ID: all the way now.")] = None
    resume: Annotated[
        RolloutStep | None, Field(description="ID/STEP: leave that step now, a pause or a hold.")
    ] = None
    abort: Annotated[RolloutId | None, Field(description="ID: back to stable now.")] = None
    retry: Annotated[RolloutId | None, Field(description="ID of a failed rollout: try again.")] = None
    priority: Annotated[
        int,
        Field(
            ge=-1000,
            le=1000,
            description="Where only so many rollouts may run at once: the higher one begins first.",
        ),
    ] = 0
    freeze: Annotated[
        tuple[Freeze, ...],
        Field(
            max_length=10,
            description="When no step is taken by itself, nor the promotion. Pods are prepared, what fails is"
            " rolled back, commands work, and so does a way back within `rollbackWindow`.",
        ),
    ] = ()
    gates: Annotated[
        tuple[RolloutGate, ...],
        Field(
            max_length=8,
            description="Who is asked over HTTP before the rollout goes on by itself; all must be open at the"
            " same time. promote, aborts and a way back within `rollbackWindow` ask nobody.",
            json_schema_extra=keyed_by("name"),
        ),
    ] = ()
    warmup: Annotated[
        WarmUp | None,
        Field(
            description="Calls that each of the canary's pods answers before it counts for a weight; and"
            " stable's pods that start meanwhile. They are not judged."
        ),
    ] = None
    preflight: Preflight = Preflight()
    progress_deadline: Annotated[
        str,
        DURATION,
        at_least("10s", example="10m"),
        Field(description="A started pod must be ready within this."),
    ] = "10m"
    revision_history_limit: Annotated[
        int, Field(ge=0, le=50, description="Old revisions that are kept, without pods.")
    ] = 5
    rollback_window: Annotated[
        int,
        Field(
            ge=0,
            le=10,
            description="Going back to one of so many revisions that served last takes no steps: its pods are"
            " made ready, and then get everything. 0: every change takes its steps.",
        ),
    ] = 0
    scale_down_delay: Annotated[
        Duration, Field(description="How long the old revision keeps its pods after a promotion.")
    ] = "30s"
    abort_scale_down_delay: Annotated[
        Duration, Field(description="How long a failed canary keeps its pods for a look.")
    ] = "30s"
    max_surge: Annotated[
        PositivePercent, Field(description="Most pods above stable's size while both revisions run.")
    ] = "100%"

"""What a user writes: `ModelDeployment.spec` of ekiben.dev/v1alpha1; the pod's part of it is in `pod.py`.

Defaults stand here only outside lists (inside an item they are permanent drift for Argo CD) and never under a
field that a revision hashes; the other defaults are in `ekiben.core`, and in the field's description.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from ekiben.api import rules as say
from ekiben.api.fields import (
    DURATION,
    QUANTITY_PATTERN,
    ApiModel,
    Duration,
    Hostname,
    Name,
    OptionalSubdomain,
    PositivePercent,
    Subdomain,
    UrlPath,
    Worded,
    at_least,
    checked,
    keyed_by,
    rules,
)
from ekiben.api.freeze import Freeze
from ekiben.api.judging import Analysis
from ekiben.api.pod import Bento, EnvVar, LocalObject, PodTemplate, Resources, Runtime

GROUP = "ekiben.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ModelDeployment"
PLURAL = "modeldeployments"

DEFAULT_REPLICAS = 2

# What makes a revision; the rest may change without another pod.
HASHED_FIELDS = (
    "bento",
    "runtime",
    "resources",
    "env",
    "service_account_name",
    "image_pull_secrets",
    "pod_template",
)

_ROLLOUT_ID = r"[a-z][a-z0-9]{9}\.[1-9][0-9]{0,8}"
RolloutId = Annotated[
    str,
    StringConstraints(pattern=f"^{_ROLLOUT_ID}$", max_length=24),
    Worded("must be a rollout's ID as status.rollout.id shows it, such as k7c4f9xw2p.1"),
]
RolloutStep = Annotated[
    str,
    StringConstraints(pattern=f"^{_ROLLOUT_ID}/[1-9][0-9]?$", max_length=28),
    Worded("must be ID/STEP as status.rollout.id and .step show them, such as k7c4f9xw2p.1/2"),
]
_ZERO = "^0+([.]0+)?[a-zA-Z]*$"
CpuTarget = Annotated[
    str,
    StringConstraints(pattern=r"^([1-9][0-9]{0,3}%|[0-9]{1,9}(\.[0-9]{1,3})?|[0-9]{1,9}m)$", max_length=20),
    Worded("must be a percentage such as 70%, or CPUs such as 500m or 1.5", also=f"!self.matches('{_ZERO}')"),
]
MemoryTarget = Annotated[
    str,
    StringConstraints(pattern=f"^[1-9][0-9]{{0,3}}%$|{QUANTITY_PATTERN}", max_length=20),
    Worded(
        "must be a percentage such as 80%, or an amount of at least 1Mi such as 700Mi",
        # 700m is a common slip for 700Mi: a valid quantity that means less than one byte.
        also="(self.endsWith('%') || quantity(self).compareTo(quantity('1Mi')) >= 0)",
    ),
]


class ScalingMetric(ApiModel):
    """One autoscaling target; exactly one of its fields is set."""

    model_config = rules(say.METRIC_ONE_TARGET)

    cpu: Annotated[
        CpuTarget | None,
        Field(description="Mean CPU of the bento container: `70%` of its request, or `500m`."),
    ] = None
    memory: Annotated[
        MemoryTarget | None,
        Field(description="Mean memory of the bento container: `80%` of its request, or `700Mi`."),
    ] = None


class Autoscaling(ApiModel):
    """How each revision scales by itself."""

    model_config = rules(say.MIN_WITHIN_MAX)

    min_replicas: Annotated[int, Field(ge=1, le=10000, description="Fewest pods of stable.")] = 1
    max_replicas: Annotated[int, Field(ge=1, le=10000, description="Most pods of each revision.")]
    metrics: Annotated[
        tuple[ScalingMetric, ...],
        Field(max_length=4, description="Targets; the one that asks for most pods wins. Default: cpu 70%."),
    ] = ()


class PodDisruptionBudget(ApiModel):
    """The disruption budget of each serving revision."""

    enabled: Annotated[bool, Field(description="False: there is none.")] = True
    max_unavailable: Annotated[
        int, Field(ge=1, le=10000, description="Pods that a node drain may take at a time.")
    ] = 1


class ParentRef(ApiModel):
    """A Gateway that routes to the model."""

    name: Annotated[Subdomain, Field(description="Name of the Gateway.")]
    namespace: Annotated[Name | None, Field(description="Its namespace. Default: the ModelDeployment's.")] = (
        None
    )
    section_name: Annotated[
        Subdomain | None, Field(description="One listener of it. Default: every listener.")
    ] = None


class RoutePath(ApiModel):
    """The path under which the model answers."""

    prefix: Annotated[
        UrlPath, Field(description="Requests whose path is this or below it are the model's.")
    ] = "/"
    rewrite: Annotated[
        UrlPath | None,
        Field(description="What the prefix becomes before a request is sent on. Default: it stays."),
    ] = None


class Traffic(ApiModel):
    """How requests reach the model from outside; without it they come through its Service."""

    parent_refs: Annotated[
        tuple[ParentRef, ...],
        Field(
            min_length=1,
            max_length=8,
            description="Gateways that route to the model.",
            json_schema_extra=checked(say.PARENTS_DIFFER),
        ),
    ]
    hostnames: Annotated[
        tuple[Hostname, ...],
        Field(
            max_length=16,
            description="Hosts for which the model answers. Default: every host of the listener.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    path: RoutePath = RoutePath()


class Pause(ApiModel):
    """Wait for `rollout.resume`."""


class Step(ApiModel):
    """One step of a canary rollout: either `weight` with `hold`, or `pause`."""

    model_config = rules(say.STEP_ONE_KIND, say.HOLD_NEEDS_WEIGHT)

    weight: Annotated[int | None, Field(ge=1, le=100, description="Percent of the traffic.")] = None
    hold: Annotated[
        Duration | None, Field(description="Stay at least this long, analysing. Default: 1m.")
    ] = None
    pause: Annotated[Pause | None, Field(description="Wait for `rollout.resume: ID/STEP`.")] = None


class Canary(ApiModel):
    """A rollout that moves traffic step by step."""

    steps: Annotated[
        tuple[Step, ...],
        Field(
            max_length=20,
            description="The way up, after which the canary takes all traffic."
            " Default: 5% for 2m, 25% for 5m, 50% for 5m; without a Gateway 50% for 5m.",
            json_schema_extra=checked(say.WEIGHTS_RISE),
        ),
    ] = ()


class Rollout(ApiModel):
    """How a new revision takes over; and the hands on the wheel, each naming `status.rollout.id`."""

    canary: Canary = Canary()
    initial: Annotated[
        Literal["Stable", "Held"],
        Field(description="What the very first revision is: stable at once, or held until `promote`."),
    ] = "Stable"
    paused: Annotated[bool, Field(description="True: no step is taken by itself; aborting still works.")] = (
        False
    )
    promote: Annotated[RolloutId | None, Field(description="ID: all the way now.")] = None
    resume: Annotated[RolloutStep | None, Field(description="ID/STEP: leave the pause at that step.")] = None
    abort: Annotated[RolloutId | None, Field(description="ID: back to stable now.")] = None
    retry: Annotated[RolloutId | None, Field(description="ID of a failed rollout: try again.")] = None
    freeze: Annotated[
        tuple[Freeze, ...],
        Field(
            max_length=10,
            description="When no step is taken by itself, nor the promotion. Pods are prepared, what fails is"
            " rolled back, commands work, and so does a way back within `rollbackWindow`.",
        ),
    ] = ()
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


class Spec(ApiModel):
    """What is to be served, and how a change of it is rolled out."""

    model_config = rules(say.RUNTIME_NEEDS_SERVICE, say.BOUNDS_NEED_SERVICE)

    bento: Bento
    runtime: Runtime | None = None
    resources: Resources | None = None
    env: Annotated[
        tuple[EnvVar, ...] | None,
        Field(
            max_length=100,
            description="Environment variables of the bento container.",
            json_schema_extra=keyed_by("name"),
        ),
    ] = None
    service_account_name: Annotated[
        OptionalSubdomain | None, Field(description="ServiceAccount of the pods. Default: the namespace's.")
    ] = None
    image_pull_secrets: Annotated[
        tuple[LocalObject, ...] | None,
        Field(
            max_length=16,
            description="Secrets for the image's registry.",
            json_schema_extra=keyed_by("name"),
        ),
    ] = None
    pod_template: PodTemplate | None = None
    # A default here, though not hashed: reading /scale fails on an object without replicas.
    replicas: Annotated[int, Field(ge=1, le=10000, description="Pods; ignored with autoscaling.")] = (
        DEFAULT_REPLICAS
    )
    autoscaling: Autoscaling | None = None
    pod_disruption_budget: PodDisruptionBudget = PodDisruptionBudget()
    traffic: Traffic | None = None
    rollout: Rollout = Rollout()
    analysis: Analysis = Analysis()


def parse_spec(raw: dict[str, Any]) -> Spec:
    """Parse a raw `.spec`; raises pydantic.ValidationError."""
    return Spec.model_validate(raw)

"""What a user writes: `ModelDeployment.spec` of ekiben.dev/v1alpha1.

Defaults stand here only outside lists and never under a field that a revision hashes; the other defaults
are in `ekiben.core` and are documented in the field's description.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from ekiben.api.fields import (
    ApiModel,
    Duration,
    Name,
    Opaque,
    Percent,
    Quantities,
    Ratio,
    StringMap,
)

GROUP = "ekiben.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ModelDeployment"
PLURAL = "modeldeployments"
NAME_MAX_LENGTH = 40

OPAQUE_BUT_NAMED = ConfigDict(extra="allow", json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})

ROLLOUT_ID_PATTERN = r"^[a-z][a-z0-9]{9}\.[1-9][0-9]{0,8}$"


class Bento(ApiModel):
    """The bento to serve."""

    image: Annotated[
        str,
        Field(
            min_length=1,
            max_length=512,
            description="Image built by `bentoml containerize`: a digest, or a tag that is not `latest`.",
        ),
    ]
    service: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
            max_length=128,
            description="Class name of the bento's entry service; needed wherever `runtime` is set.",
        ),
    ] = None


class Runtime(ApiModel):
    """How BentoML runs the service: becomes BENTOML_CONFIG_OVERRIDES."""

    workers: Annotated[
        int | None, Field(ge=1, le=64, description="Worker processes per pod. Default: the bento's own.")
    ] = None
    timeout: Annotated[
        Duration | None, Field(description="Longest time one request may take. Default: 60s.")
    ] = None
    max_concurrency: Annotated[
        int | None,
        Field(ge=1, le=100000, description="Requests in flight per pod before BentoML answers 429."),
    ] = None
    overrides: Annotated[
        Opaque | None, Field(description="BentoML configuration merged over everything above.")
    ] = None


class Resources(ApiModel):
    """Resources of the bento container. Default: requests cpu 500m, memory 512Mi; limits memory 1Gi."""

    requests: Quantities | None = None
    limits: Quantities | None = None


class EnvVar(ApiModel):
    """One environment variable of the bento container."""

    name: Annotated[str, Field(pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$", min_length=1, max_length=256)]
    value: Annotated[str | None, Field(max_length=32768)] = None
    value_from: Opaque | None = None


class LocalObject(ApiModel):
    """A reference to an object of the same namespace by name."""

    name: Annotated[str, Field(min_length=1, max_length=253)]


class NamedOpaque(ApiModel):
    """A Kubernetes object of which only the name is looked at: a container or a volume."""

    model_config = OPAQUE_BUT_NAMED

    name: Annotated[str, Field(min_length=1, max_length=63)]


class VolumeMount(ApiModel):
    """A volume mount of the bento container."""

    model_config = OPAQUE_BUT_NAMED

    name: Annotated[str, Field(min_length=1, max_length=63)]
    mount_path: Annotated[str, Field(min_length=1, max_length=1024)]


class PodTemplate(ApiModel):
    """What is merged over the rendered pod template."""

    labels: StringMap | None = None
    annotations: StringMap | None = None
    node_selector: StringMap | None = None
    tolerations: Annotated[tuple[Opaque, ...] | None, Field(max_length=32)] = None
    affinity: Opaque | None = None
    topology_spread_constraints: Annotated[tuple[Opaque, ...] | None, Field(max_length=16)] = None
    priority_class_name: Annotated[str | None, Field(max_length=253)] = None
    runtime_class_name: Annotated[str | None, Field(max_length=253)] = None
    volumes: Annotated[
        tuple[NamedOpaque, ...] | None, Field(max_length=32, description="Volumes added to the pod.")
    ] = None
    volume_mounts: Annotated[
        tuple[VolumeMount, ...] | None, Field(max_length=32, description="Mounts of the bento container.")
    ] = None
    init_containers: Annotated[tuple[NamedOpaque, ...] | None, Field(max_length=8)] = None
    sidecars: Annotated[
        tuple[NamedOpaque, ...] | None,
        Field(max_length=8, description="Containers added beside the bento container."),
    ] = None


class ScalingMetric(ApiModel):
    """One autoscaling target; exactly one of its fields is set."""

    cpu: Annotated[
        str | None,
        Field(max_length=20, description="Mean CPU of the bento container: `70%` of its request, or `500m`."),
    ] = None
    memory: Annotated[
        str | None,
        Field(max_length=20, description="Mean memory of it: `80%` of its request, or `700Mi`."),
    ] = None


class Autoscaling(ApiModel):
    """How each revision scales by itself."""

    min_replicas: Annotated[int, Field(ge=1, le=10000)] = 1
    max_replicas: Annotated[int, Field(ge=1, le=10000)]
    metrics: Annotated[
        tuple[ScalingMetric, ...],
        Field(max_length=4, description="Targets; the one that asks for most pods wins. Default: cpu 70%."),
    ] = ()


class PodDisruptionBudget(ApiModel):
    """The disruption budget of each serving revision."""

    enabled: bool = True
    max_unavailable: Annotated[int, Field(ge=1, le=10000)] = 1


class ParentRef(ApiModel):
    """A Gateway that routes to the model."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    namespace: Annotated[Name | None, Field(description="Default: the ModelDeployment's namespace.")] = None
    section_name: Annotated[str | None, Field(max_length=253, description="One listener of it.")] = None


class RoutePath(ApiModel):
    """The path under which the model answers."""

    prefix: Annotated[str, Field(pattern=r"^/", min_length=1, max_length=1024)] = "/"
    rewrite: Annotated[
        str | None,
        Field(pattern=r"^/", max_length=1024, description="What the prefix becomes before it is sent on."),
    ] = None


class Traffic(ApiModel):
    """How requests reach the model from outside."""

    parent_refs: Annotated[tuple[ParentRef, ...], Field(min_length=1, max_length=8)]
    hostnames: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=253)], ...], Field(max_length=16)
    ] = ()
    path: RoutePath = RoutePath()


class Pause(ApiModel):
    """Wait for `rollout.resume`."""


class Step(ApiModel):
    """One step of a canary rollout: either `weight` with `hold`, or `pause`."""

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
            description="Default: 5% for 2m, 25% for 5m, 50% for 5m; without a Gateway 50% for 5m.",
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
    promote: Annotated[
        str | None, Field(pattern=ROLLOUT_ID_PATTERN, max_length=24, description="ID: all the way now.")
    ] = None
    resume: Annotated[
        str | None,
        Field(
            pattern=ROLLOUT_ID_PATTERN[:-1] + r"/[1-9][0-9]?$",
            max_length=28,
            description="ID/STEP: leave the pause at that step.",
        ),
    ] = None
    abort: Annotated[
        str | None, Field(pattern=ROLLOUT_ID_PATTERN, max_length=24, description="ID: back to stable now.")
    ] = None
    retry: Annotated[
        str | None,
        Field(pattern=ROLLOUT_ID_PATTERN, max_length=24, description="ID of a failed rollout: try again."),
    ] = None
    progress_deadline: Annotated[Duration, Field(description="A started pod must be ready within this.")] = (
        "10m"
    )
    revision_history_limit: Annotated[int, Field(ge=0, le=50)] = 5
    scale_down_delay: Annotated[
        Duration, Field(description="How long the old revision keeps its pods after a promotion.")
    ] = "30s"
    abort_scale_down_delay: Annotated[
        Duration, Field(description="How long a failed canary keeps its pods for a look.")
    ] = "30s"
    max_surge: Annotated[
        Percent, Field(description="Most pods above stable's size while both revisions run.")
    ] = "100%"


class Check(ApiModel):
    """One judgement of the canary; at least one limit is set."""

    metric: Literal["error-rate", "shed-rate", "slow-requests"]
    over: Annotated[
        Duration | None, Field(description="slow-requests only: a request that took longer is slow.")
    ] = None
    max: Annotated[Percent | None, Field(description="Largest share of the canary's requests.")] = None
    max_ratio_to_stable: Annotated[
        Ratio | None, Field(description="Largest share relative to stable's over the same time.")
    ] = None
    exclude_sheds: Annotated[
        bool | None, Field(description="error-rate only: don't count 503. Default: false.")
    ] = None


class Analysis(ApiModel):
    """How the canary is judged on the requests it really served."""

    interval: Annotated[Duration, Field(description="Time between two looks.")] = "15s"
    initial_delay: Annotated[
        Duration, Field(description="Time after a weight is reached that is not judged.")
    ] = "0s"
    min_samples: Annotated[int, Field(ge=1, le=10_000_000, description="Requests that a pass needs.")] = 50
    max_wait: Annotated[Duration, Field(description="Longest wait for samples beyond `hold`.")] = "30m"
    on_no_data: Annotated[
        Literal["pause", "pass", "fail"], Field(description="What happens when `maxWait` is over.")
    ] = "pause"
    failure_limit: Annotated[
        int, Field(ge=0, le=100, description="Failed looks that are forgiven per step.")
    ] = 0
    checks: Annotated[tuple[Check, ...], Field(max_length=10, description="Default: error-rate max 1%.")] = ()


class Spec(ApiModel):
    """What is to be served, and how a change of it is rolled out."""

    bento: Bento
    runtime: Runtime | None = None
    resources: Resources | None = None
    env: Annotated[tuple[EnvVar, ...] | None, Field(max_length=100)] = None
    service_account_name: Annotated[str | None, Field(max_length=253)] = None
    image_pull_secrets: Annotated[tuple[LocalObject, ...] | None, Field(max_length=16)] = None
    pod_template: PodTemplate | None = None
    replicas: Annotated[
        int | None, Field(ge=1, le=10000, description="Pods; ignored with autoscaling. Default: 2.")
    ] = None
    autoscaling: Autoscaling | None = None
    pod_disruption_budget: PodDisruptionBudget = PodDisruptionBudget()
    traffic: Traffic | None = None
    rollout: Rollout = Rollout()
    analysis: Analysis = Analysis()


def parse_spec(raw: dict[str, Any]) -> Spec:
    """Parse a raw `.spec`; raises pydantic.ValidationError."""
    return Spec.model_validate(raw)

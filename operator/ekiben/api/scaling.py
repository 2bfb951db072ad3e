"""The fields of the API that say how many pods a revision has."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from ekiben.api.fields import (
    DURATION,
    QUANTITY_PATTERN,
    RATIO_PATTERN,
    ApiModel,
    Worded,
    at_least,
    matches,
    rules,
    seconds,
)
from ekiben.api.rules import serving as say
from ekiben.api.sleeping import DEFAULT_IDLE_AFTER, Activation, IdleAfter
from ekiben.api.triggers import Formula, ScalingPrometheus, Schedule, Trigger

Engine = Literal["auto", "hpa", "keda", "external", "none"]

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


PerPod = Annotated[
    str,
    StringConstraints(pattern=RATIO_PATTERN, max_length=10),
    Worded(
        'must be a number per pod, above zero, in quotes, such as "8" or "0.5"',
        also=f"!{matches('^0+([.]0+)?$')}",
    ),
]

MetricName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", min_length=1, max_length=32),
    Worded("must be a name for the formula, of letters, digits and underscores, such as queue"),
]


# An autoscaler counts seconds in thousandths: of a smaller limit it could not tell a little too much.
LatencyBound = Annotated[str, DURATION, at_least("10ms", example="500ms")]


class LatencyLimit(ApiModel):
    """How long requests may take; exactly one of its fields is set."""

    model_config = rules(say.ONE_QUANTILE)

    p50: Annotated[LatencyBound | None, Field(description="Half of the requests take no longer.")] = None
    p95: Annotated[LatencyBound | None, Field(description="95 of 100 requests take no longer.")] = None
    p99: Annotated[LatencyBound | None, Field(description="99 of 100 requests take no longer.")] = None

    @property
    def quantile(self) -> str:
        """Which quantile is limited, such as `p95`."""
        return next((name for name in ("p50", "p95", "p99") if getattr(self, name)), "p95")

    @property
    def seconds(self) -> float:
        """The limit in seconds; 0 where none is written, which only the API server refuses."""
        return seconds(getattr(self, self.quantile) or "0s")


class ScalingMetric(ApiModel):
    """One autoscaling target; exactly one of its fields is set, beside its name."""

    model_config = rules(say.METRIC_ONE_TARGET, say.NAME_FOR_FORMULA)

    name: Annotated[
        MetricName | None, Field(description="What `formula` calls it; with KEDA's metrics alone.")
    ] = None

    cpu: Annotated[
        CpuTarget | None,
        Field(description="Mean CPU of the bento container: `70%` of its request, or `500m`."),
    ] = None
    memory: Annotated[
        MemoryTarget | None,
        Field(description="Mean memory of the bento container: `80%` of its request, or `700Mi`."),
    ] = None
    concurrency: Annotated[
        PerPod | None,
        Field(description='Mean requests in flight per pod, such as `"8"`; needs the chart\'s adapter.'),
    ] = None
    requests_per_second: Annotated[
        PerPod | None,
        Field(description='Mean requests per second and pod, such as `"50"`; needs the chart\'s adapter.'),
    ] = None
    latency: Annotated[
        LatencyLimit | None,
        Field(
            description="A guard: adds pods while requests take longer and more pods help, removes none;"
            " needs another metric that does, and the chart's adapter."
        ),
    ] = None
    prometheus: Annotated[
        ScalingPrometheus | None,
        Field(description="A number of a Prometheus, so much of it for each pod; needs KEDA."),
    ] = None
    schedule: Annotated[
        Schedule | None, Field(description="Pods at least in a window of time; needs KEDA.")
    ] = None
    trigger: Annotated[
        Trigger | None,
        Field(description="Any other source that KEDA knows: queues, clouds, databases; needs KEDA."),
    ] = None


class ScalingPolicy(ApiModel):
    """How many pods may come or go within a time."""

    type: Annotated[Literal["Pods", "Percent"], Field(description="What `value` counts.")]
    value: Annotated[int, Field(ge=1, le=10000, description="Most pods, or percent of the pods.")]
    period_seconds: Annotated[int, Field(ge=1, le=1800, description="Within so many seconds.")]


class ScalingRules(ApiModel):
    """How fast the number of pods follows the load in one direction, as HorizontalPodAutoscalers have it."""

    stabilization_window_seconds: Annotated[
        int | None, Field(ge=0, le=3600, description="Take the most careful number of so many seconds.")
    ] = None
    select_policy: Annotated[
        Literal["Max", "Min", "Disabled"] | None,
        Field(description="Which of `policies` counts; Disabled: no change in this direction."),
    ] = None
    policies: Annotated[
        tuple[ScalingPolicy, ...] | None, Field(min_length=1, max_length=8, description="Bounds on the pace.")
    ] = None


class Behavior(ApiModel):
    """How fast the number of pods follows the load."""

    scale_up: Annotated[
        ScalingRules | None, Field(description="More pods. Default: a window of 30 s, else Kubernetes' own.")
    ] = None
    scale_down: Annotated[
        ScalingRules | None,
        Field(
            description="Fewer pods. Default: Kubernetes' own, with a GPU a window of 900 s; none go while a"
            " rollout is in flight."
        ),
    ] = None


class Autoscaling(ApiModel):
    """How each revision scales by itself."""

    model_config = rules(
        say.MAX_IS_GIVEN,
        say.MIN_WITHIN_MAX,
        say.ONE_ENGINE_FOR_ALL,
        say.KEDA_SERVES,
        say.HPA_SERVES,
        say.LATENCY_NOT_ALONE,
        say.WINDOWS_WITHIN_MAX,
        say.FALLBACK_WITHIN_MAX,
        say.IDLE_NEEDS_ZERO,
        say.ZERO_NEEDS_ENGINE,
        say.CANARY_NEEDS_ENGINE,
        say.NAMES_DIFFER,
        say.FORMULA_NAMES_ALL,
    )

    engine: Annotated[
        Engine,
        Field(
            description="Who scales. auto: KEDA where a metric needs it, else a HorizontalPodAutoscaler; hpa,"
            " keda: that one; external: others, and `replicas` is carried out once each time it is set (as by"
            " `kubectl scale`); none: nobody, the pods are `replicas`."
        ),
    ] = "auto"
    min_replicas: Annotated[
        int,
        Field(
            ge=0,
            le=10000,
            description="Fewest pods of stable. 0: none while nobody asks; needs the chart's activator.",
        ),
    ] = 1
    max_replicas: Annotated[
        int | None,
        Field(ge=1, le=10000, description="Most pods of each revision; needed where we scale."),
    ] = None
    metrics: Annotated[
        tuple[ScalingMetric, ...],
        Field(
            max_length=8,
            description="Targets; the one that asks for most pods wins. Default: cpu 70%; none with a GPU.",
        ),
    ] = ()
    formula: Annotated[
        Formula | None,
        Field(description="With KEDA: one number out of all metrics, by which alone is scaled."),
    ] = None
    behavior: Annotated[Behavior, Field(description="How fast the number of pods follows.")] = Behavior()
    fallback_replicas: Annotated[
        int | None,
        Field(
            ge=1,
            le=10000,
            description="With KEDA: pods at least while a metric can't be read, and never fewer than there"
            " are. Default: minReplicas.",
        ),
    ] = None
    idle_after: Annotated[
        IdleAfter | None,
        Field(
            description="With `minReplicas: 0`: without a request for this long, the pods go."
            f" Default: {DEFAULT_IDLE_AFTER}."
        ),
    ] = None
    activation: Annotated[
        Activation | None,
        Field(description="With `minReplicas: 0`: how requests are held while the model wakes."),
    ] = None

    canary: Annotated[
        bool,
        Field(
            description="True: a change of this block makes a new revision, rolled out and judged like any"
            " other; until it is promoted stable scales by the old one."
        ),
    ] = False

    @property
    def most(self) -> int:
        """Most pods of each revision, whatever was left out."""
        return max(self.max_replicas or self.min_replicas, 1)

    @property
    def sleeps(self) -> bool:
        """Tell whether the model may have no pods at all."""
        return self.min_replicas == 0

    @property
    def floor(self) -> int:
        """Fewest pods of stable while it has any."""
        return max(self.min_replicas, 1)

    @property
    def idle_seconds(self) -> float:
        """How long nobody must have asked before the pods go, in seconds."""
        return seconds(self.idle_after or DEFAULT_IDLE_AFTER)


class PodDisruptionBudget(ApiModel):
    """The disruption budget of each serving revision."""

    enabled: Annotated[bool, Field(description="False: there is none.")] = True
    max_unavailable: Annotated[
        int, Field(ge=1, le=10000, description="Pods that a node drain may take at a time.")
    ] = 1

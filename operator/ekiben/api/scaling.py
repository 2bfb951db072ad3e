"""The fields of the API that say how many pods a revision has."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from ekiben.api import rules as say
from ekiben.api.fields import QUANTITY_PATTERN, ApiModel, Worded, rules

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

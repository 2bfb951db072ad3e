"""What a rollout keeps of the last spec that could be followed: it counts while the spec is refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ekiben.api.fields import ApiModel, Confidence, Duration, PositiveDuration, PositivePercent
from ekiben.api.steps import TrafficRamp
from ekiben.api.warmup import WarmUp


class Kept(ApiModel):
    """Parts of the last spec that could be followed, each where it is no default."""

    bake: Annotated[Duration | None, Field(description="`analysis.bake`.")] = None
    min_samples: Annotated[int | None, Field(ge=1, description="`analysis.minSamples`.")] = None
    failure_limit: Annotated[int | None, Field(ge=0, description="`analysis.failureLimit`.")] = None
    initial_delay: Annotated[Duration | None, Field(description="`analysis.initialDelay`.")] = None
    confidence: Annotated[Confidence | None, Field(description="`analysis.confidence`.")] = None
    progress_deadline: Annotated[
        PositiveDuration | None, Field(description="`rollout.progressDeadline`.")
    ] = None
    max_surge: Annotated[PositivePercent | None, Field(description="`rollout.maxSurge`.")] = None
    warmup: Annotated[WarmUp | None, Field(description="`rollout.warmup`.")] = None
    traffic_ramp: Annotated[TrafficRamp | None, Field(description="`rollout.canary.trafficRamp`.")] = None

"""The field of the API that says how a pod is warmed up before it counts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from ekiben.api.fields import ApiModel, PositiveDuration, UrlPath, Worded, rules
from ekiben.api.rules import rollout as say


class WarmUp(ApiModel):
    """Calls that a pod answers before it gets any weight: one after the other, straight to the pod."""

    model_config = rules(say.WARMUP_BODY_FOR_POST)

    requests: Annotated[int, Field(ge=1, le=1000, description="Calls to each pod.")] = 20
    path: Annotated[UrlPath, Field(description="Path of the API to call, as the pod knows it.")]
    method: Annotated[Literal["POST", "GET"], Field(description="How it is called.")] = "POST"
    body: Annotated[str, Field(max_length=16384, description="What is sent.")] = ""
    content_type: Annotated[
        str,
        StringConstraints(pattern=r"^[-+.\w]+/[-+.\w]+(; ?[-\w]+=[-\w]+)?$", max_length=128),
        Worded("must be a media type such as application/json"),
        Field(description="What the body is."),
    ] = "application/json"
    max_latency: Annotated[
        PositiveDuration | None,
        Field(
            description="Longest that each of the last third of the calls may take. Default: as long as an"
            " answer may take at all."
        ),
    ] = None

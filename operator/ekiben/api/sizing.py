"""What the status says of a model's size: who scales its pods, and whether it has any."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ekiben.api.fields import ApiModel
from ekiben.api.sleeping import Activation
from ekiben.api.written import Time


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
            " Asleep: no pods. Waking: pods are on their way, or have just come."
        ),
    ]
    since: Annotated[Time, Field(description="Since when.")]
    last_request_at: Annotated[
        Time | None, Field(description="When the last request came, as the pods said; absent if none did.")
    ] = None
    unheld_since: Annotated[
        Time | None, Field(description="Since when no activator has been there to hold requests.")
    ] = None
    activation: Annotated[
        Activation | None,
        Field(
            description="How requests are held, where what serves was born with `autoscaling.canary`;"
            " else as the spec says."
        ),
    ] = None

"""The fields of the API that say what is done about room before a rollout begins."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ekiben.api.fields import ApiModel


class Preflight(ApiModel):
    """Whether a rollout looks for room before it touches anything; the operator must be allowed to look."""

    enabled: Annotated[
        bool, Field(description="False: it begins without a look, and a pod without room waits for it.")
    ] = True
    fallback: Annotated[
        Literal["Recreate"] | None,
        Field(
            description="The strategy to take while there is room for one revision only. Default: it waits."
        ),
    ] = None

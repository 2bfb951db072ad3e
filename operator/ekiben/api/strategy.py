"""The fields of the API that say which way a new revision takes, where it is not step by step."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ekiben.api.fields import ApiModel, Duration, Hostname

Strategy = Literal["Canary", "BlueGreen", "Recreate"]


class BlueGreen(ApiModel):
    """A rollout that switches once, from all of stable to all of the new revision."""

    preview_hostnames: Annotated[
        tuple[Hostname, ...],
        Field(
            max_length=16,
            description="Hosts for which the new revision answers before the switch, and stable while there"
            " is none; through the Gateways and under the path of `traffic`. Default: none. Inside the"
            " cluster it answers as Service `NAME-canary`.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    auto_promotion: Annotated[
        bool,
        Field(description="False: wait for `rollout.resume` or `rollout.promote` before the switch."),
    ] = True
    auto_promotion_delay: Annotated[
        Duration,
        Field(description="How long the new revision is judged before the switch, at least."),
    ] = "0s"

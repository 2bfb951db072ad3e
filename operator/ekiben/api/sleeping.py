"""The fields of the API that say how a model at zero holds requests while it wakes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ekiben.api.fields import DURATION, ApiModel, Worded, at_least, seconds

DEFAULT_IDLE_AFTER = "5m"
DEFAULT_MAX_HELD = 1000
DEFAULT_WAKE_TIMEOUT = "60s"

IdleAfter = Annotated[str, DURATION, at_least("10s", "10m")]
WakeTimeout = Annotated[
    str,
    DURATION,
    Worded(
        "must be a duration from 1s to 10m, such as 90s",
        also="duration(self) >= duration('1s') && duration(self) <= duration('10m')",
    ),
]


class Activation(ApiModel):
    """How requests are held while a model without pods wakes; only with `minReplicas: 0`."""

    max_held: Annotated[
        int | None,
        Field(
            ge=1,
            le=10000,
            description=f"Requests that each activator pod holds at a time. Default: {DEFAULT_MAX_HELD}.",
        ),
    ] = None
    wake_timeout: Annotated[
        WakeTimeout | None,
        Field(
            description="How long a request is held at most; then it is answered 503 with Retry-After."
            f" Longer than a pod takes to get ready. Default: {DEFAULT_WAKE_TIMEOUT}."
        ),
    ] = None

    @property
    def whole(self) -> Activation:
        """The same with every default written out."""
        return Activation(max_held=self.most_held, wake_timeout=self.wake_timeout or DEFAULT_WAKE_TIMEOUT)

    @property
    def most_held(self) -> int:
        """How many requests are held at a time."""
        return self.max_held or DEFAULT_MAX_HELD

    @property
    def wake_seconds(self) -> float:
        """How long one is held at most, in seconds."""
        return seconds(self.wake_timeout or DEFAULT_WAKE_TIMEOUT)

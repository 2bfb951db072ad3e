"""What the fuzz tests share; EKIBEN_FUZZ=50 plays fifty times as many examples as CI does."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def examples(count: int) -> settings:
    """Play this many examples, the same ones each time; EKIBEN_FUZZ multiplies them and chooses anew."""
    times = int(os.environ.get("EKIBEN_FUZZ", "1"))
    return settings(
        max_examples=count * times,
        derandomize=times == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

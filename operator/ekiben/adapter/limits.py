"""The limit that an autoscaler asks about: it is in the question itself, as a metric's selector."""

from __future__ import annotations

from dataclasses import dataclass

from ekiben.api.fields import seconds
from ekiben.api.selector import Requirement, parse_selector
from ekiben.core import names
from ekiben.samples.quantiles import SHARES


@dataclass(frozen=True, slots=True)
class Limit:
    """How long requests may take: a quantile such as `p95`, and seconds."""

    quantile: str
    seconds: float


def limit_of(selector: str) -> Limit:
    """Read the limit from a metric's selector, `limit=500ms,quantile=p95`; raises ValueError."""
    labels = {item.key: _only_value(item) for item in parse_selector(selector)}
    quantile, longest = labels.get(names.QUANTILE_LABEL) or "", labels.get(names.LIMIT_LABEL) or ""
    if quantile not in SHARES or not longest:
        raise ValueError(
            f"{names.LATENCY} needs {names.QUANTILE_LABEL}, one of {', '.join(SHARES)}, and"
            f" {names.LIMIT_LABEL}, such as 500ms"
        )
    limit = Limit(quantile, seconds(longest))
    if not limit.seconds:
        raise ValueError(f"{names.LIMIT_LABEL} must be above zero, such as 500ms")
    return limit


def _only_value(item: Requirement) -> str | None:
    if item.negated or len(item.values) != 1 or None in item.values:
        raise ValueError(f"{item.key} must have one value here, such as {item.key}=..., and not exclude any")
    return next(iter(item.values))

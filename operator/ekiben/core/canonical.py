"""One way to write each value, so that equal things hash alike and compare as equal."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Any

_QUANTITY = re.compile(
    r"^([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,3}))?$"
)
_BINARY = {f"{prefix}i": 1024**power for power, prefix in enumerate("KMGTPE", start=1)}
_DECIMAL = {prefix: 1000**power for power, prefix in enumerate("kMGTPE", start=1)}
_SCALE: dict[str, Fraction] = {
    **{prefix: Fraction(1, 1000**power) for power, prefix in enumerate("mun", start=1)},
    **{prefix: Fraction(scale) for prefix, scale in (_DECIMAL | _BINARY).items()},
}
_MEBI = 1024**2
# A fleet's models ask for the same few quantities, and each is read several times in a decision.
_QUANTITIES_KEPT = 1024
_NANO = 10**9
_INT64 = 2**63
_LONGEST = 99_999 * 3600 + 59 * 60 + 59


def canonical(value: Any) -> Any:
    """Copy a JSON value with every number written one way: the API server gives 1.0 back as 1."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _INT64:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _INT64:
        return float(value)
    return value


def canonical_json(value: Any) -> str:
    """Write a JSON value so that equal values give equal text; the order of keys does not matter."""
    return json.dumps(canonical(value), sort_keys=True, separators=(",", ":"))


def quantity_value(value: object) -> Fraction | None:
    """Return the number that a Kubernetes quantity stands for, None where the value is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return _quantity(str(value))


@lru_cache(_QUANTITIES_KEPT)
def _quantity(text: str) -> Fraction | None:
    match = _QUANTITY.match(text)
    if match is None:
        return None
    number, suffix, exponent = match.groups()
    if exponent:
        return Fraction(number) * Fraction(10) ** int(exponent)
    return Fraction(number) * (_SCALE[suffix] if suffix else 1)


def canonical_quantity(value: Any) -> Any:
    """Write a quantity one way, as the API server would leave it: `1000m` is `1`, `1024Mi` is `1Gi`.

    What is no quantity is returned untouched: the API server then refuses it in its own words.
    """
    number = quantity_value(value)
    if number is None:
        return value
    # Kubernetes rounds away from zero to the next nano.
    nano = ceil(abs(number) * _NANO)
    sign = "-" if number < 0 else ""
    whole, rest = divmod(nano, _NANO)
    if rest:
        for suffix, step in (("m", 10**6), ("u", 10**3)):
            if nano % step == 0:
                return f"{sign}{nano // step}{suffix}"
        return f"{sign}{nano}n"
    units = _BINARY if whole % _MEBI == 0 else _DECIMAL
    for suffix, scale in reversed(units.items()):
        if whole and whole % scale == 0:
            return f"{sign}{whole // scale}{suffix}"
    return f"{sign}{whole}"


def duration_text(seconds: float) -> str:
    """Write seconds as a duration such as `1m30s`, in at most four parts of at most five digits.

    Both our own durations and the Gateway API's (GEP-2257) are of that form; longer ones are cut to fit.
    """
    milliseconds = min(round(seconds * 1000), _LONGEST * 1000 + 999)
    rest, ms = divmod(milliseconds, 1000)
    rest, s = divmod(rest, 60)
    h, m = divmod(rest, 60)
    parts = ((h, "h"), (m, "m"), (s, "s"), (ms, "ms"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"

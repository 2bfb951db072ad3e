"""The building blocks of the API models: base class, CEL rules, units and their parsers."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

DURATION_PATTERN = r"^([0-9]{1,6}(ms|s|m|h)){1,4}$"
PERCENT_PATTERN = r"^([0-9]|[1-9][0-9]|100)(\.[0-9]{1,3})?%$"
RATIO_PATTERN = r"^[0-9]{1,4}(\.[0-9]{1,3})?$"
QUANTITY_PATTERN = r"^[0-9]{1,18}(\.[0-9]{1,9})?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
DNS_LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

_DURATION_PART = re.compile(r"([0-9]+)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_QUANTITY = re.compile(r"^([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")
_SCALE = {
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    **{f"{prefix}i": float(1024**power) for power, prefix in enumerate("KMGTPE", start=1)},
}


class ApiModel(BaseModel):
    """Base of every API model: frozen, camelCase on the wire, unknown fields ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


def cel(rule: str, message: str, field_path: str | None = None) -> dict[str, str]:
    """Build one CEL rule; the message is what a user reads at `kubectl apply`."""
    return {"rule": rule, "message": message} | ({"fieldPath": field_path} if field_path else {})


def rules(*items: dict[str, str]) -> ConfigDict:
    """Build a model config that carries CEL rules into the schema."""
    validations: list[Any] = [*items]
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": validations})


def seconds(text: str) -> float:
    """Parse a duration such as `90s`, `5m`, `1h30m` or `300ms` into seconds.

    Raises ValueError when the text is not such a duration.
    """
    if not re.match(DURATION_PATTERN, text):
        raise ValueError(f"{text!r} is not a duration; write for example 90s, 5m or 1h30m")
    return sum(int(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))


def delta(text: str) -> timedelta:
    """Parse a duration such as `5m` into a timedelta; raises ValueError."""
    return timedelta(seconds=seconds(text))


def fraction(text: str) -> float:
    """Parse a percentage such as `1%` or `0.5%` into a fraction; raises ValueError."""
    if not re.match(PERCENT_PATTERN, text):
        raise ValueError(f"{text!r} is not a percentage; write for example 1% or 0.5%")
    return float(text[:-1]) / 100


def quantity(value: str | int | float) -> float:
    """Parse a Kubernetes quantity such as `500m` or `1Gi` into its number; raises ValueError."""
    match = _QUANTITY.match(str(value))
    if not match:
        raise ValueError(f"{value!r} is not a quantity; write for example 500m, 2 or 1Gi")
    return float(match[1]) * _SCALE.get(match[2] or "", 1.0)


Duration = Annotated[str, Field(pattern=DURATION_PATTERN, max_length=32)]
Percent = Annotated[str, Field(pattern=PERCENT_PATTERN, max_length=10)]
Ratio = Annotated[str, Field(pattern=RATIO_PATTERN, max_length=10)]
Name = Annotated[str, Field(pattern=DNS_LABEL_PATTERN, min_length=1, max_length=63)]

Quantities = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": 16,
            "additionalProperties": {
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "pattern": QUANTITY_PATTERN,
                "x-kubernetes-int-or-string": True,
            },
        }
    ),
]
StringMap = Annotated[
    dict[str, str],
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": 64,
            "additionalProperties": {"type": "string", "maxLength": 1024},
        }
    ),
]
# Kubernetes' own types, passed through untouched: the API server validates them when the child is applied.
Opaque = Annotated[
    dict[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
]

"""The building blocks of the API models: base class, CEL rules, units and their parsers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, StringConstraints, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

DURATION_PATTERN = r"^([0-9]{1,5}(ms|s|m|h)){1,4}$"
PERCENT_PATTERN = r"^(100(\.0{1,3})?|[1-9]?[0-9](\.[0-9]{1,3})?)%$"
RATIO_PATTERN = r"^[0-9]{1,4}(\.[0-9]{1,3})?$"
QUANTITY_PATTERN = r"^[0-9]{1,18}(\.[0-9]{1,9})?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
DNS_LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN_PATTERN = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"
HOSTNAME_PATTERN = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
URL_PATH_PATTERN = r"^/([-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*$"

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


def checked(*items: dict[str, str]) -> dict[str, Any]:
    """Build the schema extra that carries CEL rules."""
    return {"x-kubernetes-validations": [*items]}


def rules(*items: dict[str, str]) -> ConfigDict:
    """Build a model config that carries CEL rules into the schema."""
    return ConfigDict(json_schema_extra=checked(*items))


def matches(pattern: str, value: str = "self") -> str:
    """Build the CEL expression that tells whether a string matches."""
    return f"{value}.matches({json.dumps(pattern)})"


def one_of(value: str, words: tuple[str, ...]) -> str:
    """Build the CEL expression that tells whether a string is one of these."""
    return f"{value} in [{', '.join(repr(word) for word in words)}]"


@dataclass(frozen=True)
class Worded:
    """Say a string's pattern as a sentence: the CRD carries both as a CEL rule, in the place of `pattern`.

    The API server's own message for a pattern is the bare expression, which tells nobody what to write.
    `also` is one more CEL condition under the same sentence; only the API server checks it.
    """

    message: str
    also: str = ""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Replace the pattern in the JSON schema."""
        schema = handler(core_schema)
        conditions = [matches(schema.pop("pattern")), *([self.also] if self.also else [])]
        schema["x-kubernetes-validations"] = [cel(" && ".join(conditions), self.message)]
        return schema


def seconds(text: str) -> float:
    """Parse a duration such as `90s`, `5m`, `1h30m` or `300ms` into seconds.

    Raises ValueError when the text is not such a duration.
    """
    if not re.match(DURATION_PATTERN, text):
        raise ValueError(f"{text!r} is not a duration; write for example 90s, 5m or 1h30m")
    total = sum(int(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    # Whole milliseconds: 9 * 0.001 is not 0.009.
    return round(total, 3)


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


def at_least(shortest: str, example: str) -> Worded:
    """Word a duration that has a shortest length."""
    return Worded(
        f"must be a duration of at least {shortest}, such as {example}",
        also=f"duration(self) >= duration('{shortest}')",
    )


DURATION = StringConstraints(pattern=DURATION_PATTERN, max_length=32)
Duration = Annotated[str, DURATION, Worded("must be a duration such as 30s, 5m or 1h30m")]
PositiveDuration = Annotated[
    str,
    DURATION,
    Worded("must be a duration above zero, such as 300ms, 30s or 5m", also="duration(self) > duration('0s')"),
]

PERCENT = StringConstraints(pattern=PERCENT_PATTERN, max_length=10)
Percent = Annotated[str, PERCENT, Worded("must be a percentage from 0% to 100%, such as 1% or 0.5%")]
Confidence = Annotated[
    str,
    PERCENT,
    Worded(
        "must be a percentage from 50% to 99.999%, such as 95%",
        also=matches("^[5-9][0-9]([.][0-9]+)?%$"),
    ),
]
PositivePercent = Annotated[
    str,
    PERCENT,
    Worded("must be a percentage above 0%, up to 100%", also=f"!{matches('^0([.]0+)?%$')}"),
]
Ratio = Annotated[
    str,
    StringConstraints(pattern=RATIO_PATTERN, max_length=10),
    Worded('must be a ratio above zero in quotes, such as "1.5"', also=f"!{matches('^0+([.]0+)?$')}"),
]

NUMBER_PATTERN = r"^-?[0-9]{1,15}(\.[0-9]{1,9})?$"
LIMIT_PATTERN = f"({PERCENT_PATTERN}|{NUMBER_PATTERN})"
Limit = Annotated[
    str,
    StringConstraints(pattern=LIMIT_PATTERN, max_length=32),
    Worded('must be a percentage from 0% to 100%, such as 1%, or a number in quotes, such as "5"'),
]
Number = Annotated[
    str,
    StringConstraints(pattern=NUMBER_PATTERN, max_length=32),
    Worded('must be a number in quotes, such as "5" or "0.05"'),
]

Name = Annotated[
    str,
    StringConstraints(pattern=DNS_LABEL_PATTERN, min_length=1, max_length=63),
    Worded("must be a name of lower-case letters, digits and dashes, such as my-model"),
]
SUBDOMAIN = StringConstraints(pattern=DNS_SUBDOMAIN_PATTERN, min_length=1, max_length=253)
SUBDOMAIN_SENTENCE = "must be a name of lower-case letters, digits, dashes and dots, such as my-model.v2"
Subdomain = Annotated[str, SUBDOMAIN, Worded(SUBDOMAIN_SENTENCE)]
OptionalSubdomain = Annotated[
    str,
    StringConstraints(pattern=f"{DNS_SUBDOMAIN_PATTERN}|^$", max_length=253),
    Worded(SUBDOMAIN_SENTENCE),
]
Hostname = Annotated[
    str,
    StringConstraints(pattern=HOSTNAME_PATTERN, min_length=1, max_length=253),
    Worded(
        "must be a host name such as iris.example.com or *.example.com: lower case, no scheme, port, path or"
        " IP address",
        also=f"!{matches('^[0-9.]+$')}",
    ),
]
UrlPath = Annotated[
    str,
    StringConstraints(pattern=URL_PATH_PATTERN, min_length=1, max_length=1024),
    Worded(
        "must be a path such as /iris: it starts with / and has no //, no . or .. segment, no query, no %2F",
        also=f"!self.contains('//') && !{matches('/[.]{1,2}(/|$)')} && !{matches('%2[fF]')}",
    ),
]

LABEL_KEY_PATTERN = r"^([a-z0-9]([-.a-z0-9]*[a-z0-9])?/)?[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$"
LABEL_VALUE_PATTERN = r"^([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?$"
KEYS_RULE = cel(
    f"self.all(k, {matches(LABEL_KEY_PATTERN, 'k')})",
    "must have keys such as team or example.com/team: letters, digits, dashes, dots and underscores",
)
LABELS_RULE = cel(
    f"self.all(k, {matches(LABEL_VALUE_PATTERN, 'self[k]')})",
    "must have values such as flowers-2: letters, digits, dashes, dots and underscores",
)
RESOURCE_PATTERN = (
    r"^(cpu|memory|ephemeral-storage|hugepages-[0-9]+[KMG]i"
    r"|[a-z0-9][-.a-z0-9]*/[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)$"
)
RESOURCES_RULE = cel(
    f"self.all(k, {matches(RESOURCE_PATTERN, 'k')})",
    "must name resources: cpu, memory, ephemeral-storage, or one with its domain such as nvidia.com/gpu",
)

QUANTITY_RULE = cel(
    f"type(self) == int ? self >= 0 : {matches(QUANTITY_PATTERN, 'string(self)')}",
    "must be a quantity such as 500m, 2 or 1Gi",
)
Quantities = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": 16,
            "x-kubernetes-validations": [RESOURCES_RULE],
            "additionalProperties": {
                "x-kubernetes-int-or-string": True,
                "maxLength": 32,
                "x-kubernetes-validations": [QUANTITY_RULE],
            },
        }
    ),
]


def _string_map(max_length: int, *items: dict[str, str]) -> WithJsonSchema:
    values = {"type": "string", "maxLength": max_length}
    known = {"type": "object", "maxProperties": 64, "additionalProperties": values}
    return WithJsonSchema(known | checked(*items))


StringMap = Annotated[dict[str, str], _string_map(1024, KEYS_RULE)]
LabelMap = Annotated[dict[str, str], _string_map(63, KEYS_RULE, LABELS_RULE)]
# Kubernetes' own types, passed through untouched: the API server validates them when the child is applied.
Opaque = Annotated[
    dict[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
]


def keyed_by(*keys: str) -> dict[str, Any]:
    """Build the schema extra of a list whose items server-side apply tells apart by these fields."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}

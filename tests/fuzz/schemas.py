"""Values from a structural schema: those that it describes, and those of a user who errs."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Json = Any
Schema = dict[str, Any]

_PATTERN = re.compile(r'self\.matches\(("(?:[^"\\]|\\.)*")\)')
# What Kubernetes' own types look like where they are passed on: by the name of the field.
_PASSED_ON: dict[str, list[Json]] = {
    "overrides": [{}, {"services": {"Iris": {"workers": 2}}}, {"tracing": {"sample_rate": 1}}],
    "valueFrom": [
        {"fieldRef": {"fieldPath": "metadata.name"}},
        {"secretKeyRef": {"name": "s", "key": "k"}},
    ],
    "tolerations": [{}, {"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoSchedule"}],
    "affinity": [{}, {"podAntiAffinity": {}}],
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
}
_BESIDES: dict[str, list[Json]] = {
    "volumes": [{}, {"emptyDir": {}}, {"configMap": {"name": "a"}}, {"emptyDir": {"sizeLimit": "1024Mi"}}],
    "sidecars": [{"image": "a:1"}, {"image": "a:1", "resources": {"requests": {"cpu": 0.5}}}],
    "initContainers": [{"image": "a:1"}, {"image": "a:1", "env": [{"name": "A", "value": None}]}],
    "volumeMounts": [{}, {"readOnly": True}],
}
_JUNK: list[Json] = [
    *("", " ", "0", "a.1", "a.", "2026-01-01T00:00:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"),
    *("-1", "1e9", "100%", "0s", "99999h", "NaN", "\u0000", "💥", "a" * 300, "../..", "{{x}}"),
    *(0, -1, 1, 101, 2**31, 2**53, 1.5, True, False, [], {}, [[]], {"a": {}}, [{}], [""]),
]
_PERCENT = st.integers(0, 99)
junk = st.sampled_from(_JUNK).map(copy.deepcopy)


def fitting(schema: Schema, name: str = "", often: float = 0.3) -> st.SearchStrategy[Json]:
    """Draw what a schema describes, its patterns included; a field that may be absent mostly is."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object" if "properties" in schema:
            return _object(schema, name, often)
        case "object" if "additionalProperties" in schema:
            return st.dictionaries(_key(name), fitting(schema["additionalProperties"], name), max_size=2)
        case "object":
            return st.sampled_from(_PASSED_ON.get(name, [{}]))
        case "array":
            least, most = schema.get("minItems", 0), schema.get("maxItems", 3)
            return st.lists(fitting(schema["items"], name, often), min_size=least, max_size=min(most, 3))
        case "integer":
            low, high = schema.get("minimum", -(2**31)), schema.get("maximum", 2**31 - 1)
            return st.integers(low, min(high, 12)) | st.sampled_from([low, high])
        case "boolean":
            return st.booleans()
        case "string":
            return _text(schema)
    # int-or-string: a quantity.
    return st.sampled_from(["500m", "1", "2Gi", "0.5", 1, 0, "1e3", "1000000000000000000", "7m"])


def _key(name: str) -> st.SearchStrategy[str]:
    if name in ("requests", "limits"):
        return st.sampled_from(["cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"])
    return st.sampled_from(["team", "example.com/a", "a.b", "x-1"])


def _text(schema: Schema) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        usual = st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T00:10:00.5Z", "2031-01-01T00:00:00Z"])
        odd = st.sampled_from(["2026-01-01T00:00:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
        return st.one_of(usual, usual, usual, odd)
    least, most = schema.get("minLength", 0), schema.get("maxLength", 40)
    texts = st.text("abcxyz019-. ", min_size=least, max_size=min(most, 12))
    for rule in schema.get("x-kubernetes-validations", ()):
        if found := _PATTERN.search(rule["rule"]):
            pattern = re.compile(json.loads(found[1]), re.ASCII)
            texts = st.from_regex(pattern, fullmatch=True).filter(lambda text: least <= len(text) <= most)
            break
    return texts


def _object(schema: Schema, name: str, often: float) -> st.SearchStrategy[Json]:
    required = schema.get("required", ())
    fields = {field: fitting(below, field, often) for field, below in schema["properties"].items()}
    besides = st.sampled_from(_BESIDES.get(name, [{}]))

    @st.composite
    def build(draw: st.DrawFn) -> Json:
        chosen = draw(besides) if schema.get("x-kubernetes-preserve-unknown-fields") else {}
        wanted = [field for field in fields if field in required or draw(_PERCENT) < 100 * often]
        return {**chosen, **{field: draw(fields[field]) for field in wanted}}

    return build()


def places(value: Json, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """List the path of everything in a value, itself left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield (*path, key)
        yield from places(below, (*path, key))


@st.composite
def damaged(draw: st.DrawFn, values: st.SearchStrategy[Json]) -> Json:
    """Draw a value and do up to three things to it: put junk in a place, or take the place away."""
    value = json.loads(json.dumps(draw(values)))
    for _ in range(draw(st.integers(1, 3))):
        known = list(places(value))
        if not known:
            return value
        *way, last = draw(st.sampled_from(known))
        node = value
        for key in way:
            node = node[key]
        if draw(st.booleans()):
            node[last] = draw(junk)
        else:
            del node[last]
    return value

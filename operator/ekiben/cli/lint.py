"""What is wrong with a manifest, as far as no cluster is needed to see it. Pure.

The rules between fields are CEL and the API server's: `plan` asks it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from ekiben.api.crd import object_schema
from ekiben.api.policy import PodPolicy, refusal
from ekiben.api.rules.model import NAME_FITS, NAME_MAX_LENGTH
from ekiben.api.v1alpha1 import API_VERSION, KIND, parse_spec

Schema = Mapping[str, Any]
Manifest = Mapping[str, Any]
_NAME = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
# Part of an object by hand would be taken for a field's name.
_TOP = ("apiVersion", "kind", "metadata", "spec", "status")


def problems_of(manifest: Manifest, policy: PodPolicy) -> list[str]:
    """Return a sentence for everything that is wrong; `policy` is what the chart allows beyond restricted."""
    if not isinstance(manifest, Mapping):
        return ["the document must be an object with apiVersion, kind, metadata and spec"]
    if (manifest.get("apiVersion"), manifest.get("kind")) != (API_VERSION, KIND):
        found = f"{manifest.get('apiVersion')} {manifest.get('kind')}"
        return [f"apiVersion and kind must be {API_VERSION} {KIND}, not {found}"]
    schema = object_schema()
    spec = manifest.get("spec")
    if not isinstance(spec, Mapping):
        return [*_name(manifest), "spec is missing: bento.image at least is needed"]
    found_wrong = [*_name(manifest), *_unknown(manifest, spec, schema), *_invalid(spec, schema)]
    if not found_wrong and (forbidden := refusal(spec, policy)):
        found_wrong.append(f"spec.{forbidden}")
    return found_wrong


def _name(manifest: Manifest) -> Iterator[str]:
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not name:
        yield "metadata.name is missing"
    elif not isinstance(name, str) or len(name) > NAME_MAX_LENGTH or not _NAME.match(name):
        yield NAME_FITS["message"]


def _unknown(manifest: Manifest, spec: Manifest, schema: Schema) -> Iterator[str]:
    for key in manifest:
        if key not in _TOP:
            yield _stray(key, str(key), _TOP)
    yield from _strays(spec, schema["properties"]["spec"], "spec")


def _strays(value: Any, schema: Schema, path: str) -> Iterator[str]:
    """Find the fields that the API server does not know."""
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from _strays(item, schema["items"], f"{path}[{number}]")
    known = schema.get("properties")
    if not isinstance(value, Mapping) or known is None:
        return
    for key, item in value.items():
        if key in known:
            yield from _strays(item, known[key], f"{path}.{key}")
        elif not schema.get("x-kubernetes-preserve-unknown-fields"):
            yield _stray(f"{path}.{key}", str(key), tuple(known))


def _stray(path: str, key: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    remedy = f"write {close[0]}" if close else f"remove it, or write one of {', '.join(known)}"
    return f"{path} is no field: {remedy}"


def _invalid(spec: Manifest, schema: Schema) -> Iterator[str]:
    try:
        parse_spec(dict(spec))
    except ValidationError as problem:
        for error in problem.errors(include_url=False, include_context=False, include_input=False):
            path, at = "spec", schema["properties"]["spec"]
            for part in error["loc"]:
                path += f"[{part}]" if isinstance(part, int) else f".{part}"
                at = _below(at, part)
            yield f"{path}: {_sentence(error['type'], error['msg'], at)}"


def _below(schema: Schema, part: int | str) -> Schema:
    if isinstance(part, int):
        below: Schema = schema.get("items") or {}
    else:
        below = (schema.get("properties") or {}).get(part) or schema.get("additionalProperties") or {}
    return below if isinstance(below, Mapping) else {}


def _sentence(kind: str, text: str, schema: Schema) -> str:
    """Say it as the API server would where it is about a string's form: its sentence tells what to write."""
    if kind == "string_pattern_mismatch":
        for rule in schema.get("x-kubernetes-validations") or ():
            return str(rule["message"])
    if kind == "missing":
        return "is missing"
    said = text.removeprefix("Value error, ")
    return f"{said[:1].lower()}{said[1:]}"

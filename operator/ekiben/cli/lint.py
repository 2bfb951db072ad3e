"""What is wrong with a manifest, as far as no cluster is needed to see it. Pure.

The rules between fields are CEL and the API server's: `plan` asks it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from ekiben.api.crd import model_schema
from ekiben.api.policy import PodPolicy, refusal
from ekiben.api.rules.model import NAME_FITS, NAME_MAX_LENGTH
from ekiben.api.template import TEMPLATE_KIND, Template
from ekiben.api.v1alpha1 import API_VERSION, KIND, Spec, parse_spec
from ekiben.api.wording import sentences

Schema = Mapping[str, Any]
Manifest = Mapping[str, Any]
_NAME = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
# Part of an object by hand would be taken for a field's name.
_TOP = ("apiVersion", "kind", "metadata", "spec", "status")


def problems_of(manifest: Manifest, policy: PodPolicy) -> list[str]:
    """Return a sentence for everything that is wrong; `policy` is what the chart allows beyond restricted."""
    if not isinstance(manifest, Mapping):
        return ["the document must be an object with apiVersion, kind, metadata and spec"]
    kind = manifest.get("kind")
    if manifest.get("apiVersion") != API_VERSION or kind not in (KIND, TEMPLATE_KIND):
        return [f"apiVersion and kind must be {API_VERSION} {KIND}, not {manifest.get('apiVersion')} {kind}"]
    model, least = (Spec, "bento.image") if kind == KIND else (Template, "checks")
    spec = manifest.get("spec")
    if not isinstance(spec, Mapping):
        return [*_name(manifest), f"spec is missing: {least} at least is needed"]
    schema = model_schema(model)
    found_wrong = [*_name(manifest), *_unknown(manifest, spec, schema), *_invalid(spec, schema, model)]
    if not found_wrong and kind == KIND and (forbidden := refusal(spec, policy)):
        found_wrong.append(f"spec.{forbidden}")
    return found_wrong


def _name(manifest: Manifest) -> Iterator[str]:
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not name:
        yield "metadata.name is missing"
    elif manifest.get("kind") != KIND:
        return
    elif not isinstance(name, str) or len(name) > NAME_MAX_LENGTH or not _NAME.match(name):
        yield NAME_FITS["message"]


def _unknown(manifest: Manifest, spec: Manifest, schema: Schema) -> Iterator[str]:
    for key in manifest:
        if key not in _TOP:
            yield _stray(key, str(key), _TOP)
    yield from _strays(spec, schema, "spec")


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


def _invalid(spec: Manifest, schema: Schema, model: type[Spec | Template]) -> list[str]:
    try:
        _ = parse_spec(dict(spec)) if model is Spec else model.model_validate(dict(spec))
    except ValidationError as problem:
        return sentences(problem, schema)
    return []

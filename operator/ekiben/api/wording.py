"""Say what does not fit a model as the API server would: the path of the field, and what to write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

Schema = Mapping[str, Any]
_KINDS = {
    "missing": "is missing",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "tuple_type": "must be a list",
    "string_type": "must be a string: write it in quotes",
}


def sentences(problem: ValidationError, schema: Schema) -> list[str]:
    """Return one sentence for each field that does not fit the spec's schema, in order, each once."""
    errors = problem.errors(include_url=False, include_context=False, include_input=False)
    return list(dict.fromkeys(_said(error, schema) for error in errors if not _is_echo(error, errors)))


def _is_echo(error: ErrorDetails, errors: list[ErrorDetails]) -> bool:
    """Tell whether a list lacks items only because those that it has are wrong."""
    path = error["loc"]
    return error["type"] == "too_short" and any(
        len(other["loc"]) > len(path) and other["loc"][: len(path)] == path for other in errors
    )


def _said(error: ErrorDetails, schema: Schema) -> str:
    path, at = "spec", schema
    for part in error["loc"]:
        if _is_leaf(at):
            # It names what was tried (`int`, `str`): no part of the path.
            break
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
        at = _below(at, part)
    return f"{path}: {_sentence(error['type'], error['msg'], at)}"


def _is_leaf(schema: Schema) -> bool:
    return bool(schema.get("x-kubernetes-int-or-string"))


def _below(schema: Schema, part: int | str) -> Schema:
    if isinstance(part, int):
        below: Schema = schema.get("items") or {}
    else:
        below = (schema.get("properties") or {}).get(part) or schema.get("additionalProperties") or {}
    return below if isinstance(below, Mapping) else {}


def _sentence(kind: str, text: str, schema: Schema) -> str:
    """Say it as the API server would where it is about a string's form: its sentence tells what to write."""
    if kind == "string_pattern_mismatch" or _is_leaf(schema):
        for rule in schema.get("x-kubernetes-validations") or ():
            return str(rule["message"])
    if kind in _KINDS:
        return _KINDS[kind]
    # What is a list to whoever writes it is a tuple here.
    said = text.removeprefix("Value error, ").replace("Tuple", "List").replace(" after validation", "")
    return f"{said[:1].lower()}{said[1:]}"

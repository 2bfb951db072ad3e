"""Manifests in and out: the files that `-f` names, and what `-o json|yaml` prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from ekiben.api.template import TEMPLATE_KIND
from ekiben.api.v1alpha1 import KIND
from ekiben.cli.exits import CommandError, Exit


class _Loader(yaml.SafeLoader):
    """Reads YAML as kubectl does: what looks like a date is a string."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _as_json(document: Any) -> Any:
    """Return what is left of a document on its way to the API server: keys become strings."""
    return json.loads(json.dumps(document))


def read_documents(path: str) -> list[Any]:
    """Read every document of a file, or of standard input for `-`."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text()
    except OSError as problem:
        why = problem.strerror or type(problem).__name__
        raise CommandError(f"-f {path} can't be read: {why}", Exit.NOT_FOUND) from problem
    except UnicodeDecodeError as problem:
        raise CommandError(f"-f {path} is no text: write YAML or JSON", Exit.INVALID) from problem
    try:
        documents = [_as_json(item) for item in yaml.load_all(text, _Loader) if item is not None]
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as problem:
        said = " ".join(str(problem).split())
        raise CommandError(f"-f {path} is no YAML: {said}", Exit.INVALID) from problem
    if not documents:
        raise CommandError(f"-f {path} is empty: write a {KIND} into it", Exit.INVALID)
    return documents


def is_model(document: Any) -> bool:
    """Tell whether a document is a ModelDeployment, of whatever version."""
    return isinstance(document, dict) and document.get("kind") == KIND


def is_ours(document: Any) -> bool:
    """Tell whether a document is a ModelDeployment or a ModelAnalysis, of whatever version."""
    return isinstance(document, dict) and document.get("kind") in (KIND, TEMPLATE_KIND)


def title(document: Any) -> str:
    """Name a document as kind/name."""
    if not isinstance(document, dict):
        return "document"
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return f"{document.get('kind') or 'document'}/{name or '?'}"


def dump(data: Any, form: str) -> str:
    """Write data as `json` or `yaml`."""
    if form == "json":
        return json.dumps(data, indent=2, ensure_ascii=False)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110).rstrip()

"""What a spec tracks, and what stands for the content of it.

A ConfigMap stands in a revision as its name and a digest of its content. A Secret stands there as its name
alone: it must be immutable, so another content has another name, and nobody has to read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ekiben.api.v1alpha1 import Spec
from ekiben.core.canonical import canonical_json
from ekiben.core.snapshot import Content, Manifest, Record

_DIGEST_LENGTH = 32
_CONTENT = ("data", "binaryData")
# The key of a record's inputs under which the tracked objects stand.
TRACKED = "trackedConfig"


def tracked_maps(spec: Spec) -> tuple[str, ...]:
    """Name the ConfigMaps that a spec tracks, each once and in order."""
    return tuple(sorted({item.config_map for item in spec.bento.tracked_config or () if item.config_map}))


def tracked_secrets(spec: Spec) -> tuple[str, ...]:
    """Name the Secrets that a spec tracks, each once and in order."""
    return tuple(sorted({item.secret for item in spec.bento.tracked_config or () if item.secret}))


def tracked_inputs(spec: Spec, config: Mapping[str, Content]) -> list[dict[str, str]]:
    """Return what the tracked objects contribute to a revision; [] where nothing is tracked."""
    maps = [{"configMap": name, "digest": _digest(config.get(name))} for name in tracked_maps(spec)]
    return [*maps, *({"secret": name} for name in tracked_secrets(spec))]


def digests_of(record: Record) -> dict[str, str]:
    """Return the digest of each ConfigMap that a revision tracks, by the ConfigMap's name.

    Raises what a damaged record makes it raise: KeyError, TypeError or AttributeError.
    """
    items = record.inputs.get(TRACKED, ())
    return {str(item["configMap"]): str(item["digest"]) for item in items if item.get("configMap")}


def content_of(config_map: Manifest) -> dict[str, Any]:
    """Return the content of a ConfigMap: its `data` and `binaryData`, as far as it has any."""
    return {part: config_map[part] for part in _CONTENT if config_map.get(part)}


def content_digest(config_map: Manifest) -> str:
    """Digest the content of a ConfigMap; labels, annotations and versions are no part of it."""
    return hashlib.sha256(canonical_json(content_of(config_map)).encode()).hexdigest()[:_DIGEST_LENGTH]


def _digest(content: Content | None) -> str:
    return (content.digest if content else None) or ""

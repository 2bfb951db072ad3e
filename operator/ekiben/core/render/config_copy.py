"""A revision's copies of the ConfigMaps that it tracks, and the pod template that names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ekiben.core import names
from ekiben.core.render.metadata import build_metadata
from ekiben.core.snapshot import Manifest, Model, Record
from ekiben.core.tracking import digests_of

Json = dict[str, Any]


def build_config_copy(model: Model, revision: str, config_map: str) -> Manifest:
    """Build a revision's copy of a ConfigMap, without the content: whoever writes it reads that first."""
    name = names.config_copy(model.name, revision, config_map)
    metadata = build_metadata(model, name, names.revision_labels(model.name, revision))
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {**metadata, "annotations": {names.COPY_OF: config_map}},
        "immutable": True,
    }


def naming_copies(model: Model, record: Record, template: Manifest) -> Manifest:
    """Return a pod template that names the revision's copies wherever it named a tracked ConfigMap.

    Pods were made with it: for a revision that exists it must give the same for ever.
    """
    copies = {name: names.config_copy(model.name, record.revision, name) for name in digests_of(record)}
    if not copies:
        return template
    spec = dict(template["spec"])
    for part in ("containers", "initContainers"):
        if part in spec:
            spec[part] = _each(spec[part], lambda item: _container(item, copies))
    if "volumes" in spec:
        spec["volumes"] = _each(spec["volumes"], lambda item: _volume(item, copies))
    return {**template, "spec": spec}


def _container(container: Json, copies: Mapping[str, str]) -> Json:
    result = dict(container)
    if "env" in container:
        result["env"] = _each(
            container["env"], lambda item: _at(item, ("valueFrom", "configMapKeyRef"), copies)
        )
    if "envFrom" in container:
        result["envFrom"] = _each(container["envFrom"], lambda item: _at(item, ("configMapRef",), copies))
    return result


def _volume(volume: Json, copies: Mapping[str, str]) -> Json:
    result = _at(volume, ("configMap",), copies)
    projected = volume.get("projected")
    if not isinstance(projected, dict) or "sources" not in projected:
        return result
    sources = _each(projected["sources"], lambda item: _at(item, ("configMap",), copies))
    return {**result, "projected": {**projected, "sources": sources}}


def _each(items: Any, change: Callable[[Json], Json]) -> Any:
    """Change every object of a list; what is of another type is the API server's to refuse."""
    if not isinstance(items, list):
        return items
    return [change(item) if isinstance(item, dict) else item for item in items]


def _at(node: Json, path: tuple[str, ...], copies: Mapping[str, str]) -> Json:
    """Replace the name of the reference that stands at a path, if it is a tracked one's."""
    if not path:
        name = node.get("name")
        return {**node, "name": copies[name]} if isinstance(name, str) and name in copies else node
    inner = node.get(path[0])
    return {**node, path[0]: _at(inner, path[1:], copies)} if isinstance(inner, dict) else node

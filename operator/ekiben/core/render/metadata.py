"""The metadata that every child has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ekiben.api.v1alpha1 import API_VERSION, KIND
from ekiben.core.snapshot import Model


def build_metadata(model: Model, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """Build a child's metadata; the model controls it, so the garbage collector takes it along.

    blockOwnerDeletion stays false: it would make foreground deletion of the model wait for each child, and
    setting it needs the right to update finalizers.
    """
    owner = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": model.name,
        "uid": model.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {
        "name": name,
        "namespace": model.namespace,
        "labels": dict(labels),
        "ownerReferences": [owner],
    }

"""The ControllerRevision that remembers what a revision was."""

from __future__ import annotations

from ekiben.core import names
from ekiben.core.canonical import canonical
from ekiben.core.render.metadata import build_metadata
from ekiben.core.snapshot import Manifest, Model, Record


def build_record(model: Model, record: Record, outcome: str) -> Manifest:
    """Build the ControllerRevision of a revision; its labels carry what may change, its data never does.

    `record.number` is the rollout's number: with the revision it makes the rollout's ID.
    """
    labels = names.revision_labels(model.name, record.revision) | {
        names.OUTCOME: outcome,
        names.TEMPLATE_VERSION: str(record.template_version),
        names.ROLLOUT: f"{record.revision}.{record.number}",
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": build_metadata(model, names.revision_child(model.name, record.revision), labels),
        "revision": record.number,
        "data": {
            "inputs": canonical(dict(record.inputs)),
            "buckets": list(record.buckets),
            "deadlineSeconds": record.deadline_seconds,
        },
    }

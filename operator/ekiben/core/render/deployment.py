"""The Deployment of one revision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil

from ekiben.core import names
from ekiben.core.render import template_v1
from ekiben.core.render.config_copy import naming_copies
from ekiben.core.render.metadata import build_metadata
from ekiben.core.snapshot import Manifest, Model, Record

TEMPLATES: Mapping[int, Callable[[Model, Record], Manifest]] = {1: template_v1.build_pod_template}

_INT32_MAX = 2**31 - 1


def build_deployment(model: Model, record: Record) -> Manifest:
    """Build the Deployment of a revision, its pods as the template version of the revision's birth has them.

    Replicas are in no intent: an autoscaler or deployments/scale owns them. Raises ValueError for a template
    version that this operator does not know.
    """
    if record.template_version not in TEMPLATES:
        known = ", ".join(str(version) for version in sorted(TEMPLATES))
        raise ValueError(
            f"revision {record.revision} has pods of template version {record.template_version}, "
            f"this operator knows {known}: run the newer operator that made them"
        )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": build_metadata(
            model,
            names.revision_child(model.name, record.revision),
            names.revision_labels(model.name, record.revision),
        ),
        "spec": {
            "selector": {"matchLabels": names.pod_selector(model.name, record.revision)},
            # A revision's template never changes, so this is for `kubectl rollout restart` only: a pod goes
            # when its replacement serves.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": max(1, min(ceil(record.deadline_seconds), _INT32_MAX)),
            "template": naming_copies(model, record, TEMPLATES[record.template_version](model, record)),
        },
    }

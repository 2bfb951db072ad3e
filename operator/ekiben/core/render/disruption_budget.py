"""The PodDisruptionBudget of one revision."""

from __future__ import annotations

from ekiben.api.scaling import PodDisruptionBudget
from ekiben.core import names
from ekiben.core.render.metadata import build_metadata
from ekiben.core.snapshot import Manifest, Model


def build_disruption_budget(model: Model, revision: str, budget: PodDisruptionBudget) -> Manifest:
    """Build the disruption budget of one revision's pods."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": build_metadata(
            model, names.revision_child(model.name, revision), names.revision_labels(model.name, revision)
        ),
        "spec": {
            "maxUnavailable": budget.max_unavailable,
            "selector": {"matchLabels": names.pod_selector(model.name, revision)},
            # Pods that are not ready serve nobody: a broken revision must not keep a node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }

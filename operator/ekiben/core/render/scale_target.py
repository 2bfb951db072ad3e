"""What an autoscaler is about; the same for each engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ekiben.api.scaling import Autoscaling, ScalingMetric
from ekiben.core import names
from ekiben.core.render.metadata import build_metadata
from ekiben.core.snapshot import Model, Record


@dataclass(frozen=True, slots=True)
class ScaleTarget:
    """The pods of one revision, what they are sized by, and between which sizes.

    `metrics` are those that count now, which need not be those of `block`. With `hold` pods may be added and
    none may be taken away.
    """

    model: Model
    record: Record
    block: Autoscaling
    metrics: Sequence[ScalingMetric]
    min_replicas: int
    max_replicas: int
    hold: bool

    @property
    def name(self) -> str:
        """The name of the Deployment, and of its scaler."""
        return names.revision_child(self.model.name, self.record.revision)

    @property
    def reference(self) -> dict[str, str]:
        """The Deployment, as `scaleTargetRef` names it."""
        return {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.name}

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of its scaler."""
        labels = names.revision_labels(self.model.name, self.record.revision)
        return build_metadata(self.model, self.name, labels)

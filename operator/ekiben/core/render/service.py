"""The Services: stable's, the canary's."""

from __future__ import annotations

from ekiben.core import names
from ekiben.core.render.metadata import build_metadata
from ekiben.core.snapshot import Manifest, Model


def build_service(model: Model, name: str, revision: str | None) -> Manifest:
    """Build a Service over one revision's pods, or with None over the pods of every revision."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(model, name, names.model_labels(model.name)),
        "spec": {
            "type": "ClusterIP",
            "selector": names.pod_selector(model.name, revision),
            "ports": [
                {
                    "name": names.PORT_NAME,
                    "port": names.PORT,
                    "targetPort": names.PORT_NAME,
                    "protocol": "TCP",
                    "appProtocol": "http",
                }
            ],
        },
    }

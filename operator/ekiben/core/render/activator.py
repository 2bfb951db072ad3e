"""The EndpointSlice by which a model's Service leads to the activator."""

from __future__ import annotations

from collections.abc import Sequence

from ekiben.core import names
from ekiben.core.render.metadata import build_metadata
from ekiben.core.snapshot import Manifest, Model


def build_activator_slice(model: Model, addresses: Sequence[str]) -> Manifest:
    """Build a slice of stable's Service with the activator's addresses in it, all of one family.

    A Service sends requests to the endpoints of all its slices: to those of its pods, which Kubernetes
    writes, and to this one's. So neither its selector nor a route changes when a model goes to sleep.
    """
    labels = names.model_labels(model.name) | {
        "kubernetes.io/service-name": names.stable_service(model.name),
        names.SLICE_MANAGED_BY: names.SLICE_MANAGER,
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": build_metadata(model, names.activator_slice(model.name), labels),
        "addressType": "IPv6" if any(":" in address for address in addresses) else "IPv4",
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": True}} for address in sorted(addresses)
        ],
        "ports": [
            {
                "name": names.PORT_NAME,
                "port": names.ACTIVATOR_PORT,
                "protocol": "TCP",
                "appProtocol": "http",
            }
        ],
    }

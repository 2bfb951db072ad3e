"""The Gateway API where there is no gateway: its kinds alone, for a bare control plane."""

from __future__ import annotations

import yaml

from ekiben.kube.client import Manifest
from localcluster.tools import gateway_api_crds

ROUTE_KINDS = ("gateways", "gatewayclasses", "httproutes")


def gateway_api_definitions() -> list[Manifest]:
    """Return the CRDs of the Gateway API's kinds that Ekiben reads; LocalClusterError if there are none."""
    paths = [path for path in gateway_api_crds() if path.stem.partition("_")[2] in ROUTE_KINDS]
    return [item for path in paths for item in yaml.safe_load_all(path.read_text()) if item]

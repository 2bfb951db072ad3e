"""What the contract tests share: a real API server that has the committed CRD."""

from __future__ import annotations

import pytest
import yaml

from contract.server import Server
from ekiben.api import crd
from ekiben.api.generated import CHECKOUT
from localcluster.controlplane import ControlPlane


@pytest.fixture(scope="session")
def server(control_plane: ControlPlane) -> Server:
    """A real API server that has the committed CRD."""
    connected = Server(control_plane.server, control_plane.pki)
    connected.install(yaml.safe_load((CHECKOUT / crd.PATH).read_text()))
    return connected

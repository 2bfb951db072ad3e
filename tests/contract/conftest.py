"""What the contract tests share: a real API server that has the committed CRD."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from contract.server import Server
from ekiben.api import crd
from ekiben.api.generated import CHECKOUT
from localcluster.controlplane import ControlPlane
from localcluster.errors import LocalClusterError
from localcluster.tools import command_path


@pytest.fixture(scope="session")
def server(control_plane: ControlPlane) -> Server:
    """A real API server that has the committed CRD."""
    connected = Server(control_plane.server, control_plane.pki)
    connected.install(yaml.safe_load((CHECKOUT / crd.PATH).read_text()))
    connected.install(yaml.safe_load((CHECKOUT / crd.TEMPLATE_PATH).read_text()))
    return connected


@pytest.fixture(scope="session")
def helm() -> Path:
    """The real helm."""
    try:
        return Path(command_path("helm"))
    except LocalClusterError as missing:
        pytest.skip(f"no helm: {missing}")

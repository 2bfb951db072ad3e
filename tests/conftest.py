"""What every kind of test shares: a real Kubernetes API, started once."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ekiben.kube.client import Client
from ekiben.kube.kinds import NAMESPACE
from localcluster.controlplane import ControlPlane
from localcluster.errors import LocalClusterError
from localcluster.tools import command_path

# A run is the same for everybody, on a busy machine too; HYPOTHESIS_PROFILE=explore draws other examples.
settings.register_profile(
    "repeat", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses the control plane, so that `-m "not apiserver"` leaves none over."""
    for item in items:
        if "control_plane" in getattr(item, "fixturenames", ()):
            item.add_marker("apiserver")


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real etcd and kube-apiserver, shared by the session; without controllers, so nothing is collected."""
    try:
        for command in ("etcd", "kube-apiserver"):
            command_path(command)
    except LocalClusterError as missing:
        pytest.skip(f"no real API server: {missing}")
    with ControlPlane.start(tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture(scope="session")
def kubeconfig(control_plane: ControlPlane) -> Path:
    """The administrator's kubeconfig for the control plane."""
    return control_plane.kubeconfig


@pytest.fixture
async def client(kubeconfig: Path) -> AsyncIterator[Client]:
    """An administrator's client of the control plane."""
    connected = await Client.connect(kubeconfig, user_agent="ekiben-tests")
    yield connected
    await connected.close()


@pytest.fixture
async def namespace(client: Client) -> str:
    """A fresh namespace for one test."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    await client.create(
        NAMESPACE, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )
    return name

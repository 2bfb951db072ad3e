"""The cluster that end-to-end tests share: brought up once, with the operator on it, by its chart."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import AsyncIterator, Iterator

import pytest

from ekiben.kube.client import Client
from localcluster import backends
from localcluster.errors import LocalClusterError
from localcluster.machine import check_platform
from rig.site import Site, install_operator, kubectl, open_site


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A real cluster with the operator; a cluster that was up before stays up.

    Only a machine that can have no cluster at all is a reason to skip: what fails to come up is a failure.
    """
    name = os.environ.get("EKIBEN_BACKEND") or "local"
    if name == "local":
        try:
            check_platform(platform.system(), os.geteuid())
        except LocalClusterError as unfit:
            pytest.skip(f"nothing end to end was run: {unfit}")
    backend = backends.choose(name)
    try:
        backend.kubeconfig()
        was_up = True
    except LocalClusterError:
        was_up = False
    try:
        opened = open_site()
        asyncio.run(install_operator(opened))
        yield opened
    finally:
        if not was_up:
            backend.down()


@pytest.fixture
async def client(site: Site) -> AsyncIterator[Client]:
    """An administrator's client of the cluster."""
    connected = await Client.connect(site.kubeconfig, user_agent="ekiben-e2e")
    yield connected
    await connected.close()


@pytest.fixture
async def namespace(site: Site, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A namespace of the test's own, gone afterwards with its pods."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    await kubectl(site, "create", "namespace", name)
    yield name
    await kubectl(site, "delete", "namespace", name, "--wait=true", "--timeout=120s")

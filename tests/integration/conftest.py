"""What the tests of whole rollouts share: an API with controllers, and a namespace with stand-ins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from integration.lab import COMMANDS, Lab
from integration.site import Site, open_site
from localcluster.errors import LocalClusterError
from localcluster.tools import command_path, gateway_api_crds


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A real API with its controllers, our CRD, the Gateway API's and the chart's rights."""
    try:
        for command in COMMANDS:
            command_path(command)
        gateway_api_crds()
    except LocalClusterError as missing:
        pytest.skip(f"whole rollouts go untested: {missing}")
    started = Lab.start(tmp_path_factory.mktemp("lab"))
    yield started
    started.stop()


@pytest.fixture
async def site(lab: Lab) -> AsyncIterator[Site]:
    """A namespace with a kubelet, a gateway and users that are stand-ins."""
    async with open_site(lab) as made:
        yield made

"""The world of the sampler's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from unit.samples.world import World, free_port


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A sampler, and no pods yet."""
    made = World(free_port())
    yield made
    await made.close()

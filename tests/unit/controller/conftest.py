"""The controller that every test here works with."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ekiben.kube import workqueue
from unit.controller.world import Rig, SilentSampler
from unit.fake_client import FakeClient


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    # Sooner than `settle` takes for the end.
    monkeypatch.setattr(workqueue, "SOON_SECONDS", 0.001)
    made = Rig(FakeClient(), SilentSampler())
    made.controller.start()
    await made.controller.running.wait()
    yield made
    await made.controller.stop(grace=0)

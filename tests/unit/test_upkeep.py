"""How fresh we are: silence is noticed, and what concerns every model wakes every model."""

from __future__ import annotations

import asyncio

import pytest

from ekiben import metrics, upkeep
from ekiben.core.snapshot import Manifest
from ekiben.kube.store import Store
from ekiben.upkeep import Upkeep

KEYS = [("shop", "iris"), ("shop", "mnist")]


class Caches:
    """Caches as old as a test says."""

    def __init__(self, age: float) -> None:
        self.age = age
        self.has_gateway_api = False
        self.models = Store()
        self.model_changes = 0

    def ages(self) -> dict[str, float]:
        return {"pods": 1.0, "deployments": self.age}

    def gateway_api(self) -> bool:
        return self.has_gateway_api

    def model_keys(self) -> list[tuple[str, str]]:
        return KEYS


class Echoes:
    """A watch on models that owes us a write for so long."""

    def __init__(self, owed: float) -> None:
        self.owed = owed

    def age(self) -> float:
        return self.owed


def build(age: float, owed: float, woken: list[tuple[str, str]] | None = None) -> Upkeep:
    wake = (woken if woken is not None else []).append
    return Upkeep(Caches(age), Echoes(owed), wake, staleness=120.0, resync=600.0)  # type: ignore[arg-type]


async def look(kept: Upkeep, change: Manifest | None = None) -> None:
    """Let it look several times, with a change of the caches in between."""
    kept.begin()
    task = asyncio.create_task(kept.look())
    await asyncio.sleep(0.05)
    for name, value in (change or {}).items():
        setattr(kept._caches, name, value)
    await asyncio.sleep(0.05)
    assert not task.done()
    task.cancel()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "LOOK_SECONDS", 0.01)


def test_watches_that_are_heard_are_fresh() -> None:
    assert build(age=60.0, owed=0.0).stale() == []


def test_a_silent_watch_is_named() -> None:
    assert build(age=121.0, owed=0.0).stale() == ["the watch on deployments is silent for 121 s"]


def test_a_write_that_does_not_come_back_is_said() -> None:
    assert build(age=1.0, owed=200.0).stale() == [
        "the watch on modeldeployments has not shown our write of 200 s ago"
    ]


@pytest.mark.parametrize(
    ("age", "owed", "deaf"),
    [
        pytest.param(1.0, 121.0, True, id="all others are well"),
        pytest.param(1.0, 60.0, False, id="it may still come"),
        pytest.param(300.0, 300.0, False, id="the API server is away: no reason to end"),
    ],
)
async def test_only_the_watch_on_models_being_dead_is_deafness(age: float, owed: float, deaf: bool) -> None:
    kept = build(age, owed)
    await look(kept)
    assert kept.deaf.is_set() is deaf


@pytest.mark.parametrize("change", [{"has_gateway_api": True}, {"age": 300.0}])
async def test_what_concerns_every_model_wakes_every_model_once(change: Manifest) -> None:
    woken: list[tuple[str, str]] = []
    await look(build(1.0, 0.0, woken), change)
    assert woken == KEYS


async def test_what_changes_before_the_first_pass_wakes_nobody() -> None:
    woken: list[tuple[str, str]] = []
    kept = build(300.0, 0.0, woken)
    task = asyncio.create_task(kept.look())
    await asyncio.sleep(0.05)
    kept._caches.age = 1.0  # type: ignore[attr-defined]
    kept.begin()
    await asyncio.sleep(0.05)
    task.cancel()
    assert woken == []


async def test_a_steady_state_wakes_nobody() -> None:
    woken: list[tuple[str, str]] = []
    await look(build(1.0, 0.0, woken))
    assert woken == []


def phases() -> dict[str, float]:
    """How many models are in which phase, as Prometheus is told."""
    (family,) = metrics.MODELS.collect()
    return {sample.labels["phase"]: sample.value for sample in family.samples}


async def test_models_are_counted_again_only_once_one_of_them_has_changed() -> None:
    kept = build(1.0, 0.0)
    caches = kept._caches
    assert isinstance(caches, Caches)
    caches.models = Store(on_change=lambda old, new: None)
    await look(kept)
    assert phases() == {}
    about = {"namespace": "shop", "name": "iris", "uid": "1", "resourceVersion": "1"}
    caches.models.note_written({"metadata": about, "status": {"phase": "Serving"}})
    await look(kept)
    assert phases() == {}, "nobody said that there was a change"
    caches.model_changes += 1
    await look(kept)
    assert phases() == {"Serving": 1}

"""Watch a ModelDeployment as `kubectl get -w` would, and wait for what it says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from ekiben.kube.client import ApiError, Client, Manifest
from ekiben.kube.kinds import MODELDEPLOYMENT

COLUMNS = ("STATUS", "STABLE", "CANARY", "WEIGHT", "STEP", "READY", "MESSAGE")


def row(model: Manifest) -> tuple[str, ...]:
    """Return what `kubectl get mdep` prints of a model."""
    status = model.get("status") or {}
    rollout = status.get("rollout") or {}
    cells = (
        status.get("phase"),
        (status.get("stable") or {}).get("revision"),
        (status.get("canary") or {}).get("revision"),
        rollout.get("weight"),
        rollout.get("step"),
        status.get("ready"),
        status.get("message"),
    )
    return tuple("" if cell is None else str(cell) for cell in cells)


def condition(item: Manifest, kind: str) -> dict[str, Any]:
    """Return a condition of an object, or an empty one."""
    conditions: list[dict[str, Any]] = (item.get("status") or {}).get("conditions") or []
    found: dict[str, Any] = next((part for part in conditions if part["type"] == kind), {})
    return found


def is_settled(model: Manifest, outcome: str) -> bool:
    """Tell whether the spec as it is now has ended with this outcome."""
    said = condition(model, "Settled")
    current = bool(said.get("observedGeneration") == model["metadata"]["generation"])
    return current and said.get("status") == "True" and said.get("reason") == outcome


def is_serving(model: Manifest) -> bool:
    """Tell whether the model is promoted and its Gateway sends it requests."""
    return is_settled(model, "Promoted") and condition(model, "TrafficApplied").get("status") == "True"


def is_asleep(model: Manifest) -> bool:
    """Tell whether a model has no pods, and the activator its requests."""
    status = model.get("status") or {}
    return condition(model, "Ready").get("reason") == "Asleep" and status["stable"]["replicas"] == 0


def is_awake(model: Manifest) -> bool:
    """Tell whether a model serves by itself."""
    return condition(model, "Ready").get("reason") == "Serving" and "sleep" not in model["status"]


async def follow(
    client: Client,
    namespace: str,
    name: str,
    done: Callable[[Manifest], bool],
    seconds: float,
    told: Callable[[Manifest], None] = lambda model: None,
) -> Manifest:
    """Watch a model until it is as wanted, telling each change; raises TimeoutError with its last words."""
    last: Manifest = {}
    try:
        async with asyncio.timeout(seconds):
            async for model in _changes(client, namespace, name):
                last = model
                told(model)
                if done(model):
                    return model
    except TimeoutError as problem:
        raise TimeoutError(f"{namespace}/{name} after {seconds:.0f}s: {' '.join(row(last))}") from problem
    raise AssertionError("a watch has no end")


async def _changes(client: Client, namespace: str, name: str) -> AsyncIterator[Manifest]:
    while True:
        items, version = await client.list(MODELDEPLOYMENT, namespace, field_selector=f"metadata.name={name}")
        for item in items:
            yield item
        with contextlib.suppress(ApiError):
            watch = client.watch(MODELDEPLOYMENT, namespace, version)
            async with contextlib.aclosing(watch) as events:
                async for kind, model in events:
                    if kind in ("ADDED", "MODIFIED") and model["metadata"]["name"] == name:
                        yield model
        await asyncio.sleep(0.2)

"""How much memory the operator takes, and how soon a new model has its children."""

from __future__ import annotations

import asyncio
import time

from bench.figures import CHILDREN, MEMORY, Result
from bench.hand import KINDS
from bench.losses import percentile
from bench.setting import OURS, Bench
from bench.steady import metrics
from bench.watching import Change, Changes, watching
from ekiben.kube.client import Manifest
from ekiben.kube.kinds import CONTROLLERREVISION, MODELDEPLOYMENT

MODELS = 20
PAUSE = 0.5
MADE = (*KINDS, CONTROLLERREVISION)
# One Deployment, ControllerRevision, disruption budget and HTTPRoute, and two Services.
CHILDREN_EACH = 6


async def measure(bench: Bench) -> list[Result]:
    """Read the process's resident memory with one model, then create models one after the other."""
    await bench.serve()
    ((_, resident),) = (await metrics(bench))["process_resident_memory_bytes"]
    await bench.empty(OURS)
    memory = Result(
        MEMORY, round(resident / 2**20, 1), details=("resident set of the process once the model serves",)
    )
    return [memory, await _creation(bench)]


async def _creation(bench: Bench) -> Result:
    took = []
    async with watching(bench.client, OURS, MADE) as changes:
        for number in range(MODELS):
            took.append(1000 * await _create(bench, f"iris-{number}", changes))
            await asyncio.sleep(PAUSE)
    await bench.empty(OURS)
    took.sort()
    told = f"{MODELS} models one by one: median {took[MODELS // 2]:.0f} ms, slowest {took[-1]:.0f} ms"
    details = (told, "the sixth child as a watch tells it")
    return Result(CHILDREN, round(percentile(took, 95), 1), details=details)


async def _create(bench: Bench, name: str, changes: Changes) -> float:
    """Create a model; returns the seconds until a watch has told of the last of its children."""
    model = _unschedulable(bench, name)
    made: dict[tuple[str, str], float] = {}

    def is_another(change: Change) -> bool:
        return _is_new(change, name) and _key(change) not in made

    began = time.time()
    await bench.client.create(MODELDEPLOYMENT, OURS, model)
    while len(made) < CHILDREN_EACH:
        change = await changes.first(is_another, 30, began)
        made[_key(change)] = change.at
    return max(made.values()) - began


def _unschedulable(bench: Bench, name: str) -> Manifest:
    """Return a model whose pods no node takes: twenty servers that start would measure themselves."""
    nowhere = {"nodeSelector": {"ekiben.dev/bench": "nowhere"}}
    model = bench.model("1.0.0", podTemplate=nowhere)
    model["metadata"]["name"] = name
    model["spec"]["traffic"]["hostnames"] = [f"{name}.example.com"]
    return model


def _is_new(change: Change, model: str) -> bool:
    return (
        change.event == "ADDED"
        and change.object["metadata"].get("labels", {}).get("ekiben.dev/model") == model
    )


def _key(change: Change) -> tuple[str, str]:
    return change.object["kind"], change.object["metadata"]["name"]

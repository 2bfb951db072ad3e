"""The phases of one run: floors by our own client, then the same by the operator, each beside its floor."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.figures import Figure, Result
from ekiben.kube.client import Client
from ekiben.kube.kinds import DEPLOYMENT, MODELDEPLOYMENT, POD
from scale import figures as f
from scale.fleet import (
    IMAGE,
    PAUSE_SECONDS,
    Manifest,
    Watched,
    at_once,
    exported,
    is_at_rest,
    is_rolled,
    is_served,
    model,
)
from scale.operator_process import Cost, Operator
from scale.process import cpu_seconds
from scale.world import World
from scale.writer import Order, Writer

HAND, OURS, SAMPLE = "by-hand", "models", "sample-model"
SINGLES = 10


@dataclass
class Run:
    """One run of the bench, with what it has found so far."""

    world: World
    client: Client
    operator: Operator
    size: int
    idle_seconds: float
    say: Callable[[str], None]
    results: list[Result] = field(default_factory=list)
    floors: dict[str, float] = field(default_factory=dict)
    # CPU of a client that only writes, 0 where no floor was measured.
    request_ms: float = 0.0
    children: int = 0
    costs: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Name every model of the fleet."""
        return [f"model-{number:04d}" for number in range(self.size)]

    @property
    def patience(self) -> float:
        """How long a phase may take, in seconds."""
        return 120.0 + self.size

    def spent(self, phase: str) -> Cost:
        """Return what a phase cost the operator, the resync's LISTs of models left out, and store it."""
        cost = self.operator.cost()
        cost.requests.counts.pop(("list", MODELDEPLOYMENT.plural), 0)
        per_object = {"cpu_ms": cost.cpu / self.size * 1000, "requests": cost.requests.per_object(self.size)}
        self.costs[phase] = {**per_object, "peak_mib": cost.peak_mib}
        return cost

    def found_cpu(self, figure: Figure, cost: Cost) -> None:
        """Take note of the CPU per object; its floor is what as many bare requests cost."""
        if self.request_ms:
            self.floors[figure.title] = self.request_ms * cost.requests.counts.total() / self.size
        self.found(figure, cost.cpu / self.size * 1000, *cost.told(self.size))

    def found(self, figure: Figure, value: float, *details: str, limit: float | None = None) -> None:
        """Take note of a figure."""
        floor = self.floors.get(figure.title)
        result = Result(figure, value, floor, tuple(details), limit=limit)
        self.results.append(result)
        beside = f", floor {floor:.2f}, {result.ratio:.2f} x" if floor and result.ratio else ""
        self.say(f"{figure.title}: {value:.2f} {figure.unit}{beside}")
        for line in details:
            self.say(f"    {line}")


async def sample(run: Run) -> list[Manifest]:
    """Have the operator make one model, return its children as written by hand, and remove it."""
    await run.client.create(MODELDEPLOYMENT, OURS, model(SAMPLE))
    models = Watched(run.client, MODELDEPLOYMENT, OURS, run.operator.check)
    await models.until([SAMPLE], is_served(1), 60)
    await models.close()
    children = await exported(run.client, OURS, SAMPLE)
    run.children = len(children)
    run.world.kubectl("delete", "mdep", SAMPLE, f"--namespace={OURS}", "--wait")
    return children


async def measure_floors(run: Run, children: Sequence[Manifest]) -> None:
    """Create, change one by one, and roll the same children without the operator."""
    deployments = Watched(run.client, DEPLOYMENT, HAND)
    pods = Watched(run.client, POD, HAND)
    (pattern,) = (item["metadata"]["name"] for item in children if item["kind"] == DEPLOYMENT.kind)
    names = [pattern.replace(SAMPLE, name) for name in run.names]
    kcm = run.world.plane.pids()["kube-controller-manager"]
    writer = Writer(Order(str(run.world.plane.kubeconfig), HAND, SAMPLE, children, run.names))
    await writer.start()
    began, cpu = time.monotonic(), cpu_seconds(kcm)
    written = await writer.write()
    run.request_ms = written.request_ms
    ready = await deployments.until(names, is_rolled, run.patience)
    run.floors[f.CREATE_WALL.title] = max(ready.values()) - began
    run.say(f"floor: created in {max(ready.values()) - began:.1f} s, kcm CPU {cpu_seconds(kcm) - cpu:.1f} s")
    run.say(f"floor: {written.requests} writes, {run.request_ms:.2f} ms of the writer's CPU each")
    took = [await _single(run, pods, deployments, name) for name in names[:SINGLES]]
    run.floors[f.SINGLE_P50.title], run.floors[f.SINGLE_MAX.title] = statistics.median(took), max(took)
    began, cpu = time.monotonic(), cpu_seconds(kcm)
    await at_once(_set_image(run, deployments.objects[name], f"{IMAGE}:2") for name in names)
    ready = await deployments.until(names, is_rolled, run.patience)
    run.floors[f.ROLL_WALL.title] = max(ready.values()) - began + PAUSE_SECONDS
    run.say(f"floor: rolled in {max(ready.values()) - began:.1f} s, kcm CPU {cpu_seconds(kcm) - cpu:.1f} s")
    await deployments.close()
    await pods.close()
    await asyncio.to_thread(run.world.kubectl, "delete", "namespace", HAND, "--wait", seconds=900)


async def _set_image(run: Run, deployment: Manifest, image: str) -> Manifest:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    body = {"spec": {"template": {"spec": {"containers": [{**container, "image": image}]}}}}
    return await run.client.patch_merge(DEPLOYMENT, HAND, deployment["metadata"]["name"], body)


async def _single(run: Run, pods: Watched, deployments: Watched, name: str) -> float:
    """Roll one Deployment while the others are idle; return the ms until its first new pod."""
    known, began = set(pods.added), time.monotonic()
    changed = await _set_image(run, deployments.objects[name], f"{IMAGE}:1.1")
    took = await _first_new_pod(pods, known, name, began)

    def rolled(item: Manifest) -> bool:
        return item["metadata"]["generation"] >= changed["metadata"]["generation"] and is_rolled(item)

    await deployments.until([name], rolled, 60)
    return took


async def _first_new_pod(pods: Watched, known: set[str], prefix: str, began: float) -> float:
    async with asyncio.timeout(30):
        while True:
            for name in pods.added.keys() - known:
                if name.startswith(f"{prefix}-"):
                    return (pods.added[name] - began) * 1000
            await asyncio.sleep(0.002)


async def create(run: Run, models: Watched) -> None:
    """Create every model; wait until each is served, then until the operator asks for nothing more."""
    run.operator.begin()
    began = time.monotonic()
    await at_once(run.client.create(MODELDEPLOYMENT, OURS, model(name)) for name in run.names)
    ready = await models.until(run.names, is_served(1), run.patience)
    wall = max(ready.values()) - began
    await run.operator.until_quiet()
    cost = run.spent("create")
    asked = cost.requests
    run.found(f.CREATE_WALL, wall, f"p50 {statistics.median(ready.values()) - began:.2f} s")
    run.found_cpu(f.CREATE_CPU, cost)
    run.found(f.CREATE_WRITES, asked.writes / run.size)
    run.found(f.CREATE_READS, asked.gets / run.size / run.children, f"{run.children} children each")


async def roll(run: Run, models: Watched, version: int) -> None:
    """Change every model; wait until each is promoted, then until the old pods are gone."""
    run.operator.begin()
    began = time.monotonic()
    await at_once(_set_version(run, name, version) for name in run.names)
    ready = await models.until(run.names, is_served(version), run.patience * 2)
    wall = max(ready.values()) - began
    await models.until(run.names, is_at_rest, run.patience)
    await run.operator.until_quiet()
    cost = run.spent("roll")
    asked = cost.requests
    run.found(f.ROLL_WALL, wall, f"p50 {statistics.median(ready.values()) - began:.2f} s")
    run.found_cpu(f.ROLL_CPU, cost)
    run.found(f.ROLL_WRITES, asked.writes / run.size)
    # What a rollout makes anew: the revision's record, its Deployment, its disruption budget.
    run.found(f.ROLL_READS, max(asked.gets / run.size - 3, 0.0) + asked.lists / run.size)


async def _set_version(run: Run, name: str, version: int) -> Manifest:
    image = {"spec": {"bento": {"image": f"{IMAGE}:{version}"}}}
    return await run.client.patch_merge(MODELDEPLOYMENT, OURS, name, image)


async def idle(run: Run) -> None:
    """Leave everything alone."""
    run.operator.begin()
    await asyncio.sleep(run.idle_seconds)
    cost = run.spent("idle")
    minutes = run.idle_seconds / 60
    told = f"operator CPU {cost.cpu / minutes:.2f} s a minute"
    run.found(f.IDLE, cost.requests.counts.total() / minutes, told, cost.requests.told(1))


async def single(run: Run, models: Watched) -> None:
    """Roll ten models one after the other while the others are idle."""
    pods = Watched(run.client, POD, OURS)
    await asyncio.sleep(1.0)
    took = []
    for name in run.names[:SINGLES]:
        known, began = set(pods.added), time.monotonic()
        await _set_version(run, name, 9)
        took.append(await _first_new_pod(pods, known, name, began))
        await models.until([name], is_served(9), 60)
    await models.until(run.names[:SINGLES], is_at_rest, 60)
    await run.operator.until_quiet()
    await pods.close()
    told = "all: " + ", ".join(f"{ms:.0f}" for ms in took) + " ms"
    run.found(f.SINGLE_P50, statistics.median(took), told)
    run.found(f.SINGLE_MAX, max(took))


async def restart(run: Run) -> None:
    """Stop the operator and start it again, with nothing to do."""
    run.operator.stop()
    run.operator.start()
    ready = await run.operator.until_ready()
    rest = await run.operator.until_idle()
    await run.operator.until_quiet()
    cost = run.operator.cost()
    asked = cost.requests
    run.costs["restart"] = {"cpu_ms": cost.cpu / run.size * 1000, "requests": asked.per_object(run.size)}
    beyond = _beyond_start(asked.counts)
    run.found(f.RESTART_WRITES, asked.writes, *cost.told(run.size))
    run.found(f.RESTART_READS, sum(beyond.values()), f"{asked.lists} LISTs (pages of 500)", str(dict(beyond)))
    run.found(f.RESTART_CPU, cost.cpu / run.size * 1000, f"resident {run.operator.resident():.0f} MiB")
    run.found(f.RESTART_IDLE, ready + rest)
    run.found(f.RESTART_FIRST, ready)


def _beyond_start(counts: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """Leave out the LISTs, and what a start asks whatever the number of models: kinds, the CRD."""
    once = ("discovery", "customresourcedefinitions")
    return {key: count for key, count in counts.items() if key[0] == "get" and key[1] not in once}

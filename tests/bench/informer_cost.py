"""Measure what an informer costs: CPU for each event, and memory for each object.

    PYTHONPATH=operator:hack python tests/bench/informer_cost.py [--objects 1000] [--events 4000]

A real etcd and kube-apiserver, Deployments as big as ours with managed fields, and a second process that
changes them, so that the figures are the informer's alone. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from ekiben.kube.client import Client
from ekiben.kube.informer import EVENTS, Informer
from ekiben.kube.kinds import DEPLOYMENT, NAMESPACE
from localcluster.controlplane import ControlPlane

NAME = "bench"
_WRITERS = 16


def deployment(number: int) -> dict[str, Any]:
    """A Deployment of about 3.5 KB, as the server sends it."""
    labels = {"ekiben.dev/model": f"m{number}", "app.kubernetes.io/managed-by": "ekiben"}
    env = [{"name": f"VARIABLE_{index}", "value": "v" * 20} for index in range(15)]
    container = {"name": "bento", "image": "example.test/iris:1", "env": env}
    return {
        "apiVersion": DEPLOYMENT.api_version,
        "kind": DEPLOYMENT.kind,
        "metadata": {"name": f"m{number}", "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


async def create(client: Client, objects: int) -> None:
    """Create the objects."""
    about = {"apiVersion": NAMESPACE.api_version, "kind": NAMESPACE.kind, "metadata": {"name": NAME}}
    await client.create(NAMESPACE, None, about)
    await share_out(objects, lambda number: client.apply(DEPLOYMENT, NAME, deployment(number)))


async def share_out(count: int, request: Any) -> None:
    """Make `count` requests, a few at a time."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await request(number)

    await asyncio.gather(*(work() for _ in range(_WRITERS)))


def change(kubeconfig: Path, objects: int, events: int) -> None:
    """Change the objects one after the other: what the second process does."""

    async def main() -> None:
        client = await Client.connect(kubeconfig)
        await share_out(
            events,
            lambda number: client.patch_merge(
                DEPLOYMENT, NAME, f"m{number % objects}", {"metadata": {"annotations": {"turn": str(number)}}}
            ),
        )
        await client.close()

    asyncio.run(main())


def resident_mib() -> float:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def follow(kubeconfig: Path, objects: int, events: int, pile_up: bool) -> float:
    """Have the informer receive changes as they come, or all at once afterwards; return CPU seconds."""
    received = EVENTS.labels(DEPLOYMENT.plural, "MODIFIED")
    expected, cpu = received._value.get() + events, time.process_time()
    writer = multiprocessing.get_context("spawn").Process(target=change, args=(kubeconfig, objects, events))
    writer.start()
    if pile_up:
        writer.join()
    for _ in range(3000):
        if received._value.get() >= expected and not writer.is_alive():
            return time.process_time() - cpu
        await asyncio.sleep(0.1)
    raise SystemExit(f"{expected - received._value.get():g} of {events} events never came")


async def measure(kubeconfig: Path, objects: int, events: int) -> dict[str, float]:
    """Run one informer through a list and a storm of changes."""
    client = await Client.connect(kubeconfig)
    await create(client, objects)
    gc.collect()
    informer, memory, cpu = Informer(client, DEPLOYMENT), resident_mib(), time.process_time()
    informer.start()
    await informer.synced.wait()
    listed, grown = time.process_time() - cpu, resident_mib() - memory
    one_by_one = await follow(kubeconfig, objects, events, pile_up=False)
    piled_up = await follow(kubeconfig, objects, events, pile_up=True)
    await informer.stop()
    await client.close()
    return {
        "objects": objects,
        "events": events,
        "list_cpu_us_per_object": round(listed * 1e6 / objects, 1),
        "event_cpu_us": round(one_by_one * 1e6 / events, 1),
        "event_cpu_us_piled_up": round(piled_up * 1e6 / events, 1),
        "resident_kib_per_object": round(grown * 1024 / objects, 1),
        "resident_mib": round(resident_mib(), 1),
    }


def main() -> None:
    """Measure once, against a control plane of our own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--events", type=int, default=4000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ControlPlane.start(Path(folder)) as plane:
        print(json.dumps(asyncio.run(measure(plane.kubeconfig, options.objects, options.events))))


if __name__ == "__main__":
    main()

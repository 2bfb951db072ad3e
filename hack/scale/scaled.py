"""`python -m scale.scaled`: what autoscaled models cost while nothing changes: the operator, and the adapter.

Every model has one pod, an autoscaler of engine hpa, and a concurrency that stays as it is. kube-controller-
manager asks the API server about each every 15 s, which asks the adapter, which reads the pod's page: all of
them real but for the pods, which kwok plays, and whose pages are one process's.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from bench import report
from bench.figures import ADAPTER, ADAPTER_READS, REST, REST_REQUESTS, BenchError, Result
from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import HPA, MODELDEPLOYMENT, NAMESPACE
from localcluster.errors import LocalClusterError
from rig.models import condition
from rig.site import ROOT
from scale import inside
from scale.__main__ import enter
from scale.adapter_process import Adapter, pages_read
from scale.fleet import Manifest, Watched, at_once, model
from scale.operator_process import Operator
from scale.process import cpu_ms
from scale.world import World, world

FOLDER = report.FOLDER.with_name("scaled")
NAMESPACE_OF_MODELS, OTHERS = "models", "others"
FEW, MANY = 10, 1000
# As Kubernetes has it by default.
SYNC_SECONDS = 15.0
# A start lists once more after a minute: what rests is measured after that.
RESYNCED_SECONDS = 70.0
SCALING = {"minReplicas": 1, "maxReplicas": 2, "engine": "hpa", "metrics": [{"concurrency": "8"}]}


@dataclass
class Rest:
    """What both processes used over some seconds in which nothing changed."""

    seconds: float
    operator_ms: float
    adapter_ms: float
    requests: int
    relisted: int
    read: int
    events: int = 0

    @property
    def operator_ms_a_minute(self) -> float:
        """Return the operator's CPU time per minute."""
        return self.operator_ms * 60 / self.seconds


@dataclass
class Run:
    """One run, with what there is to measure."""

    world: World
    client: Client
    operator: Operator
    adapter: Adapter
    seconds: float
    started: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Tell the person at the keyboard what is going on."""
        click.echo(f"[{time.monotonic() - self.started:7.1f} s] {text}", err=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--models", type=click.IntRange(FEW, 5000), default=MANY, show_default=True)
@click.option("--seconds", type=click.FloatRange(15, 600), default=60.0, show_default=True)
@click.option(
    "--profile", type=click.Path(dir_okay=False), default="", help="Profile the operator to a file."
)
@click.option("--json", "to", type=click.Path(dir_okay=False, path_type=Path), help="Write the run there.")
def main(models: int, seconds: float, profile: str, to: Path | None) -> None:
    """Measure autoscaled models at rest; exit 1 when a figure misses its limit."""
    enter("scale.scaled")
    folder = Path(tempfile.mkdtemp(prefix="ekiben-scaled-"))
    try:
        with world(folder, models, hpa_sync_period=f"{SYNC_SECONDS:.0f}s", only_small_pages=True) as made:
            results = asyncio.run(_measure(made, models, seconds, profile))
    except (LocalClusterError, BenchError, ApiError, OSError, TimeoutError) as problem:
        click.secho(f"The bench ended early: {problem} (logs: {folder})", fg="red", err=True)
        sys.exit(1)
    shutil.rmtree(folder)
    report.show(results)
    stored = report.store(results, models < MANY, FOLDER, models=models)
    if to is not None:
        shutil.copy(stored, to)
    click.echo(f"stored in {stored.relative_to(ROOT)}")
    click.echo(report.last_line([result.ok for result in results]))
    sys.exit(0 if all(result.ok is not False for result in results) else 1)


def scaled_model(name: str) -> Manifest:
    """Return a model that is autoscaled from 1 to 2 pods by its concurrency."""
    found = model(name)
    found["spec"] |= {"replicas": 1, "autoscaling": SCALING}
    return found


def is_served(item: Manifest) -> bool:
    """Tell of a model whether its pod serves and nothing goes on."""
    stable = (item.get("status") or {}).get("stable") or {}
    return stable.get("readyReplicas") == 1 and condition(item, "Settled").get("status") == "True"


def is_scaling(item: Manifest) -> bool:
    """Tell of an autoscaler whether it has had its metric."""
    return condition(item, "ScalingActive").get("status") == "True"


def judged(few: Rest, many: Rest, models: int, notes: tuple[str, ...]) -> list[Result]:
    """Judge what the many cost against the few, and the adapter by itself."""
    asked = many.read * SYNC_SECONDS / many.seconds
    cores = many.adapter_ms / 1000 / many.seconds
    each = many.adapter_ms / many.read if many.read else 0.0
    events = f"watches told of {many.events} changes, and of {few.events} with {FEW} models"
    relisted = (
        f"a list of the models, which comes every 10 minutes, fell into it {many.relisted} times with "
        f"{models:,} and {few.relisted} times with {FEW}"
    )
    return [
        Result(
            REST,
            round(many.operator_ms_a_minute, 1),
            round(few.operator_ms_a_minute, 1),
            details=(f"{models:,} models over {many.seconds:.0f} s, {FEW} before", events, relisted, *notes),
        ),
        Result(REST_REQUESTS, many.requests, details=(f"with {FEW} models: {few.requests}",)),
        Result(ADAPTER, round(cores, 3), details=(f"{each:.2f} ms for each page that it read",)),
        Result(ADAPTER_READS, round(asked), limit=0.95 * models),
    ]


async def _measure(made: World, models: int, seconds: float, profile: str) -> list[Result]:
    client = await Client.connect(made.plane.kubeconfig, user_agent="ekiben-bench")
    operator = Operator(made, profile)
    try:
        for name in (NAMESPACE_OF_MODELS, OTHERS):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await client.create(NAMESPACE, None, body)
        operator.start()
        await operator.until_ready()
        with Adapter(made) as adapter:
            run = Run(made, client, operator, adapter, seconds)
            await _create(run, range(FEW))
            await asyncio.sleep(max(RESYNCED_SECONDS - (time.monotonic() - run.started), 0))
            few = await _rest(run)
            run.say(f"{FEW} models: {few}")
            await _create(run, range(FEW, models))
            many = await _rest(run)
            run.say(f"{models} models: {many}")
            memory = f"the adapter has {adapter.resident():.0f} MiB resident, the operator"
            notes = (f"{memory} {operator.resident():.0f} MiB", *await _foreign(run, MANY))
            return judged(few, many, models, notes)
    finally:
        operator.stop()
        await client.close()


async def _create(run: Run, numbers: range) -> None:
    """Create models, and wait until each serves, is scaled, and nobody asks for anything any more."""
    wanted = [f"model-{number:04d}" for number in numbers]
    models = Watched(run.client, MODELDEPLOYMENT, NAMESPACE_OF_MODELS, run.operator.check)
    scalers = Watched(run.client, HPA, NAMESPACE_OF_MODELS, run.operator.check)
    patience = 120.0 + len(wanted)
    create = (run.client.create(MODELDEPLOYMENT, NAMESPACE_OF_MODELS, scaled_model(name)) for name in wanted)
    await at_once(create)
    await models.until(wanted, is_served, patience)
    run.say(f"{len(wanted)} models serve")
    async with asyncio.timeout(patience):
        while len(scalers.objects) < numbers.stop or not all(map(is_scaling, scalers.objects.values())):
            run.operator.check()
            await asyncio.sleep(1)
    run.say("every autoscaler has its metric")
    await models.close()
    await scalers.close()
    await run.operator.until_quiet(10.0)


async def _rest(run: Run) -> Rest:
    """Leave everything alone."""
    run.operator.begin()
    began, read = time.monotonic(), pages_read()
    operator, adapter = cpu_ms(run.operator.pid), run.adapter.cpu_ms()
    await asyncio.sleep(run.seconds)
    operator, adapter = cpu_ms(run.operator.pid) - operator, run.adapter.cpu_ms() - adapter
    seconds, read = time.monotonic() - began, pages_read() - read
    cost = run.operator.cost()
    asked = cost.requests
    relisted = asked.counts.pop(("list", MODELDEPLOYMENT.plural), 0)
    events = cost.work[inside.WORK["ekiben_informer_events_total"]]
    return Rest(seconds, operator, adapter, asked.counts.total(), relisted, read, events)


async def _foreign(run: Run, count: int) -> tuple[str, ...]:
    """Say what as many autoscalers of others cost the operator, which watches all of them."""
    before, memory = cpu_ms(run.operator.pid), run.operator.resident()
    wanted = [f"other-{number:04d}" for number in range(count)]
    await at_once(run.client.create(HPA, OTHERS, foreign(name)) for name in wanted)
    await asyncio.sleep(2 * SYNC_SECONDS)
    created = cpu_ms(run.operator.pid) - before
    grown = run.operator.resident() - memory
    before = cpu_ms(run.operator.pid)
    status = (
        run.client.patch_merge(HPA, OTHERS, name, {"status": {"currentReplicas": 7}}, "status")
        for name in wanted
    )
    await at_once(status)
    await asyncio.sleep(2)
    changed = cpu_ms(run.operator.pid) - before
    asked = run.operator.cost().requests.told(1)
    return (
        f"{count:,} HorizontalPodAutoscalers of others, which are watched too: {created / count:.2f} ms of "
        f"CPU each to come to know them, {changed / count:.2f} ms for each change of a status, "
        f"{grown:.1f} MiB; asked meanwhile: {asked}",
    )


def foreign(name: str) -> Manifest:
    """Return somebody else's autoscaler of something that is not there."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "labels": {"app": name, "team": "others"}},
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": 2,
            "maxReplicas": 9,
            "metrics": [{"type": "Resource", "resource": metric}],
        },
    }


def read(path: Path) -> list[Result]:
    """Read the results of a run that was written to a file."""
    known = {figure.title: figure for figure in (REST, REST_REQUESTS, ADAPTER, ADAPTER_READS)}
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"]
    return [
        Result(known[row["figure"]], row["value"], row["floor"], tuple(row["details"]), limit=row["limit"])
        for row in rows
    ]


if __name__ == "__main__":
    main()

"""`python -m scale`: measure what a fleet of models costs, print the table, fail when a limit is missed."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from bench import report
from bench.figures import BenchError, Result
from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import MODELDEPLOYMENT
from localcluster.errors import LocalClusterError
from localcluster.tools import HELM, KUBERNETES, KWOK, ensure, gateway_api_crds, kwok_stages
from rig.site import ROOT
from scale import figures, phases
from scale import gate as gates
from scale.fleet import Watched
from scale.operator_process import Operator
from scale.world import POD_NET, World, world

INSIDE = "EKIBEN_SCALE_INSIDE"
QUICK, DEFAULT = 100, 1000
FOLDER = report.FOLDER.with_name("scale")
PHASES = ("roll", "idle", "single", "restart")


def _phases(text: str) -> tuple[str, ...]:
    """Read the names of phases; BadParameter where one is none."""
    chosen = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := set(chosen) - set(PHASES):
        raise click.BadParameter(f"{min(unknown)} is none of {', '.join(PHASES)}")
    return chosen


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--models", type=click.IntRange(1, 5000), default=DEFAULT, show_default=True)
@click.option("--quick", is_flag=True, help=f"{QUICK} models, and 20 idle seconds instead of 60.")
@click.option("--no-floors", is_flag=True, help="Only the operator: costs, without ratios.")
@click.option(
    "--only",
    metavar="PHASES",
    default=",".join(PHASES),
    show_default=True,
    callback=lambda *given: _phases(given[2]),
    help="What to do after creating the fleet; nothing else has a figure then.",
)
@click.option(
    "--profile",
    type=click.Path(dir_okay=False),
    default="",
    help="Profile the operator to a file, and its second process to FILE.restart.",
)
@click.option(
    "--gate", is_flag=True, help="Compare requests and CPU with hack/scale/gate.json, nothing else."
)
@click.option("--accept", is_flag=True, help="With --gate: keep this run's figures instead.")
@click.option("--json", "to", type=click.Path(dir_okay=False, path_type=Path), help="Write the run there.")
def main(
    models: int,
    quick: bool,
    no_floors: bool,
    only: tuple[str, ...],
    profile: str,
    gate: bool,
    accept: bool,
    to: Path | None,
) -> None:
    """Measure the operator with a fleet of models; exit 1 when a figure misses its limit."""
    enter("scale")
    size = gates.MODELS if gate else QUICK if quick and models == DEFAULT else models
    folder = Path(tempfile.mkdtemp(prefix="ekiben-scale-"))
    try:
        with world(folder, size) as made:
            idle, floors = 20.0 if quick or gate else 60.0, not (no_floors or gate)
            work = gates.yardstick()
            results, costs = asyncio.run(_measure(made, size, idle, floors, only, profile))
            work = (work + gates.yardstick()) / 2
    except (LocalClusterError, BenchError, ApiError, OSError, TimeoutError) as problem:
        click.secho(f"The bench ended early: {problem} (logs: {folder})", fg="red", err=True)
        sys.exit(1)
    shutil.rmtree(folder)
    if gate:
        _compare(gates.figures(costs, work), accept)
        return
    report.show(results)
    stored = report.store(results, quick, FOLDER, models=size, costs=costs)
    if to is not None:
        shutil.copy(stored, to)
    click.echo(f"stored in {stored.relative_to(ROOT)}")
    click.echo(report.last_line([result.ok for result in results]))
    sys.exit(0 if all(result.ok is not False for result in results) else 1)


def _compare(found: gates.Costs, accept: bool) -> None:
    """Hold a run against what is kept, or keep it; exit 1 where it costs more."""
    if accept:
        gates.keep(found)
        click.echo(f"kept in {gates.FILE.relative_to(ROOT)}")
        return
    problems = list(gates.regressions(gates.read(), found))
    for problem in problems:
        click.secho(problem, fg="red", err=True)
    if problems:
        click.echo("If that is how it should be: python -m scale --gate --accept, and say why in the commit.")
        sys.exit(1)
    click.echo("The operator asks and costs no more than hack/scale/gate.json says.")


def enter(module: str) -> None:
    """Go on in a network namespace of our own, where every pod's address is local."""
    if os.environ.get(INSIDE):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["ip", "route", "add", "local", POD_NET, "dev", "lo"], check=True)
        return
    for tool in (KUBERNETES, HELM, KWOK):
        ensure(tool)
    # Inside there is no network: a module whose tool another process has built may not be unpacked yet.
    kwok_stages()
    gateway_api_crds()
    mapped = () if os.geteuid() == 0 else ("--map-root-user",)
    command = ["unshare", "--net", *mapped, "--", sys.executable, "-m", module, *sys.argv[1:]]
    os.execvpe(command[0], command, {**os.environ, INSIDE: "1"})


async def _measure(
    made: World, size: int, idle: float, floors: bool, only: Collection[str], profile: str
) -> tuple[list[Result], dict[str, Any]]:
    client = await Client.connect(made.plane.kubeconfig, user_agent="ekiben-bench")
    operator = Operator(made, profile)
    run = phases.Run(made, client, operator, size, idle, lambda line: click.echo(f"  {line}"))
    try:
        for namespace in (phases.OURS, phases.HAND):
            made.kubectl("create", "namespace", namespace)
        operator.start()
        await operator.until_ready()
        children = await phases.sample(run)
        if floors:
            await phases.measure_floors(run, children)
        await _operate(run, only)
    finally:
        operator.stop()
        await client.close()
    return _in_order(run), run.costs


async def _operate(run: phases.Run, only: Collection[str]) -> None:
    models = Watched(run.client, MODELDEPLOYMENT, phases.OURS, run.operator.check)
    await phases.create(run, models)
    if "roll" in only:
        await phases.roll(run, models, 2)
    if "idle" in only:
        await phases.idle(run)
    if "single" in only and run.floors:
        await phases.single(run, models)
    await models.close()
    cost = run.operator.cost()
    limit = next((bound for size, bound in figures.MEMORY_LIMITS.items() if run.size >= size), None)
    run.found(figures.MEMORY, cost.peak_mib, limit=limit)
    if "restart" in only:
        await phases.restart(run)


def _in_order(run: phases.Run) -> list[Result]:
    by_figure = {result.figure: result for result in run.results}
    missing = "not measured in this run"
    return [by_figure.get(figure) or Result(figure, problem=missing) for figure in figures.FIGURES]


if __name__ == "__main__":
    main()

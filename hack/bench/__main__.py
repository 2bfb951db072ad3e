"""`python -m bench`: measure each figure, print the table, and fail when a row misses its limit."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Collection

import click

from bench import (
    abort,
    canary,
    footprint,
    lost,
    page,
    report,
    rollback,
    scaled,
    serve,
    steady,
    step,
    strategies,
    zero,
)
from bench.figures import FIGURES, BenchError, Result
from bench.setting import HAND, OURS, Bench, namespaces
from ekiben.kube.client import ApiError, Client
from localcluster.errors import LocalClusterError
from rig.site import ROOT, SiteError, install_operator, open_site

ROWS: dict[str, Callable[[Bench], Awaitable[list[Result]]]] = {
    "serve": serve.measure,
    "canary": canary.measure,
    "rollback": rollback.measure,
    "abort": abort.measure,
    "lost": lost.measure,
    "strategies": strategies.measure,
    "steady": steady.measure,
    "footprint": footprint.measure,
    "zero": zero.measure,
    "scaled": scaled.measure,
    "step": step.measure,
    "metrics": step.measure_metrics,
}
TROUBLE = (BenchError, SiteError, ApiError, TimeoutError, OSError)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only",
    "chosen",
    multiple=True,
    type=click.Choice(list(ROWS)),
    help="Measure this row; may be repeated.",
)
@click.option(
    "--quick", is_flag=True, help="One pair instead of five, 3 rounds instead of 20: to see it work."
)
@click.option(
    "--page",
    "with_page",
    is_flag=True,
    help="Afterwards write docs/benchmarks.md and the README's table.",
)
def main(chosen: tuple[str, ...], quick: bool, with_page: bool) -> None:
    """Measure what the README claims on a real cluster; exit 1 when a row that was run misses its limit."""
    if with_page and quick:
        raise click.UsageError("--page shows full runs only: leave --quick out")
    try:
        results = asyncio.run(run(chosen or tuple(ROWS), quick))
    except (SiteError, LocalClusterError) as problem:
        click.secho(f"The bench could not begin: {problem}", fg="red", err=True)
        sys.exit(1)
    report.show(results)
    click.echo(f"stored in {report.store(results, quick).relative_to(ROOT)}")
    if with_page:
        page.write()
    click.echo(report.last_line([result.ok for result in results]))
    failed = any(result.ok is not True and result.figure.row in (chosen or ROWS) for result in results)
    sys.exit(1 if failed else 0)


async def run(chosen: Collection[str], quick: bool) -> list[Result]:
    """Measure the chosen rows, each by itself: one that can't be measured doesn't keep the others from it."""
    site = await asyncio.to_thread(open_site)
    client = await Client.connect(site.kubeconfig, user_agent="ekiben-bench")
    results: list[Result] = []
    try:
        bench = Bench(site, client, quick)
        await install_operator(site)
        for row, measure in ROWS.items():
            results += await _row(bench, row, measure) if row in chosen else _not_run(row, "not asked for")
    finally:
        await client.close()
    return results


async def _row(bench: Bench, row: str, measure: Callable[[Bench], Awaitable[list[Result]]]) -> list[Result]:
    bench.say(f"measuring {row} in {OURS} and {HAND}")
    try:
        async with namespaces(bench):
            results = await measure(bench)
    except* TROUBLE as group:
        problem = "; ".join(f"{type(error).__name__}: {error}" for error in _flat(group))
        bench.say(f"{row} failed: {problem}")
        results = _not_run(row, problem)
    for result in results:
        bench.say(f"{result.figure.title}: {result.value} {result.figure.unit}")
    return results


def _flat(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _flat(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _not_run(row: str, why: str) -> list[Result]:
    return [Result(figure, problem=why) for figure in FIGURES if figure.row == row]


if __name__ == "__main__":
    main()

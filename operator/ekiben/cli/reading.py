"""The commands that only look: read, then print what the pure views say."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from argparse import Namespace
from collections.abc import Callable
from datetime import UTC, datetime

from ekiben.cli import diff as differences
from ekiben.cli import history as past
from ekiben.cli import why as reasons
from ekiben.cli import yamls
from ekiben.cli.cluster import Cluster, Followed, following
from ekiben.cli.exits import CommandError, Exit
from ekiben.cli.facts import Facts, facts_of
from ekiben.cli.outcome import ending_of, progress
from ekiben.cli.text import Paint, paint_for
from ekiben.cli.tree import as_data, listing, tree
from ekiben.core import names
from ekiben.kube.kinds import MODELDEPLOYMENT, POD

_CLEAR = "\x1b[H\x1b[2J\x1b[3J"
_REDRAW_SECONDS = 1.0
_PROGRAMS = ("json", "yaml")


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def say(lines: list[str]) -> None:
    """Print lines at once: a pipe must not keep them back."""
    print("\n".join(lines), flush=True)


async def get(cluster: Cluster, options: Namespace) -> Exit:
    """List models, or draw one."""
    if options.watch and options.output in _PROGRAMS:
        raise CommandError(
            "-w goes with a drawing: leave -o out, or use kubectl get mdep -w -o json", Exit.MISUSED
        )
    if options.name and options.all_namespaces:
        raise CommandError("-A lists models: leave NAME out, or name one namespace by -n", Exit.MISUSED)
    if options.watch:
        return await _watch(cluster, options)
    if options.name:
        facts = await cluster.model(options.name)
        pods = await cluster.pods(options.name)
        if options.output in _PROGRAMS:
            say([yamls.dump(as_data(facts, pods, now()), options.output)])
        else:
            say(tree(facts, pods, now(), paint_for(sys.stdout), wide=options.output == "wide"))
        return Exit.OK
    models = await cluster.models(everywhere=options.all_namespaces)
    if options.output in _PROGRAMS:
        say([yamls.dump([as_data(facts, (), now()) for facts in models], options.output)])
    elif models:
        say(_list(models, options, paint_for(sys.stdout)))
    else:
        where = "in any namespace" if options.all_namespaces else f"in namespace {cluster.namespace}"
        print(f"no ModelDeployments {where}", file=sys.stderr)
    return Exit.OK


def _list(models: list[Facts], options: Namespace, paint: Paint) -> list[str]:
    wide = options.output == "wide"
    return listing(models, now(), paint, namespaces=options.all_namespaces, wide=wide)


async def _watch(cluster: Cluster, options: Namespace) -> Exit:
    """Draw again with each change; on a terminal each second too, because ages grow."""
    if options.name:
        await cluster.model(options.name)
    changed, live = asyncio.Event(), sys.stdout.isatty()
    watched = cluster if not options.all_namespaces else Cluster(cluster.client, "")
    models = Followed(watched, MODELDEPLOYMENT, changed, name=options.name or "")
    label = f"{names.MODEL}={options.name}"
    pods = [Followed(cluster, POD, changed, label=label)] if options.name else []
    paint, printed = paint_for(sys.stdout), set[str]()
    async with following(models, *pods) as task:
        while True:
            await _next_change(changed, task, _REDRAW_SECONDS if live else None)
            if not all(item.listed for item in (models, *pods)):
                continue
            found = [facts_of(raw) for _, raw in sorted(models.items.items())]
            if options.name and not found:
                raise CommandError(f"{options.name} was deleted", Exit.NOT_FOUND)
            raws = list(pods[0].items.values()) if pods else []
            if live:
                drawn = tree(found[0], raws, now(), paint, wide=options.output == "wide") if pods else None
                say([_CLEAR + "\n".join(drawn if drawn is not None else _list(found, options, paint))])
            else:
                _append(found, options, paint, printed)


def _append(found: list[Facts], options: Namespace, paint: Paint, printed: set[str]) -> None:
    """Print the lines of models that changed; `printed` is what each said last."""
    before = set(printed)
    printed.clear()
    for facts in found:
        # Without the age, which changes by itself.
        key = repr(
            (facts.namespace, facts.status.model_dump(include=_SHOWN), facts.rollout and facts.rollout.weight)
        )
        printed.add(key)
        if key not in before:
            lines = _list([facts], options, paint)
            say(lines if not before else lines[1:])
            before = before or {""}


_SHOWN = {"phase", "message", "stable", "canary", "ready"}


async def _next_change(changed: asyncio.Event, task: asyncio.Task[None], timeout: float | None) -> None:
    """Wait for a change, at most so long; raises what ended the watch."""
    waiting = asyncio.create_task(changed.wait())
    await asyncio.wait({waiting, task}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        task.result()
    changed.clear()


async def status(cluster: Cluster, options: Namespace) -> Exit:
    """Wait until the last change has ended, and say how."""
    facts = await cluster.model(options.name)
    ended = ending_of(facts)
    if ended is None and options.watch:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(options.timeout or None):
                facts = await _until_ended(cluster, options.name, lambda line: _tell(line, options))
        ended = ending_of(facts)
    if ended is None and options.watch:
        facts = await cluster.model(options.name)
        ended = ending_of(facts)
    code = ended.code if ended else Exit.TIMED_OUT
    message = ended.message if ended else progress(facts)
    if options.output:
        about = {"name": facts.name, "exitStatus": int(code), "outcome": code.name, "message": message}
        say([yamls.dump(about | {"stable": facts.stable, "canary": facts.canary}, options.output)])
    else:
        meaning = "good" if code is Exit.OK else "warn" if code is Exit.TIMED_OUT else "bad"
        said = "is on its way" if code is Exit.TIMED_OUT else code.name.replace("_", " ").lower()
        say([f"{facts.name} {paint_for(sys.stdout)(said, meaning)}: {message}"])
    return code


def _tell(line: str, options: Namespace) -> None:
    print(f"{options.name} {line}", file=sys.stderr, flush=True)


async def _until_ended(cluster: Cluster, name: str, tell: Callable[[str], None]) -> Facts:
    changed, last = asyncio.Event(), ""
    models = Followed(cluster, MODELDEPLOYMENT, changed, name=name)
    async with following(models) as task:
        while True:
            await _next_change(changed, task, None)
            if not models.listed:
                continue
            if name not in models.items:
                raise CommandError(f"{name} was deleted", Exit.NOT_FOUND)
            facts = facts_of(models.items[name])
            if ending_of(facts):
                return facts
            if (line := progress(facts)) != last:
                tell(line)
                last = line


async def why(cluster: Cluster, options: Namespace) -> Exit:
    """Name what a model waits for."""
    facts = await cluster.model(options.name)
    findings = reasons.explain(facts, await cluster.around(facts))
    if options.output:
        say([yamls.dump(reasons.as_data(facts, findings), options.output)])
    else:
        say(reasons.why(facts, findings, paint_for(sys.stdout)))
    return Exit.OK


async def history(cluster: Cluster, options: Namespace) -> Exit:
    """List rollouts."""
    facts = await cluster.model(options.name)
    found = past.entries(facts, past.records_of(await cluster.records(facts)))
    if options.output:
        say([yamls.dump(past.as_data(found), options.output)])
    else:
        say(past.history(found, now(), paint_for(sys.stdout)))
    return Exit.OK


async def diff(cluster: Cluster, options: Namespace) -> Exit:
    """Compare two revisions."""
    facts = await cluster.model(options.name)
    records = past.records_of(await cluster.records(facts))
    words = (options.old, options.new) if options.new else ("stable", options.old)
    old, new = (past.chosen(word, facts, records) for word in words)
    paint = paint_for(sys.stdout)
    before, after = [await cluster.born_with(facts, record) for record in (old, new)]
    say([*differences.diff(old, new, paint), *differences.config_lines(before, after, paint)])
    return Exit.OK

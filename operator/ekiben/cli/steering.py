"""The commands that change a spec: read, let `wheel.py` decide, write, and say what Git has to know."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from datetime import UTC, datetime

from ekiben.api.v1alpha1 import API_VERSION, KIND
from ekiben.cli import wheel, yamls
from ekiben.cli.cluster import Cluster
from ekiben.cli.exits import Exit
from ekiben.cli.facts import Facts, Manifest
from ekiben.cli.history import chosen, records_of
from ekiben.cli.patches import leaves, merged, writers
from ekiben.core.tracking import digests_of

SIMPLE: dict[str, Callable[[Facts], wheel.Change]] = {
    "promote": wheel.promote,
    "abort": wheel.abort,
    "pause": wheel.pause,
    "resume": wheel.resume,
    "skip": wheel.skip,
    "retry": wheel.retry,
}


async def steer(cluster: Cluster, options: Namespace) -> Exit:
    """Give a command."""
    facts = await cluster.model(options.name)
    return await _write(cluster, facts, SIMPLE[options.verb](facts), options)


async def restart(cluster: Cluster, options: Namespace) -> Exit:
    """Replace every pod."""
    facts = await cluster.model(options.name)
    return await _write(cluster, facts, wheel.restart(facts, datetime.now(UTC)), options)


async def undo(cluster: Cluster, options: Namespace) -> Exit:
    """Ask for an earlier revision again."""
    facts = await cluster.model(options.name)
    records = records_of(await cluster.records(facts))
    target = chosen(options.to, facts, records) if options.to else wheel.before(facts, records)
    facts = await cluster.knowing(facts, digests_of(target))
    return await _write(cluster, facts, wheel.undo(facts, target), options)


async def _write(cluster: Cluster, facts: Facts, change: wheel.Change, options: Namespace) -> Exit:
    if change.patch:
        target = cluster.rehearsing() if options.dry_run else cluster
        await target.patch(facts, {"spec": change.patch}, guarded=change.lasts)
    dry = " (dry run: nothing was written)" if options.dry_run else ""
    print(f"{facts.name}: {change.said}{dry}")
    for line in remarks(facts, change):
        print(line, file=sys.stderr)
    if change.patch and (change.lasts or options.dry_run or writers(facts.raw, change.patch)):
        print(to_commit(facts, change.patch), flush=True)
    return Exit.OK


def remarks(facts: Facts, change: wheel.Change) -> list[str]:
    """Say what else there is to know: notes, and who may set back what was changed."""
    said = [f"note: {note}" for note in change.notes]
    for manager, fields in writers(facts.raw, change.patch).items():
        said.append(f"note: {manager} says {', '.join(fields)} too, and will set it back: change its source")
    return said


def to_commit(facts: Facts, patch: Manifest) -> str:
    """Write the fields that a patch touches as they are to stand in a manifest."""
    spec: Manifest = facts.raw.get("spec") or {}
    after = merged(spec, patch)
    kept = {
        key: (merged({}, patch[key]) if key == "rollout" else after[key]) for key in patch if key in after
    }
    gone = [path for path, value in leaves(patch) if value is None]
    manifest = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": facts.name}, "spec": kept}
    lines = ["---", "# To commit, where Git is what is applied:", yamls.dump(manifest, "yaml")]
    return "\n".join([*lines, *(f"# and without {path}" for path in gone)])

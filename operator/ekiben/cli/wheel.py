"""What each hand on the wheel writes into the spec, and when it can't be done. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from ekiben.api.status import Outcome, Stage
from ekiben.api.v1alpha1 import HASHED_FIELDS, parse_spec
from ekiben.cli.exits import CommandError, Exit
from ekiben.cli.facts import Facts
from ekiben.cli.patches import Manifest, merge_patch, merged
from ekiben.core import names
from ekiben.core.blocks import FIELD
from ekiben.core.commands import PROMOTING, is_paused, pause_of
from ekiben.core.revision import image_of, revision_of
from ekiben.core.snapshot import Content, Record
from ekiben.core.tracking import TRACKED, digests_of
from ekiben.core.view import GIVEN_UP

RESTARTED = "ekiben.dev/restarted-at"
_FIELDS = tuple(to_camel(name) for name in HASHED_FIELDS)


@dataclass(frozen=True, slots=True)
class Change:
    """A merge patch of the spec, what follows from it, and whether it outlives the rollout it is about.

    What lasts has to be in Git as well, where Git is what is applied.
    """

    patch: Manifest
    said: str
    lasts: bool = False
    notes: tuple[str, ...] = field(default=())


def promote(facts: Facts) -> Change:
    """Skip the steps that are left."""
    rollout = _in_flight(facts, "promote")
    if rollout.stage is Stage.BAKING:
        done = f"ending the bake of {rollout.revision}: {rollout.previous} keeps its pods no longer"
        return Change({"rollout": {"promote": rollout.id}}, done)
    if rollout.stage in PROMOTING:
        return Change({}, f"{rollout.revision} is being promoted already")
    if rollout.stage in GIVEN_UP:
        raise CommandError(f"rollout {rollout.id} is being aborted: {rollout.message}")
    if rollout.stage is Stage.PREPARING and rollout.revision == facts.stable:
        raise CommandError(
            f"{rollout.revision} is the first revision: it serves as soon as its pods are ready"
        )
    return Change(
        {"rollout": {"promote": rollout.id}},
        f"promoting {rollout.revision}: steps that are left are skipped, a check that fails still ends it",
    )


def abort(facts: Facts) -> Change:
    """Go back to stable at once."""
    rollout = _in_flight(facts, "abort")
    if rollout.stage in GIVEN_UP:
        return Change({}, f"rollout {rollout.id} is being aborted already: {rollout.message}")
    if facts.is_finishing:
        raise CommandError(
            f"{rollout.revision} is stable already: go back by kubectl ekiben undo {facts.name}"
        )
    can_go_back = facts.canary is not None or rollout.stage is Stage.QUEUED
    back_to = rollout.previous if rollout.stage is Stage.BAKING else facts.stable if can_go_back else None
    if back_to is None:
        raise CommandError(f"{rollout.revision} is the first revision: there is nothing to go back to")
    where = "leaves the line" if rollout.stage is Stage.QUEUED else f"all traffic goes back to {back_to}"
    return Change(
        {"rollout": {"abort": rollout.id}},
        f"aborting {rollout.revision}: {where}",
        notes=(f"the spec still asks for {rollout.revision}: tried again only by retry or another change",),
    )


def pause(facts: Facts) -> Change:
    """Take no step by itself."""
    if facts.spec and facts.spec.rollout.paused:
        return Change({}, "is paused already")
    rollout = facts.rollout
    at = f"rollout {rollout.id} takes no step by itself" if rollout else "a new revision will wait"
    return Change(
        {"rollout": {"paused": True}}, f"paused: {at}; a check that fails still ends it", lasts=True
    )


def resume(facts: Facts) -> Change:
    """Leave a pause: that of a step, `rollout.paused`, or both."""
    wanted: Manifest = {}
    if facts.spec and facts.spec.rollout.paused:
        wanted["paused"] = False
    rollout = facts.rollout
    if rollout and is_paused(rollout):
        wanted["resume"] = pause_of(rollout)
    if not wanted:
        raise CommandError(f"{facts.name} is not paused: {facts.status.message}")
    where = f"step {rollout.step} of rollout {rollout.id}" if rollout else "rollouts go on by themselves"
    return Change({"rollout": wanted}, f"resumed: {where}", lasts="paused" in wanted)


def skip(facts: Facts) -> Change:
    """Leave the current step now, without waiting for its hold and its samples."""
    rollout = _in_flight(facts, "skip")
    if rollout.stage is Stage.SHIFTING:
        raise CommandError(f"step {rollout.step} has not begun yet: {facts.status.message}")
    if rollout.stage not in (Stage.PAUSED, Stage.HOLDING):
        raise CommandError(f"rollout {rollout.id} is at no step: {facts.status.message}")
    where = f"step {rollout.step} of rollout {rollout.id}"
    said = f"skipping what is left of {where}: a check that fails still ends it"
    return Change({"rollout": {"resume": pause_of(rollout)}}, said, notes=_paused(facts))


def retry(facts: Facts) -> Change:
    """Try the revision that the spec asks for, and that failed, once more."""
    if facts.rollout:
        raise CommandError(f"rollout {facts.rollout.id} is in flight: {facts.status.message}")
    failed = next((item for item in facts.status.failed_revisions if item.revision == facts.wanted), None)
    if failed is None:
        others = ", ".join(item.revision for item in facts.status.failed_revisions)
        more = f"; failed before: {others}, see kubectl ekiben undo --to" if others else ""
        raise CommandError(f"{facts.wanted or 'the spec'}, which the spec asks for, has not failed{more}")
    return Change(
        {"rollout": {"retry": failed.rollout}}, f"trying {failed.revision} again", notes=_paused(facts)
    )


def restart(facts: Facts, now: datetime) -> Change:
    """Replace every pod: the same content as a new revision, rolled out by the same steps and checks."""
    if facts.rollout:
        raise CommandError(f"rollout {facts.rollout.id} is in flight: wait for its end, or abort it first")
    if facts.wanted is None or facts.wanted != facts.stable:
        raise CommandError(f"{facts.name} does not serve what its spec asks for: {facts.status.message}")
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    patch = {"podTemplate": {"annotations": {RESTARTED: stamp}}}
    revision = revision_of(parse_spec(merged(facts.raw["spec"], patch)), config=facts.config).revision
    said = f"restarting as revision {revision}: rolled out like any other, by its steps and checks"
    return Change(patch, said, lasts=True, notes=_paused(facts))


def undo(facts: Facts, target: Record) -> Change:
    """Ask for an earlier revision again: what makes it, as the spec said it then, nothing else."""
    if target.revision == facts.wanted:
        raise CommandError(f"the spec asks for {target.revision} already: {facts.status.message}")
    spec: Manifest = facts.raw.get("spec") or {}
    inputs = _as_written(target)
    digests = digests_of(target)
    new = {key: value for key, value in spec.items() if key not in _FIELDS} | inputs
    block = spec.get(FIELD) or {}
    if FIELD not in inputs and block.get("canary"):
        # It was born without one of its own.
        new[FIELD] = {key: value for key, value in block.items() if key != "canary"}
    try:
        born_with = {name: Content(digest) for name, digest in digests.items()}
        restored = revision_of(parse_spec(new), config=born_with).revision
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CommandError(
            f"with {target.revision} spec.{where} is wrong: {first['msg']}", Exit.INVALID
        ) from problem
    if restored != target.revision:
        raise CommandError(
            f"{target.revision} was made by another version of Ekiben: use that version's plugin"
        )
    for name, digest in digests.items():
        if facts.config.get(name, Content()).digest != digest:
            raise CommandError(
                f"{target.revision} was born with other content in ConfigMap {name}, which no spec can bring"
                f" back: write it again as its copy has it, ConfigMap"
                f" {names.config_copy(facts.name, target.revision, name)}"
            )
    if target.revision == facts.stable:
        said = f"asking for {target.revision} again, which serves: what is on its way is taken back"
    else:
        said = f"asking for {target.revision} again ({image_of(target)}): rolled out by its steps and checks"
    failed = next((item for item in facts.status.failed_revisions if item.revision == target.revision), None)
    notes = _paused(facts)
    if failed:
        notes = (
            *notes,
            f"it failed before ({failed.message}): kubectl ekiben retry {facts.name} is needed too",
        )
    return Change(merge_patch(spec, new), said, lasts=True, notes=notes)


def _as_written(target: Record) -> Manifest:
    """Return a revision's inputs as a spec has them: what it tracks is named there, and nothing more."""
    inputs: Manifest = copy.deepcopy(dict(target.inputs))
    tracked = [
        {key: value for key, value in item.items() if key != "digest"} for item in inputs.pop(TRACKED, [])
    ]
    return inputs | ({"bento": {**inputs["bento"], TRACKED: tracked}} if tracked else {})


def before(facts: Facts, records: Mapping[str, Record]) -> Record:
    """Find what `undo` goes back to: stable if the spec asks for anything else, else what served before."""
    if facts.stable and facts.wanted != facts.stable:
        if facts.stable in records:
            return records[facts.stable]
        raise CommandError(f"what {facts.stable} was is not kept: name another by --to", Exit.NOT_FOUND)
    for item in facts.status.history:
        if item.outcome is Outcome.PROMOTED and item.revision != facts.stable and item.revision in records:
            return records[item.revision]
    raise CommandError(
        f"{facts.name} keeps no revision that served before {facts.stable}: name one by --to,"
        f" see kubectl ekiben history {facts.name}",
        Exit.NOT_FOUND,
    )


def _in_flight(facts: Facts, verb: str) -> Any:
    if facts.rollout is None:
        raise CommandError(f"there is nothing to {verb}, no rollout is in flight: {facts.status.message}")
    return facts.rollout


def _paused(facts: Facts) -> tuple[str, ...]:
    paused = facts.spec is not None and facts.spec.rollout.paused
    return (f"rollout.paused is true: it waits for kubectl ekiben resume {facts.name}",) if paused else ()

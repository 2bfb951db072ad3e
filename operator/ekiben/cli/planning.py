"""`plan`: let the API server check what a file would make of a model, then say what follows from it."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from dataclasses import replace
from typing import Any

from ekiben.cli import plan as plans
from ekiben.cli import yamls
from ekiben.cli.cluster import MANAGER, Cluster
from ekiben.cli.exits import CommandError, Exit
from ekiben.cli.facts import Manifest, facts_of
from ekiben.cli.history import records_of
from ekiben.cli.patches import LAST_APPLIED, last_applied, three_way
from ekiben.cli.reading import now, say
from ekiben.cli.text import paint_for
from ekiben.core.capacity import Capacity
from ekiben.core.room import shortage
from ekiben.kube.client import ApiError
from ekiben.kube.kinds import MODELDEPLOYMENT
from ekiben.kube.room import find_room


async def plan(cluster: Cluster, options: Namespace) -> Exit:
    """Say what applying each model of a file would do."""
    models = [item for item in yamls.read_documents(options.filename) if yamls.is_model(item)]
    if not models:
        raise CommandError(f"-f {options.filename} holds no ModelDeployment", Exit.INVALID)
    code, told = Exit.OK, []
    for model in models:
        home = _home(cluster, model, options)
        try:
            made = await _plan(home, model)
        except ApiError as error:
            if not is_finding(error):
                raise
            code = Exit.INVALID
            told.append({"name": yamls.title(model), "verdict": "Refused", "findings": findings(error)})
            if not options.output:
                say([f"{yamls.title(model)}: {text}" for text in findings(error)])
        else:
            told.append(plans.as_data(made))
            if not options.output:
                say(plans.plan_lines(made, paint_for(sys.stdout)))
    if options.output:
        say([yamls.dump(told, options.output)])
    return code


def _home(cluster: Cluster, model: Manifest, options: Namespace) -> Cluster:
    """Return the namespace that a manifest goes to, as kubectl finds it."""
    about = model.get("metadata")
    if not isinstance(about, dict) or not isinstance(about.get("name"), str) or not about["name"]:
        raise CommandError(f"{yamls.title(model)}: metadata.name is missing", Exit.INVALID)
    named = about.get("namespace")
    if named and options.namespace and named != options.namespace:
        raise CommandError(
            f"{yamls.title(model)} is for namespace {named}, not {options.namespace}: leave -n out"
        )
    return Cluster(cluster.client, str(named or cluster.namespace))


async def _plan(cluster: Cluster, model: Manifest) -> plans.Plan:
    raw = await cluster.find(model["metadata"]["name"])
    stored = await cluster.known(await _rehearsed(cluster, model, raw))
    live = facts_of(raw) if raw is not None else None
    records = records_of(await cluster.records(live)) if live else {}
    made = plans.plan_for(stored, live, records, now())
    asked = plans.room_question(stored, live, now())
    return replace(made, notes=(*made.notes, *await _room(cluster, asked, made.revision))) if asked else made


async def _room(cluster: Cluster, asked: Capacity, revision: str) -> list[str]:
    """Say what the preflight finds, as far as whoever asks may look."""
    try:
        found = await find_room(cluster.client, cluster.namespace, asked)
    except ApiError as error:
        return [f"room was not looked for: {error.message}"]
    lacks = shortage(found, asked.pods, revision)
    return [*([f"preflight: {lacks}"] if lacks else []), *(f"preflight: {text}" for text in found.unseen)]


async def _rehearsed(cluster: Cluster, model: Manifest, live: Manifest | None) -> Manifest:
    """Return the object as the server would store it, if it were applied as it was the last time."""
    manifest = model | {"metadata": {**model["metadata"], "namespace": cluster.namespace}}
    manifest.pop("status", None)
    if live is None:
        return await cluster.rehearsing().client.create(MODELDEPLOYMENT, cluster.namespace, manifest)
    about = live["metadata"]
    if LAST_APPLIED in (about.get("annotations") or {}):
        spec = model.get("spec")
        if isinstance(spec, dict):
            spec = three_way(last_applied(live), live.get("spec") or {}, spec)
        rehearsal = cluster.rehearsing().client
        return await rehearsal.patch_merge(MODELDEPLOYMENT, cluster.namespace, about["name"], {"spec": spec})
    rehearsal = cluster.client.writing_as(applier(live), dry_run=True)
    return await rehearsal.apply(MODELDEPLOYMENT, cluster.namespace, manifest)


def applier(live: Manifest) -> str:
    """Return who applies the model server-side: what they leave out of the file goes away, no one else's."""
    entries = (live.get("metadata") or {}).get("managedFields") or ()
    names = [item.get("manager", "") for item in entries if item.get("operation") == "Apply"]
    return next((name for name in names if name != MANAGER), "kubectl")


def is_finding(error: ApiError) -> bool:
    """Tell whether the server says something about the manifest, and not about who asks."""
    return error.is_rejected and (error.status != 403 or "ValidatingAdmissionPolicy" in error.message)


def findings(error: ApiError) -> list[str]:
    """Part the server's message into its findings, one for each field."""
    message = " ".join(error.message.split())
    # What an apply can't be typed for comes with a preface that names the object once more.
    message = re.sub(r"^failed to create typed patch object \([^)]*\): \.?", "", message)
    listed = re.search(r"is invalid: \[(.*)\]$", message)
    found: Any = re.split(r", (?=(?:spec|metadata)[.:\[])", listed[1]) if listed else [message]
    return list(found)

"""Rules of the children: what is written to them, whose they are, and which must stay."""

from __future__ import annotations

from collections.abc import Iterator

from ekiben.api.status import Stage
from ekiben.core import names
from ekiben.core.snapshot import Manifest
from ekiben.core.splitting import rules_of
from unit.sim.apiserver import ref_of
from unit.sim.operator import Pass
from unit.sim.passes import ROUTE, in_flight


def shape_is_constant(done: Pass, manifest: Manifest) -> Iterator[str]:
    """I17: while a rollout has traffic no rule of its route comes or goes."""
    before, rollout = done.snapshot.live.get(ROUTE), in_flight(done.snapshot.status)
    if before is None or rollout is None or rollout.stage is Stage.PREPARING:
        return
    if shape_of(before) != shape_of(manifest):
        yield f"I17: the route's shape changes in {rollout.stage}"


def shape_of(route: Manifest) -> list[Manifest]:
    """Return a route's rules without their weights."""
    return [
        {**rule, "backendRefs": [item["name"] for item in rule["backendRefs"]]} for _, rule in rules_of(route)
    ]


def intents_without_replicas(done: Pass) -> Iterator[str]:
    """I8: an apply never carries a Deployment's replicas."""
    for manifest in done.plan.applies:
        if manifest["kind"] == "Deployment" and "replicas" in manifest["spec"]:
            yield f"I8: replicas in the intent of {manifest['metadata']['name']}"


def nothing_stolen(done: Pass) -> Iterator[str]:
    """I11: what is not ours is neither written nor deleted, and our Deployments keep their pod template."""
    asked = {ref_of(item) for item in done.plan.applies} | {item.ref for item in done.plan.deletes}
    for ref in asked & done.snapshot.foreign:
        yield f"I11: {ref.kind} {ref.name} is not ours"


def copies_kept(done: Pass) -> Iterator[str]:
    """I21: no revision that may start a pod loses its copy of a ConfigMap."""
    status, rollout = done.snapshot.status, in_flight(done.snapshot.status)
    needed = {item.revision for item in (*status.retiring, status.stable, rollout) if item}
    for delete in done.plan.deletes:
        if delete.ref.kind == "ConfigMap":
            revision = done.snapshot.live[delete.ref]["metadata"]["labels"][names.REVISION]
            if revision in needed or any(pod.revision == revision for pod in done.snapshot.pods):
                yield f"I21: {delete.ref.name} is deleted, and {revision} may need it"

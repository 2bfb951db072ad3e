"""What rules read from a pass: the rollout in flight, who gets which weight, whose pods can serve."""

from __future__ import annotations

from collections.abc import Mapping

from ekiben.api.status import RolloutStatus, Stage, Status
from ekiben.core import names
from ekiben.core.snapshot import Manifest, Ref, Snapshot
from ekiben.core.splitting import percent_to, rules_of
from ekiben.core.steps import Headers
from unit.sim.apiserver import ref_of
from unit.sim.operator import Pass
from unit.sim.world import MODEL

ROUTE = Ref("HTTPRoute", names.route(MODEL))
STABLE_SERVICE = Ref("Service", names.stable_service(MODEL))


def recreates(rollout: RolloutStatus) -> bool:
    """Tell whether a rollout takes stable down before the new revision comes up."""
    return rollout.plan is not None and rollout.plan.strategy == "Recreate"


def in_flight(status: Status) -> RolloutStatus | None:
    """Return the rollout in flight."""
    rollout = status.rollout
    return rollout if rollout is not None and rollout.stage is not Stage.OVER else None


def weights_by_revision(route: Manifest, services: Mapping[Ref, Manifest]) -> dict[str, int]:
    """Return the percent that each revision gets: the route's weights through the Services' selectors."""
    result: dict[str, int] = {}
    for backend in route["spec"]["rules"][0]["backendRefs"]:
        service = services.get(Ref("Service", backend["name"]))
        revision = service["spec"]["selector"].get(names.REVISION, "") if service else ""
        result[revision] = result.get(revision, 0) + backend["weight"]
    return result


def planned(done: Pass) -> dict[Ref, Manifest]:
    """Return the children as they will be when a plan is carried out."""
    return {**done.snapshot.live, **{ref_of(item): item for item in done.plan.applies}}


def ready_pods(snapshot: Snapshot, revision: str) -> int:
    """Count a revision's pods that can serve, as the decision saw them."""
    return sum(pod.ready and not pod.deleting for pod in snapshot.pods if pod.revision == revision)


def to_canary_by_header(route: Manifest) -> dict[Headers, int]:
    """Return the percent that each rule by headers sends to the canary's Service."""
    canary = names.canary_service(MODEL)
    return {headers: percent_to(rule, canary) for headers, rule in rules_of(route) if headers}

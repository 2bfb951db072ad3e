"""I24: with `rollout.warmup` no write raises a weight above what warm pods can carry."""

from __future__ import annotations

from collections.abc import Iterator

from ekiben.api.status import Stage
from ekiben.core import names
from ekiben.core.snapshot import InvalidSpec, Manifest, Ref
from ekiben.core.splitting import percent_to, rules_of
from ekiben.core.warming import WarmUpCall
from unit.sim.operator import Pass

_ON_TRIAL = frozenset(
    {
        Stage.PREPARING,
        Stage.SHIFTING,
        Stage.HOLDING,
        Stage.PAUSED,
        Stage.ENLARGING,
        Stage.TAKING_ALL,
    }
)


def raised_to_warm_pods(done: Pass, route: Manifest) -> Iterator[str]:
    """Compare a route that is written with the pods that have answered their warm-up."""
    snapshot = done.snapshot
    rollout, stable = snapshot.status.rollout, snapshot.status.stable
    if isinstance(snapshot.spec, InvalidSpec) or snapshot.spec.rollout.warmup is None:
        return
    if rollout is None or stable is None or rollout.stage not in _ON_TRIAL:
        return
    before = snapshot.live.get(Ref("HTTPRoute", names.route(snapshot.model.name)))
    weight, had = _weight(route), _weight(before) if before else 0
    warm = {
        call.uid
        for call, answer in snapshot.answers.items()
        if isinstance(call, WarmUpCall) and not answer.problem
    }
    ready = sum(pod.ready and pod.uid in warm and pod.revision == rollout.revision for pod in snapshot.pods)
    deployment = snapshot.live.get(
        Ref("Deployment", names.revision_child(snapshot.model.name, stable.revision))
    )
    size = max(deployment["spec"]["replicas"] if deployment else 1, 1)
    down = stable.ready_replicas == 0
    if weight > max(had, min(100 * ready // size, 100)) and not down:
        yield f"I24: {weight}% written, and {ready} warm pods can carry {100 * ready // size}%"


def _weight(route: Manifest) -> int:
    """Return the percent that the route's main rule sends to the canary."""
    canary = names.canary_service(route["metadata"]["name"])
    return next((percent_to(rule, canary) for headers, rule in rules_of(route) if not headers), 0)

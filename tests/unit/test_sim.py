"""The simulator itself: the cluster behaves as a cluster, and a wrong core does not get away with it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ekiben.api.status import Stage
from ekiben.core import names
from ekiben.core.plan import Delete, Event, Plan, Scale
from ekiben.core.reconcile import decide
from ekiben.core.snapshot import Manifest, Ref, Snapshot
from unit.sim import scenarios
from unit.sim.apiserver import ApiError, ApiServer, ref_of
from unit.sim.clock import Clock
from unit.sim.controllers import DeploymentController
from unit.sim.merge import merged
from unit.sim.nodes import Nodes
from unit.sim.scenario import SCENARIOS, Scenario, canary_spec, run, serve
from unit.sim.traffic import Traffic
from unit.sim.world import World

assert scenarios.__all__
Mutant = Callable[[Snapshot, Plan], Plan]
ROUTE = Ref("HTTPRoute", "iris")


def deployment(name: str = "iris-a", tag: str = "v1") -> Manifest:
    """Return a Deployment without replicas, as Ekiben applies it."""
    template = {
        "metadata": {"labels": {"ekiben.dev/model": "iris", "ekiben.dev/revision": name}},
        "spec": {"containers": [{"name": "bento", "image": f"iris:{tag}"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"ekiben.dev/revision": name}}, "template": template},
    }


def service(name: str = "iris", revision: str = "iris-a") -> Manifest:
    """Return a Service over one revision."""
    spec = {"selector": {"ekiben.dev/revision": revision}, "ports": [{"port": 3000}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def weighted(route: Manifest, weight: int) -> Manifest:
    """Return a route as it would be applied with another weight."""
    rule = route["spec"]["rules"][0]
    backends = [
        {**item, "weight": share}
        for item, share in zip(rule["backendRefs"], (100 - weight, weight), strict=True)
    ]
    meta: dict[str, Any] = {
        key: route["metadata"][key] for key in ("name", "namespace", "labels", "ownerReferences")
    }
    spec = {**route["spec"], "rules": [{**rule, "backendRefs": backends}]}
    return {"apiVersion": route["apiVersion"], "kind": "HTTPRoute", "metadata": meta, "spec": spec}


class Bench:
    """A cluster without an operator."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.server = ApiServer(self.clock, "iris", {})
        self.nodes = Nodes(self.clock)
        self.traffic = Traffic(self.clock, self.server, self.nodes)
        self.deployments = DeploymentController(self.clock, self.server, self.nodes)

    def run(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now + seconds)

    def replicas(self, name: str = "iris-a") -> int:
        return int(self.server.objects[Ref("Deployment", name)]["spec"]["replicas"])


def test_what_is_not_applied_any_more_goes_and_what_others_own_stays() -> None:
    before = {"spec": {"a": 1, "b": {"c": 2, "d": 3}}}
    live = {"spec": {"a": 1, "b": {"c": 2, "d": 3, "theirs": 4}, "default": 5}}
    assert merged(live, before, {"spec": {"a": 7}}) == {"spec": {"a": 7, "b": {"theirs": 4}, "default": 5}}


def test_a_selector_is_replaced_whole() -> None:
    live = {"spec": {"selector": {"model": "iris", "theirs": "x"}}}
    assert merged(live, {}, {"spec": {"selector": {"model": "iris"}}}) == {
        "spec": {"selector": {"model": "iris"}}
    }


def test_a_deployment_applied_without_replicas_starts_at_one_and_keeps_what_scale_set() -> None:
    bench = Bench()
    bench.server.apply(deployment())
    bench.run(10)
    assert bench.replicas() == 1
    bench.server.scale("iris-a", 3)
    bench.server.apply(deployment())
    bench.run(10)
    assert bench.replicas() == 3
    assert sum(pod.ready for pod in bench.nodes.pods.values()) == 3


def test_replicas_that_were_applied_and_are_dropped_fall_back_to_one() -> None:
    bench = Bench()
    manifest = deployment()
    bench.server.apply({**manifest, "spec": {**manifest["spec"], "replicas": 3}})
    assert bench.replicas() == 3
    bench.server.apply(manifest)
    assert bench.replicas() == 1


def test_applying_the_same_again_changes_nothing() -> None:
    bench = Bench()
    first, changed = bench.server.apply(deployment())
    second, changed_again = bench.server.apply(deployment())
    assert (changed, changed_again) == (True, False)
    assert first == second


def test_a_status_is_written_only_on_the_version_it_was_decided_on() -> None:
    bench = Bench()
    bench.server.edit_model({"bento": {"image": "iris:v2"}})
    with pytest.raises(ApiError, match="Conflict"):
        bench.server.write_status({"phase": "Healthy"}, "1")
    assert bench.server.write_status({"phase": "Healthy"}, bench.server.model["metadata"]["resourceVersion"])


def test_requests_without_ready_pods_are_lost_and_the_others_are_counted_where_they_went() -> None:
    bench = Bench()
    bench.server.apply(deployment())
    bench.server.apply(service())
    bench.server.apply(service("iris-canary", "iris-b"))
    bench.run(10)
    bench.traffic.rate = 100.0
    bench.traffic.set_weights({"iris": 75, "iris-canary": 25})
    bench.run(8)
    assert round(bench.traffic.sent) == 800
    assert round(bench.traffic.lost) == 200
    assert round(bench.traffic.served_by["iris-a"]) == 600


def test_a_deleted_pod_gets_no_more_requests_and_a_new_one_takes_its_place() -> None:
    bench = Bench()
    bench.server.apply(deployment())
    bench.run(10)
    (pod,) = bench.nodes.pods.values()
    bench.nodes.delete(pod)
    assert not pod.serves
    bench.run(20)
    assert [other.ready for other in bench.nodes.pods.values()] == [True]
    assert pod.uid not in bench.nodes.pods


# Wrong cores: each breaks one rule now and then, and must be caught by the invariant that guards it.


def replicas_in_the_intent(snapshot: Snapshot, plan: Plan) -> Plan:
    """Apply Deployments with replicas."""
    applies = tuple(
        {**item, "spec": {**item["spec"], "replicas": 2}} if item["kind"] == "Deployment" else item
        for item in plan.applies
    )
    return replace(plan, applies=applies)


def weight_before_the_pods(snapshot: Snapshot, plan: Plan) -> Plan:
    """Write the canary's weight as soon as the rollout starts."""
    rollout, route = snapshot.status.rollout, snapshot.live.get(ROUTE)
    if rollout is None or rollout.plan is None or rollout.stage is not Stage.PREPARING or route is None:
        return plan
    return replace(plan, applies=(*plan.applies, weighted(route, 50)))


def weight_never_taken_back(snapshot: Snapshot, plan: Plan) -> Plan:
    """Leave the weight with a canary whose pods are gone."""
    rollout = snapshot.status.rollout
    if rollout is None or rollout.stage is not Stage.HOLDING:
        return plan
    return replace(plan, applies=tuple(item for item in plan.applies if item["kind"] != "HTTPRoute"))


def two_steps_at_once(snapshot: Snapshot, plan: Plan) -> Plan:
    """Skip the step between."""
    status = plan.status
    rollout = status.rollout if status else None
    if status is None or rollout is None or rollout.stage is not Stage.SHIFTING or rollout.step != 1:
        return plan
    skipped = rollout.model_copy(update={"step": 2})
    return replace(plan, status=status.model_copy(update={"rollout": skipped}))


def stable_shrinks_on_the_way(snapshot: Snapshot, plan: Plan) -> Plan:
    """Take a pod from stable while the canary is judged."""
    rollout, stable = snapshot.status.rollout, snapshot.status.stable
    if rollout is None or stable is None or rollout.stage is not Stage.HOLDING or stable.replicas < 4:
        return plan
    return replace(plan, scales=(*plan.scales, Scale(f"iris-{stable.revision}", 3)))


def numbers_used_again(snapshot: Snapshot, plan: Plan) -> Plan:
    """Give every rollout the number 1."""
    status = plan.status
    if status is None or status.rollout is None:
        return plan
    renamed = status.rollout.model_copy(update={"id": f"{status.rollout.revision}.1"})
    return replace(plan, status=status.model_copy(update={"rollout": renamed}))


def children_before_the_status(snapshot: Snapshot, plan: Plan) -> Plan:
    """Create the new revision's Deployment in the pass that starts its rollout."""
    status = plan.status
    if status is None or snapshot.status.rollout is None or plan.requeue_after != 0.0:
        return plan
    rollout = status.rollout
    if rollout is None or rollout.id == snapshot.status.rollout.id:
        return plan
    after = decide(replace(snapshot, status=status))
    return replace(plan, applies=after.applies)


def talks_all_the_time(snapshot: Snapshot, plan: Plan) -> Plan:
    """Say something every ten seconds."""
    event = Event("Normal", "StillHere", "Say", f"{snapshot.now}")
    return replace(plan, events=(*plan.events, event), requeue_after=min(plan.requeue_after or 10.0, 10.0))


def writes_what_is_in_sync(snapshot: Snapshot, plan: Plan) -> Plan:
    """Apply the route in every pass, as it is."""
    route = snapshot.live.get(ROUTE)
    if route is None or plan.applies:
        return plan
    weight = route["spec"]["rules"][0]["backendRefs"][1]["weight"]
    return replace(plan, applies=(weighted(route, weight),))


def narrows_before_the_pods(snapshot: Snapshot, plan: Plan) -> Plan:
    """Point the stable Service at the new revision before it has pods."""
    live, rollout = snapshot.live.get(Ref("Service", "iris")), snapshot.status.rollout
    if live is None or rollout is None or rollout.stage is not Stage.PREPARING:
        return plan
    spec = {**live["spec"], "selector": {**live["spec"]["selector"], "ekiben.dev/revision": rollout.revision}}
    meta = {key: live["metadata"][key] for key in ("name", "namespace", "labels", "ownerReferences")}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
    return replace(plan, applies=(*plan.applies, service))


def steals_the_name(snapshot: Snapshot, plan: Plan) -> Plan:
    """Apply to what belongs to somebody else."""
    stolen = (service(ref.name) for ref in sorted(snapshot.foreign))
    return replace(plan, applies=(*plan.applies, *stolen))


def canary_shrinks_under_its_weight(snapshot: Snapshot, plan: Plan) -> Plan:
    """Take pods from a canary that carries half of the traffic."""
    rollout = snapshot.status.rollout
    if rollout is None or rollout.stage is not Stage.HOLDING or rollout.step != 2:
        return plan
    return replace(plan, scales=(Scale(f"iris-{rollout.revision}", 1),))


def time_runs_ahead(snapshot: Snapshot, plan: Plan) -> Plan:
    """Think that a step has been held for longer than it was."""
    rollout = snapshot.status.rollout
    if rollout is None or rollout.stage is not Stage.HOLDING:
        return plan
    return decide(replace(snapshot, now=snapshot.now + timedelta(seconds=10)))


def requests_count_twice(snapshot: Snapshot, plan: Plan) -> Plan:
    """Take each request for two."""
    seen = snapshot.observation
    if seen is None:
        return plan
    doubled = {
        revision: counters.model_copy(update={"requests": 2 * counters.requests})
        for revision, counters in seen.counters.items()
    }
    return decide(replace(snapshot, observation=replace(seen, counters=doubled)))


def settled_for_ever(snapshot: Snapshot, plan: Plan) -> Plan:
    """Never look again at a child that was as it should be."""
    return replace(plan, applies=tuple(item for item in plan.applies if ref_of(item) not in snapshot.settled))


def _as_applied(route: Manifest, rules: list[Manifest]) -> Manifest:
    meta = {key: route["metadata"][key] for key in ("name", "namespace", "labels", "ownerReferences")}
    spec = {**route["spec"], "rules": rules}
    return {"apiVersion": route["apiVersion"], "kind": "HTTPRoute", "metadata": meta, "spec": spec}


def headers_before_the_pods(snapshot: Snapshot, plan: Plan) -> Plan:
    """Send requests with headers to the canary as soon as the rollout starts."""
    rollout, route = snapshot.status.rollout, snapshot.live.get(ROUTE)
    if rollout is None or rollout.stage is not Stage.PREPARING or route is None:
        return plan
    main, *others = route["spec"]["rules"]
    turned = [{**rule, "backendRefs": [*reversed(rule["backendRefs"])]} for rule in others]
    for rule in turned:
        rule["backendRefs"] = [{**item, "weight": 100 - item["weight"]} for item in rule["backendRefs"]]
    return replace(plan, applies=(*plan.applies, _as_applied(route, [main, *turned])))


def rules_come_and_go(snapshot: Snapshot, plan: Plan) -> Plan:
    """Take the rules by header away while the canary is judged."""
    rollout, route = snapshot.status.rollout, snapshot.live.get(ROUTE)
    if rollout is None or rollout.stage is not Stage.HOLDING or route is None:
        return plan
    return replace(plan, applies=(*plan.applies, _as_applied(route, route["spec"]["rules"][:1])))


def comes_before_the_other_has_gone(snapshot: Snapshot, plan: Plan) -> Plan:
    """Bring the new revision up while the old one's pods are still ending."""
    rollout = snapshot.status.rollout
    if rollout is None or rollout.stage is not Stage.DRAINING:
        return plan
    gone = tuple(pod for pod in snapshot.pods if not pod.deleting)
    return decide(replace(snapshot, pods=gone))


def comes_back_smaller(snapshot: Snapshot, plan: Plan) -> Plan:
    """Give a stable that was taken down one pod back, and call that its size."""
    rollout = snapshot.status.rollout
    if rollout is None or rollout.stage is not Stage.RESTORING:
        return plan
    small = rollout.model_copy(update={"stable_replicas": 1})
    return decide(replace(snapshot, status=snapshot.status.model_copy(update={"rollout": small})))


def pods_read_the_original(snapshot: Snapshot, plan: Plan) -> Plan:
    """Let the pods of every revision read the ConfigMap itself."""
    original = {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "flags", "key": "colour"}}}

    def renamed(manifest: Manifest) -> Manifest:
        result = deepcopy(manifest)
        if manifest["kind"] == "Deployment":
            containers = result["spec"]["template"]["spec"]["containers"]
            containers[0]["env"] = [
                original if item["name"] == "COLOUR" else item for item in containers[0]["env"]
            ]
        return result

    return replace(plan, applies=tuple(map(renamed, plan.applies)))


def copies_go_with_the_traffic(snapshot: Snapshot, plan: Plan) -> Plan:
    """Delete the copies of a revision as soon as it retires."""
    retiring = {item.revision for item in snapshot.status.retiring}
    early = tuple(
        Delete(ref, live["metadata"]["uid"])
        for ref, live in snapshot.live.items()
        if ref.kind == "ConfigMap" and live["metadata"]["labels"][names.REVISION] in retiring
    )
    return replace(plan, deletes=(*plan.deletes, *early))


def gives_up_too_much(snapshot: Snapshot, plan: Plan) -> Plan:
    """Leave a stable that shrinks one pod, whatever the canary carries."""
    rollout, stable = snapshot.status.rollout, snapshot.status.stable
    if rollout is None or stable is None or rollout.stage is not Stage.HOLDING or rollout.step != 1:
        return plan
    return replace(plan, scales=(Scale(f"iris-{stable.revision}", 1),))


def takes_all_back(snapshot: Snapshot, plan: Plan) -> Plan:
    """Give a stable that has shrunk everything at once."""
    rollout, route = snapshot.status.rollout, snapshot.live.get(ROUTE)
    if rollout is None or rollout.stage is not Stage.ABORTING or route is None:
        return plan
    return replace(plan, applies=(weighted(route, 0),))


def blames_for_missing_pods(snapshot: Snapshot, plan: Plan) -> Plan:
    """Judge as if nobody scaled the canary, once it has fewer pods than its autoscaler wants."""
    before, after = snapshot.status.rollout, plan.status.rollout if plan.status else None
    if before is None or after is None or before.growing_since is not None or after.growing_since is None:
        return plan
    live = {ref: raw for ref, raw in snapshot.live.items() if ref.kind != "HorizontalPodAutoscaler"}
    return decide(replace(snapshot, live=live))


MUTANTS: tuple[tuple[Mutant, str, str], ...] = (
    (replicas_in_the_intent, "canary-promoted-through-the-gateway", "I8"),
    (weight_before_the_pods, "canary-promoted-through-the-gateway", "I1"),
    (weight_before_the_pods, "canary-promoted-through-the-gateway", "I9"),
    (weight_never_taken_back, "canary-pods-lost-mid-step", "I2"),
    (two_steps_at_once, "canary-promoted-through-the-gateway", "I3"),
    (stable_shrinks_on_the_way, "canary-promoted-through-the-gateway", "I4"),
    (narrows_before_the_pods, "canary-promoted-through-the-gateway", "I5"),
    (numbers_used_again, "canary-promoted-through-the-gateway", "I6"),
    (talks_all_the_time, "first-revision", "I7"),
    (children_before_the_status, "canary-promoted-through-the-gateway", "I9"),
    (writes_what_is_in_sync, "canary-promoted-through-the-gateway", "I10"),
    (steals_the_name, "child-name-taken", "I11"),
    (settled_for_ever, "canary-promoted-through-the-gateway", "I15"),
    (canary_shrinks_under_its_weight, "canary-promoted-through-the-gateway", "I12"),
    (time_runs_ahead, "canary-promoted-through-the-gateway", "I13"),
    (comes_before_the_other_has_gone, "recreate-takes-down-then-brings-up", "I18"),
    (comes_back_smaller, "recreate-brings-the-old-back-when-the-new-crashes", "I19"),
    (pods_read_the_original, "config-changed", "I20"),
    (copies_go_with_the_traffic, "config-changed", "I21"),
    (requests_count_twice, "canary-promoted-through-the-gateway", "I14"),
    (headers_before_the_pods, "testers-go-first-by-header", "I9"),
    (headers_before_the_pods, "testers-go-first-by-header", "I16"),
    (gives_up_too_much, "stable-shrinks-as-the-canary-grows", "I22"),
    (takes_all_back, "shrunk-stable-takes-the-traffic-back-pod-by-pod", "I23"),
    (weight_before_the_pods, "cold-canary-waits-until-it-is-quick", "I24"),
    (rules_come_and_go, "testers-go-first-by-header", "I17"),
    (blames_for_missing_pods, "slow-until-its-pods-are-there", "I34"),
)


@pytest.mark.parametrize(
    ("mutant", "name", "rule"), MUTANTS, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_a_wrong_core_is_caught(mutant: Mutant, name: str, rule: str) -> None:
    def wrong(snapshot: Snapshot) -> Plan:
        return mutant(snapshot, decide(snapshot))

    good: Scenario = SCENARIOS[name]
    problems = run(good, decide=wrong).problems
    assert any(f"{rule}:" in problem for problem in problems), problems


def test_a_policy_that_is_all_that_is_left_of_a_revision_goes() -> None:
    left = Ref("PodDisruptionBudget", "iris-zzzzzzzzzz")

    def play(world: World) -> None:
        serve(world)
        (live,) = (item for ref, item in world.server.objects.items() if ref.kind == left.kind)
        labels = {**live["metadata"]["labels"], names.REVISION: "zzzzzzzzzz"}
        world.server.create({**live, "metadata": {**live["metadata"], "name": left.name, "labels": labels}})
        world.run(5)
        assert left not in world.server.objects

    run(Scenario("left over", "", canary_spec(), play))


def test_a_refused_spec_in_a_bake_costs_no_second_write_for_the_same_verdict() -> None:
    """Figures may have been written just before: the words must not change in the next pass."""
    assert not run(SCENARIOS["bake-outlives-a-refused-spec"], seed=3).problems

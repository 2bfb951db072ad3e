"""What must hold at every instant of every run, whatever the order of things.

Each rule is one function, numbered as in the failures that it reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ekiben.api.status import RolloutStatus, Stage, Status
from ekiben.core import names
from ekiben.core.revision import record_of
from ekiben.core.snapshot import Manifest, Ref, Snapshot
from ekiben.core.splitting import percent_to, rules_of
from ekiben.core.steps import Headers
from ekiben.core.tracking import content_digest, digests_of
from unit.sim.apiserver import Write, ref_of
from unit.sim.budget import Budget
from unit.sim.evidence import Evidence
from unit.sim.nodes import SimPod
from unit.sim.operator import Pass
from unit.sim.warmth import raised_to_warm_pods
from unit.sim.world import MODEL, World

ROUTE = Ref("HTTPRoute", names.route(MODEL))
STABLE_SERVICE = Ref("Service", names.stable_service(MODEL))
PODS_FAIL = ("CrashLoop", "NeverReady", "Restarted", "ReadinessLost", "CounterReset")
EVERYTHING = frozenset({Stage.TAKING_ALL, Stage.REPOINTING, Stage.RECALLING, Stage.REINSTATING})
ONE_AT_A_TIME = frozenset({Stage.REPLACING, Stage.RESTORING})
# A bake, from its beginning until everything has gone back.
BAKED = frozenset({Stage.BAKING, Stage.RECALLING})

# Where a rollout may go in one pass; staying is always allowed. None is: no rollout in flight.
EDGES: Mapping[Stage | None, frozenset[Stage | None]] = {
    None: frozenset({Stage.PREPARING, Stage.PREFLIGHT}),
    Stage.PREFLIGHT: frozenset({Stage.PREPARING, None}),
    Stage.PREPARING: frozenset(
        {Stage.SHIFTING, Stage.HOLDING, Stage.PAUSED, Stage.ENLARGING, Stage.ABORTING, None}
    ),
    Stage.SHIFTING: frozenset(
        {Stage.PREPARING, Stage.HOLDING, Stage.PAUSED, Stage.ENLARGING, Stage.ABORTING}
    ),
    Stage.HOLDING: frozenset(
        {Stage.PREPARING, Stage.SHIFTING, Stage.PAUSED, Stage.ENLARGING, Stage.ABORTING}
    ),
    Stage.PAUSED: frozenset(
        {Stage.PREPARING, Stage.SHIFTING, Stage.HOLDING, Stage.ENLARGING, Stage.ABORTING}
    ),
    Stage.ENLARGING: frozenset({Stage.TAKING_ALL, Stage.REPOINTING, Stage.ABORTING}),
    Stage.TAKING_ALL: frozenset({Stage.REPOINTING, Stage.ABORTING}),
    Stage.REPOINTING: frozenset({Stage.RETURNING, Stage.BAKING, None}),
    Stage.RETURNING: frozenset({Stage.BAKING, None}),
    Stage.BAKING: frozenset({Stage.RECALLING, Stage.REINSTATING, None}),
    Stage.RECALLING: frozenset({Stage.REINSTATING}),
    Stage.REINSTATING: frozenset({Stage.ABORTING, None}),
    Stage.ABORTING: frozenset({None}),
}
# Recreate's own way; before it begins nothing was touched, and it is over at once.
RECREATING: Mapping[Stage | None, frozenset[Stage | None]] = {
    Stage.PREPARING: frozenset({Stage.DRAINING, Stage.PREFLIGHT, None}),
    Stage.DRAINING: frozenset({Stage.REPLACING, Stage.CLEARING}),
    Stage.REPLACING: frozenset({Stage.REPOINTING, Stage.CLEARING}),
    Stage.CLEARING: frozenset({Stage.RESTORING}),
    Stage.RESTORING: frozenset({None}),
    Stage.REPOINTING: frozenset({None}),
}


class Invariants:
    """Watches a world; `violations` is empty at the end of a good run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.violations: list[str] = []
        self.budget = Budget()
        self.evidence = Evidence(world)
        self._found: Pass | None = None
        self._rollout, self._number = "", 0
        self._sizes: dict[str, int] = {}
        self._had: dict[str, int] = {}
        world.operator.on_decided = self._decided
        world.operator.on_write = self._written
        world.server.watchers.append(self._changed)
        world.nodes.watchers.append(self._pod_changed)
        world.nodes.watchers.append(lambda pod: self._note(self._config_of_its_birth(pod)))

    def _note(self, problems: Iterator[str]) -> None:
        self.violations += [f"+{self.world.clock.now:.2f}s {problem}" for problem in problems]

    def _decided(self, done: Pass) -> None:
        self._note(self._weight_taken_back(done))
        self._note(at_most_one_step(done))
        self._note(intents_without_replicas(done))
        self._note(nothing_stolen(done))
        self._note(no_header_without_pods(done))
        self._note(self._size_given_back(done))
        self._note(self._memory_decides_nothing(done))
        self._note(copies_kept(done))

    def _memory_decides_nothing(self, done: Pass) -> Iterator[str]:
        """I15: what was settled or named before saves work; without it the same would be decided."""
        if self.world.operator.passes % 4:
            return  # It doubles the time of a pass.
        forgetful = self.world.operator.decide(replace(done.snapshot, settled={}, wanted=None))
        if (forgetful.applies, forgetful.settled) != (done.plan.applies, done.plan.settled):
            yield "I15: another plan without what is remembered of settled children"

    def _written(self, done: Pass, write: Write, manifest: Manifest | None) -> None:
        self._note(self.budget.written(done, write))
        if write.verb == "status":
            self._note(self._numbers_grow(done))
            self._note(stable_has_pods(done))
            self._note(self.evidence.written(done))
        if manifest is not None:
            self._note(written_ahead(done, manifest))
        if write.ref == ROUTE and manifest is not None:
            self._note(raised_within_capacity(done, manifest, self.world.server.objects))
            self._note(raised_to_warm_pods(done, manifest))
            self._note(shape_is_constant(done, manifest))
            self._note(given_back_within_capacity(done, manifest))
        if write.verb == "scale":
            self._note(stable_not_shrunk(done, write.ref))
            self._note(stable_shrunk_within_capacity(done, write.ref))
            self._note(canary_not_shrunk(done, write.ref))

    def _changed(self, ref: Ref) -> None:
        """I4: while a canary carries traffic, nobody shrinks stable, its autoscaler included."""
        live = self.world.server.objects.get(ref)
        if ref.kind != "Deployment" or live is None:
            return
        before, now = self._sizes.get(ref.name), live["spec"]["replicas"]
        self._sizes[ref.name] = now
        status = self.world.status
        rollout = in_flight(status)
        if before is None or rollout is None or rollout.stage is Stage.PREPARING or status.stable is None:
            return
        if recreates(rollout) and rollout.stage in (Stage.DRAINING, Stage.CLEARING):
            return  # By strategy; an autoscaler has no part in it, for there is none any more.
        if rollout.full_size is not None:
            return
        if now < before and ref.name == names.revision_child(MODEL, status.stable.revision):
            self._note(iter([f"I4: stable shrank from {before} to {now} in {rollout.stage}"]))
        held = names.revision_child(MODEL, rollout.previous or "")
        if now < before and ref.name == held and rollout.stage in BAKED:
            self._note(iter([f"I20: the way back shrank from {before} to {now} in {rollout.stage}"]))

    def _pod_changed(self, pod: SimPod) -> None:
        """I18: in Recreate no pod of one revision comes while the other has any that will end."""
        rollout, nodes = in_flight(self.world.status), self.world.nodes
        if rollout is None or not recreates(rollout) or pod.uid not in nodes.pods or pod.deleting:
            return
        others = [item for item in nodes.pods.values() if item.tag != pod.tag]
        if rollout.stage in ONE_AT_A_TIME and any(nodes.behaviour(item.tag).ends for item in others):
            self._note(iter([f"I18: {pod.name} in {rollout.stage} beside {others[0].name}"]))

    def _size_given_back(self, done: Pass) -> Iterator[str]:
        """I19: a Recreate that is given up is over only once stable has been asked for its size again."""
        before, after = in_flight(done.snapshot.status), done.plan.status
        stable = done.snapshot.status.stable
        if before is None or stable is None or not recreates(before):
            return
        live = done.snapshot.live.get(Ref("Deployment", names.revision_child(MODEL, stable.revision)))
        has = live["spec"]["replicas"] if live else 0
        if before.stage is Stage.PREPARING and has:
            self._had[before.id] = has
        over = after is not None and in_flight(after) is None
        if before.stage is Stage.RESTORING and over and has != self._had.get(before.id, has):
            yield f"I19: stable comes back with {has} of {self._had[before.id]} pods"

    def _config_of_its_birth(self, pod: SimPod) -> Iterator[str]:
        """I20: a pod reads what its revision was born with, whenever it is started."""
        revision = pod.labels[names.REVISION]
        live = self.world.server.objects.get(Ref("ControllerRevision", names.revision_child(MODEL, revision)))
        record = record_of(live) if live else None
        if pod.started is None or record is None:
            return
        born_with = sorted(digests_of(record).values())
        if born_with and sorted(map(content_digest, pod.config.values())) != born_with:
            yield f"I20: {pod.name} reads other config than {revision} was born with"

    def _weight_taken_back(self, done: Pass) -> Iterator[str]:
        """I2: a canary whose pods are gone loses its weight, at the latest right behind a transition."""
        found = list(no_weight_without_pods(done))
        overdue = self._found is not None and not self._found.failed
        if found and (overdue or done.plan.requeue_after != 0.0):
            yield from found
        self._found = done if found else None

    def _numbers_grow(self, done: Pass) -> Iterator[str]:
        """I6: the number of a rollout is never used twice and only grows."""
        rollout = done.plan.status.rollout if done.plan.status else None
        if rollout is None:
            return
        number = int(rollout.id.rpartition(".")[2])
        if rollout.id != self._rollout and number <= self._number:
            yield f"I6: rollout {rollout.id} after {self._rollout}"
        self._rollout, self._number = rollout.id, max(number, self._number)


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


def raised_within_capacity(done: Pass, manifest: Manifest, services: Mapping[Ref, Manifest]) -> Iterator[str]:
    """I1: a weight is written upward only as far as ready pods can carry it."""
    snapshot = done.snapshot
    stable, before = snapshot.status.stable, snapshot.live.get(ROUTE)
    if stable is None or before is None:
        return
    size = full_size(snapshot, stable.revision)
    old, new = weights_by_revision(before, services), weights_by_revision(manifest, services)
    for revision, weight in new.items():
        capacity = 100 * ready_pods(snapshot, revision) // max(size, 1)
        if not ready_pods(snapshot, stable.revision) and ready_pods(snapshot, revision):
            rollout = in_flight(snapshot.status)
            if rollout is not None and rollout.stage is Stage.RECALLING:
                continue  # Nothing serves any more but what is gone back to.
        if revision != stable.revision and weight > max(old.get(revision, 0), min(capacity, 100)):
            yield f"I1: {weight}% written for {revision}, whose ready pods can carry {capacity}% of {size}"


def stable_has_pods(done: Pass) -> Iterator[str]:
    """I21: another revision becomes stable, forward or back, only where it has a pod for the requests."""
    snapshot, status = done.snapshot, done.plan.status
    before, now = snapshot.status.stable, status.stable if status else None
    if before is None or now is None or before.revision == now.revision:
        return
    if ready_pods(snapshot, before.revision) and not ready_pods(snapshot, now.revision):
        yield f"I21: {now.revision} becomes stable in place of {before.revision}, and has no ready pod"


def no_weight_without_pods(done: Pass) -> Iterator[str]:
    """Say which canary would keep its weight without pods."""
    snapshot = done.snapshot
    stable, live = snapshot.status.stable, snapshot.live.get(ROUTE)
    if stable is None or live is None or not ready_pods(snapshot, stable.revision):
        return
    after = planned(done)
    for revision, weight in weights_by_revision(after[ROUTE], after).items():
        if revision not in ("", stable.revision) and weight and not ready_pods(snapshot, revision):
            yield f"I2: {revision} keeps {weight}% without a ready pod"


def to_canary_by_header(route: Manifest) -> dict[Headers, int]:
    """Return the percent that each rule by headers sends to the canary's Service."""
    canary = names.canary_service(MODEL)
    return {headers: percent_to(rule, canary) for headers, rule in rules_of(route) if headers}


def no_header_without_pods(done: Pass) -> Iterator[str]:
    """I16: requests are sent to the canary by their headers only while it has a ready pod to serve them."""
    snapshot, route = done.snapshot, planned(done).get(ROUTE)
    rollout = in_flight(snapshot.status)
    if route is None or rollout is None or done.plan.requeue_after == 0.0:
        return
    if not ready_pods(snapshot, rollout.revision) and any(to_canary_by_header(route).values()):
        yield f"I16: requests with headers go to {rollout.revision}, which has no ready pod"


def shape_is_constant(done: Pass, manifest: Manifest) -> Iterator[str]:
    """I17: while a rollout has traffic no rule of the route comes or goes (rule 7 of the design)."""
    before, rollout = done.snapshot.live.get(ROUTE), in_flight(done.snapshot.status)
    if before is None or rollout is None or rollout.stage is Stage.PREPARING:
        return
    shapes = [
        [
            {**rule, "backendRefs": [item["name"] for item in rule["backendRefs"]]}
            for _, rule in rules_of(item)
        ]
        for item in (before, manifest)
    ]
    if shapes[0] != shapes[1]:
        yield f"I17: the route's shape changes in {rollout.stage}"


def shape_of(route: Manifest) -> list[Manifest]:
    """Return a route's rules without their weights."""
    return [
        {**rule, "backendRefs": [item["name"] for item in rule["backendRefs"]]} for _, rule in rules_of(route)
    ]


def at_most_one_step(done: Pass) -> Iterator[str]:
    """I3: one pass makes at most one transition, and only one that the theory knows."""
    if done.plan.status is None or not done.snapshot.status.conditions:
        return
    before, after = in_flight(done.snapshot.status), in_flight(done.plan.status)
    stages = (before.stage if before else None, after.stage if after else None)
    ways = EDGES if before is None or not recreates(before) else RECREATING
    if after and before and recreates(after) is not recreates(before):
        ways = {before.stage: frozenset({Stage.PREPARING, Stage.PREFLIGHT})}
    if stages[0] is not stages[1] and stages[1] not in ways.get(stages[0], ()):
        yield f"I3: from {stages[0]} to {stages[1]} in one pass"
    if (
        before
        and after
        and before.id == after.id
        and after.step > before.step + 1
        and before.plan == after.plan
    ):
        yield f"I3: from step {before.step} to step {after.step} in one pass"


def stable_not_shrunk(done: Pass, ref: Ref) -> Iterator[str]:
    """I4: the operator never scales stable down while a rollout is in flight."""
    status, live = done.snapshot.status, done.snapshot.live.get(ref)
    stable, rollout = status.stable, in_flight(status)
    if rollout is None or rollout.full_size is not None or stable is None or live is None:
        return
    asked = next(item.replicas for item in done.plan.scales if item.deployment == ref.name)
    rollout = in_flight(status)
    if rollout and recreates(rollout) and rollout.stage in (Stage.DRAINING, Stage.CLEARING):
        return
    if ref.name == names.revision_child(MODEL, stable.revision) and asked < live["spec"]["replicas"]:
        yield f"I4: stable scaled from {live['spec']['replicas']} to {asked} in {in_flight(status)}"


def full_size(snapshot: Snapshot, stable: str) -> int:
    """Return the pods that carry all traffic: stable's, or those that it had before it gave some up."""
    rollout = in_flight(snapshot.status)
    deployment = snapshot.live.get(Ref("Deployment", names.revision_child(MODEL, stable)))
    recorded = rollout.full_size if rollout and rollout.full_size else 0
    return max(recorded or (deployment["spec"]["replicas"] if deployment else 1), 1)


def stable_shrunk_within_capacity(done: Pass, ref: Ref) -> Iterator[str]:
    """I22: stable gives up no pod that its share needs, nor one without a ready pod of the canary for it."""
    snapshot, rollout = done.snapshot, in_flight(done.snapshot.status)
    stable, route = snapshot.status.stable, snapshot.live.get(ROUTE)
    if rollout is None or rollout.full_size is None or stable is None or route is None:
        return
    if ref.name != names.revision_child(MODEL, stable.revision) or stable.revision == rollout.revision:
        return
    asked = next(item.replicas for item in done.plan.scales if item.deployment == ref.name)
    before, full = snapshot.live[ref]["spec"]["replicas"], full_size(snapshot, stable.revision)
    weight = weights_by_revision(route, planned(done)).get(rollout.revision, 0)
    given_up = max(full - asked, 0)
    if asked < before and (
        100 * given_up // full > weight or given_up > ready_pods(snapshot, rollout.revision)
    ):
        yield f"I22: stable scaled to {asked} of {full} while the route gives the canary {weight}%"
    if asked < before and asked < 1:
        yield "I22: stable scaled to nothing before the canary is stable"


def given_back_within_capacity(done: Pass, manifest: Manifest) -> Iterator[str]:
    """I23: stable that shrank gets back what its ready pods carry, unless the canary fails outright."""
    snapshot, rollout = done.snapshot, in_flight(done.snapshot.status)
    stable, before = snapshot.status.stable, snapshot.live.get(ROUTE)
    if rollout is None or rollout.full_size is None or stable is None or before is None:
        return
    if stable.revision == rollout.revision or rollout.reason in PODS_FAIL:
        return
    services = snapshot.live
    old, new = weights_by_revision(before, services), weights_by_revision(manifest, services)
    canary, pods = new.get(rollout.revision, 0), ready_pods(snapshot, rollout.revision)
    ready, full = ready_pods(snapshot, stable.revision), full_size(snapshot, stable.revision)
    least = 100 * max(full - ready, 0) // full
    if pods and canary < old.get(rollout.revision, 0) and canary < least and pods + ready >= full:
        yield f"I23: {canary}% left with the canary while {ready} pods of stable carry {100 - least}%"


def canary_not_shrunk(done: Pass, ref: Ref) -> Iterator[str]:
    """I12: no revision is scaled below what the weight needs that the route still gives it."""
    snapshot = done.snapshot
    stable, route = snapshot.status.stable, snapshot.live.get(ROUTE)
    if stable is None or route is None:
        return
    full = full_size(snapshot, stable.revision)
    asked = next(item.replicas for item in done.plan.scales if item.deployment == ref.name)
    before = snapshot.live[ref]["spec"]["replicas"] if ref in snapshot.live else asked
    for revision, weight in weights_by_revision(route, planned(done)).items():
        is_it = revision != stable.revision and ref.name == names.revision_child(MODEL, revision)
        if is_it and asked < before and 100 * asked < weight * full:
            yield f"I12: {revision} scaled to {asked} while the route gives it {weight}%"


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


def written_ahead(done: Pass, manifest: Manifest) -> Iterator[str]:
    """I9: what a write brings about stood in the status that the decision was made from."""
    status, ref = done.snapshot.status, ref_of(manifest)
    rollout = in_flight(status)
    known = {item.revision for item in status.retiring}
    known |= {status.stable.revision} if status.stable else set()
    known |= {rollout.revision} if rollout else set()
    if ref.kind == "Deployment" and ref not in done.snapshot.live:
        revision = ref.name.removeprefix(f"{MODEL}-")
        if revision not in known:
            yield f"I9: {ref.name} is created before the status names its revision"
    if ref == STABLE_SERVICE:
        revision = manifest["spec"]["selector"].get(names.REVISION)
        if status.stable and revision not in (None, status.stable.revision):
            yield f"I9: the stable Service selects {revision} before the status says so"
    if ref == ROUTE:
        weight = next(
            item["weight"]
            for item in manifest["spec"]["rules"][0]["backendRefs"]
            if item["name"] == names.canary_service(MODEL)
        )
        if weight > max(allowed_weight(rollout), still_held(done, rollout)):
            yield f"I9: {weight}% is written before the status says so"
        for headers, percent in to_canary_by_header(manifest).items():
            if percent and not is_allowed_by_header(rollout, headers):
                yield f"I9: requests with {sorted(headers)} go to the canary before the status says so"


def still_held(done: Pass, rollout: RolloutStatus | None) -> int:
    """Return what a canary that is given up may keep of its weight, where stable has to grow back first."""
    route = done.snapshot.live.get(ROUTE)
    if rollout is None or rollout.stage is not Stage.ABORTING or rollout.full_size is None or route is None:
        return 0
    (main,) = (rule for headers, rule in rules_of(route) if not headers)
    return percent_to(main, names.canary_service(MODEL))


def allowed_weight(rollout: RolloutStatus | None) -> int:
    """Return the most that a canary may get in a stage, in percent."""
    if rollout is None:
        return 0
    if rollout.stage in EVERYTHING or (rollout.stage is Stage.ENLARGING and rollout.full_size):
        return 100
    steps = rollout.plan.steps[: rollout.step] if rollout.plan else ()
    return max((step.weight or 0 for step in steps), default=0)


def is_allowed_by_header(rollout: RolloutStatus | None, headers: Headers) -> bool:
    """Tell whether requests with these headers may go to the canary in a stage."""
    if rollout is None or rollout.stage is Stage.ABORTING:
        return False
    steps = rollout.plan.steps[: rollout.step] if rollout.plan else ()
    by_header = [step.headers for step in steps if step.headers]
    asked = any({(item.name.lower(), item.value) for item in wanted} <= headers for wanted in by_header)
    return asked or allowed_weight(rollout) == 100

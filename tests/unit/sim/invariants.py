"""What must hold at every instant of every run, whatever the order of things.

Each rule is one function, numbered as in the failures that it reports. What one pass tells is in
`transitions`, `capacity`, `tidiness`, `warmth`; figures and writes are counted in `evidence` and
`budget`. What has to be remembered from pass to pass is here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ekiben.api.status import Stage
from ekiben.core import names
from ekiben.core.revision import record_of
from ekiben.core.snapshot import Manifest, Ref
from ekiben.core.tracking import content_digest, digests_of
from unit.sim.apiserver import Write
from unit.sim.budget import Budget
from unit.sim.capacity import (
    canary_not_shrunk,
    emptied_while_held,
    given_back_within_capacity,
    left_once_pods_are_known,
    no_header_without_pods,
    no_weight_without_pods,
    raised_within_capacity,
    stable_has_pods,
    stable_not_shrunk,
    stable_shrunk_within_capacity,
)
from unit.sim.evidence import Evidence
from unit.sim.nodes import SimPod
from unit.sim.operator import Pass
from unit.sim.passes import ROUTE, in_flight, recreates
from unit.sim.scaling import nobody_fought, not_blamed_for_missing_pods, one_scaler
from unit.sim.tidiness import copies_kept, intents_without_replicas, nothing_stolen, shape_is_constant
from unit.sim.transitions import at_most_one_step, written_ahead
from unit.sim.warmth import raised_to_warm_pods
from unit.sim.world import MODEL, World

ONE_AT_A_TIME = frozenset({Stage.REPLACING, Stage.RESTORING})
# A bake, from its beginning until everything has gone back.
BAKED = frozenset({Stage.BAKING, Stage.RECALLING})


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
        self._note(left_once_pods_are_known(done))

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
            self._note(not_blamed_for_missing_pods(done))
            self._note(self.evidence.written(done))
        if manifest is not None:
            self._note(written_ahead(done, manifest))
            self._note(one_scaler(manifest, self.world.server.objects))
        if write.ref == ROUTE and manifest is not None:
            self._note(raised_within_capacity(done, manifest, self.world.server.objects))
            self._note(raised_to_warm_pods(done, manifest))
            self._note(shape_is_constant(done, manifest))
            self._note(given_back_within_capacity(done, manifest))
        if write.verb == "scale":
            self._note(nobody_fought(done, write.ref))
            self._note(stable_not_shrunk(done, write.ref))
            self._note(stable_shrunk_within_capacity(done, write.ref))
            self._note(canary_not_shrunk(done, write.ref))
            self._note(emptied_while_held(done, write.ref))

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
            self._note(iter([f"I25: the way back shrank from {before} to {now} in {rollout.stage}"]))

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

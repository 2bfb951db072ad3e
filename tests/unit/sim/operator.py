"""The operator's shell as the real one behaves: observe, decide, act in order, retry, crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from ekiben.copies import refusal_of
from ekiben.core.asking import Question
from ekiben.core.diff import applied, digest
from ekiben.core.plan import Copy, Delete, Plan, Scale
from ekiben.core.snapshot import Manifest, Ref, Snapshot
from ekiben.core.tracking import content_digest, content_of
from ekiben.ownership import is_ours
from unit.sim.apiserver import ApiError, ApiServer, Write, ref_of
from unit.sim.asker import Asker, Oracle
from unit.sim.clock import Clock
from unit.sim.nodes import Nodes, SimPod
from unit.sim.observe import Cache, Cluster, version_of
from unit.sim.sampler import Sampler

PASS_DELAY = 0.05
WRITE_TAKES = 0.005
WATCH_LAG = 0.02
RETRY_DELAY = 0.2
RESTART_TAKES = 5.0
REFUSED = 60.0
TAKEN = 30.0
MODEL = Ref("ModelDeployment", "")


@dataclass(frozen=True)
class Fault:
    """What goes wrong once: the operator dies before its n-th write, or never hears the answer to it."""

    kind: Literal["dies", "answer lost"]
    at_write: int


@dataclass
class Pass:
    """One decision and what came of it."""

    at: float
    snapshot: Snapshot
    plan: Plan
    writes: list[Write] = field(default_factory=list)
    failed: bool = False


class _DiedError(Exception):
    """The process ends here."""


class Operator:
    """One worker on one key: passes never overlap, and whatever happens meanwhile asks for another."""

    def __init__(
        self,
        clock: Clock,
        server: ApiServer,
        nodes: Nodes,
        cluster: Cluster,
        decide: Callable[[Snapshot], Plan],
    ) -> None:
        self.clock, self.server, self.nodes, self.cluster, self.decide = clock, server, nodes, cluster, decide
        self.skew = timedelta(0)
        self.oracles: dict[type[Question], Oracle] = {}
        self.fault: Fault | None = None
        self.writes: list[Write] = []
        self.attempts = 0
        self.passes = 0
        self.on_decided: Callable[[Pass], None] = lambda done: None
        self.on_write: Callable[[Pass, Write, Manifest | None], None] = lambda done, write, manifest: None
        self.on_acted: Callable[[Pass], None] = lambda done: None
        self.on_note: Callable[[str], None] = lambda text: None
        self._start()
        server.watchers.append(self._object_changed)
        server.model_watchers.append(self._model_changed)
        nodes.watchers.append(self._pod_changed)

    @property
    def wall(self) -> datetime:
        """The operator's own idea of the time of day."""
        return self.clock.wall + self.skew

    def wake(self) -> None:
        """Ask for a pass; asking twice before it runs is asking once."""
        self._dirty = True
        self._schedule()

    def _start(self) -> None:
        self._life = object()
        self._busy = self._scheduled = False
        self._dirty = True
        self._timer = 0
        self.cache = Cache(self.server, self.nodes, self.cluster)
        self.sampler = Sampler(self.clock, self.nodes, lambda: self.wall)
        self.sampler.on_observation = self.wake
        self.asker = Asker(self.clock, lambda: self.wall, self.oracles)
        self.asker.on_answer = self.wake
        self._schedule()

    def _object_changed(self, ref: Ref) -> None:
        manifest = self.server.objects.get(ref)
        self._deliver(ref.kind, lambda cache: cache.bring(ref, manifest))

    def _model_changed(self) -> None:
        model = self.server.model
        self._deliver(MODEL.kind, lambda cache: cache.bring_model(model))

    def _pod_changed(self, pod: SimPod) -> None:
        raw = pod.raw() if pod.uid in self.nodes.pods else None
        self._deliver("Pod", lambda cache: cache.bring_pod(pod.uid, raw))

    def _deliver(self, kind: str, change: Callable[[Cache], bool]) -> None:
        """Let the cache learn of a change a moment later, as the watch on this kind does."""
        cache = self.cache

        def arrive() -> None:
            if change(cache):
                self.wake()

        self.clock.in_order(kind, WATCH_LAG, arrive)

    def _schedule(self) -> None:
        if self._dirty and not self._busy and not self._scheduled:
            self._scheduled = True
            life = self._life
            self.clock.after(PASS_DELAY, lambda: self._run(life))

    def _run(self, life: object) -> None:
        if life is not self._life:
            return
        self._scheduled = self._dirty = False
        self._busy = True
        self.passes += 1
        snapshot = self.cache.snapshot(self.sampler.observation, self.asker.answers, self.wall)
        done = Pass(self.clock.now, snapshot, self.decide(snapshot))
        if done.plan.settled is not None:
            self.cache.settled = done.plan.settled
        self.on_decided(done)
        self._continue(life, done, self._act(done))

    def _continue(self, life: object, done: Pass, steps: Iterator[None]) -> None:
        """Go on with the next write after the time that the last one took."""
        if life is not self._life:
            return
        try:
            next(steps)
        except StopIteration:
            self._finish(done, done.plan.requeue_after)
        except ApiError as problem:
            done.failed = True
            self.on_note(f"operator: {problem}")
            self._finish(done, 0.0 if problem.kind == "Conflict" else RETRY_DELAY)
        except _DiedError:
            done.failed = True
            self.on_note("operator: dies")
            self._life = object()
            self._busy = True
            self.sampler.ensure(None)
            self.asker.ensure(())
            self.clock.after(RESTART_TAKES, self._start)
        else:
            self.clock.after(WRITE_TAKES, lambda: self._continue(life, done, steps))

    def _finish(self, done: Pass, requeue_after: float | None) -> None:
        self._busy = False
        self.on_acted(done)
        self._timer += 1
        if requeue_after is not None:
            timer, life = self._timer, self._life

            def ring() -> None:
                if timer == self._timer and life is self._life:
                    self.wake()

            self.clock.exactly(requeue_after, ring)
        self._schedule()

    def _act(self, done: Pass) -> Iterator[None]:
        """Play a plan as `ekiben.act` does: status, sampling, questions, applies, scales, deletes, events."""
        plan, snapshot = done.plan, done.snapshot
        if plan.status is not None and plan.status != snapshot.status:
            for ref in plan.rests_on:
                self._confirm(snapshot, ref)
            wire, version = plan.status.to_wire(), snapshot.model.resource_version
            yield from self._write(done, "status", MODEL, lambda: self.server.write_status(wire, version))
            self._dirty |= self.cache.bring_model(self.server.model)
        self.sampler.ensure(plan.sampling)
        self.asker.ensure(plan.questions)
        records = [
            item
            for item in plan.applies
            if item["kind"] == "ControllerRevision" and ref_of(item) not in snapshot.live
        ]
        # The others are sent at once, so that any of them may be the first.
        others = [item for item in plan.applies if item not in records]
        for manifest in records:
            yield from self._apply(done, manifest)
        for copy in plan.copies:
            yield from self._copy(done, copy)
        for manifest in reversed(others) if self.clock.seed % 2 else others:
            yield from self._apply(done, manifest)
        for scale in plan.scales:
            yield from self._scale(done, scale)
        for delete in plan.deletes:
            yield from self._delete(done, delete)
        for event in plan.events:
            yield from self._write(done, f"event {event.reason}", MODEL, lambda: True)

    def _confirm(self, snapshot: Snapshot, ref: Ref) -> None:
        """Read a child again before what it carries is torn down, as `ekiben.act` does."""
        found = self.server.objects.get(ref)
        if found is None or version_of(found) != version_of(snapshot.live[ref]):
            self.cache.bring(ref, found)
            raise ApiError("Conflict", f"{ref.kind} {ref.name} is not as it was seen")

    def _apply(self, done: Pass, manifest: Manifest) -> Iterator[None]:
        ref = ref_of(manifest)
        intent, until = self.cache.refused.get(ref, ("", 0.0))
        if intent == digest(manifest) and self.clock.now < until:
            return
        body, live = manifest, done.snapshot.live.get(ref)
        if live is None:
            live = self._look_up(done, ref)
            if ref in self.cache.taken:
                return
        if live is not None:
            body = {**manifest, "metadata": {**manifest["metadata"], "uid": live["metadata"]["uid"]}}
        try:
            yield from self._write(done, "apply", ref, lambda: self.server.apply(body)[1], manifest)
        except ApiError as problem:
            if problem.kind != "Rejected":
                self.cache.bring(ref, self.server.objects.get(ref))
                raise
            self.cache.refused[ref] = (digest(manifest), self.clock.now + REFUSED)
            self.clock.exactly(REFUSED, self.wake)
            if self.cache.rejections.get(ref) != problem.message:
                self.cache.rejections[ref] = problem.message
                self._dirty = True
            return
        answer = self.server.objects.get(ref)
        if answer is not None:
            if self.cache.rejections.pop(ref, None):
                self._dirty = True
            made = applied(manifest, answer)
            self.cache.ledger |= {ref: made} if made else {}
            self._dirty |= self.cache.bring(ref, answer)

    def _copy(self, done: Pass, copy: Copy) -> Iterator[None]:
        """Write a copy of a ConfigMap as `ekiben.copies` does, unless that holds something else by now."""
        ref, source = ref_of(copy.manifest), self.server.objects.get(Ref("ConfigMap", copy.source))
        intent = f"{copy.digest} {done.snapshot.config.get(copy.source)}"
        if self.cache.refused.get(ref, ("", 0.0))[0] == intent:
            return
        if source is None or content_digest(source) != copy.digest:
            self.cache.refused[ref] = (intent, 0.0)
            self.cache.rejections[ref] = refusal_of(copy, source)
            self._dirty = True
            return
        body = {**copy.manifest, **content_of(source)}
        if ref not in self.server.objects:
            yield from self._write(done, "create", ref, lambda: self.server.create_new(body)[1])
        self.cache.refused.pop(ref, None)
        self.cache.rejections.pop(ref, None)
        self._dirty |= self.cache.bring(ref, self.server.objects.get(ref))

    def _look_up(self, done: Pass, ref: Ref) -> Manifest | None:
        """Look who has the name of a child that the watches don't show; somebody else's is left alone."""
        found = self.server.objects.get(ref)
        if found is None or is_ours(found, done.snapshot.model):
            self.cache.taken.discard(ref)
            return found
        if ref not in self.cache.taken:
            self.cache.taken.add(ref)
            self._dirty = True
            self.clock.after(TAKEN, lambda: self._look_again(ref))
        return None

    def _look_again(self, ref: Ref) -> None:
        self.cache.taken.discard(ref)
        self.wake()

    def _scale(self, done: Pass, scale: Scale) -> Iterator[None]:
        ref = Ref("Deployment", scale.deployment)
        live = done.snapshot.live.get(ref)
        if live is None or version_of(live) < self.cache.scaled.get(ref.name, 0):
            return
        answer: list[Manifest] = []

        def send() -> bool:
            scaled, changed = self.server.scale(ref.name, scale.replicas)
            answer.append(scaled)
            return changed

        yield from self._write(done, "scale", ref, send)
        self.cache.scaled[ref.name] = version_of(answer[0])

    def _delete(self, done: Pass, delete: Delete) -> Iterator[None]:
        if "deletionTimestamp" in done.snapshot.live.get(delete.ref, {"metadata": {}})["metadata"]:
            return

        def send() -> bool:
            self.server.delete(delete.ref, delete.uid)
            return True

        yield from self._write(done, "delete", delete.ref, send)
        self._dirty |= self.cache.bring(delete.ref, None)
        self.cache.ledger.pop(delete.ref, None)

    def _write(
        self, done: Pass, verb: str, ref: Ref, send: Callable[[], bool], manifest: Manifest | None = None
    ) -> Iterator[None]:
        """Send one write, unless a fault is due, and let it take its time."""
        self.attempts += 1
        due = self.fault is not None and self.fault.at_write == self.attempts
        if due and self.fault and self.fault.kind == "dies":
            raise _DiedError
        write = Write(self.clock.now, verb, ref, send())
        self.writes.append(write)
        done.writes.append(write)
        self.on_write(done, write, manifest)
        if due:
            raise ApiError("Network", f"no answer to {verb} {ref.kind}")
        yield

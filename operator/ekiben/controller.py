"""One model at a time: observe, decide, act. What fails is classed here, and tried again as its class says.

Everything that may concern a model puts its key into one queue; a worker takes the key, looks at the caches
as they are then, and carries out what `decide` says. So events may come late, doubled or out of order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from ekiben import logs, metrics
from ekiben.act import REFUSED_SECONDS, Act, NameTakenError, Sampler, Tools, look_up
from ekiben.asking import FINDERS
from ekiben.asking.asker import Asker, Means
from ekiben.caches import Caches
from ekiben.core.plan import Plan
from ekiben.core.reconcile import decide
from ekiben.core.snapshot import Manifest, Snapshot
from ekiben.fleet import Fleet
from ekiben.kube.client import ApiError, Client
from ekiben.kube.recorder import Recorder
from ekiben.kube.store import Key
from ekiben.kube.workqueue import QueueClosedError, WorkQueue
from ekiben.memory import Echoes, Memory
from ekiben.observe import Readings, Remembered, build_snapshot, observe_model
from ekiben.samples.pods import PodSampler
from ekiben.settings import Settings
from ekiben.upkeep import Upkeep

logger = logging.getLogger(__name__)

COMPONENT = "ekiben.dev/operator"
# A conflict means that we were late, and is tried again at once; many in a row mean something else.
CONFLICTS_AT_ONCE = 3
# No pass takes this long, in seconds, even where every request runs into its time limit.
STUCK_SECONDS = 600.0


class Controller:
    """Keeps every ModelDeployment of the served namespaces as its spec says.

    `running` is set once everything was listed and work has begun, `deaf` when the watch on models must be
    begun anew; `errors` are the last ones, for people.
    Tests may give another `decide` and `sampler`.
    """

    def __init__(
        self,
        client: Client,
        settings: Settings,
        *,
        decide: Callable[[Snapshot], Plan] = decide,
        sampler: Sampler | None = None,
    ) -> None:
        self._decide = decide
        self._worker_count = settings.workers
        self._policy = settings.pod_policy
        self._preflight = settings.preflight
        self._triggers = frozenset(settings.keda_triggers)
        self._queue: WorkQueue[Key] = WorkQueue()
        self._fleet = Fleet(
            settings.max_concurrent_rollouts,
            settings.max_concurrent_rollouts_per_namespace,
            self._queue.add,
        )
        self._caches = Caches(
            client,
            settings.namespaces,
            self._queue.add,
            self._queue.add_soon,
            settings.selector,
            self._fleet.changed,
            settings.keda,
            settings.activator,
        )
        self._sampler = sampler or PodSampler(self._queue.add)
        self._recorder = Recorder(client, COMPONENT, settings.identity)
        self._asker = Asker(self._queue.add, FINDERS, Means(client, settings.call_policy))
        self._tools = Tools(client, self._caches, self._recorder, self._sampler, self._asker)
        self._memories: dict[Key, Memory] = {}
        self._echoes = Echoes()
        self._upkeep = Upkeep(
            self._caches, self._echoes, self._queue.add, settings.watch_staleness, settings.resync
        )
        self._passes: dict[str, float] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.running = asyncio.Event()
        self.deaf = self._upkeep.deaf
        self.errors: deque[str] = deque(maxlen=10)

    def start(self) -> None:
        """Begin to watch; work begins once everything was listed."""
        self._caches.start()
        self._tasks = [
            asyncio.create_task(self._begin(), name="start of the workers"),
            asyncio.create_task(self._upkeep.look(), name="upkeep"),
            asyncio.create_task(self._upkeep.resync(), name="resync"),
        ]

    async def stop(self, grace: float) -> None:
        """Let the passes in progress finish for up to `grace` seconds, then end everything."""
        end = time.monotonic() + grace
        self._queue.shutdown()
        await _cancel(self._tasks)
        if self._workers:
            await asyncio.wait(self._workers, timeout=grace)
        await _cancel(self._workers)
        await self._recorder.close(max(end - time.monotonic(), 0.0))
        await self._sampler.close()
        await self._asker.close()
        await self._caches.stop()

    def observe_model(self, event: str | None, raw: Manifest) -> None:
        """Take over one event of the watch on ModelDeployments; it may be late, doubled or out of order."""
        models = self._caches.models
        entry = models.prepare({**raw, "metadata": dict(raw["metadata"])})
        if entry is None:
            return
        if entry.version is not None and models.wants(entry):
            self._echoes.heard(entry.key, entry.version)
        if event == "DELETED":
            models.drop(entry)
        else:
            models.put(entry)

    def stuck(self) -> list[str]:
        """Say which workers have died or hang: nothing but a restart helps them."""
        now = time.monotonic()
        dead = [task.get_name() for task in (*self._workers, *self._tasks[1:]) if task.done()]
        hung = [name for name, since in self._passes.items() if now > since + STUCK_SECONDS]
        return [f"{name} has died" for name in dead] + [f"{name} hangs" for name in hung]

    def unready(self) -> list[str]:
        """Say why the work can't be done now; nothing when it can."""
        if self.running.is_set():
            return self._upkeep.stale()
        return self._caches.problems() or ["the workers have not begun"]

    async def _begin(self) -> None:
        await self._caches.synced()
        if self._fleet.is_limited:
            await self._know_all_models()
        self._upkeep.begin()
        for number in range(self._worker_count):
            name = f"worker {number}"
            self._workers.append(asyncio.create_task(self._work(name), name=name))
        self.running.set()
        logger.info("working: everything was listed")

    async def _know_all_models(self) -> None:
        """List the models: whoever knows only some of what runs would let too much begin."""
        while True:
            try:
                await self._caches.relist_models()
            except ApiError as error:
                logger.warning("the models can't be listed yet: %s", error)
                await asyncio.sleep(random.uniform(0.5, 1.5))
            else:
                return

    async def _work(self, name: str) -> None:
        with contextlib.suppress(QueueClosedError):
            while True:
                key = await self._queue.get()
                self._passes[name] = time.monotonic()
                try:
                    with logs.about(key), metrics.DURATION.time():
                        metrics.PASSES.labels(await self._visit(key)).inc()
                finally:
                    self._passes.pop(name)
                    self._queue.done(key)

    async def _visit(self, key: Key) -> str:
        """Make one pass over a key, and see to it that a failed one is made again; return how it ended."""
        notes: list[str] = []
        try:
            return await self._reconcile(key, notes)
        except ApiError as error:
            return self._after_error(key, error)
        except Exception:
            self._fleet.settled(key)
            pause = self._queue.retry(key)
            logger.exception("a bug, again in %.1f s; planned: %s", pause, "; ".join(notes) or "nothing yet")
            self._note_error(key, "a bug, see the log")
            return "bug"

    async def _reconcile(self, key: Key, notes: list[str]) -> str:
        raw = self._caches.models.get(*key)
        if raw is None:
            self._forget(key)
            return "gone"
        memory = self._memory_of(key, raw["metadata"].get("uid", ""))
        if (pause := memory.not_before - time.monotonic()) > 0:
            self._queue.add_after(key, pause)
            return "retry"
        if not self._caches.is_read(key):
            # What it tracks is being read, which wakes it.
            return "waiting"
        await self._look_again(raw, memory)
        snapshot = self._observe(key, memory)
        if snapshot is None:
            self._forget(key)
            return "gone"
        # Nothing is awaited between the look at the line and the slot that is given away.
        plan = self._decide(snapshot)
        self._fleet.decided(key, snapshot.line, plan.status)
        notes += plan.notes
        if plan.settled is not None:
            memory.settled = plan.settled
        logger.debug("decided: %s", "; ".join(plan.notes) or "nothing to say")
        act = Act(self._tools, memory, snapshot, plan)
        try:
            await act.run()
        finally:
            if act.written is not None:
                self._echoes.expect(key, act.written)
        self._fleet.settled(key)
        memory.conflicts = 0
        if plan.rests and snapshot.is_calm:
            # Most of a fleet rests: what its objects read as is a fifth of the memory that it takes.
            memory.readings = Readings()
        self._queue.forget(key)
        if act.news:
            self._queue.add(key)
        for seconds in (plan.requeue_after, memory.next_try()):
            if seconds is not None:
                self._queue.add_after(key, seconds)
        return "done"

    async def _look_again(self, raw: Manifest, memory: Memory) -> None:
        """Look up the names of children that were taken, when they are due."""
        now = time.monotonic()
        for ref in [ref for ref, due in memory.taken.items() if now >= due]:
            with contextlib.suppress(NameTakenError):
                await look_up(self._tools, memory, observe_model(raw), ref)

    def _observe(self, key: Key, memory: Memory) -> Snapshot | None:
        seen = self._caches.seen(key, watches_fresh=not self._upkeep.stale())
        if seen is None:
            return None
        remembered = Remembered(
            observation=self._sampler.observation(key),
            answers=self._asker.answers(key),
            line=self._fleet.line(key, seen.model),
            ledger=memory.ledger,
            rejections=memory.rejections(seen.model["metadata"].get("generation", 0)),
            conflicts=frozenset(memory.taken),
            checked=memory.checked,
            records=memory.records,
            settled=memory.settled,
            readings=memory.readings,
        )
        snapshot = build_snapshot(
            seen, remembered, datetime.now(UTC), self._policy, self._preflight, self._triggers
        )
        memory.records = snapshot.records
        return snapshot

    def _after_error(self, key: Key, error: ApiError) -> str:
        """Have a failed pass made again as its error's class says; return the class."""
        if error.is_conflict or error.is_rejected:
            # Otherwise nobody knows whether the status was written: the slot stays given until the next pass.
            self._fleet.settled(key)
        if error.is_conflict:
            self._again_now(key)
            logger.info("somebody was faster, looking again: %s", error.message)
            return "conflict"
        if error.is_not_found:
            raw = self._caches.models.get(*key)
            if raw is not None:
                self._caches.models.note_deleted(*key, raw["metadata"].get("uid", ""))
            self._forget(key)
            return "gone"
        self._note_error(key, str(error))
        if error.is_rejected:
            logger.error("the API server refuses us: %s", error)
            self._queue.add_after(key, REFUSED_SECONDS * random.uniform(0.9, 1.1))
            return "rejected"
        pause = self._queue.retry(key, error.retry_after)
        memory = self._memories.get(key)
        if memory is not None and error.retry_after:
            memory.not_before = time.monotonic() + error.retry_after
        logger.warning("again in %.1f s: %s", pause, error)
        return "retry"

    def _again_now(self, key: Key) -> None:
        memory = self._memories.get(key)
        if memory is None or memory.conflicts >= CONFLICTS_AT_ONCE:
            self._queue.retry(key)
        else:
            memory.conflicts += 1
            self._queue.add(key)

    def _memory_of(self, key: Key, uid: str) -> Memory:
        memory = self._memories.get(key)
        if memory is None or memory.uid != uid:
            memory = self._memories[key] = Memory(uid)
        return memory

    def _forget(self, key: Key) -> None:
        """Let go of a model that is gone; its children are the garbage collector's."""
        self._memories.pop(key, None)
        self._echoes.forget(key)
        self._sampler.ensure(key, None)
        self._asker.ensure(key, ())
        self._fleet.settled(key)
        self._queue.forget(key)

    def _note_error(self, key: Key, text: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.errors.append(f"{now} {key[0]}/{key[1]}: {text}")


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

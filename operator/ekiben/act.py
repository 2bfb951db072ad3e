"""Carry out a plan: status first, then children, then words. Decides nothing.

The order makes a crash harmless: what the status says is always at least as new as what the children are.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Protocol

from ekiben import logs, metrics
from ekiben.api.status import Status
from ekiben.asking.asker import Asker
from ekiben.caches import CHILDREN, Caches
from ekiben.copies import LostContentError, write_copy
from ekiben.core.children import ref_of
from ekiben.core.diff import applied, digest
from ekiben.core.engines import OF_SCALING
from ekiben.core.plan import Copy, Delete, Plan, Sampling, Scale
from ekiben.core.snapshot import Applied, Manifest, Model, Observation, Ref, Snapshot
from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import (
    CONFIGMAP,
    CONTROLLERREVISION,
    DEPLOYMENT,
    MODELDEPLOYMENT,
)
from ekiben.kube.recorder import Recorder
from ekiben.kube.store import Key, parse_version
from ekiben.memory import Attempt, Memory, Refusal
from ekiben.ownership import is_ours

logger = logging.getLogger(__name__)

# What was refused is tried again after this, in seconds, unless the spec changes first.
REFUSED_SECONDS = 60.0
# A name that was taken is looked up again after this, in seconds.
TAKEN_SECONDS = 30.0

_KINDS = {kind.kind: kind for kind in CHILDREN}
Intent = Manifest | Scale | str


class Sampler(Protocol):
    """Whoever reads the pods' metrics."""

    def ensure(self, key: Key, sampling: Sampling | None) -> None:
        """Read what `sampling` asks for from now on; None for nothing."""

    def observation(self, key: Key) -> Observation | None:
        """Return what was counted so far."""

    async def close(self) -> None:
        """Stop reading."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What acting needs of the world."""

    client: Client
    caches: Caches
    recorder: Recorder
    sampler: Sampler
    asker: Asker


class NameTakenError(Exception):
    """Somebody else's object has the name of a child."""


class Act:
    """One plan being carried out for one model.

    `written` is the resourceVersion that our status write made, None where it made none; `news` tells whether
    something was learned that the status does not say yet. `run` raises ApiError where the pass has to be
    made again: on a conflict, on trouble that passes, and when the model is not found.
    """

    def __init__(self, tools: Tools, memory: Memory, snapshot: Snapshot, plan: Plan) -> None:
        self._tools = tools
        self._memory = memory
        self._snapshot = snapshot
        self._plan = plan
        self._model = snapshot.model
        self._namespace = snapshot.model.namespace
        self._looked_up: dict[Ref, Manifest | BaseException | None] = {}
        self.written: int | None = None
        self.news = False

    async def run(self) -> None:
        """Carry out everything, in the order that a crash can't hurt."""
        if self._plan.status is not None and self._plan.status != self._snapshot.status:
            for ref in self._plan.rests_on:
                await self._confirm(ref)
            await self._write_status(self._plan.status)
        key = (self._namespace, self._model.name)
        self._tools.sampler.ensure(key, self._plan.sampling)
        self._tools.asker.ensure(key, self._plan.questions)
        try:
            await self._write_children()
        finally:
            # A transition that is in the status is told even where a child could not be written.
            self._tell()

    async def _confirm(self, ref: Ref) -> None:
        """Read a child again; ApiError of a conflict where it is not what was decided on."""
        seen, found = self._snapshot.live[ref], await self._read_again(ref)
        if found is None or found["metadata"]["resourceVersion"] != seen["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", f"{ref.kind} {ref.name} is not as it was seen")

    async def _write_status(self, status: Status) -> None:
        name, version = self._model.name, self._model.resource_version
        try:
            answer = await self._tools.client.patch_status(
                MODELDEPLOYMENT, self._namespace, name, status.to_wire(), version
            )
        except ApiError as error:
            if error.is_conflict:
                await self._read_model_again()
            raise
        self.written = parse_version(answer["metadata"].get("resourceVersion"))
        if self.written == parse_version(version):
            self.written = None
        self._tools.caches.models.note_written(answer)
        if self._plan.decision is not None:
            logs.decision(self._plan.decision)
        metrics.count_outcome(self._snapshot.status, status)
        before = self._snapshot.status
        level = (
            logging.INFO
            if (before.phase, before.message) != (status.phase, status.message)
            else logging.DEBUG
        )
        logger.log(level, "%s: %s", status.phase, status.message)

    async def _write_children(self) -> None:
        await self._look_up_missing()
        asked: set[Attempt] = {("apply", ref_of(manifest)) for manifest in self._plan.applies}
        asked |= {("copy", ref_of(copy.manifest)) for copy in self._plan.copies}
        # A revision's record comes before its pods: it is what a lost status is rebuilt from. A label of it
        # that changes holds nothing up.
        for is_born in (True, False):
            await self._apply_together(
                item for item in self._plan.applies if self._bears_record(item) is is_born
            )
            if is_born:
                for copy in self._plan.copies:
                    await self._copy(copy)
        for scale in self._plan.scales:
            attempt = ("scale", Ref(DEPLOYMENT.kind, scale.deployment))
            asked.add(attempt)
            if not self._is_held(attempt, scale):
                await self._offer(attempt, scale, self._scale(scale))
        for delete in self._plan.deletes:
            await self._delete(delete)
        # A pass that wrote a transition asks for no children: what was refused is still wanted.
        if self._plan.status is None:
            self.news |= self._memory.forget_refusals(asked)

    def _bears_record(self, manifest: Manifest) -> bool:
        kind, ref = manifest["kind"], ref_of(manifest)
        return bool(kind == CONTROLLERREVISION.kind and ref not in self._snapshot.live)

    async def _apply_together(self, manifests: Iterable[Manifest]) -> None:
        """Apply children that don't depend on each other, all at once; raise the first trouble at the end."""
        writes = []
        for manifest in manifests:
            attempt: Attempt = ("apply", ref_of(manifest))
            if not self._is_held(attempt, manifest):
                writes.append(self._offer(attempt, manifest, self._apply(attempt[1], manifest)))
        for result in await asyncio.gather(*writes, return_exceptions=True):
            if result is not None:
                raise result

    async def _copy(self, copy: Copy) -> None:
        """Make one copy of a ConfigMap; one whose content is lost waits until that is there again."""
        attempt: Attempt = ("copy", ref_of(copy.manifest))
        known = self._snapshot.config.get(copy.source)
        intent = f"{copy.digest} {known.digest if known else ''}"
        if self._is_held(attempt, intent):
            return
        try:
            await self._offer(attempt, intent, self._write_copy(copy))
        except LostContentError as lost:
            self._refused(attempt, intent, str(lost))

    async def _write_copy(self, copy: Copy) -> None:
        ref = ref_of(copy.manifest)
        doubtful = ref in self._snapshot.doubtful
        made = await write_copy(self._tools.client, self._model, copy, doubtful=doubtful)
        if made is None:
            self._memory.taken[ref] = time.monotonic() + TAKEN_SECONDS * random.uniform(0.9, 1.1)
            raise NameTakenError(f"{ref.kind} {ref.name}")
        if doubtful:
            # Nothing that a watch brings tells that it is as it should be.
            self._memory.checked.add(made["metadata"]["uid"])
            self.news = True
        self._tools.caches.store(CONFIGMAP, self._namespace).note_written(made)
        logger.info("copied ConfigMap %s to %s", copy.source, ref.name)

    async def _look_up_missing(self) -> None:
        """Look, all at once, who has the names of the children that are to be made."""
        asked = ((ref_of(item), item) for item in self._plan.applies)
        refs = [
            ref
            for ref, item in asked
            if ref not in self._snapshot.live and not self._is_held(("apply", ref), item)
        ]
        lookups = (look_up(self._tools, self._memory, self._model, ref) for ref in refs)
        self._looked_up = dict(zip(refs, await asyncio.gather(*lookups, return_exceptions=True), strict=True))

    def _is_held(self, attempt: Attempt, intent: Intent) -> bool:
        refusal = self._memory.refusals.get(attempt)
        return refusal is not None and refusal.holds(_told_apart(intent))

    async def _offer(self, attempt: Attempt, intent: Intent, write: Coroutine[None, None, None]) -> None:
        """Make one write; what the server refuses is remembered, and the others are made all the same."""
        try:
            await write
        except NameTakenError:
            self.news = True
        except ApiError as error:
            await self._after_refusal(attempt, _told_apart(intent), error)
        else:
            self.news |= self._memory.refusals.pop(attempt, None) is not None

    async def _after_refusal(self, attempt: Attempt, intent: str, error: ApiError) -> None:
        verb, ref = attempt
        if error.is_conflict or (verb == "scale" and error.is_not_found):
            await self._read_again(ref)
            raise ApiError(409, error.reason, error.message) from error
        # Where an apply finds nothing, the server lacks the kind or the namespace. A scaler whose webhook is
        # down, such as KEDA's, is named and holds up nothing else; any other child is tried again sooner.
        is_alone = error.is_of_webhook and ref.kind in OF_SCALING
        if not (error.is_rejected or error.is_not_found or is_alone):
            raise error
        self._refused(attempt, intent, f"{ref.kind} {ref.name}: {error.message}")

    def _refused(self, attempt: Attempt, intent: str, message: str) -> None:
        before = self._memory.refusals.get(attempt)
        if before is None or before.message != message:
            logger.warning("refused: %s of %s", attempt[0], message)
            self.news = True
        retry_at = time.monotonic() + REFUSED_SECONDS * random.uniform(0.9, 1.1)
        self._memory.refusals[attempt] = Refusal(message, intent, self._model.generation, retry_at)

    async def _apply(self, ref: Ref, manifest: Manifest) -> None:
        kind = _KINDS[ref.kind]
        live = self._snapshot.live.get(ref) or self._looked_up[ref]
        if isinstance(live, BaseException):
            raise live
        body = manifest
        if live is not None:
            # The name may have gone to somebody else's object a moment ago: then this is a conflict.
            body = {**manifest, "metadata": {**manifest["metadata"], "uid": live["metadata"]["uid"]}}
        answer = await self._tools.client.apply(kind, self._namespace, body)
        self._remember(ref, applied(manifest, answer))
        self._tools.caches.store(kind, self._namespace).note_written(answer)
        logger.info("applied %s %s", ref.kind, ref.name)

    def _remember(self, ref: Ref, made: Applied | None) -> None:
        if made is None:
            self._memory.ledger.pop(ref, None)
        else:
            self._memory.ledger[ref] = made

    async def _scale(self, scale: Scale) -> None:
        live = self._snapshot.live.get(Ref(DEPLOYMENT.kind, scale.deployment))
        if live is None:
            return
        known = parse_version(live["metadata"].get("resourceVersion")) or 0
        if known < self._memory.scaled.get(scale.deployment, 0):
            # Our last scaling is not in what this was decided on: its event brings the next pass.
            return
        answer = await self._tools.client.scale(self._namespace, scale.deployment, scale.replicas)
        self._memory.scaled[scale.deployment] = parse_version(answer["metadata"].get("resourceVersion")) or 0
        logger.info("scaled Deployment %s to %d", scale.deployment, scale.replicas)

    async def _delete(self, delete: Delete) -> None:
        kind, name = _KINDS[delete.ref.kind], delete.ref.name
        live = self._snapshot.live.get(delete.ref)
        if live is not None and "deletionTimestamp" in live["metadata"]:
            return
        store = self._tools.caches.store(kind, self._namespace)
        try:
            left = await self._tools.client.delete(kind, self._namespace, name, delete.uid)
        except ApiError as error:
            if error.is_conflict:
                await self._read_again(delete.ref)
            raise
        if left is None:
            store.note_deleted(self._namespace, name, delete.uid)
        else:
            store.note_written(left)
        self._memory.ledger.pop(delete.ref, None)
        logger.info("deleted %s %s", delete.ref.kind, name)

    async def _read_again(self, ref: Ref) -> Manifest | None:
        """Read a child that may not be as our watch says, or the next pass would fail for the same reason."""
        kind, name = _KINDS[ref.kind], ref.name
        store = self._tools.caches.store(kind, self._namespace)
        known, found = (
            store.get(self._namespace, name),
            await self._tools.client.get(kind, self._namespace, name),
        )
        if known is not None and (found is None or found["metadata"]["uid"] != known["metadata"]["uid"]):
            store.note_deleted(self._namespace, name, known["metadata"]["uid"])
        if found is not None and is_ours(found, self._model):
            store.note_written(found)
        return found

    async def _read_model_again(self) -> None:
        models, name = self._tools.caches.models, self._model.name
        found = await self._tools.client.get(MODELDEPLOYMENT, self._namespace, name)
        if found is None or found["metadata"]["uid"] != self._model.uid:
            models.note_deleted(self._namespace, name, self._model.uid)
        if found is not None:
            models.note_written(found)

    def _tell(self) -> None:
        regarding = {
            "apiVersion": MODELDEPLOYMENT.api_version,
            "kind": MODELDEPLOYMENT.kind,
            "namespace": self._namespace,
            "name": self._model.name,
            "uid": self._model.uid,
        }
        for event in self._plan.events:
            self._tools.recorder.tell(regarding, event)


async def look_up(tools: Tools, memory: Memory, model: Model, ref: Ref) -> Manifest | None:
    """Look who has the name of a child that our watches don't show, and return it if it is ours.

    Raises NameTakenError, and remembers that, if it is somebody else's.
    """
    found = await tools.client.get(_KINDS[ref.kind], model.namespace, ref.name)
    if found is None or is_ours(found, model):
        memory.taken.pop(ref, None)
        return found
    if ref not in memory.taken:
        logger.warning("%s %s belongs to somebody else: left alone", ref.kind, ref.name)
    memory.taken[ref] = time.monotonic() + TAKEN_SECONDS * random.uniform(0.9, 1.1)
    raise NameTakenError(f"{ref.kind} {ref.name}")


def _told_apart(intent: Intent) -> str:
    """Return what tells one intent for a child from another."""
    if isinstance(intent, str):
        return intent
    return str(intent.replicas) if isinstance(intent, Scale) else digest(intent)

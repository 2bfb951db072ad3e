"""Which pods a question is about, and reading them: only pods of models, only while somebody asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from ekiben.api.selector import Requirement, matches, parse_selector
from ekiben.core import names
from ekiben.kube.client import Client, Manifest
from ekiben.kube.informer import Informer
from ekiben.kube.kinds import POD
from ekiben.samples.fetch import Fetcher, new_session
from ekiben.samples.load import Felt, PodLoad
from ekiben.samples.metrics import MetricsError, Wanted, read_page

READ_SECONDS = 3.0
AT_ONCE = 64
# A pod that nobody has asked about for this long, in seconds, is forgotten with its readings.
FORGOTTEN_AFTER = 600.0
# Every metric of one autoscaler is asked for at the same moment: one reading answers all of them.
FRESH_SECONDS = 1.0
_DEFAULT_PATIENCE = 90.0
_KEPT = ("name", "namespace", "uid", "labels", "resourceVersion", "deletionTimestamp")
_WANTED = Wanted(None, frozenset(), busy=True, in_flight=True)
_WITH_DURATIONS = replace(_WANTED, bounds=None)


@dataclass(slots=True)
class _Known:
    load: PodLoad
    asked_at: float
    felt: Felt | None = None
    read_at: float = 0.0
    durations: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What one pod feels."""

    pod: str
    felt: Felt


class Pods:
    """The pods of models in some namespaces (none named: in all), and what was last read of them."""

    def __init__(
        self,
        client: Client,
        namespaces: Collection[str] = (),
        *,
        port: int = names.PORT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._informers = {
            namespace: Informer(client, POD, namespace or None, names.MODEL, trim=trim_pod)
            for namespace in (namespaces or ("",))
        }
        self._fetcher = Fetcher(port, new_session, AT_ONCE)
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._reading: dict[str, asyncio.Task[Felt | None]] = {}

    def start(self) -> None:
        """Begin to watch."""
        for informer in self._informers.values():
            informer.start()

    def problems(self) -> list[str]:
        """Say which watch is not whole yet."""
        return [
            f"pods of {namespace or 'all namespaces'} are not listed yet {found.problem}".rstrip()
            for namespace, found in self._informers.items()
            if not found.synced.is_set()
        ]

    async def close(self) -> None:
        """Stop watching and reading."""
        for task in self._reading.values():
            task.cancel()
        await asyncio.gather(*self._reading.values(), return_exceptions=True)
        for informer in self._informers.values():
            await informer.stop()
        await self._fetcher.close()

    async def ask(
        self, namespace: str, selector: str, name: str = "*", *, durations: bool = False
    ) -> list[Answer]:
        """Read the pods of a namespace that a selector picks; those that can't be read are left out.

        The autoscaler takes what is missing for the side of caution. Pods that are being deleted are left out
        as well: it counts them no more, though they may answer until their last request is over.

        With `durations` the requests' are read too, of these pods from then on. Raises ValueError for what is
        no selector.
        """
        wanted = parse_selector(selector)
        self._forget()
        pods = [
            pod
            for pod in self._of_model(namespace, wanted)
            if name in ("*", pod["metadata"]["name"])
            and pod["status"].get("podIP")
            and not pod["metadata"].get("deletionTimestamp")
            and matches(wanted, pod["metadata"].get("labels"))
        ]
        felt = await asyncio.gather(*(self._felt(pod, durations) for pod in pods))
        return [
            Answer(pod["metadata"]["name"], found)
            for pod, found in zip(pods, felt, strict=True)
            if found is not None
        ]

    def _of_model(self, namespace: str, wanted: tuple[Requirement, ...]) -> list[Manifest]:
        """Find the pods of the model that a selector names, as autoscalers' do; else look at them all."""
        informer = self._informers.get(namespace) or self._informers.get("")
        if informer is None:
            return []
        for requirement in wanted:
            if requirement.key == names.MODEL and not requirement.negated and len(requirement.values) == 1:
                (model,) = requirement.values
                return informer.store.by_model(namespace, model or "")
        return [pod for pod in informer.store.all() if pod["metadata"].get("namespace") == namespace]

    async def _felt(self, pod: Manifest, durations: bool) -> Felt | None:
        uid, now = pod["metadata"]["uid"], self._clock()
        known = self._known.setdefault(uid, _Known(PodLoad(_patience(pod)), now))
        known.asked_at = now
        known.durations = known.durations or durations
        if known.felt is not None and now - known.read_at < FRESH_SECONDS:
            return known.felt
        task = self._reading.get(uid)
        if task is None:
            task = self._reading[uid] = asyncio.create_task(self._read(pod["status"]["podIP"], known))
            task.add_done_callback(lambda _: self._reading.pop(uid, None))
        return await asyncio.shield(task)

    async def _read(self, ip: str, known: _Known) -> Felt | None:
        try:
            page = await self._fetcher.read(ip, READ_SECONDS)
            reading = read_page(page, _WITH_DURATIONS if known.durations else _WANTED)
        except MetricsError:
            known.felt = None
            return None
        known.read_at = self._clock()
        known.felt = known.load.look(reading, known.read_at)
        return known.felt

    def _forget(self) -> None:
        oldest = self._clock() - FORGOTTEN_AFTER
        for uid in [uid for uid, known in self._known.items() if known.asked_at < oldest]:
            del self._known[uid]


def trim_pod(raw: Manifest) -> Manifest:
    """Keep what picks a pod, whether it is to go, where it answers, and how long a request to it may take."""
    about, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    return {
        "metadata": {key: about.get(key) for key in _KEPT},
        "spec": {"terminationGracePeriodSeconds": spec.get("terminationGracePeriodSeconds")},
        "status": {"podIP": status.get("podIP")},
    }


def _patience(pod: Manifest) -> float:
    """Return the longest that one request to a pod can take: what the pod gets to finish its last ones."""
    return float(pod["spec"].get("terminationGracePeriodSeconds") or _DEFAULT_PATIENCE)

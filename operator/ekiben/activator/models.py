"""Which models there are, which pods of each can take a request, and whose a request is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from ekiben.api.sleeping import Activation
from ekiben.core import names
from ekiben.kube.client import Client, Manifest
from ekiben.kube.informer import Informer
from ekiben.kube.kinds import MODELDEPLOYMENT, POD
from ekiben.kube.store import Key

_KEPT = ("name", "namespace", "uid", "labels", "resourceVersion", "deletionTimestamp")


@dataclass(frozen=True, slots=True)
class Limits:
    """How many requests to a model are held here at a time, and for how many seconds each."""

    most_held: int
    wake_seconds: float


class Models:
    """The models and their pods in some namespaces (none named: in all), by watches.

    `on_change` is called with the key of each model whose pods, or whose stable revision, have changed.
    """

    def __init__(
        self,
        client: Client,
        namespaces: Collection[str] = (),
        on_change: Callable[[Key], None] = lambda _: None,
    ) -> None:
        self._on_change = on_change
        self._named: dict[str, set[str]] = {}
        self._models: dict[str, Informer] = {}
        self._pods: dict[str, Informer] = {}
        for place in namespaces or ("",):
            self._models[place] = Informer(
                client, MODELDEPLOYMENT, place or None, trim=trim_model, on_change=self._model_changed
            )
            self._pods[place] = Informer(
                client, POD, place or None, names.MODEL, trim=trim_pod, on_change=self._pod_changed
            )

    def start(self) -> None:
        """Begin to watch."""
        for informer in (*self._models.values(), *self._pods.values()):
            informer.start()

    async def stop(self) -> None:
        """End the watches."""
        for informer in (*self._models.values(), *self._pods.values()):
            await informer.stop()

    def problems(self) -> list[str]:
        """Say which watch is not whole yet."""
        return [
            f"{informer.kind.plural} of {place or 'all'} are not listed yet {informer.problem}".rstrip()
            for informers in (self._models, self._pods)
            for place, informer in informers.items()
            if not informer.synced.is_set()
        ]

    def find(self, headers: Mapping[str, str], host: str) -> Key | None:
        """Tell whose a request is: the model's that its route names, or whose Service it was sent to.

        A Service is known by its name in the cluster's DNS; its bare name is enough where no other namespace
        has a model of that name.
        """
        if named := headers.get(names.MODEL_HEADER):
            namespace, _, name = named.partition("/")
            return self._known((namespace, name))
        labels = host.rpartition(":")[0].split(".") if ":" in host else host.split(".")
        if len(labels) == 1:
            places = self._named.get(labels[0], set())
            return (next(iter(places)), labels[0]) if len(places) == 1 else None
        if len(labels) == 2 or labels[2] == "svc":
            return self._known((labels[1], labels[0]))
        return None

    def limits(self, key: Key) -> Limits:
        """Return how a model's requests are held."""
        return limits_of(self._model(key) or {})

    def ready(self, key: Key) -> list[str]:
        """Return the IPs of the pods of a model's stable revision that can take requests."""
        raw = self._model(key)
        revision = raw.get("stable") if raw else None
        pods = self._pods.get(key[0]) or self._pods.get("")
        if revision is None or pods is None:
            return []
        return [
            pod["ip"]
            for pod in pods.store.by_model(*key)
            if pod["ready"] and pod["ip"] and pod["metadata"]["labels"].get(names.REVISION) == revision
        ]

    def _known(self, key: Key) -> Key | None:
        return key if self._model(key) is not None else None

    def _model(self, key: Key) -> Manifest | None:
        informer = self._models.get(key[0]) or self._models.get("")
        return informer.store.get(*key) if informer else None

    def _model_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        about = (new or old or {})["metadata"]
        key = (about.get("namespace") or "", about["name"])
        places = self._named.setdefault(key[1], set())
        if new is not None:
            places.add(key[0])
        else:
            places.discard(key[0])
        self._on_change(key)

    def _pod_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        about = (new or old or {})["metadata"]
        self._on_change((about.get("namespace") or "", about["labels"].get(names.MODEL, "")))


def trim_model(raw: Manifest) -> Manifest:
    """Keep how a model's requests are held, and which revision serves.

    What the status says of the revision that serves goes before the spec, which may be another one's.
    """
    about, status = raw["metadata"], raw.get("status") or {}
    autoscaling = (raw.get("spec") or {}).get("autoscaling") or {}
    return {
        "metadata": {key: about.get(key) for key in ("name", "namespace", "uid", "resourceVersion")},
        "activation": (status.get("sleep") or {}).get("activation") or autoscaling.get("activation"),
        "stable": (status.get("stable") or {}).get("revision"),
    }


def limits_of(model: Manifest) -> Limits:
    """Return how the requests to a trimmed model are held; by default where that can't be read."""
    try:
        activation = Activation.model_validate(model.get("activation") or {})
    except ValidationError:
        activation = Activation()
    return Limits(activation.most_held, activation.wake_seconds)


def trim_pod(raw: Manifest) -> Manifest:
    """Keep where a pod answers, and whether it does."""
    about, status = raw["metadata"], raw.get("status") or {}
    ready = any(
        item.get("type") == "Ready" and item.get("status") == "True"
        for item in status.get("conditions") or ()
    )
    return {
        "metadata": {key: about.get(key) for key in _KEPT if key in about}
        | {"labels": about.get("labels") or {}},
        "ip": status.get("podIP"),
        "ready": ready and "deletionTimestamp" not in about,
    }

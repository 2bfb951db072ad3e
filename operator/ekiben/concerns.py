"""Which models a change of some object concerns: its owner, those that name it, those that want its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ekiben.core import names
from ekiben.core.snapshot import Manifest
from ekiben.kube.kinds import HPA, HTTPROUTE, MODELDEPLOYMENT, SERVICE
from ekiben.kube.store import Key
from ekiben.observe_routes import Place
from ekiben.observe_scalers import model_of
from ekiben.ownership import controller_of


class PlaceIndex:
    """Objects by the places at a gateway that they take or want."""

    def __init__(self, places: Callable[[Manifest], set[Place]]) -> None:
        self._places = places
        self._at: dict[Place, dict[Key, Manifest]] = {}

    def change(self, old: Manifest | None, new: Manifest | None) -> None:
        """Take note of one change."""
        if old is not None:
            for place in self._places(old):
                held = self._at.get(place, {})
                held.pop(key_of(old), None)
                if not held:
                    self._at.pop(place, None)
        if new is not None:
            for place in self._places(new):
                self._at.setdefault(place, {})[key_of(new)] = new

    def at(self, places: Iterable[Place]) -> list[Manifest]:
        """Return what takes or wants any of these places."""
        found = {key: raw for place in places for key, raw in self._at.get(place, {}).items()}
        return list(found.values())


def models_of(raw: Manifest) -> Iterator[Key]:
    """Yield the models that an object concerns: its owner, its label's, those whose child has this name."""
    metadata = raw.get("metadata", {})
    namespace = metadata.get("namespace", "")
    owner = controller_of(raw)
    if owner is not None and owner.get("kind") == MODELDEPLOYMENT.kind:
        yield namespace, owner.get("name", "")
    label = (metadata.get("labels") or {}).get(names.MODEL)
    if label:
        yield namespace, label
    if raw.get("kind") == HPA.kind and (sized := model_of(raw)):
        yield namespace, sized
    if raw.get("kind") in (SERVICE.kind, HTTPROUTE.kind):
        name = metadata.get("name", "")
        yield namespace, name
        yield namespace, name.removesuffix(names.canary_service(""))
        yield namespace, name.removesuffix(names.preview_route(""))


def templates_of(model: Manifest) -> set[str]:
    """Name the ModelAnalysis objects that a model's spec names; it may be anything."""
    analysis = (model.get("spec") or {}).get("analysis") or {}
    uses = analysis.get("templates") if isinstance(analysis, dict) else None
    return {str(use.get("name")) for use in uses or () if isinstance(use, dict)}


def gateways_of(model: Manifest) -> set[Key]:
    """Name the Gateways that a model's routes belong to."""
    namespace = model["metadata"]["namespace"]
    traffic = (model.get("spec") or {}).get("traffic") or {}
    return {
        (parent.get("namespace") or namespace, parent.get("name", ""))
        for parent in traffic.get("parentRefs") or ()
    }


def sleeps(model: Manifest) -> bool:
    """Tell whether a model is asleep, or may go to sleep; spec and status may be anything."""
    spec, status = model.get("spec") or {}, model.get("status") or {}
    autoscaling = spec.get("autoscaling")
    may = isinstance(autoscaling, dict) and autoscaling.get("minReplicas") == 0
    return may or bool(status.get("sleep"))


def is_same(old: Manifest, new: Manifest) -> bool:
    """Tell whether two versions of an object differ in nothing but their version."""
    strip = {"resourceVersion"}
    return {**old, "metadata": None} == {**new, "metadata": None} and {
        k: v for k, v in old["metadata"].items() if k not in strip
    } == {k: v for k, v in new["metadata"].items() if k not in strip}


def key_of(raw: Manifest) -> Key:
    """Return the namespace and the name of an object."""
    metadata = raw.get("metadata", {})
    return metadata.get("namespace") or "", metadata.get("name", "")

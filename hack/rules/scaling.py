"""What must hold of scalers over the whole history of one namespace, in which no load asks for fewer pods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ekiben.core import names
from rules.history import SCALER_KINDS, Entry, Manifest
from rules.judge import DEPLOYMENT, MODEL, doubtful, model_of, status_of

SCALERS = frozenset(kind.kind for kind in SCALER_KINDS)

Key = tuple[str, str]


@dataclass(slots=True)
class Scaled:
    """What was stored right before the change that is judged: scalers, models, and Deployments' replicas."""

    scalers: dict[Key, Manifest] = field(default_factory=dict)
    models: dict[str, Entry] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)


def judge_scalers(entries: Sequence[Entry], *, alone: bool = True) -> list[str]:
    """Return every breach, with the version that made it; `alone` tells that one operator wrote."""
    world, found = Scaled(), []
    doubts = [(entry.since, entry.version) for entry in entries if entry.gone and entry.after_gap]
    doubts += doubtful(entries)
    for entry in entries:
        sure = not entry.after_gap and not any(low < entry.version < high for low, high in doubts)
        if sure and not entry.gone:
            found += [f"at {entry.version}: {breach}" for breach in _breaches(world, entry, alone)]
        _remember(world, entry)
    return found


def _breaches(world: Scaled, entry: Entry, alone: bool) -> Iterator[str]:
    if entry.kind in SCALERS and alone:
        yield from one_scaler_for_each(world, entry)
    elif entry.kind == DEPLOYMENT:
        yield from no_pod_goes(world, entry)
    elif entry.kind == MODEL:
        yield from promoted_at_its_size(world, entry)


def _remember(world: Scaled, entry: Entry) -> None:
    key = (entry.kind, entry.name)
    if entry.kind in SCALERS and entry.gone:
        world.scalers.pop(key, None)
    elif entry.kind in SCALERS:
        world.scalers[key] = entry.item
    elif entry.kind == DEPLOYMENT:
        world.sizes[entry.name] = _size(entry.item)
    elif entry.kind == MODEL:
        world.models[entry.name] = entry


def one_scaler_for_each(world: Scaled, entry: Entry) -> Iterator[str]:
    """A scaler is made only where nothing is left of another one, what KEDA made of that included."""
    if (entry.kind, entry.name) in world.scalers:
        return
    target = entry.item["spec"]["scaleTargetRef"]["name"]
    for (kind, name), other in world.scalers.items():
        related = _is_made_of(other, entry.kind, entry.name) or _is_made_of(entry.item, kind, name)
        if other["spec"]["scaleTargetRef"]["name"] == target and not related:
            yield f"{entry.kind} {entry.name} is made beside {kind} {name}"


def no_pod_goes(world: Scaled, entry: Entry) -> Iterator[str]:
    """Stable keeps its pods, whoever scales it and whenever that changes."""
    model = world.models.get(model_of(entry))
    stable = status_of(model).stable if model else None
    if model is None or stable is None or not _is_scaled(model):
        return
    old, new = world.sizes.get(entry.name, 0), _size(entry.item)
    if new < old and entry.name == names.revision_child(model.name, stable.revision):
        yield f"stable {entry.name} shrank from {old} to {new}, and no load asks for fewer"


def promoted_at_its_size(world: Scaled, entry: Entry) -> Iterator[str]:
    """A revision becomes stable with no fewer pods than the one before it has."""
    before = world.models.get(entry.name)
    old, new = (status_of(item).stable if item else None for item in (before, entry))
    if old is None or new is None or old.revision == new.revision or not _is_scaled(entry):
        return
    had, has = (world.sizes.get(names.revision_child(entry.name, side.revision), 0) for side in (old, new))
    if has < had:
        yield f"{entry.name}: {new.revision} is stable with {has} pods, {old.revision} had {had}"


def _is_scaled(model: Entry) -> bool:
    return bool((model.item.get("spec") or {}).get("autoscaling"))


def _size(deployment: Manifest) -> int:
    return int(deployment["spec"].get("replicas", 1))


def _is_made_of(item: Manifest, kind: str, name: str) -> bool:
    owners = item["metadata"].get("ownerReferences") or ()
    return any((owner["kind"], owner["name"]) == (kind, name) for owner in owners)

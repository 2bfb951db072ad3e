"""Is there room for so many more pods? Counted before anybody's pods are touched. Pure.

A quota tells it by itself. Nodes tell what is allocatable and what their pods ask for; the new pods are all
alike, so packing them first-fit is counting how many fit on each node. It says "no room" only where that is
certain: whatever is not looked at (affinity between pods, spread over zones, volumes, host ports, pods that
wait for a node) counts as no hindrance, and pods that are ending or that the new ones may evict as gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ekiben.core import names
from ekiben.core.asking import Question
from ekiben.core.needs import Amounts, amount_of, pod_needs
from ekiben.core.quotas import QuotaRoom

# What of a pod's spec decides where there is room for it.
DECIDES = ("nodeSelector", "tolerations", "affinity", "priorityClassName", "runtimeClassName")
# Devices of this name are never a node's own: dynamic resource allocation hands them out.
_DYNAMIC = "deviceclass.resource.kubernetes.io/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity(Question):
    """Is there room for `pods` more pods?

    `pod` is what of their spec decides it, as canonical JSON; `leaves` is the revision of `model` whose pods
    will have gone by then, empty for none. `nodes`: look at the nodes too, and not at quotas alone. The
    answer is a `Room`.
    """

    model: str
    pod: str
    pods: int
    leaves: str = ""
    nodes: bool = False
    every: float | None = 20.0


@dataclass(frozen=True, slots=True)
class NodeRoom:
    """How many of the pods fit on the nodes together.

    `nodes` are all that were looked at, `matching` those that may take the pod; `free` is what they have left
    of what it needs, `alone` how many pods each of these would be enough for.
    """

    nodes: int = 0
    matching: int = 0
    fits: int = 0
    free: Mapping[str, Fraction] | None = None
    alone: Mapping[str, int] | None = None

    def plus(self, need: Amounts, free: Amounts) -> NodeRoom:
        """Add one more node that matches, with what it has left."""
        zero = Fraction(0)
        before, alone = self.free or {}, self.alone or {}
        return NodeRoom(
            self.nodes,
            self.matching + 1,
            self.fits + fits_in(need, free),
            {name: before.get(name, zero) + max(free.get(name, zero), zero) for name in need},
            {name: alone.get(name, 0) + fits_in({name: need[name]}, free) for name in need},
        )


@dataclass(frozen=True, slots=True)
class Room:
    """What was found out about the room for a pod; `unseen` says what was not looked at, and why."""

    need: Mapping[str, Fraction]
    quotas: tuple[QuotaRoom, ...] = ()
    nodes: NodeRoom | None = None
    unseen: tuple[str, ...] = ()

    def is_enough(self, pods: int) -> bool:
        """Tell whether so many pods may find room: no more than that it is not certain that they don't."""
        return all(quota.fits >= pods for quota in self.quotas) and (
            self.nodes is None or self.nodes.fits >= pods
        )


def deciding(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a pod's spec decides where there is room for it."""
    kept = {key: spec[key] for key in DECIDES if spec.get(key)}
    if affinity := (spec.get("affinity") or {}).get("nodeAffinity"):
        kept["affinity"] = {"nodeAffinity": affinity}
    else:
        kept.pop("affinity", None)
    containers = {
        section: [
            {key: item[key] for key in ("resources", "restartPolicy") if key in item}
            for item in spec.get(section) or ()
        ]
        for section in ("containers", "initContainers")
    }
    return kept | {section: items for section, items in containers.items() if items}


def node_need(pod: Mapping[str, Any], dynamic: Iterable[str] = ()) -> Amounts:
    """Return what one pod takes of a node: its requests, and one place.

    Devices that dynamic resource allocation may hand out (`dynamic`) are left out: no node counts them.
    """
    elsewhere = set(dynamic)
    asked = {
        name: amount
        for name, amount in pod_needs(pod).items()
        if amount > 0 and name not in elsewhere and not name.startswith(_DYNAMIC)
    }
    return asked | {"pods": Fraction(1)}


def free_on(
    node: Mapping[str, Any],
    pods: Sequence[Mapping[str, Any]],
    leaving: tuple[str, str, str] | None = None,
    evicts_below: int | None = None,
) -> Amounts:
    """Return what a node has left: what is allocatable, less what its pods ask for.

    Not counted are pods that have ended or are ending, those of `leaving` (namespace, model, revision), and
    those whose priority is below `evicts_below`.
    """
    allocatable = ((node.get("status") or {}).get("allocatable") or {}).items()
    free = {name: amount for name, text in allocatable if (amount := amount_of(text)) is not None}
    for pod in pods:
        if not _stays(pod, leaving, evicts_below):
            continue
        free["pods"] = free.get("pods", Fraction(0)) - 1
        for name, amount in pod_needs(pod.get("spec") or {}).items():
            free[name] = free.get(name, Fraction(0)) - amount
    return free


def _stays(pod: Mapping[str, Any], leaving: tuple[str, str, str] | None, evicts_below: int | None) -> bool:
    metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    if "deletionTimestamp" in metadata or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    labels = metadata.get("labels") or {}
    if leaving == (metadata.get("namespace"), labels.get(names.MODEL), labels.get(names.REVISION)):
        return False
    priority = spec.get("priority")
    return evicts_below is None or (priority if isinstance(priority, int) else 0) >= evicts_below


def evicts_below(pod: Mapping[str, Any], classes: Iterable[Mapping[str, Any]]) -> int | None:
    """Return the priority below which other pods make room for this one; None: for it nobody does.

    `classes` are the cluster's PriorityClasses.
    """
    named = pod.get("priorityClassName")
    if named:
        mine = next((item for item in classes if item["metadata"]["name"] == named), None)
    else:
        mine = next((item for item in classes if item.get("globalDefault")), None)
    if mine is None:
        return 0 if not named else None
    return None if mine.get("preemptionPolicy") == "Never" else int(mine.get("value") or 0)


def fits_in(need: Amounts, free: Amounts) -> int:
    """Return how many pods of this need fit into what is free."""
    zero = Fraction(0)
    return max(min(int(free.get(name, zero) // amount) for name, amount in need.items() if amount > 0), 0)

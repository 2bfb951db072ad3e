"""Which nodes a pod may be put on, as the scheduler's filters tell it. Pure.

What is not looked at here (affinity to other pods, spread, volumes, ports) can only rule out more nodes: so a
node that does not match here never takes the pod, and one that matches may.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_REPELS = ("NoSchedule", "NoExecute")
_CORDONED = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
# Every pod gets these at admission.
_USUAL = (
    {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"},
)


def may_run_on(pod: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
    """Tell whether a pod's spec may be put on a node: its labels, affinity and tolerations."""
    labels = (node.get("metadata") or {}).get("labels") or {}
    selector = pod.get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return False
    return _is_liked(pod, node, labels) and not _is_repelled(pod, node)


def _is_liked(pod: Mapping[str, Any], node: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether the required node affinity allows a node: any term, all that the term says."""
    required = ((pod.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if not required:
        return True
    fields = {"metadata.name": (node.get("metadata") or {}).get("name", "")}
    return any(
        all(_holds(item, labels) for item in term.get("matchExpressions") or ())
        and all(_holds(item, fields) for item in term.get("matchFields") or ())
        for term in required.get("nodeSelectorTerms") or ()
        if term.get("matchExpressions") or term.get("matchFields")
    )


def _holds(requirement: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    key, listed = requirement.get("key", ""), requirement.get("values") or []
    value = values.get(key)
    match requirement.get("operator"):
        case "In":
            return value in listed
        case "NotIn":
            return value not in listed
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            try:
                one, other = int(value or ""), int(listed[0])
            except (ValueError, IndexError):
                return False
            return one > other if operator == "Gt" else one < other
    # An operator that we don't know may allow it.
    return True


def _is_repelled(pod: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
    if pod.get("runtimeClassName"):
        # The class may add tolerations of its own.
        return False
    spec = node.get("spec") or {}
    taints = [taint for taint in spec.get("taints") or () if taint.get("effect") in _REPELS]
    taints += [_CORDONED] if spec.get("unschedulable") else []
    tolerations = [*(pod.get("tolerations") or ()), *_USUAL, *_of_extended_resources(pod)]
    return any(not any(_tolerates(item, taint) for item in tolerations) for taint in taints)


def _of_extended_resources(pod: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what the admission plugin ExtendedResourceToleration adds, where it is on."""
    named = {
        name
        for container in (*(pod.get("containers") or ()), *(pod.get("initContainers") or ()))
        for section in ("requests", "limits")
        for name in (container.get("resources") or {}).get(section) or {}
        if "/" in name
    }
    return [{"key": name, "operator": "Exists"} for name in sorted(named)]


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    effect, key = toleration.get("effect"), toleration.get("key")
    if effect and effect != taint.get("effect"):
        return False
    if key and key != taint.get("key"):
        return False
    match toleration.get("operator") or "Equal":
        case "Equal":
            return bool(key) and (toleration.get("value") or "") == (taint.get("value") or "")
        case _:
            # Exists; one that we don't know may tolerate it.
            return True

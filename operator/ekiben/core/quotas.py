"""What the ResourceQuotas of a namespace leave for more pods of a kind. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ekiben.core.needs import Amounts, amount_of, pod_needs

_PODS = ("pods", "count/pods")
_PLAIN = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True, slots=True)
class QuotaRoom:
    """What one line of a quota has left, and what one pod takes of it."""

    quota: str
    resource: str
    need: Fraction
    left: Fraction
    hard: Fraction

    @property
    def fits(self) -> int:
        """How many pods it has room for."""
        return max(int(self.left // self.need), 0)


def quota_rooms(
    quotas: Iterable[Mapping[str, Any]], pod: Mapping[str, Any], leaving: Sequence[Mapping[str, Any]] = ()
) -> tuple[QuotaRoom, ...]:
    """Return each line of the quotas that pods of this spec count against.

    `leaving` are the specs of pods that will have gone by then: what they take is left again. A line that
    the cluster has not counted yet says nothing.
    """
    rooms = []
    for quota in quotas:
        status = quota.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        if not is_covered(quota, pod):
            continue
        for resource in hard:
            need = taken_by(pod, resource)
            most, taken = amount_of(hard[resource]), amount_of(used.get(resource))
            if not need or most is None or taken is None:
                continue
            back = sum((taken_by(item, resource) for item in leaving if is_covered(quota, item)), Fraction(0))
            name = (quota.get("metadata") or {}).get("name", "")
            rooms.append(QuotaRoom(name, resource, need, most - max(taken - back, Fraction(0)), most))
    return tuple(rooms)


def taken_by(pod: Mapping[str, Any], resource: str) -> Fraction:
    """Return what one pod takes of a quota's resource, such as `requests.nvidia.com/gpu`."""
    if resource in _PODS:
        return Fraction(1)
    section, dot, name = resource.partition(".")
    if dot and section == "limits" and name in _PLAIN:
        return _of(pod_needs(pod, "limits"), name)
    if dot and section == "requests":
        return _of(pod_needs(pod), name)
    if resource in _PLAIN or resource.startswith("hugepages-"):
        return _of(pod_needs(pod), resource)
    return Fraction(0)


def is_covered(quota: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """Tell whether a quota surely counts a pod: all its scopes are the pod's."""
    spec = quota.get("spec") or {}
    scopes = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    scopes += (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    return all(_is_in(scope, pod) for scope in scopes)


def _is_in(scope: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    match scope.get("scopeName"):
        case "NotTerminating":
            return "activeDeadlineSeconds" not in pod
        case "NotBestEffort":
            asked = {**pod_needs(pod), **pod_needs(pod, "limits")}
            return any(asked.get(name) for name in ("cpu", "memory"))
        case "PriorityClass":
            # Without a name of its own a pod gets the cluster's default class, which we don't know.
            name, listed = pod.get("priorityClassName"), scope.get("values") or ()
            return bool(name) and (
                scope.get("operator") == "Exists"
                or (scope.get("operator") == "In" and name in listed)
                or (scope.get("operator") == "NotIn" and name not in listed)
            )
    return False


def _of(amounts: Amounts, name: str) -> Fraction:
    return amounts.get(name, Fraction(0))

"""The words about room that is lacking: what is needed, what is free, where. Pure."""

from __future__ import annotations

from fractions import Fraction

from ekiben.core.capacity import NodeRoom, Room
from ekiben.core.needs import Amounts, amount_text
from ekiben.core.quotas import QuotaRoom

# More lines than these make nobody wiser.
_LINES = 4


def shortage(room: Room, pods: int, revision: str) -> str:
    """Say what lacks for so many pods, with its numbers; empty when there may be room."""
    lines = [*_on_nodes(room, pods), *(_of_quota(item, pods) for item in room.quotas if item.fits < pods)]
    if not lines:
        return ""
    more = f"; and {len(lines) - _LINES} more" if len(lines) > _LINES else ""
    return f"no room for {_pods(pods, revision)}: {'; '.join(lines[:_LINES])}{more}"


def _on_nodes(room: Room, pods: int) -> list[str]:
    nodes = room.nodes
    if nodes is None or nodes.fits >= pods:
        return []
    if not nodes.matching:
        return [f"none of {nodes.nodes} nodes has the labels and tolerated taints that it asks for"]
    need = dict(room.need)
    scarce = [name for name in sorted(need) if (nodes.alone or {}).get(name, 0) < pods]
    if scarce:
        return [_scarce(name, need[name], nodes, pods) for name in scarce]
    return [_scattered(need, nodes, pods)]


def _scarce(name: str, need: Fraction, nodes: NodeRoom, pods: int) -> str:
    free = (nodes.free or {}).get(name, Fraction(0))
    where = f"on {_matching(nodes)}"
    if free < need * pods:
        return f"needs {_amount(name, need * pods)}, {amount_text(name, free)} free {where}"
    found = (nodes.alone or {}).get(name, 0)
    return f"needs {_amount(name, need)} on one node for each pod, free for {found} of {pods} {where}"


def _scattered(need: Amounts, nodes: NodeRoom, pods: int) -> str:
    together = ", ".join(_amount(name, need[name]) for name in sorted(need) if name != "pods")
    found = f"free together for {nodes.fits} of {pods} on {_matching(nodes)}"
    return f"needs {together} on one node for each pod, {found}"


def _of_quota(item: QuotaRoom, pods: int) -> str:
    amounts = (max(item.left, Fraction(0)), item.hard, item.need * pods)
    left, hard, needed = (amount_text(item.resource, amount) for amount in amounts)
    return f"quota {item.quota} has {left} of {hard} {item.resource} left, {needed} needed"


def _amount(name: str, value: Fraction) -> str:
    text = amount_text(name, value)
    if "/" in name:
        return f"{text} x {name}"
    if name == "cpu":
        return f"{text} CPUs" if text != "1" else "1 CPU"
    return f"{text} pods" if name == "pods" else f"{text} of {name}"


def _pods(pods: int, revision: str) -> str:
    return f"{pods} pods of {revision}" if pods != 1 else f"1 pod of {revision}"


def _matching(nodes: NodeRoom) -> str:
    return f"{nodes.matching} matching nodes" if nodes.matching != 1 else "1 matching node"

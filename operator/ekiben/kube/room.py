"""Read what tells whether there is room for more pods; what it means is counted in `core/capacity.py`.

Nobody's list of all pods is read: nodes come page by page, and the pods of those that may take the new ones
node by node, until enough room is found. A node's pods are an index of the API server's cache.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ekiben.core import names
from ekiben.core.capacity import Capacity, NodeRoom, Room, evicts_below, fits_in, free_on, node_need
from ekiben.core.placement import may_run_on
from ekiben.core.quotas import QuotaRoom, quota_rooms
from ekiben.kube.client import ApiError, Manifest
from ekiben.kube.kinds import DEVICECLASS, NODE, POD, PRIORITYCLASS, RESOURCEQUOTA
from ekiben.kube.reads import Lists

# Beyond so many matching nodes, none of them with room, nobody can be certain and nobody has time.
MOST_NODES = 100
# Nodes whose pods are read at the same time.
AT_ONCE = 4


async def find_room(client: Lists, namespace: str, question: Capacity) -> Room:
    """Find out whether there is room; what may not be read is said in `unseen`, and hinders nobody.

    Raises ApiError for what is no matter of rights.
    """
    pod: dict[str, Any] = json.loads(question.pod)
    unseen: list[str] = []
    quotas: tuple[QuotaRoom, ...] = ()
    try:
        quotas = await _quotas(client, namespace, question, pod)
    except ApiError as error:
        unseen.append(_forbidden("ResourceQuotas", error))
    nodes, need = None, node_need(pod)
    if question.nodes:
        try:
            dynamic = await _dynamic(client)
            need = node_need(pod, dynamic)
            nodes, problem = await _nodes(client, namespace, question, pod, need)
            unseen += [problem] if problem else []
        except ApiError as error:
            unseen.append(_forbidden("nodes", error))
    return Room(need, quotas, nodes, tuple(unseen))


def _forbidden(what: str, error: ApiError) -> str:
    """Say what could not be looked at; any other error is raised again."""
    if error.status != 403:
        raise error
    return f"{what} were not looked at: {error.message}"[:200]


async def _quotas(
    client: Lists, namespace: str, question: Capacity, pod: Mapping[str, Any]
) -> tuple[QuotaRoom, ...]:
    quotas = await client.peek(RESOURCEQUOTA, namespace)
    leaving = []
    if quotas and question.leaves:
        selector = names.pod_selector(question.model, question.leaves)
        labels = ",".join(f"{key}={value}" for key, value in selector.items())
        leaving = [item.get("spec") or {} for item in await client.peek(POD, namespace, labels)]
    return quota_rooms(quotas, pod, leaving)


async def _dynamic(client: Lists) -> set[str]:
    """Return the extended resources that dynamic resource allocation may hand out."""
    try:
        classes = await client.peek(DEVICECLASS)
    except ApiError as error:
        if error.is_not_found:
            return set()
        raise
    found = (str((item.get("spec") or {}).get("extendedResourceName") or "") for item in classes)
    return {name for name in found if name}


async def _nodes(
    client: Lists, namespace: str, question: Capacity, pod: Mapping[str, Any], need: Mapping[str, Any]
) -> tuple[NodeRoom | None, str]:
    """Count how many pods fit, node by node; None, and why, where that can't be said for certain."""
    total, matching = await _matching(client, pod, dict(need))
    large = [node for node in matching if fits_in(dict(need), free_on(node, ()))]
    room = NodeRoom(nodes=total)
    if not large:
        for node in matching:
            room = room.plus(dict(need), free_on(node, ()))
        return replace(room, fits=0), ""
    threshold = evicts_below(pod, await client.peek(PRIORITYCLASS))
    leaving = (namespace, question.model, question.leaves) if question.leaves else None
    for start in range(0, min(len(large), MOST_NODES), AT_ONCE):
        some = large[start : min(start + AT_ONCE, MOST_NODES)]
        found = await asyncio.gather(*(_pods_of(client, node) for node in some))
        for node, pods in zip(some, found, strict=True):
            room = room.plus(dict(need), free_on(node, pods, leaving, threshold))
        if room.fits >= question.pods:
            return room, ""
    if len(large) > MOST_NODES:
        return None, f"only {MOST_NODES} of {len(large)} matching nodes were looked at, none with enough room"
    return room, ""


async def _matching(
    client: Lists, pod: Mapping[str, Any], need: dict[str, Any]
) -> tuple[int, list[Manifest]]:
    """Return how many nodes there are, and what decides of those that may take the pod, the largest first."""
    total, matching = 0, []
    async for page, _ in client.list_pages(NODE):
        total += len(page)
        matching += [_trimmed(node) for node in page if may_run_on(pod, node)]
    matching.sort(key=lambda node: -fits_in(need, free_on(node, ())))
    return total, matching


def _trimmed(node: Manifest) -> Manifest:
    """Keep of a node what is counted: the images on it make up most of it."""
    return {
        "metadata": {"name": node["metadata"]["name"]},
        "status": {"allocatable": (node.get("status") or {}).get("allocatable") or {}},
    }


async def _pods_of(client: Lists, node: Manifest) -> list[Manifest]:
    name = node["metadata"]["name"]
    running = f"spec.nodeName={name},status.phase!=Succeeded,status.phase!=Failed"
    return await client.peek(POD, field_selector=running)

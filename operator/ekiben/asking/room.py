"""Find out whether there is room for a revision's pods."""

from __future__ import annotations

from ekiben.asking.asker import Means
from ekiben.core.capacity import Capacity, Room
from ekiben.kube import room
from ekiben.kube.store import Key


async def find_room(means: Means, key: Key, question: Capacity) -> Room:
    """Look at the quotas of the model's namespace, and at the nodes where the question says so."""
    return await room.find_room(means.client, key[0], question)

"""Write a revision's copy of a ConfigMap: it is read, and only what the revision was born with is copied."""

from __future__ import annotations

from ekiben.core import names
from ekiben.core.plan import Copy
from ekiben.core.snapshot import Manifest, Model
from ekiben.core.tracking import content_digest, content_of
from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import CONFIGMAP
from ekiben.ownership import is_ours


class LostContentError(Exception):
    """The ConfigMap does not hold any more what the revision was born with; the message is one sentence."""


async def write_copy(client: Client, model: Model, copy: Copy, *, doubtful: bool = False) -> Manifest | None:
    """Make a copy and return it; None where somebody else's object has its name.

    What was read is what is written, after its digest was compared: a ConfigMap that changes meanwhile makes
    no other copy. `doubtful` tells that others made an object of that name: it is kept if it is what a copy
    should be, whatever the ConfigMap holds by now. Raises LostContentError, and ApiError of a conflict where
    a wrong copy was in the way: it is gone then.
    """
    namespace, name = model.namespace, copy.manifest["metadata"]["name"]
    if doubtful and (found := await client.get(CONFIGMAP, namespace, name)) is not None:
        return await _examined(client, model, copy, found)
    source = await client.get(CONFIGMAP, namespace, copy.source)
    if source is None or content_digest(source) != copy.digest:
        raise LostContentError(refusal_of(copy, source))
    try:
        return await client.create(CONFIGMAP, namespace, {**copy.manifest, **content_of(source)})
    except ApiError as error:
        if not error.is_conflict:
            raise
    found = await client.get(CONFIGMAP, namespace, name)
    if found is None:
        raise ApiError(409, "Conflict", f"ConfigMap {name} was there and is gone")
    return await _examined(client, model, copy, found)


async def _examined(client: Client, model: Model, copy: Copy, found: Manifest) -> Manifest | None:
    """Return what has a copy's name if it is the copy, None if it is not ours; delete it if it is wrong."""
    if not is_ours(found, model):
        return None
    if found.get("immutable") is True and content_digest(found) == copy.digest:
        return found
    about = found["metadata"]
    await client.delete(CONFIGMAP, model.namespace, about["name"], about["uid"])
    raise ApiError(409, "Conflict", f"ConfigMap {about['name']} was not the copy that it should be")


def refusal_of(copy: Copy, source: Manifest | None) -> str:
    """Say why a copy can't be made any more, and what helps."""
    revision = copy.manifest["metadata"]["labels"][names.REVISION]
    what = "is gone" if source is None else "has other content"
    return (
        f"revision {revision} has no copy of ConfigMap {copy.source}, which {what}: its new pods can't start;"
        " put the old content back, or let another revision serve"
    )

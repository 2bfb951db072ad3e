"""Whose an object is: what we may write to and delete, and what has a child's name but is another's. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ekiben.core import names
from ekiben.core.snapshot import Manifest, Model, Ref

CHILD_KINDS = (
    "Deployment",
    "Service",
    "HorizontalPodAutoscaler",
    "ScaledObject",
    "TriggerAuthentication",
    "PodDisruptionBudget",
    "HTTPRoute",
    "ControllerRevision",
    "ConfigMap",
    "Job",
    "EndpointSlice",
)


# What follows a revision in the names of the children of which it may have several.
_ENDS = {"ConfigMap": "-[0-9a-f]{8}$", "TriggerAuthentication": "-[0-9]{1,2}$"}


def sort_children(raws: Iterable[Manifest], model: Model) -> tuple[dict[Ref, Manifest], frozenset[Ref]]:
    """Part what we may apply to from what has a name that our children have, but belongs to others."""
    live: dict[Ref, Manifest] = {}
    foreign: set[Ref] = set()
    for raw in raws:
        ref = Ref(raw.get("kind", ""), str(raw.get("metadata", {}).get("name", "")))
        if is_ours(raw, model):
            live[ref] = raw
        elif is_child_name(ref, model.name):
            foreign.add(ref)
    return live, frozenset(foreign)


def is_ours(raw: Manifest, model: Model) -> bool:
    """Tell whether we may apply to an object: our uid controls it, or nobody does and it has our labels."""
    owner = controller_of(raw)
    if owner is not None:
        return bool(owner.get("uid") == model.uid)
    labels = raw.get("metadata", {}).get("labels") or {}
    return labels.get(names.MANAGED_BY) == names.MANAGER and labels.get(names.MODEL) == model.name


def controller_of(raw: Manifest) -> Manifest | None:
    """Return the owner reference of the object that controls this one."""
    for reference in raw.get("metadata", {}).get("ownerReferences") or ():
        if reference.get("controller"):
            found: Manifest = reference
            return found
    return None


def is_child_name(ref: Ref, model: str) -> bool:
    """Tell whether a child of this model may have this name."""
    if ref in fixed_refs(model):
        return True
    per_revision = ref.kind in CHILD_KINDS and ref.kind not in ("Service", "HTTPRoute", "EndpointSlice")
    revision = ref.name.removeprefix(f"{model}-")
    pattern = r"^[a-z][a-z0-9]{9}" + _ENDS.get(ref.kind, "$")
    return per_revision and revision != ref.name and re.match(pattern, revision) is not None


def fixed_refs(model: str) -> tuple[Ref, ...]:
    """List the children whose names don't depend on a revision."""
    return (
        Ref("Service", names.stable_service(model)),
        Ref("Service", names.canary_service(model)),
        Ref("HTTPRoute", names.route(model)),
        Ref("HTTPRoute", names.preview_route(model)),
        Ref("EndpointSlice", names.activator_slice(model)),
    )

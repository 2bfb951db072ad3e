"""The autoscaling block of each revision: the spec's, or with `autoscaling.canary` the one it was born with.

Theory of operation. With `canary` the block is part of what makes a revision, and its record holds it. So a
change of it is rolled out and judged like any other: until it is promoted, and for good where it is not,
stable scales as it always did. A view's spec holds the block of stable, by `at_stables`: whoever asks how the
model is scaled asks about what serves. Whoever asks about one revision asks `block_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from ekiben.api.scaling import Autoscaling
from ekiben.api.v1alpha1 import Spec
from ekiben.core.canonical import canonical
from ekiben.core.snapshot import Record
from ekiben.core.view import View

FIELD = "autoscaling"


def block_inputs(spec: Spec) -> dict[str, Any]:
    """Return the block as part of a revision's inputs; nothing where its changes need no rollout.

    What equals a default counts as not written, so a field that is new to us renames no revision.
    """
    block = spec.autoscaling
    if block is None or not block.canary:
        return {}
    written = block.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    found: dict[str, Any] = canonical(written)
    return found


def recorded_block(record: Record | None) -> Autoscaling | None:
    """Return the block that a revision was born with; None where it had none, or one that makes no sense."""
    written = record.inputs.get(FIELD) if record else None
    if not isinstance(written, Mapping):
        return None
    try:
        return Autoscaling.model_validate(written)
    except ValidationError:
        return None


def block_of(view: View, revision: str) -> Autoscaling | None:
    """Return how a revision is scaled."""
    key = (block_of, revision)
    if key not in view.memo:
        view.memo[key] = _block_of(view, revision)
    found: Autoscaling | None = view.memo[key]
    return found


def scaled_of(view: View, revision: str) -> Autoscaling | None:
    """Return how an autoscaler of ours is to size a revision; None where nobody does, or others do."""
    return view.spec.model_copy(update={"autoscaling": block_of(view, revision)}).scaled


def at_stables(view: View) -> View:
    """Return the view whose spec scales as stable does."""
    # A spec that stands in for one that is refused scales nothing.
    if view.stable_revision is None or not isinstance(view.snapshot.spec, Spec):
        return view
    block = _block_of(view, view.stable_revision)
    if block is view.spec.autoscaling:
        return view
    return replace(view, spec=view.spec.model_copy(update={"autoscaling": block}))


def _block_of(view: View, revision: str) -> Autoscaling | None:
    asked = view.snapshot.spec
    if not isinstance(asked, Spec):
        return view.spec.autoscaling
    return recorded_block(view.record(revision)) or asked.autoscaling

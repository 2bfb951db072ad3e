"""Fill in the few words that queries, URLs, bodies and arguments may hold in double braces.

That is all there is to it: nothing is computed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ekiben.api.sources import PLACEHOLDERS
from ekiben.api.status import Stage
from ekiben.core import names
from ekiben.core.view import View

_BRACES = re.compile(r"\{\{([^{}]*)\}\}")


def words_of(view: View) -> dict[str, str]:
    """Return what the placeholders of api/sources.py stand for."""
    # In a bake the new revision is stable, and the canary's Service leads to the one before.
    bakes = view.rollout is not None and view.rollout.stage is Stage.BAKING
    reached = names.stable_service if bakes else names.canary_service
    return {
        "canary.revision": view.rollout.revision if view.rollout else "",
        "canary.service": reached(view.model.name),
        "stable.revision": view.stable_revision or "",
        "model.name": view.model.name,
        "model.namespace": view.model.namespace,
    }


# What is filled in later stays as it is.
PLACEHOLDERS_KEPT = {name: f"{{{{{name}}}}}" for name in PLACEHOLDERS}


class UnknownPlaceholderError(ValueError):
    """Something in double braces that nobody knows; the message says what may stand there."""


def filled(text: str, values: Mapping[str, str]) -> str:
    """Replace each `{{name}}` by its value, once; raises UnknownPlaceholderError."""

    def value_of(match: re.Match[str]) -> str:
        if match[1] not in values:
            known = ", ".join(f"{{{{{name}}}}}" for name in values)
            raise UnknownPlaceholderError(f"{match[0][:80]} is nothing that is known here: write {known}")
        return values[match[1]]

    return _BRACES.sub(value_of, text)

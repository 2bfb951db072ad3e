"""How a model's last change ended, as an exit status: for pipelines. Pure."""

from __future__ import annotations

from typing import NamedTuple

from ekiben.cli.exits import Exit
from ekiben.cli.facts import Facts
from ekiben.core import conditions as c

_SETTLED = {
    "RolledBack": Exit.ROLLED_BACK,
    "Aborted": Exit.ABORTED,
    "InvalidSpec": Exit.INVALID,
    "NotAllowed": Exit.INVALID,
}


class Ending(NamedTuple):
    """An exit status and the sentence that goes with it."""

    code: Exit
    message: str


def ending_of(facts: Facts) -> Ending | None:
    """Return how the last change ended; None while it is on its way, or not yet seen by the operator.

    A change has ended well only when what it asks for also has a ready pod.
    """
    if not facts.is_observed:
        return None
    settled = facts.says(c.SETTLED, "True")
    if settled and settled.reason in _SETTLED:
        return Ending(_SETTLED[settled.reason], settled.message or facts.status.message)
    # What failed and was rolled back is stalled too, and has been told from this above.
    if stalled := facts.says(c.STALLED, "True"):
        return Ending(Exit.STALLED, f"{stalled.reason}: {stalled.message}")
    if settled and facts.says(c.READY, "True"):
        return Ending(Exit.OK, facts.status.message)
    return None


def progress(facts: Facts) -> str:
    """Say in a line where the last change is."""
    if not facts.is_observed:
        generation = facts.raw["metadata"].get("generation")
        return f"waiting for the operator to see generation {generation}"
    return f"{facts.status.phase or 'Pending'}: {facts.status.message}"

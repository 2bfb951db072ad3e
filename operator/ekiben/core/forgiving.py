"""Failed looks that `failureLimit` forgives are counted."""

from __future__ import annotations

from ekiben.api.status import RolloutStatus
from ekiben.core import failures, verdicts
from ekiben.core.moves import Move, with_rollout
from ekiben.core.view import View


def count_failed_look(view: View, rollout: RolloutStatus, failure: failures.Failure) -> Move | None:
    """Count a failed look that `failureLimit` forgives, once per look."""
    if not failures.is_new_look(view, failure):
        return None
    moved = rollout.model_copy(
        update={
            "failed_looks": rollout.failed_looks + 1,
            "failed_look_at": failure.looked_at,
            "totals": verdicts.totals(view),
        }
    )
    limit = view.spec.analysis.failure_limit
    return with_rollout(
        view, moved, f"failed look {moved.failed_looks} of {limit} forgiven: {failure.message}"
    )

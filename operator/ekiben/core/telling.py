"""Every reason of an Event and every reason why a rollout ended; docs/reference.md is made from it.

The reasons of outcomes are also the label of a metric, so that there are only so many of them.
"""

from __future__ import annotations

EVENTS: dict[str, str] = {
    "FirstRevision": "The first revision gets its pods, and serves as soon as they are ready.",
    "Held": "The first revision is held: it waits for rollout.promote.",
    "Queued": "As many rollouts run as may at once: the rollout waits for its turn.",
    "RolloutStarted": "A rollout began: why, by whom, from which revision to which.",
    "PreflightIncomplete": "Room was looked for, but not everything could be seen.",
    "FallingBack": "There is no room beside stable: it falls back to Recreate, as the spec allows.",
    "Recreating": "Stable's pods are taken down for the new revision's.",
    "StepStarted": "A weight is asked for; with the numbers that the step before passed on.",
    "AnalysisStarted": "A step of kind analysis judges the canary in place.",
    "Paused": "A pause step is reached.",
    "GateAsked": "A gate is asked before the rollout goes on.",
    "GateTimeout": "A gate stayed shut for too long.",
    "BakeStarted": "The new revision serves everything, and is judged on for a while.",
    "StepsEdited": "Edited steps or checks are taken over.",
    "NoData": "A step got too few requests in time, and waits for a hand.",
    "Inconclusive": "A check is over its limit, but not for certain, and waits for a hand.",
    "RolledBack": "The canary failed: why, by which check, back to which revision.",
    "Aborted": "The rollout is aborted by hand.",
    "Superseded": "The spec asks for yet another revision.",
    "Reverted": "The spec asks for stable again.",
    "Promoted": "The new revision serves everything; with the numbers it passed on.",
    "Asleep": "Nobody asks, by minReplicas 0: the pods go, and the activator holds the next request.",
    "Waking": "A model that is asleep gets a pod: why.",
    "Woken": "A model that was asleep serves by itself again.",
}

OUTCOME_REASONS: dict[str, str] = {
    "Promoted": "The new revision serves.",
    "Aborted": "By rollout.abort.",
    "Superseded": "The spec asked for another revision.",
    "Reverted": "The spec asked for stable again.",
    "AnalysisFailed": "A check failed.",
    "JobFailed": "A Job that judges the canary failed.",
    "NoData": "A check got too few requests, and onNoData is fail.",
    "CheckError": "A check could not be judged for too long.",
    "CrashLoop": "A pod of the canary restarted again and again.",
    "NeverReady": "A pod of the canary started and was not ready within progressDeadline.",
    "NotDrained": "Pods that were taken down did not end within progressDeadline.",
    "WarmupFailed": "A pod of the canary did not answer its warm-up calls in time.",
    "NoReadyPods": "The revision that is judged has had no ready pod for too long.",
    "GateTimeout": "A gate stayed shut for too long, and its onTimeout rolls back.",
    "Restarted": "A pod of the canary restarted while it carried traffic.",
    "ReadinessLost": "A pod of the canary was ready and is not any more.",
    "CounterReset": "Request counters of the canary fell back: a worker died.",
    "RolledBack": "It had failed before the status was lost: why is not known any more.",
    "StatusLost": "The status was lost, and with it what the canary was judged on.",
}
OTHER = "Other"


def bounded(reason: str) -> str:
    """Return a reason as a label: one of the table, or Other."""
    return reason if reason in OUTCOME_REASONS else OTHER

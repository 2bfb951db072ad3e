"""The exact objects that a model waits for, what they say of themselves, and what sets it going. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ekiben.api.measured import CheckResult
from ekiben.api.status import Condition, Stage
from ekiben.cli.facts import Facts
from ekiben.cli.pods import Manifest, PodFacts, pod_facts
from ekiben.cli.text import PLAIN, Cell, Paint, table
from ekiben.core import conditions as c
from ekiben.core import names
from ekiben.core.analysis import is_counted

# What somebody can do about a reason that a condition shows; the others' messages say it themselves.
REMEDIES: Mapping[str, str] = {
    "Unschedulable": "make room on a node that fits, or lower what the pod asks for",
    "ImagePull": "push the image, or correct bento.image or imagePullSecrets",
    "MissingConfig": "create what is named",
    "Quota": "raise the quota, or lower what the pods ask for",
    "InsufficientCapacity": "make room, or allow rollout.preflight.fallback: Recreate, or go on all the same:"
    " kubectl ekiben promote {name}",
    "ChildRejected": "correct the field that the API server names",
    "SurgeLimit": "raise rollout.maxSurge, or edit the steps; kubectl ekiben plan -f FILE tells before",
    "WarmingUp": "see that rollout.warmup is what the pods answer, or raise its maxLatency",
    "Samples": "send it requests, or lower analysis.minSamples",
    "NoSeries": "see what the query finds, or set the check's onNoData",
    "CheckError": "see who is asked, or correct the check",
    "OverLimit": "wait for more requests, or go back: kubectl ekiben abort {name}",
    "PauseStep": "kubectl ekiben resume {name}, or go back: kubectl ekiben abort {name}",
    "Inconclusive": "kubectl ekiben resume {name}, or go back: kubectl ekiben abort {name}",
    "NoData": "kubectl ekiben resume {name}, or go back: kubectl ekiben abort {name}",
    "Paused": "kubectl ekiben resume {name}",
    "Baking": "wait; or end it by kubectl ekiben promote {name}, go back by kubectl ekiben abort {name}",
    "NoWayBack": "get the old revision's pods ready, or keep the new one: kubectl ekiben promote {name}",
    "Frozen": "wait, or go on all the same: kubectl ekiben promote {name}",
    "GateShut": "open it, or go on all the same: kubectl ekiben promote {name}",
    "GateTimeout": "open it, or kubectl ekiben resume {name}, or go back: kubectl ekiben abort {name}",
    "Held": "kubectl ekiben promote {name}",
    "RolledBack": "release another version, or kubectl ekiben retry {name}, or kubectl ekiben undo {name}",
    "Aborted": "release another version, or kubectl ekiben retry {name}, or kubectl ekiben undo {name}",
    "InvalidSpec": "correct the field; kubectl ekiben lint -f FILE finds the others",
    "MetricsUnreachable": "let the operator reach port 3000 of the pods, and leave BentoML's metrics on",
    "ServiceNameMismatch": "set bento.service to the class name that the message shows",
    "CrashLoopBackOff": "kubectl logs --previous {pod}",
    "Restarted": "kubectl logs --previous {pod}",
    "NotReady": "kubectl logs {pod}",
}
# InsufficientCapacity, where it is no matter of room: the canary has traffic, and its autoscaler brings pods.
_STILL_GROWS = "wait for the pods, or go back: kubectl ekiben abort {name}"
_WAITS_FOR_PODS = frozenset(
    {
        "Unschedulable",
        "ImagePull",
        "MissingConfig",
        "Quota",
        "Starting",
        "Scaling",
        "WarmingUp",
        "FirstRevision",
        "NoReadyPods",
    }
)
_JUDGES = frozenset({"Samples", "NoSeries", "OverLimit", "CheckError", "Analysing", "NoData", "Inconclusive"})
_ASKS = frozenset({"GateShut", "GateTimeout"})
_UNTROUBLED = frozenset({"", "Terminating"})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was read beside the model: Events of pods that are not ready, by pod; HTTPRoute; Deployments."""

    pods: tuple[Manifest, ...] = ()
    events: Mapping[str, Sequence[Manifest]] = field(default_factory=dict)
    route: Manifest | None = None
    deployments: tuple[Manifest, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is waited for: a reason in a word, the object, what it says, what to do about it."""

    reason: str
    object: str
    says: str
    remedy: str = ""


def explain(facts: Facts, around: Surroundings) -> list[Finding]:
    """Name everything that the model waits for, what blocks most first; empty where it waits for nothing."""
    return [
        *_unseen(facts),
        *_held_back(facts),
        *_stalled(facts),
        *_in_flight(facts, around),
        *_traffic(facts, around),
        *_ignored(facts),
    ]


def troubled(facts: Facts, pods: Sequence[Manifest]) -> list[PodFacts]:
    """Return the pods of stable and canary that are not ready, the canary's first."""
    moving = [revision for revision in (facts.canary, facts.stable) if revision]
    read = [pod for pod in map(pod_facts, pods) if pod.reason not in _UNTROUBLED and pod.revision in moving]
    return sorted(read, key=lambda pod: (moving.index(pod.revision), pod.reason == "Starting", pod.name))


def _unseen(facts: Facts) -> Iterator[Finding]:
    if not facts.is_observed:
        generation = facts.raw["metadata"].get("generation")
        yield Finding(
            "NotObserved",
            f"ModelDeployment {facts.name}",
            f"the operator has not seen generation {generation} yet",
            "if this lasts: see that an operator runs, and that its selector and namespaces cover this model",
        )


def _held_back(facts: Facts) -> Iterator[Finding]:
    """Say that a revision waits for its rollout to begin: no condition speaks of one that has not begun."""
    paused = facts.spec is not None and facts.spec.rollout.paused
    waits = facts.is_observed and facts.rollout is None and facts.stable not in (None, facts.wanted)
    if paused and waits and not facts.says(c.STALLED, "True"):
        remedy = REMEDIES["Paused"].format(name=facts.name)
        yield Finding("Paused", "spec.rollout.paused", facts.status.message, remedy)


def _stalled(facts: Facts) -> Iterator[Finding]:
    if stalled := facts.says(c.STALLED, "True"):
        yield _of_condition(facts, stalled)


def _of_condition(facts: Facts, condition: Condition) -> Finding:
    begun = facts.rollout is not None and facts.rollout.stage not in (Stage.QUEUED, Stage.PREFLIGHT)
    known = _STILL_GROWS if condition.reason == "InsufficientCapacity" and begun else ""
    remedy = (known or REMEDIES.get(condition.reason, "")).format(name=facts.name, pod="POD")
    return Finding(condition.reason, f"ModelDeployment {facts.name}", condition.message, remedy)


def _in_flight(facts: Facts, around: Surroundings) -> Iterator[Finding]:
    """Follow what the operator says it waits for down to the object that says why."""
    waiting = facts.says(c.RECONCILING, "True")
    down = facts.says(c.READY, "False")
    if waiting is None and down is None:
        return
    reason = waiting.reason if waiting else down.reason if down else ""
    if reason in _WAITS_FOR_PODS or down:
        found = [*_replica_failures(facts, around), *_pods(facts, around)]
        if found:
            yield from found
            return
    rollout = facts.status.rollout
    if (
        reason in _JUDGES
        and rollout
        and (open_ := [item for item in rollout.checks if item.verdict != "Pass" and not item.dry_run])
    ):
        yield from (_of_check(facts, reason, item) for item in open_)
        return
    if reason == "Traffic" and facts.spec and facts.spec.traffic:
        yield from _route(around, facts.status.message)
        return
    if waiting and reason in _ASKS:
        remedy = REMEDIES[reason].format(name=facts.name)
        yield Finding(reason, "spec.rollout.gates", waiting.message, remedy)
    elif waiting:
        yield _of_condition(facts, waiting)


def _of_check(facts: Facts, reason: str, check: CheckResult) -> Finding:
    numbers = [
        f"{label} {value}" for label, value in (("measured", check.value), ("limit", check.limit)) if value
    ]
    least = f" of at least {facts.spec.analysis.min_samples}" if facts.spec and reason == "Samples" else ""
    numbers.append(f"{check.samples}{least} requests seen" if is_counted(check.metric) else check.message)
    remedy = REMEDIES.get(reason, "").format(name=facts.name, pod="POD")
    return Finding(reason, f"check {check.metric}: {check.verdict}", ", ".join(numbers), remedy)


def _replica_failures(facts: Facts, around: Surroundings) -> Iterator[Finding]:
    wanted = {names.revision_child(facts.name, item) for item in (facts.canary, facts.stable) if item}
    for deployment in around.deployments:
        name = deployment["metadata"]["name"]
        for item in (deployment.get("status") or {}).get("conditions") or ():
            failed = item.get("type") == "ReplicaFailure" and item.get("status") == "True"
            if name in wanted and failed:
                yield Finding("Quota", f"Deployment {name}", str(item.get("message", "")), REMEDIES["Quota"])


def _pods(facts: Facts, around: Surroundings) -> Iterator[Finding]:
    for pod in troubled(facts, around.pods):
        said = [text for text in (pod.says, probe_answer(around.events.get(pod.name, ()))) if text]
        if pod.restarts:
            said.append(f"restarted {pod.restarts} times")
        known = REMEDIES.get(pod.reason) or REMEDIES.get(_condition_reason(facts), "")
        remedy = known.format(name=facts.name, pod=pod.name)
        role = "canary" if pod.revision == facts.canary else "stable"
        yield Finding(pod.reason, f"Pod {pod.name} of {role}", "; ".join(said) or "no word yet", remedy)


def _condition_reason(facts: Facts) -> str:
    waiting = facts.says(c.RECONCILING, "True")
    return waiting.reason if waiting else ""


def probe_answer(events: Sequence[Manifest]) -> str:
    """Return what a pod's probe answered last, of its Events; else the last warning; empty without one."""
    warnings = sorted((item for item in events if item.get("type") == "Warning"), key=_last_seen)
    probes = [item for item in warnings if item.get("reason") == "Unhealthy"]
    last = (probes or warnings)[-1:]
    return " ".join(str(last[0].get("note") or "").split()) if last else ""


def _last_seen(event: Manifest) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime") or event.get("deprecatedLastTimestamp") or event.get("eventTime") or ""
    )


def _route(around: Surroundings, message: str) -> Iterator[Finding]:
    if around.route is None:
        yield Finding("RouteMissing", "HTTPRoute", message, "if this lasts: see the operator's log")
        return
    about, found = around.route["metadata"], False
    for parent in (around.route.get("status") or {}).get("parents") or ():
        ref = parent.get("parentRef") or {}
        gateway = f"{ref.get('namespace') or about.get('namespace')}/{ref.get('name')}"
        for item in parent.get("conditions") or ():
            behind = item.get("observedGeneration", 0) < about.get("generation", 0)
            if item.get("status") != "True" or behind:
                found = True
                state = f"{item.get('type')} is {item.get('status')} ({item.get('reason')})"
                late = f"has seen generation {item.get('observedGeneration')} of {about.get('generation')}"
                says = f"{state}: {item.get('message')}" if item.get("status") != "True" else late
                yield Finding("Traffic", f"HTTPRoute {about['name']} at Gateway {gateway}", says)
    if not found:
        yield Finding(
            "Traffic", f"HTTPRoute {about['name']}", message, "see that its Gateway's controller runs"
        )


def _traffic(facts: Facts, around: Surroundings) -> Iterator[Finding]:
    applied = facts.says(c.TRAFFIC_APPLIED, "False")
    if applied is None:
        return
    if applied.reason == "RouteNotAccepted":
        yield from _route(around, applied.message)
    else:
        yield _of_condition(facts, applied)


def _ignored(facts: Facts) -> Iterator[Finding]:
    for command in facts.status.commands:
        if command.result == "Ignored":
            what = f"spec.rollout.{command.command}: {command.value}"
            yield Finding(
                "Ignored", what, command.message, "take the line away, or name the rollout it means"
            )


def why(facts: Facts, findings: Sequence[Finding], paint: Paint = PLAIN) -> list[str]:
    """Write what is waited for."""
    if not findings:
        waits = facts.rollout is not None
        said = "goes on by itself" if waits else "waits for nothing"
        return [f"{paint(facts.name, 'bold')} {said}: {facts.status.message}"]
    lines = [f"{paint(facts.name, 'bold')}: {facts.status.message or 'no word from the operator yet'}"]
    for finding in findings:
        rows: list[list[Cell | str]] = [
            [Cell("object", "dim"), finding.object],
            [Cell("says", "dim"), finding.says],
        ]
        if finding.remedy:
            rows.append([Cell("to do", "dim"), finding.remedy])
        lines += ["", paint(finding.reason, "warn"), *table(rows, paint, indent="  ")]
    return lines


def as_data(facts: Facts, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the same for a program."""
    return {
        "name": facts.name,
        "message": facts.status.message,
        "waitsFor": [asdict(item) for item in findings],
    }

"""The live picture of one model: what serves, what is on its way, and how far it is judged. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ekiben.api.measured import CheckResult, Latency
from ekiben.api.rollout import Step
from ekiben.api.status import Phase, RevisionStatus, RolloutStatus, Stage
from ekiben.cli.facts import Facts
from ekiben.cli.pods import Manifest, PodFacts, pod_facts
from ekiben.cli.text import PLAIN, Cell, Paint, ago, span, table
from ekiben.core import steps
from ekiben.core.analysis import is_counted
from ekiben.core.view import RECALLABLE

_PHASES = {
    Phase.HEALTHY: "good",
    Phase.ASLEEP: "good",
    Phase.QUEUED: "warn",
    Phase.PROGRESSING: "warn",
    Phase.PAUSED: "warn",
    Phase.PENDING: "warn",
    Phase.DEGRADED: "bad",
}
_VERDICTS = {"Pass": "good", "Fail": "bad", "Error": "bad", "Waiting": "warn", "Inconclusive": "warn"}


@dataclass(frozen=True, slots=True)
class Branch:
    """One revision that has pods: its role, its share of the traffic in percent, its pods."""

    role: str
    revision: str
    weight: int | None
    status: RevisionStatus | None
    pods: tuple[PodFacts, ...]
    note: str = ""


def branches(facts: Facts, pods: Sequence[Manifest], now: datetime) -> list[Branch]:
    """Sort the pods by what their revision is to the model: stable, canary, retiring, or left over."""
    read = sorted((pod_facts(raw) for raw in pods), key=lambda pod: pod.name)
    baking = facts.rollout if facts.rollout and facts.rollout.stage in RECALLABLE else None
    weight = facts.rollout.weight if facts.rollout and facts.canary else 0
    if baking:
        weight = 100 - baking.weight
    known: list[Branch] = []

    def add(role: str, revision: str, share: int | None, status: RevisionStatus | None, note: str) -> None:
        own = tuple(pod for pod in read if pod.revision == revision)
        known.append(Branch(role, revision, share, status, own, note))

    if facts.stable:
        stable = facts.status.stable
        add("stable", facts.stable, 100 - weight, stable, stable.image if stable else "")
    if facts.canary:
        canary = facts.status.canary
        add("canary", facts.canary, weight, canary, canary.image if canary else "")
    told = {branch.revision for branch in known}
    if baking and baking.previous:
        add("before", baking.previous, weight, None, "keeps its pods until the bake is over")
        told.add(baking.previous)
    for item in facts.status.retiring:
        if item.revision not in told:
            left = (item.until - now).total_seconds()
            note = f"keeps its pods for another {span(left)}" if left > 0 else "goes when its requests stop"
            add("retiring", item.revision, None, None, note)
    told = {branch.revision for branch in known}
    for revision in sorted({pod.revision for pod in read} - told):
        add("old", revision, None, None, "")
    return known


def tree(
    facts: Facts, pods: Sequence[Manifest], now: datetime, paint: Paint = PLAIN, *, wide: bool = False
) -> list[str]:
    """Draw the model."""
    status = facts.status
    phase = status.phase or Phase.PENDING
    head = f"{paint(facts.name, 'bold')}  {paint(phase, _PHASES[phase])}  {status.message}".rstrip()
    about = [("namespace", facts.namespace), ("url", status.url or "-"), ("rollout", _rollout(facts, now))]
    if not facts.is_observed:
        generation = facts.raw["metadata"].get("generation")
        about.append(("note", f"the operator has not seen generation {generation} yet"))
    lines = [head, *table([(Cell(key, "dim"), value) for key, value in about], paint), ""]
    lines += table(_pod_rows(branches(facts, pods, now), now, wide=wide), paint)
    if facts.canary and status.rollout and status.rollout.plan:
        lines += ["", *table(_step_rows(status.rollout.plan.steps, status.rollout.step), paint)]
        lines += [f"  {text}" for text in status.rollout.shortfalls or ()]
    is_judged = facts.canary or (status.rollout and status.rollout.stage is Stage.BAKING)
    if is_judged and status.rollout and status.rollout.checks:
        minimum = facts.spec.analysis.min_samples if facts.spec else None
        lines += ["", *table(_check_rows(status.rollout.checks, minimum), paint)]
    if facts.canary and (latencies := _latencies(status.rollout)):
        lines += ["", *table(_latency_rows(latencies), paint)]
    return lines


def _rollout(facts: Facts, now: datetime) -> str:
    rollout = facts.status.rollout
    if rollout is None:
        return "-"
    if rollout.stage is Stage.OVER:
        return f"{rollout.id}  {rollout.outcome or 'over'} {ago(rollout.stage_started_at, now)} ago"
    count = len(rollout.plan.steps) if rollout.plan else 0
    where = f", step {rollout.step} of {count}" if count else ""
    share = f", {rollout.observed_share} of the requests counted" if rollout.observed_share else ""
    headers = "".join(f", requests with {text} to the canary" for text in rollout.headers or ())
    return f"{rollout.id}  {rollout.stage} for {ago(rollout.stage_started_at, now)}{where}{share}{headers}"


def _pod_rows(found: Sequence[Branch], now: datetime, *, wide: bool) -> Iterator[list[Cell | str]]:
    more: list[Cell | str] = [Cell("NODE", "dim"), Cell("IP", "dim")] if wide else []
    heads = ("REVISION / POD", "READY", "RESTARTS", "AGE", "WEIGHT")
    yield [*(Cell(head, "dim") for head in heads), *more, Cell("IMAGE / REASON", "dim")]
    for branch in found:
        ready = sum(pod.ready for pod in branch.pods)
        asked = branch.status.replicas if branch.status else len(branch.pods)
        meaning = "good" if ready and ready >= asked else "warn" if asked else ""
        weight = "" if branch.weight is None else f"{branch.weight}%"
        first: list[Cell | str] = [
            Cell(f"{branch.role} {branch.revision}", "bold"),
            Cell(f"{ready}/{asked}", meaning),
            "",
            "",
            weight,
        ]
        note = branch.note
        if wide and branch.status and branch.status.image_digest:
            note = f"{note} ({branch.status.image_digest})"
        yield [*first, *([""] * len(more)), note]
        for number, pod in enumerate(branch.pods, start=1):
            twig = "└─ " if number == len(branch.pods) else "├─ "
            said = Cell("yes", "good") if pod.ready else Cell("no", "warn")
            restarts = Cell(str(pod.restarts), "bad" if pod.restarts else "")
            place: list[Cell | str] = [pod.node or "-", pod.ip or "-"] if wide else []
            reason = Cell(pod.trouble, "" if pod.ready else "warn")
            yield [f"{twig}{pod.name}", said, restarts, ago(pod.created, now), "", *place, reason]


def _step_rows(plan: Sequence[Step], at: int) -> Iterator[list[Cell | str]]:
    yield [Cell(head, "dim") for head in ("STEP", "WEIGHT", "HOLD", "")]
    for number, step in enumerate(plan, start=1):
        state = Cell("done", "good") if number < at else Cell("now", "warn") if number == at else Cell("")
        hold = steps.hold_of(step) if step.weight or step.analysis else "-"
        yield [str(number), steps.step_text(step), hold, state]


def _check_rows(checks: Sequence[CheckResult], minimum: int | None) -> Iterator[list[Cell | str]]:
    yield [Cell(head, "dim") for head in ("CHECK", "VERDICT", "VALUE", "LIMIT", "SAMPLES")]
    for check in checks:
        few = minimum is not None and check.samples < minimum
        samples = f"{check.samples} of {minimum}" if few else str(check.samples)
        samples = samples if is_counted(check.metric) else "-"
        remark = " (dry run)" if check.dry_run else " (pods are missing)" if check.excused else ""
        said = check.verdict + remark
        verdict = Cell(said, _VERDICTS[check.verdict])
        yield [check.metric, verdict, check.value or "-", check.limit or "-", samples]


def _latencies(rollout: RolloutStatus | None) -> list[tuple[str, Latency]]:
    """Return what is known of both sides' latency."""
    if rollout is None or rollout.totals is None:
        return []
    sides = (("stable", rollout.totals.stable), ("canary", rollout.totals.canary))
    return [(name, counters.latency) for name, counters in sides if counters.latency]


def _latency_rows(latencies: Sequence[tuple[str, Latency]]) -> Iterator[list[Cell | str]]:
    yield [Cell(head, "dim") for head in ("LATENCY", "P50", "P95", "P99")]
    for name, latency in latencies:
        yield [name, latency.p50, latency.p95, latency.p99]


def as_data(facts: Facts, pods: Sequence[Manifest], now: datetime) -> dict[str, Any]:
    """Return the same picture for a program."""
    status, rollout = facts.status, facts.status.rollout
    return {
        "name": facts.name,
        "namespace": facts.namespace,
        "observed": facts.is_observed,
        "phase": str(status.phase) if status.phase else None,
        "message": status.message,
        "url": status.url,
        "rollout": rollout.model_dump(mode="json", by_alias=True, exclude_none=True) if rollout else None,
        "revisions": [
            {
                "role": branch.role,
                "revision": branch.revision,
                "weight": branch.weight,
                "image": branch.status.image if branch.status else None,
                "pods": [_pod_data(pod) for pod in branch.pods],
            }
            for branch in branches(facts, pods, now)
        ],
    }


def _pod_data(pod: PodFacts) -> dict[str, Any]:
    return {
        "name": pod.name,
        "ready": pod.ready,
        "restarts": pod.restarts,
        "createdAt": pod.created.isoformat() if pod.created else None,
        "reason": pod.reason,
        "message": pod.says,
        "node": pod.node,
        "ip": pod.ip,
    }


def summary(facts: Facts, now: datetime) -> list[str]:
    """Return one model's row of the list: the columns of `kubectl get mdep`."""
    status, rollout = facts.status, facts.status.rollout
    return [
        facts.name,
        str(status.phase or "-"),
        facts.stable or "-",
        facts.canary or "-",
        f"{rollout.weight}%" if rollout and facts.canary else "-",
        f"{rollout.step}/{len(rollout.plan.steps)}" if rollout and rollout.plan and facts.canary else "-",
        status.ready or "-",
        ago(facts.created, now),
        status.message or "-",
    ]


HEADS = ("NAME", "STATUS", "STABLE", "CANARY", "WEIGHT", "STEP", "READY", "AGE", "MESSAGE")


def listing(
    models: Sequence[Facts],
    now: datetime,
    paint: Paint = PLAIN,
    *,
    namespaces: bool = False,
    wide: bool = False,
) -> list[str]:
    """Write one line for each model."""
    rows: list[list[Cell | str]] = []
    for facts in models:
        row: list[Cell | str] = [*summary(facts, now)]
        phase = facts.status.phase
        row[1] = Cell(str(row[1]), _PHASES[phase] if phase else "warn")
        extra = [facts.status.url or "-", (facts.raw.get("spec") or {}).get("bento", {}).get("image", "-")]
        rows.append(
            [*([facts.namespace] if namespaces else []), *row[:-1], *(extra if wide else []), row[-1]]
        )
    more = ("URL", "IMAGE") if wide else ()
    heads = [*(("NAMESPACE",) if namespaces else ()), *HEADS[:-1], *more, HEADS[-1]]
    return table([[Cell(head, "dim") for head in heads], *rows], paint)

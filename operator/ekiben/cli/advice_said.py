"""How advice is written: what follows, the evidence for it, and the YAML to paste; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ekiben.api.fields import seconds
from ekiben.api.rules.judging import DEFAULT_BOUNDS
from ekiben.api.scaling import Autoscaling
from ekiben.cli import yamls
from ekiben.cli.advice import FEWEST_REQUESTS, Advice, Level, Limit, Sum
from ekiben.cli.text import PLAIN, Cell, Paint, span, table
from ekiben.core.canonical import duration_text
from ekiben.core.engines import needs_keda
from ekiben.samples.quantiles import SHARES, latency_of

_MEANINGS = {"within": "good", "over": "bad", "unclear": "warn"}
# A level so many times as high as another has a gap below it.
_GAP = 2.0
_OWN_BOUNDS = frozenset(map(seconds, DEFAULT_BOUNDS))


@dataclass(frozen=True, slots=True)
class Watched:
    """What was watched: for how long, by which limit and who gave it, and how the model scales now.

    `service`: the spec names the bento's, without which only BentoML's own bounds can be written.
    """

    name: str
    revision: str
    limit: Limit
    whence: str
    seconds: float
    autoscaling: Autoscaling | None
    notes: tuple[str, ...] = ()
    service: bool = True

    @property
    def quantile(self) -> str:
        """What the limit is of, such as p95."""
        return f"p{round(self.limit.share * 100, 3):g}"

    @property
    def bound(self) -> str:
        """The limit, such as 500ms."""
        return duration_text(self.limit.seconds)

    @property
    def boundable(self) -> bool:
        """Tell whether the API takes the limit as a bound."""
        return self.service or self.limit.seconds in _OWN_BOUNDS

    @property
    def guarded(self) -> bool:
        """Tell whether the API takes the limit as latency; a check may give a quantile that it lacks."""
        known = self.quantile in SHARES and self.limit.seconds >= 0.01
        return known and self.boundable


def message_of(watched: Watched, advice: Advice) -> str:
    """Say what follows, and what to do where nothing does."""
    what, limit = watched.quantile, watched.bound
    good, bad = _in_flight(advice.good), _in_flight(advice.bad)
    ended = sum(pod.timed for pod in advice.pods.values())
    return {
        "Found": f"with up to {good} requests in flight in a pod {what} stayed within {limit}, with {bad} it"
        " was over",
        "TooLittleLoad": f"{what} stayed within {limit} with up to {good} requests in flight in a pod; how"
        " many more it can take was not seen: make more load, or run fewer pods, and ask again",
        "OverThroughout": f"{what} was over {limit} from {bad} requests in flight in a pod on, the least that"
        " says anything; how few it takes was not seen: make less load, or run more pods, and ask again",
        "SlowAlone": f"{what} was over {limit} with {bad} requests in flight in a pod, where none waits for"
        " another: each is slow by itself, and more pods make it no faster; raise the limit, or make the"
        " model faster",
        "Unsteady": f"{what} was over {limit} with {bad} requests in flight in a pod, and within it with"
        " more: something else than load makes requests slow, such as a cold start or what the model calls;"
        " look for that, or take a longer --window",
        "TooFewRequests": f"{ended} requests ended, which is too few to say for certain (it takes"
        f" {FEWEST_REQUESTS} of about the same load, and more where some are slow): make load, or take a"
        " longer --window",
    }[advice.verdict]


def _in_flight(level: Level | None) -> str:
    return f"{level.sum.concurrency:.2g}" if level else "-"


def notes_of(watched: Watched, advice: Advice) -> list[str]:
    """Say what else whoever follows the advice should know."""
    notes = [*watched.notes]
    bounds = {bound for pod in advice.pods.values() for bound in pod.known}
    if bounds and watched.limit.seconds not in bounds:
        named = "" if watched.boundable else " name bento.service, and"
        notes.append(
            f"the pods don't count by {watched.bound}, so requests between the bounds beside it are neither"
            f" within nor over:{named} write it into autoscaling.metrics as latency: the next revision does"
        )
    if advice.target is None or advice.good is None or advice.bad is None:
        return notes
    if advice.most is None:
        notes.append(
            "how many pods it takes is not said, and there is no YAML: that needs every ready pod"
            " to be read, for the others had requests too: ask again once all can be read and stay"
        )
    if advice.bad.sum.concurrency > _GAP * advice.good.sum.concurrency:
        notes.append(
            f"nothing was seen between {_in_flight(advice.good)} and {_in_flight(advice.bad)} in flight: a"
            " window with loads between them may find a higher target"
        )
    if advice.queued and advice.most and advice.queued > advice.most:
        notes.append(
            f"while requests queued up, the autoscaler would have asked for up to {advice.queued} pods at"
            " this target; so would clients that ask again as soon as they have an answer"
        )
    notes += _about_yaml(watched, advice)
    notes.append("this is about the window: what comes at another hour was not seen")
    return notes


def _about_yaml(watched: Watched, advice: Advice) -> list[str]:
    """Say what the YAML leaves out, keeps or does not set going."""
    block, notes = watched.autoscaling, list[str]()
    if block and any(map(needs_keda, block.metrics)):
        notes.append(
            "no engine serves concurrency together with prometheus, schedule and trigger, which the model has"
            " now: leave those out, and their formula, or ask a Prometheus for the requests in flight"
        )
    if advice.most is None:
        return notes
    if block and block.engine == "keda":
        notes.append("engine keda can't read concurrency: the YAML says hpa")
    if block and block.engine in ("none", "external"):
        notes.append(
            f"engine {block.engine}: nothing scales by the YAML as long as the spec says so: leave engine"
            " out too, or set replicas, or tell whoever scales"
        )
    if not watched.boundable:
        notes.append(
            f"the YAML has no latency {watched.bound}: without bento.service it must be one of BentoML's"
            " own bounds; name the class of the bento's entry service, and add it"
        )
    if block and (block.max_replicas or 0) > advice.most:
        notes.append(
            f"the YAML keeps maxReplicas {block.max_replicas} for what was not seen:"
            f" {advice.most} would have been enough"
        )
    return notes


def spec_of(watched: Watched, advice: Advice) -> dict[str, Any] | None:
    """Return the part of the spec to write; None where nothing is advised."""
    if advice.target is None or advice.most is None:
        return None
    block, guarded = watched.autoscaling, watched.guarded
    others = [
        metric.model_dump(mode="json", by_alias=True, exclude_none=True)
        for metric in (block.metrics if block else ())
        if not (metric.concurrency or needs_keda(metric))
        and not (guarded and metric.latency and metric.latency.quantile == watched.quantile)
    ]
    guard = [{"latency": {watched.quantile: watched.bound}}] if guarded else []
    engine = {"engine": "hpa"} if block and block.engine == "keda" else {}
    scaling = {
        **engine,
        "minReplicas": 0 if block and block.sleeps else advice.fewest,
        # Never less room than there is: a window sees no other hour.
        "maxReplicas": max((block and block.max_replicas) or 0, advice.most),
        "metrics": [{"concurrency": _number(advice.target)}, *guard, *others],
    }
    return {"spec": {"autoscaling": scaling}}


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def advice_lines(watched: Watched, advice: Advice, paint: Paint = PLAIN) -> list[str]:
    """Write it for a person."""
    limit = f"{watched.quantile} {watched.bound} ({watched.whence})"
    head = f'concurrency: "{_number(advice.target)}"' if advice.target is not None else advice.verdict
    meaning = "good" if advice.target is not None else "warn"
    lines = [
        f"{paint(watched.name, 'bold')}: {paint(head, meaning)}: {message_of(watched, advice)}",
        f"  revision {watched.revision}, {span(watched.seconds)}, limit {limit}",
    ]
    if advice.fewest is not None:
        lines.append(
            f"  for the requests that came, {_pods(advice)} would have been enough{_now(watched.autoscaling)}"
        )
    if advice.pods:
        head_row = [Cell(text, "dim") for text in ("POD", "IN FLIGHT", "AT MOST", "RPS", "P50", "P95")]
        rows: list[list[Cell | str]] = [
            [*head_row],
            *([name, *_row(pod)] for name, pod in sorted(advice.pods.items())),
        ]
        lines += ["", *table(rows, paint, indent="  ")]
    if advice.levels:
        lines += ["", *table(_level_rows(watched, advice), paint, indent="  ")]
    if notes := notes_of(watched, advice):
        lines += ["", *(f"  note: {note}" for note in notes)]
    if (spec := spec_of(watched, advice)) is not None:
        lines += ["", *yamls.dump(spec, "yaml").splitlines()]
    return lines


def _pods(advice: Advice) -> str:
    if advice.fewest == advice.most:
        return f"{advice.most} pod{'s' if advice.most != 1 else ''}"
    return f"{advice.fewest} to {advice.most} pods"


def _now(block: Autoscaling | None) -> str:
    if block is None:
        return ""
    most = f" to {block.max_replicas}" if block.max_replicas else ""
    return f" (now: {block.min_replicas}{most})"


def _row(pod: Sum) -> list[Cell | str]:
    return [f"{pod.concurrency:.2f}", f"{pod.most:.2f}", f"{pod.rate:.1f}", *_quantiles(pod)]


def _quantiles(found: Sum) -> tuple[str, str]:
    latency = latency_of(found.known, found.timed)
    return (latency.p50, latency.p95) if latency else ("-", "-")


def _level_rows(watched: Watched, advice: Advice) -> list[list[Cell | str]]:
    rows: list[list[Cell | str]] = [
        [
            Cell(text, "dim")
            for text in ("IN FLIGHT", "REQUESTS", "RPS", "P50", "P95", f"OVER {watched.bound}", "")
        ]
    ]
    for level in advice.levels:
        found = level.sum
        rows.append(
            [
                f"{found.least:.2f}-{found.most:.2f}",
                str(found.timed),
                f"{found.rate:.1f}",
                *_quantiles(found),
                _share_over(level, watched.limit),
                Cell(level.standing, _MEANINGS[level.standing]),
            ]
        )
    return rows


def _share_over(level: Level, limit: Limit) -> str:
    slow = next((count for bound, count in level.sum.known.items() if bound >= limit.seconds), None)
    return "-" if slow is None else f"{100 * slow / level.sum.timed:.1f}%"


def as_data(watched: Watched, advice: Advice) -> dict[str, Any]:
    """Return the same for a program."""
    return {
        "name": watched.name,
        "revision": watched.revision,
        "verdict": advice.verdict,
        "message": message_of(watched, advice),
        "limit": {"quantile": watched.quantile, "latency": watched.bound, "from": watched.whence},
        "windowSeconds": watched.seconds,
        "concurrency": _number(advice.target) if advice.target is not None else None,
        "pods": {"fewest": advice.fewest, "most": advice.most, "queued": advice.queued},
        "samples": [
            {"pod": name, "mostInFlight": round(pod.most, 3), **_figures(pod)}
            for name, pod in sorted(advice.pods.items())
        ],
        "levels": [
            {
                "leastInFlight": round(level.sum.least, 3),
                "mostInFlight": round(level.sum.most, 3),
                **_figures(level.sum),
                "over": _share_over(level, watched.limit),
                "standing": level.standing,
            }
            for level in advice.levels
        ],
        "notes": notes_of(watched, advice),
        "manifest": spec_of(watched, advice),
    }


def _figures(found: Sum) -> dict[str, Any]:
    p50, p95 = _quantiles(found)
    return {
        "inFlight": round(found.concurrency, 3),
        "requests": found.timed,
        "requestsPerSecond": round(found.rate, 3),
        "p50": p50,
        "p95": p95,
    }

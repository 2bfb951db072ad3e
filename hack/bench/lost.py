"""Requests lost over rollouts, promotions, aborts and rollbacks under load, matched by request id."""

from __future__ import annotations

import asyncio
import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from bench import hand
from bench.figures import CONTROL, LOST, NEAR, SENT, BenchError, Result
from bench.losses import keep, percentile, stalls, told
from bench.setting import HAND, OURS, PACE, Bench
from bench.watching import Change, Changes, canary_weight, watching
from ekiben.kube.client import Manifest
from ekiben.kube.kinds import HTTPROUTE, MODELDEPLOYMENT, POD
from load.client import Answer
from rig.models import is_settled
from rig.site import failures_logged, restart
from rig.traffic import Traffic, traffic

RATE = 160.0
ROUNDS, QUICK_ROUNDS = 20, 3
# A machine that is quick ends its rounds before it has sent enough; one that is slow must end some time.
MOST_ROUNDS = 60
NEAR_SECONDS = 10.0
GOOD = ("2.0.0", "1.0.0")
BAD = "3.0.0"
RESTARTS = 6
BRISK = PACE | {"canary": {"steps": [{"weight": 20, "hold": "2s"}, {"weight": 50, "hold": "2s"}]}}
ANALYSIS = {"interval": "1s", "minSamples": 20, "checks": [{"metric": "error-rate", "max": "1%"}]}


@dataclass
class Account:
    """What happened while requests were sent: outcomes by kind, and the errors that v3 wrote to its log."""

    outcomes: Counter[str] = field(default_factory=Counter)
    excused: set[str] = field(default_factory=set)


async def measure(bench: Bench) -> list[Result]:
    """Roll out, promote, abort and roll back under load; then show that a real loss would be seen."""
    await bench.serve("1.0.0", rollout=BRISK, analysis=ANALYSIS)
    written = await hand.export(bench)
    account = Account()
    async with (
        watching(bench.client, OURS, [HTTPROUTE, POD, MODELDEPLOYMENT]) as changes,
        traffic(bench.target(OURS), RATE, bench.site.prefix) as seen,
    ):
        await _rounds(bench, account, seen)
    await bench.empty(OURS)
    control = await _control(bench, written)
    return [*_results(bench, account, seen, changes), control]


async def _rounds(bench: Bench, account: Account, seen: Traffic) -> None:
    wanted = QUICK_ROUNDS if bench.quick else ROUNDS
    number = 0
    while number < wanted or (not bench.quick and len(seen.answers) < SENT.limit and number < MOST_ROUNDS):
        good, other = GOOD[number % 2], GOOD[(number + 1) % 2]
        await _change(bench, account, good, f"round-{number}", "Promoted")
        if number % 2 == 0:
            await _roll_back(bench, account, f"round-{number}")
        else:
            await _abort(bench, account, other, f"aborted-{number}")
        number += 1
        lost = sum(answer.id not in account.excused for answer in seen.lost())
        bench.say(f"round {number}: {len(seen.answers):,} requests, {lost} lost, {dict(account.outcomes)}")


async def _change(bench: Bench, account: Account, version: str, mark: str, outcome: str) -> Manifest:
    await bench.apply(OURS, bench.model(version, mark, rollout=BRISK, analysis=ANALYSIS))
    model = await bench.follow(_is_over)
    if not is_settled(model, outcome):
        raise BenchError(f"{version} ({mark}) should have been {outcome}: {model['status'].get('message')}")
    account.outcomes[outcome] += 1
    return model


def _is_over(model: Manifest) -> bool:
    return any(is_settled(model, outcome) for outcome in ("Promoted", "RolledBack", "Aborted", "Reverted"))


async def _roll_back(bench: Bench, account: Account, mark: str) -> None:
    async def log() -> set[str]:
        model = await bench.follow(lambda m: (m["status"].get("canary") or {}).get("readyReplicas", 0) > 0)
        return await failures_logged(bench.site, OURS, model["status"]["canary"]["revision"])

    async with asyncio.TaskGroup() as group:
        logs = group.create_task(log())
        await _change(bench, account, BAD, f"bad-{mark}", "RolledBack")
    account.excused |= logs.result()


async def _abort(bench: Bench, account: Account, version: str, mark: str) -> None:
    await bench.apply(OURS, bench.model(version, mark, rollout=BRISK, analysis=ANALYSIS))
    model = await bench.follow(lambda m: (m["status"].get("rollout") or {}).get("weight", 0) > 0)
    await bench.command("abort", model["status"]["rollout"]["id"])
    await bench.follow(lambda m: is_settled(m, "Aborted"))
    account.outcomes["Aborted"] += 1


def _results(bench: Bench, account: Account, seen: Traffic, changes: Changes) -> list[Result]:
    lost = [answer for answer in seen.lost() if answer.id not in account.excused]
    unseen = account.excused - {answer.id for answer in seen.lost()}
    moments = moments_of(changes.seen)
    fresh = sum(answer.fresh for answer in seen.answers)
    # All of them: what a loss was is seen in what came before it.
    keep("lost", map(asdict, seen.answers))
    took = [1000 * answer.seconds for answer in seen.answers]
    details = (
        f"outcomes: {dict(account.outcomes)}; {RATE:.0f} requests/s, "
        f"{100 * fresh / len(seen.answers):.0f} % of them on new connections",
        f"{len(account.excused)} errors more, each written to the bad release's log with the request's id",
        f"errors that the bad release logged and no caller saw: {len(unseen)}",
        *stalls(lost),
        f"answers took {percentile(took, 50):.0f} ms (median), {percentile(took, 99):.0f} ms (p99)",
        *(f"lost: {_told(answer, moments)}" for answer in lost[:5]),
    )
    near = sum(is_near(answer.at, moments) for answer in seen.answers)
    few = SENT.limit if not bench.quick else QUICK_ROUNDS * 1000
    return [
        Result(LOST, len(lost) + len(unseen), details=details),
        Result(SENT, len(seen.answers), limit=few),
        Result(NEAR, round(100 * near / len(seen.answers), 1), details=(f"{len(moments)} changes",)),
    ]


def moments_of(changes: Sequence[Change]) -> list[float]:
    """Return when a weight changed, a rollout ended, or a pod began or finished to end."""
    found, last = [], dict[str, object]()
    for change in changes:
        kind, meta = change.object["kind"], change.object["metadata"]
        state: object = meta.get("deletionTimestamp") if kind == "Pod" else _state(change.object)
        key = f"{kind}/{meta['name']}"
        if change.event == "DELETED" or (last.get(key, state) != state):
            found.append(change.at)
        last[key] = state
    return found


def _state(model_or_route: Manifest) -> object:
    if model_or_route["kind"] == "HTTPRoute":
        return canary_weight(model_or_route)
    return (model_or_route.get("status") or {}).get("history")


def is_near(at: float, moments: Sequence[float]) -> bool:
    place = bisect.bisect(moments, at)
    return any(abs(at - moment) <= NEAR_SECONDS for moment in moments[max(place - 1, 0) : place + 1])


def _told(answer: Answer, moments: Sequence[float]) -> str:
    place = bisect.bisect(moments, answer.at)
    after = f"{answer.at - moments[place - 1]:.2f} s after a change" if place else "before any change"
    return f"{told(answer)}, {after}"


async def _control(bench: Bench, written: Sequence[Manifest]) -> Result:
    """Restart a Deployment whose pods don't pause before they stop; returns what was lost by that."""
    careless = hand.without_prestop(written)
    (deployment,) = hand.deployments(careless).values()
    restarts = 0
    async with traffic(bench.target(HAND), RATE, bench.site.prefix) as seen:
        await bench.apply(HAND, *careless)
        await seen.until(lambda now: any(not answer.is_lost for answer in now.answers[-5:]), 120)
        await asyncio.sleep(2)
        since = seen.answers[-1].at
        while restarts < RESTARTS and not seen.lost(since):
            await restart(bench.site, HAND, deployment["metadata"]["name"])
            await asyncio.sleep(2)
            restarts += 1
    await bench.empty(HAND)
    told = f"{restarts} restarts of one pod by hand, of {len(seen.since(since)):,} requests"
    return Result(CONTROL, len(seen.lost(since)), details=(told,))

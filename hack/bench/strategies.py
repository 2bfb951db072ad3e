"""Twenty rollouts of every strategy, disturbed at random moments by seed: rules held, no request lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.figures import STRATEGIES, STRATEGIES_RULES, STRATEGIES_SENT, BenchError, Result
from bench.losses import keep, kind, kinds, not_ready, stalls
from bench.setting import MODEL, OURS, PACE, Bench, host
from bench.watching import Changes, watching
from ekiben.core import names
from ekiben.kube.client import Manifest
from ekiben.kube.kinds import MODELDEPLOYMENT, POD
from load.client import Answer
from rig.models import condition, is_settled
from rig.site import OPERATOR_NAMESPACE, kubectl
from rig.traffic import Traffic, traffic
from rules.history import History
from rules.judge import judge, made_once

SEED = 1
RATE = 160.0
ROUNDS, QUICK_ROUNDS = 20, 3
# A machine that is quick ends its rounds before it has sent enough; one that is slow must end some time.
MOST_ROUNDS = 80
# A rollout of the bench takes about so long: disturbances fall anywhere in it, and a little after.
SPREAD_SECONDS = 14.0
# Of a way's stalls so many are told; all are kept in strategies.jsonl.
TOLD = 5
GOOD = ("2.0.0", "1.0.0")
ANALYSIS = {"interval": "1s", "minSamples": 20, "checks": [{"metric": "error-rate", "max": "1%"}]}
STEPS = {"canary": {"steps": [{"weight": 20, "hold": "2s"}, {"weight": 50, "hold": "2s"}]}}


@dataclass(frozen=True)
class Way:
    """One way to roll out: a strategy, and what splits the traffic; `gap` where serving stops in between."""

    name: str
    rollout: dict[str, Any]
    gateway: bool = True
    gap: bool = False


AT_ONCE = {key: value for key, value in PACE.items() if key != "canary"}
BLUE_GREEN, RECREATE = AT_ONCE | {"strategy": "BlueGreen"}, AT_ONCE | {"strategy": "Recreate"}
WAYS = (
    Way("Canary, Gateway", PACE | STEPS),
    Way("Canary, Service", PACE | {"canary": {"steps": [{"weight": 50, "hold": "2s"}]}}, gateway=False),
    Way("BlueGreen, Gateway", BLUE_GREEN),
    Way("BlueGreen, Service", BLUE_GREEN, gateway=False),
    Way("Recreate, Gateway", RECREATE, gap=True),
)


@dataclass
class Round:
    """One rollout and what disturbed it: when it was asked for, and when the deed came (epoch seconds)."""

    number: int
    deed: str
    began: float
    done: float | None = None
    outcome: str = ""


@dataclass
class Account:
    """What happened in the rounds of one way; `kept` tells each loss with what was going on."""

    rounds: list[Round] = field(default_factory=list)
    sent: int = 0
    lost: list[Answer] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)


Deed = Callable[[Bench, Way, str], Awaitable[None]]


async def measure(bench: Bench) -> list[Result]:
    """Roll every way out again and again, and judge every version of every object that was stored."""
    chance = random.Random(SEED)
    accounts: dict[str, Account] = {}
    for way in WAYS:
        accounts[way.name] = await _way(bench, way, chance)
        # After each way: a run that is cut short keeps what it has.
        keep("strategies", (loss for account in accounts.values() for loss in account.kept))
    kept = [account for way, account in zip(WAYS, accounts.values(), strict=True) if not way.gap]
    told = [_told(name, account) for name, account in accounts.items()]
    told += [stall for account in kept for stall in stalls(account.lost)[:TOLD]]
    gap = next(account for way, account in zip(WAYS, accounts.values(), strict=True) if way.gap)
    told.append(f"Recreate serves nothing between two versions: {len(gap.lost):,} requests were refused")
    few = STRATEGIES_SENT.limit if not bench.quick else 1000
    breaches = [breach for account in accounts.values() for breach in account.breaches]
    return [
        Result(STRATEGIES, sum(len(account.lost) for account in kept), details=(f"seed {SEED}", *told)),
        Result(STRATEGIES_SENT, sum(account.sent for account in kept), limit=few),
        Result(STRATEGIES_RULES, len(breaches), details=tuple(breaches[:5])),
    ]


async def _way(bench: Bench, way: Way, chance: random.Random) -> Account:
    account = Account()
    async with (
        _served(bench, way),
        _history(bench) as history,
        watching(bench.client, OURS, [POD]) as changes,
    ):
        async with traffic(bench.target(OURS), RATE, bench.site.prefix) as seen:
            await seen.until(lambda now: any(not answer.is_lost for answer in now.answers[-5:]), 60)
            since = seen.answers[-1].at
            number = 0
            while not _is_enough(bench, seen, number):
                await _round(bench, way, account, chance, number)
                number += 1
                lost = kinds(seen.lost(since))
                bench.say(f"{way.name}, round {number}: {len(seen.answers):,} requests, lost: {lost}")
        account.sent, account.lost = len(seen.since(since)), seen.lost(since)
    account.kept = list(_kept(way, account, changes))
    # Each round's revisions are new ones, so nothing has a reason to be made twice.
    account.breaches = judge(history.ordered()) + made_once(history.ordered(), {})
    return account


def _is_enough(bench: Bench, seen: Traffic, number: int) -> bool:
    if bench.quick:
        return number >= QUICK_ROUNDS
    share = STRATEGIES_SENT.limit / sum(not way.gap for way in WAYS)
    return number >= ROUNDS and (len(seen.answers) >= share or number >= MOST_ROUNDS)


async def _round(bench: Bench, way: Way, account: Account, chance: random.Random, number: int) -> None:
    """Apply another version, disturb its rollout at a random moment, and wait until all is at rest."""
    mark = f"{number}"
    deed = chance.choice(DEEDS)
    this = Round(number, deed.__name__.strip("_"), time.time())
    account.rounds.append(this)
    await bench.apply(OURS, _model(bench, way, GOOD[number % 2], mark))
    await asyncio.sleep(chance.uniform(0, SPREAD_SECONDS))
    this.done = time.time()
    await deed(bench, way, mark)
    model = await bench.follow(_is_at_rest)
    this.outcome = str(condition(model, "Settled").get("reason"))


def _kept(way: Way, account: Account, changes: Changes) -> Iterator[dict[str, Any]]:
    """Yield each loss with its round, the deed in it, and the pods that could not serve at that moment."""
    lost = sorted(account.lost, key=lambda answer: answer.at)
    waiting = not_ready(changes.seen, [answer.at for answer in lost], MODEL)
    for answer, pods in zip(lost, waiting, strict=True):
        before = [item for item in account.rounds if item.began <= answer.at]
        during = asdict(before[-1]) if before else None
        yield {"way": way.name, "kind": kind(answer), **asdict(answer), "round": during, "not_ready": pods}


def _is_at_rest(model: Manifest) -> bool:
    settled = condition(model, "Settled")
    current = settled.get("observedGeneration") == model["metadata"]["generation"]
    return current and settled.get("status") == "True" and not model["status"].get("retiring")


async def _nothing(bench: Bench, way: Way, mark: str) -> None:
    """Let the rollout be."""


async def _abort(bench: Bench, way: Way, mark: str) -> None:
    """Abort whatever rollout is in flight; one that is over takes no notice."""
    await _command(bench, "abort")


async def _promote(bench: Bench, way: Way, mark: str) -> None:
    """Skip the steps that are left."""
    await _command(bench, "promote")


async def _supersede(bench: Bench, way: Way, mark: str) -> None:
    """Want a third revision instead."""
    await bench.apply(OURS, _model(bench, way, GOOD[int(mark) % 2], f"{mark}-instead"))


async def _kill_the_operator(bench: Bench, way: Way, mark: str) -> None:
    """End the operator without a chance to finish anything."""
    await kubectl(
        bench.site,
        *("delete", "pods", "--namespace", OPERATOR_NAMESPACE, "--all", "--force", "--grace-period=0"),
    )


DEEDS: tuple[Deed, ...] = (_nothing, _abort, _promote, _supersede, _kill_the_operator)


async def _command(bench: Bench, name: str) -> None:
    model = await bench.client.get(MODELDEPLOYMENT, OURS, MODEL)
    rollout = ((model or {}).get("status") or {}).get("rollout")
    if rollout is None:
        raise BenchError("the model has no rollout to command")
    await bench.command(name, rollout["id"])


def _model(bench: Bench, way: Way, version: str, mark: str) -> Manifest:
    model = bench.model(version, mark, rollout=way.rollout, analysis=ANALYSIS)
    if not way.gateway:
        del model["spec"]["traffic"]
    return model


@contextlib.asynccontextmanager
async def _served(bench: Bench, way: Way) -> AsyncIterator[None]:
    """Serve the first version; without a Gateway of its own, behind a route made by hand to its Service."""
    await bench.apply(OURS, _model(bench, way, "1.0.0", "first"))
    await bench.follow(lambda model: is_settled(model, "Promoted"))
    if not way.gateway:
        await bench.apply(OURS, _route_by_hand())
    try:
        yield
    finally:
        await bench.empty(OURS)


def _route_by_hand() -> Manifest:
    backend = {"name": names.stable_service(MODEL), "port": names.PORT}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "by-hand"},
        "spec": {
            "parentRefs": [{"name": "models", "namespace": "infra"}],
            "hostnames": [host(OURS)],
            "rules": [{"backendRefs": [backend]}],
        },
    }


@contextlib.asynccontextmanager
async def _history(bench: Bench) -> AsyncIterator[History]:
    history = History(bench.client, OURS)
    task = asyncio.create_task(history.run())
    try:
        yield history
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _told(name: str, account: Account) -> str:
    said = f"{len(account.lost)} lost {kinds(account.lost)}" if account.lost else "none lost"
    deeds = dict(Counter(item.deed for item in account.rounds))
    outcomes = dict(Counter(item.outcome for item in account.rounds))
    return (
        f"{name}: {account.sent:,} requests, {said}; {deeds} -> {outcomes}; {len(account.breaches)} breaches"
    )

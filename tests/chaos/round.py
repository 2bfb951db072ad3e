"""One round of chaos: sites with stories, operators, faults and deeds; then peace, and the reckoning."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from chaos.deeds import GHOST, OFTEN, SELDOM, Deed, Stage, kill_an_operator
from chaos.process import OperatorProcess, Size
from chaos.proxy import Proxy
from chaos.story import Scalers, Story
from ekiben.core import names
from ekiben.kube.kinds import DEPLOYMENT, EVENT, HTTPROUTE, MODELDEPLOYMENT, PDB, SERVICE
from integration.lab import Lab
from integration.site import Site, open_site
from rules import judge
from rules.history import History
from rules.scaling import judge_scalers

QUIET_SECONDS = 3.0
LAPS = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """How a round goes: its sites, its seconds, the pauses between deeds, the deeds done often and once.

    It goes on for longer, up to `LAPS` times, until `least` faults have struck.
    """

    sites: int = 3
    seconds: float = 15.0
    pause: tuple[float, float] = (1.5, 5.0)
    deeds: tuple[Deed, ...] = (*OFTEN, kill_an_operator)
    once: tuple[Deed, ...] = SELDOM
    least: int = 0


@dataclass(slots=True)
class Outcome:
    """What a round came to; `breaches` is empty where all rules held."""

    faults: Counter[str] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)
    sizes: dict[str, Size] = field(default_factory=dict)
    released: int = 0
    handed_over: int = 0
    sent: int = 0
    versions: int = 0
    exits: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    to_rest: float = 0.0


async def play(
    lab: Lab,
    proxy: Proxy,
    operators: Sequence[OperatorProcess],
    seed: str,
    plan: Plan,
    *,
    alone: bool = True,
) -> Outcome:
    """Play one round with operators that run on afterwards; `alone`: never do two of them work at once."""
    begun, outcome = time.monotonic(), Outcome()
    async with contextlib.AsyncExitStack() as stack:
        # Every second one is scaled, by KEDA and by an autoscaler of ours in turns.
        sites = [
            await stack.enter_async_context(open_site(lab, keda=number % 2 == 1))
            for number in range(plan.sites)
        ]
        histories = [await stack.enter_async_context(_kept(site)) for site in sites]
        stories = [Story(site, f"{seed}/site {number}") for number, site in enumerate(sites)]
        stage = Stage(lab, proxy, operators, sites, random.Random(f"{seed}/deeds"))
        await asyncio.gather(*(story.begin() for story in stories))
        proxy.faults.active = True
        try:
            deeds = asyncio.create_task(_deeds(stage, plan))
            for _ in range(LAPS):
                await asyncio.gather(*(story.go_on(plan.seconds) for story in stories))
                if proxy.faults.total >= plan.least:
                    break
            await deeds
        finally:
            proxy.faults.active = False
            proxy.faults.refusing.clear()
        for operator in operators:
            operator.clock.write_text("0")
        for site in sites:
            if site.keda is not None:
                site.keda.leave(0)
        peace = time.monotonic()
        outcome.breaches += filter(None, await asyncio.gather(*(s.end() for s in stories)))
        for wrong in await asyncio.gather(*(_unfinished(s.site, s.scalers) for s in stories)):
            outcome.breaches += wrong
        outcome.to_rest = time.monotonic() - peace
        for operator in operators:
            outcome.sizes[operator.name] = await operator.measure()
        for site, history in zip(sites, histories, strict=True):
            outcome.breaches += await _reckon(stage, site, history, alone)
            outcome.versions += len(history.ordered())
    outcome.breaches += _bugs(operators)
    outcome.faults = proxy.faults.counts + stage.counts
    outcome.released, outcome.sent = sum(s.released for s in stories), sum(s.traffic.sent for s in sites)
    outcome.handed_over = sum(s.handed_over for s in stories)
    outcome.exits = Counter({f"{o.name} {code}": n for o in operators for code, n in o.exits.items()})
    outcome.seconds = time.monotonic() - begun
    return outcome


@contextlib.asynccontextmanager
async def _kept(site: Site) -> AsyncIterator[History]:
    """Keep a site's history, and take it apart before the site goes."""
    history = History(site.client, site.namespace, scalers=True)
    task = asyncio.create_task(history.run(), name="history")
    try:
        yield history
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _deeds(stage: Stage, plan: Plan) -> None:
    """Do deeds until the time is over, the rare ones once each."""
    end = time.monotonic() + plan.seconds
    due = [stage.chance.uniform(0.2, 0.8) * plan.seconds for _ in plan.once]
    rare = sorted(zip(due, plan.once, strict=True), key=lambda item: item[0])
    while (left := end - time.monotonic()) > 0 or rare:
        await asyncio.sleep(max(0.0, min(left, stage.chance.uniform(*plan.pause))))
        if rare and plan.seconds - left >= rare[0][0]:
            deed = rare.pop(0)[1]
        else:
            deed = stage.chance.choice(plan.deeds)
        await deed(stage)
        stage.counts[f"deed: {deed.__name__.replace('_', ' ')}"] += 1


async def _unfinished(site: Site, scalers: Scalers) -> list[str]:
    """Wait until one site rests as it should; say what is wrong if it never does."""
    stable = (await site.status())["stable"]["revision"]
    last = names.revision_child("iris", stable)
    ghost = await site.client.get(MODELDEPLOYMENT, site.namespace, GHOST)
    if ghost is not None:
        await site.client.delete(MODELDEPLOYMENT, site.namespace, GHOST, ghost["metadata"]["uid"])
    wrong: list[str] = []

    async def rests() -> bool:
        wrong.clear()
        deployments = (await site.client.list(DEPLOYMENT, site.namespace))[0]
        large = {item["metadata"]["name"] for item in deployments if item["spec"]["replicas"]}
        if large != {last}:
            wrong.append(f"Deployments with pods are {large}, not {last}")
        left = ((PDB, {last}), (SERVICE, {"iris", "iris-canary"}), (HTTPROUTE, {"iris"}), *scalers(last))
        for kind, wanted in left:
            if (found := await site.names(kind)) != wanted:
                wrong.append(f"{kind.plural} are {found}, not {wanted}")
        if site.gateway.weight("iris") != 0:
            wrong.append(f"the canary's weight is {site.gateway.weight('iris')}")
        return not wrong

    async def quiet() -> bool:
        mark = site.lab.audit.mark()
        await asyncio.sleep(QUIET_SECONDS)
        written = site.lab.audit.writes_since(mark, site.namespace)
        wrong[:] = [f"written at rest: {item}" for item in written]
        return not wrong

    try:
        await site.eventually(rests, lambda: "; ".join(wrong))
        await site.eventually(quiet, lambda: "; ".join(wrong))
    except pytest.fail.Exception as problem:
        return [f"{site.namespace}: {problem}"]
    return []


async def _reckon(stage: Stage, site: Site, history: History, alone: bool) -> list[str]:
    """Hold what happened at one site against the rules."""
    entries = history.ordered()
    ours = [entry for entry in entries if entry.name != GHOST and judge.model_of(entry) != GHOST]
    deleted = stage.deleted.get(site.namespace, Counter())
    events = (await site.client.list(EVENT, site.namespace))[0]
    told = [item for item in events if item.get("reportingController", "").startswith("ekiben")]
    found = [*judge.judge(ours, alone=alone), *judge.made_once(ours, deleted), *judge.told_once(told)]
    found += judge_scalers(ours, alone=alone)
    found += [f"lost: {what}" for what in sorted(set(site.traffic.lost))]
    return [f"{site.namespace}: {breach}" for breach in found]


def _bugs(operators: Sequence[OperatorProcess]) -> list[str]:
    """Say which operator has logged a bug, or something that is no log line."""
    found = []
    for operator in operators:
        for line in operator.lines():
            message, level = str(line.get("message", "")), line.get("level")
            # Kopf calls each of its retries an error, and a watch that begins anew; a lost lease is critical
            # and in `exits`; a CRD that can't be read is waited for.
            expected = message.startswith(
                ("Request attempt", "Watcher for", "the lease ", "not working: the CRD")
            )
            if level == "raw" or (level in ("error", "critical") and not expected):
                found.append(f"{operator.name} logged: {message[:300]}")
    return found

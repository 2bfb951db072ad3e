"""`python -m chaos`: rounds of chaos until enough faults have struck, or a soak of churn for some minutes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from chaos.deeds import OFTEN
from chaos.faults import Faults
from chaos.process import OperatorProcess, Size
from chaos.proxy import Proxy
from chaos.round import Outcome, Plan, play
from integration.lab import SYSTEM_NAMESPACE, Lab

CASTS = {
    "one operator": (1, False),
    "two operators at once": (2, False),
    "two operators and a lease": (2, True),
}
SOAK_CHAPTER_SECONDS = 45.0
# How much larger a process may be in the last third of a soak than in the second, in MiB; pools settle late.
FLAT_MIB = 8.0


@contextlib.asynccontextmanager
async def cast(
    lab: Lab, proxy: Proxy, directory: Path, count: int, elected: bool
) -> AsyncIterator[list[OperatorProcess]]:
    """Run this many operators behind the proxy."""
    variables = {
        "KUBECONFIG": str(proxy.kubeconfig),
        "EKIBEN_LEADER_ELECTION": "true" if elected else "false",
        "EKIBEN_LEASE_NAMESPACE": SYSTEM_NAMESPACE,
        "EKIBEN_KEDA": "true",
    }
    operators = [OperatorProcess(f"operator-{number}", directory, variables) for number in range(count)]
    try:
        for operator in operators:
            await operator.start()
        yield operators
    finally:
        for operator in operators:
            await operator.stop()


@contextlib.asynccontextmanager
async def proxied(lab: Lab, faults: Faults) -> AsyncIterator[Proxy]:
    """Run a proxy."""
    proxy = Proxy(lab, faults)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


async def one_round(lab: Lab, directory: Path, seed: str, kind: str, plan: Plan) -> Outcome:
    """Play one round with a cast of its own."""
    count, elected = CASTS[kind]
    async with (
        proxied(lab, Faults(seed)) as proxy,
        cast(lab, proxy, directory, count, elected) as operators,
    ):
        return await play(lab, proxy, operators, seed, plan, alone=elected or count == 1)


async def chaos(lab: Lab, directory: Path, seed: int, wanted: int, plan: Plan) -> Outcome:
    """Play rounds until enough faults have struck, or one has broken a rule; return their sum."""
    total, number = Outcome(), 0
    while total.faults.total() < wanted and not total.breaches:
        kind = list(CASTS)[number % len(CASTS)]
        name = f"{seed}.{number}"
        outcome = await one_round(lab, directory / name, name, kind, plan)
        print(line_of(f"round {name}, {kind}", outcome), flush=True)
        for size_of, size in outcome.sizes.items():
            total.sizes[f"{name} {size_of}"] = size
        total.faults += outcome.faults
        total.breaches += [f"round {name}, {kind}: {breach}" for breach in outcome.breaches]
        total.exits += Counter({code.partition(" ")[2]: n for code, n in outcome.exits.items()})
        total.released, total.sent = total.released + outcome.released, total.sent + outcome.sent
        total.handed_over += outcome.handed_over
        total.versions, total.seconds = total.versions + outcome.versions, total.seconds + outcome.seconds
        total.to_rest = max(total.to_rest, outcome.to_rest)
        number += 1
    return total


async def soak(lab: Lab, directory: Path, seed: int, minutes: float, plan: Plan) -> Outcome:
    """Let one operator live through chapters of churn and faults, and see whether it grows."""
    total, sizes, end = Outcome(), [], time.monotonic() + 60 * minutes
    faults, deeds = Faults(f"{seed}.soak"), Counter[str]()
    async with proxied(lab, faults) as proxy, cast(lab, proxy, directory, 1, False) as operators:
        number = 0
        while time.monotonic() < end and not total.breaches:
            outcome = await play(lab, proxy, operators, f"{seed}.{number}", plan)
            print(line_of(f"chapter {number}", outcome), flush=True)
            deeds += outcome.faults - faults.counts
            total.faults, total.exits = faults.counts + deeds, outcome.exits
            total.breaches += outcome.breaches
            total.released, total.sent = total.released + outcome.released, total.sent + outcome.sent
            sizes.append(outcome.sizes[operators[0].name])
            number += 1
    total.breaches += growth(sizes)
    return total


def growth(sizes: Sequence[Size]) -> list[str]:
    """Say what has grown: the last third of a soak against the second, at rest."""
    third = len(sizes) // 3
    if not third:
        return ["the soak was too short to judge growth: give it at least three chapters"]
    middle, last = sizes[third : 2 * third], sizes[-third:]
    found = []
    for name, slack in (("memory", FLAT_MIB), ("tasks", 3.0), ("files", 6.0), ("threads", 2.0)):
        before, after = (statistics.median(getattr(size, name) for size in part) for part in (middle, last))
        if after > before + slack:
            found.append(f"{name} has grown from {before:.1f} to {after:.1f}")
    return found


def line_of(what: str, outcome: Outcome) -> str:
    """Say in a line how a round went."""
    sizes = ", ".join(
        f"{size.memory:.0f} MiB {size.objects} objects {size.tasks} tasks {size.files} files"
        for size in outcome.sizes.values()
    )
    exits = ", ".join(f"{name} x{count}" for name, count in sorted(outcome.exits.items()))
    verdict = f"{len(outcome.breaches)} BREACHES" if outcome.breaches else "all rules held"
    return (
        f"{what}: {outcome.faults.total()} faults, {outcome.released} releases, "
        f"{outcome.handed_over} hand-overs, {outcome.sent} requests, "
        f"{outcome.versions} versions judged, at rest {outcome.to_rest:.0f} s after the last fault, "
        f"{outcome.seconds:.0f} s; {sizes}; exits: {exits or 'none'}; {verdict}"
    )


def told(outcome: Outcome) -> str:
    """Write every fault with its count."""
    width = max(map(len, outcome.faults), default=0)
    return "\n".join(f"  {name:<{width}} {count:>6}" for name, count in sorted(outcome.faults.items()))


def main() -> int:
    """Run it; 1 where a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="the seed to play again")
    parser.add_argument("--faults", type=int, default=10_000, help="how many faults have to strike")
    parser.add_argument("--sites", type=int, default=7, help="models that are released all the time")
    parser.add_argument("--seconds", type=float, default=180.0, help="how long faults strike in a round")
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES", help="one operator, this long")
    given = parser.parse_args()
    begun = time.monotonic()
    print(f"seed {given.seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="ekiben-chaos-"))
    lab = Lab.start(directory / "lab")
    try:
        with lab.keda(), lab.granting("keda.enabled=true"):
            if given.soak:
                plan = Plan(given.sites, min(given.seconds, SOAK_CHAPTER_SECONDS), deeds=OFTEN, once=())
                outcome = asyncio.run(soak(lab, directory, given.seed, given.soak, plan))
            else:
                plan = Plan(given.sites, given.seconds)
                outcome = asyncio.run(chaos(lab, directory, given.seed, given.faults, plan))
    finally:
        lab.stop()
    print(f"{outcome.faults.total()} faults in {time.monotonic() - begun:.0f} s:\n{told(outcome)}")
    for breach in outcome.breaches:
        print(f"BROKEN: {breach}")
    if outcome.breaches:
        how = f"--soak {given.soak:g}" if given.soak else f"--faults {given.faults}"
        again = f"--seed {given.seed} {how} --sites {given.sites} --seconds {given.seconds:g}"
        print(f"seed {given.seed} failed; again: PYTHONPATH=hack:tests python -m chaos {again}")
        print(f"logs: {directory}")
        return 1
    print(f"seed {given.seed}: all rules held; exits: {dict(outcome.exits) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""From the abort command to weight 0 on the route, under load, beside a weight that is taken away by hand."""

from __future__ import annotations

import asyncio
import time

from bench import hand
from bench.figures import ABORT, ABORT_LOST, Result
from bench.losses import percentile, stalls, told
from bench.setting import HAND, OURS, PACE, PATIENCE, Bench
from bench.watching import Changes, is_weight, watching
from ekiben.kube.kinds import HTTPROUTE
from rig.models import is_settled
from rig.traffic import traffic

RATE = 160.0
TRIALS = 20
WEIGHT = 50
STABLE, NEXT = "1.0.0", "2.0.0"
HELD = PACE | {"canary": {"steps": [{"weight": WEIGHT, "hold": "10m"}]}}


async def measure(bench: Bench) -> list[Result]:
    """Abort rollouts that carry half of the traffic, and see how soon the route takes it away."""
    await bench.serve(STABLE, rollout=HELD)
    await bench.apply(HAND, *(await hand.export(bench)))
    async with (
        traffic(bench.target(OURS), RATE, bench.site.prefix) as seen,
        watching(bench.client, OURS, [HTTPROUTE]) as ours,
        watching(bench.client, HAND, [HTTPROUTE]) as by_hand,
    ):
        took, floors = [], []
        for number in range(bench.times(TRIALS)):
            floors.append(await _by_hand(bench, by_hand))
            took.append(await _trial(bench, ours, number))
            bench.say(f"abort {number + 1}: {1000 * took[-1]:.0f} ms, by hand {1000 * floors[-1]:.0f} ms")
    await bench.empty(OURS)
    await bench.empty(HAND)
    lost = seen.lost()
    details = (
        f"all: {_list(took)} ms",
        f"by hand, the API server and its watch alone: {_list(floors)} ms",
    )
    sent = f"of {len(seen.answers):,} requests in {len(took)} aborts at {WEIGHT}% of the traffic"
    return [
        Result(
            ABORT,
            round(1000 * percentile(took, 95), 1),
            floor=round(1000 * percentile(floors, 95), 1),
            details=details,
        ),
        Result(
            ABORT_LOST,
            len(lost),
            details=(sent, *stalls(lost), *(f"lost: {told(answer)}" for answer in lost[:5])),
        ),
    ]


async def _trial(bench: Bench, changes: Changes, number: int) -> float:
    """Return the seconds from the command to the first version of the route with weight 0."""
    await bench.apply(OURS, bench.model(NEXT, f"abort-{number}", rollout=HELD))
    model = await bench.follow(
        lambda m: (
            (m["status"].get("rollout") or {}).get("weight") == WEIGHT
            and m["status"]["rollout"]["stage"] == "Holding"
        )
    )
    # Long enough for the command to come at any moment between two looks at the metrics.
    await asyncio.sleep(1 + number % 5 / 2)
    began = time.time()
    await bench.command("abort", model["status"]["rollout"]["id"])
    zero = await changes.first(lambda change: is_weight(change, lambda weight: weight == 0), PATIENCE, began)
    await bench.follow(lambda m: is_settled(m, "Aborted"))
    return zero.at - began


async def _by_hand(bench: Bench, changes: Changes) -> float:
    await hand.set_weight(bench, WEIGHT)
    began = time.time()
    await hand.set_weight(bench, 0)
    zero = await changes.first(lambda change: is_weight(change, lambda weight: weight == 0), PATIENCE, began)
    return zero.at - began


def _list(seconds: list[float]) -> str:
    return ", ".join(f"{1000 * item:.0f}" for item in seconds)

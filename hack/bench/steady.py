"""What the operator asks of the API server while nothing changes, by its own count."""

from __future__ import annotations

import asyncio
from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from bench.figures import STEADY, BenchError, Result
from bench.setting import OURS, Bench
from rig.site import OPERATOR_NAMESPACE, kubectl
from rig.traffic import traffic

SECONDS = 60
CALM = 20
METRICS = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/services/ekiben-metrics:9090/proxy/metrics"
# Watches are what a steady state lives from; the Lease and the list of keys have budgets of their own.
APART = frozenset({("get", "leases"), ("update", "leases"), ("list", "modeldeployments")})


async def metrics(bench: Bench) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Read the operator's metrics page through its Service: name -> (labels, value)."""
    page = await kubectl(bench.site, "get", "--raw", METRICS)
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


async def measure(bench: Bench) -> list[Result]:
    """Leave an autoscaled model with a little traffic alone, and count."""
    autoscaling = {"minReplicas": 1, "maxReplicas": 2, "metrics": [{"cpu": "400%"}]}
    await bench.serve(autoscaling=autoscaling)
    await bench.only_stable()
    async with traffic(bench.target(OURS), 5, bench.site.prefix):
        await asyncio.sleep(CALM)
        before = await _requests(bench)
        await asyncio.sleep(SECONDS)
        asked = await _requests(bench) - before
    await bench.empty(OURS)
    if not before:
        raise BenchError("the operator's page has no ekiben_api_requests_total")
    counted = {key: count for key, count in asked.items() if key[0] != "watch" and key not in APART}
    apart = {key: count for key, count in asked.items() if key not in counted}
    return [
        Result(
            STEADY,
            sum(counted.values()),
            details=(f"counted: {_told(counted)}", f"apart: {_told(apart)}"),
        )
    ]


async def _requests(bench: Bench) -> Counter[tuple[str, str]]:
    asked: Counter[tuple[str, str]] = Counter()
    for labels, value in (await metrics(bench)).get("ekiben_api_requests_total", ()):
        asked[labels["verb"], labels["resource"]] += int(value)
    return asked


def _told(asked: dict[tuple[str, str], int]) -> str:
    return (
        ", ".join(f"{verb} {resource} {count}" for (verb, resource), count in sorted(asked.items())) or "none"
    )

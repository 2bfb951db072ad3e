"""What others ask the activator itself: probes, metrics, and the operator for whom requests are held."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from ekiben.activator import metrics
from ekiben.activator.holding import Places

DEMAND = "/demand"
# Said again after this, in seconds, so that a broken connection is noticed.
HEARTBEAT_SECONDS = 5.0
# Requests to many models that come at once are told together.
GATHER_SECONDS = 0.02


def build_control(places: Places, unready: Callable[[], list[str]]) -> web.Application:
    """Build the routes; `unready` says why no request should be sent here now."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        found = unready()
        return web.json_response({"ok": not found, "problems": found}, status=503 if found else 200)

    async def page(_: web.Request) -> web.Response:
        held = places.held()
        metrics.HELD.set(sum(held.values()))
        metrics.MODELS.set(len(held))
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def demand(request: web.Request) -> web.StreamResponse:
        """Stream the models that have requests held: a line of JSON now, at each change, now and then."""
        answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await answer.prepare(request)
        with places.watching() as changed:
            while True:
                changed.clear()
                line = json.dumps(sorted(f"{namespace}/{name}" for namespace, name in places.held()))
                await answer.write(line.encode() + b"\n")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await changed.wait()
                    await asyncio.sleep(GATHER_SECONDS)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", page)
    app.router.add_get(DEMAND, demand)
    return app

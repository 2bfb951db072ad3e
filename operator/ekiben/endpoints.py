"""What others ask the process over HTTP: /metrics on one address, /healthz and /readyz on another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from ekiben import metrics
from ekiben.parsers import Address
from ekiben.settings import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class Health:
    """What is wrong now, in sentences; `broken` is what only a restart can mend, `errors` the last ones."""

    broken: Callable[[], list[str]]
    unready: Callable[[], list[str]]
    errors: Callable[[], list[str]]


@asynccontextmanager
async def serving(settings: Settings, health: Health) -> AsyncIterator[tuple[Address, Address]]:
    """Serve metrics and probes inside the block; yields where: (metrics, probes), for a port given as 0.

    Raises SettingsError where an address can't be listened on.
    """
    metrics_app, probes_app = web.Application(), web.Application()
    metrics_app.router.add_get("/metrics", _metrics)
    for path, problems in (("/healthz", health.broken), ("/readyz", health.unready)):
        probes_app.router.add_get(path, _probe(problems, health.errors))
    runners = []
    try:
        places = []
        for name, app, address in (
            ("metrics_address", metrics_app, settings.metrics_address),
            ("probes_address", probes_app, settings.probes_address),
        ):
            runner = web.AppRunner(app, access_log=None)
            runners.append(runner)
            places.append(await _listen(runner, name, address))
        yield places[0], places[1]
    finally:
        for runner in runners:
            await runner.cleanup()


async def _listen(runner: web.AppRunner, name: str, address: Address) -> Address:
    await runner.setup()
    try:
        await web.TCPSite(runner, address.host, address.port).start()
    except OSError as problem:
        raise SettingsError(
            f"EKIBEN_{name.upper()}={address}: can't listen there: {problem.strerror}; name a free host:port"
        ) from problem
    host, port = runner.addresses[0][:2]
    return Address(host, port)


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=metrics.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _probe(
    problems: Callable[[], list[str]], errors: Callable[[], list[str]]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Answer 200 while there is no problem, else 503; the body is for people."""

    async def answer(_: web.Request) -> web.Response:
        found = problems()
        body = {"ok": not found, "problems": found, "lastErrors": errors()}
        return web.json_response(body, status=503 if found else 200)

    return answer

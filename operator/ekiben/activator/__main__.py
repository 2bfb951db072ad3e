"""`python -m ekiben.activator`: hold requests to models that have no pods, and pass them on."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys

from aiohttp import web

from ekiben import logs
from ekiben.activator.control import build_control
from ekiben.activator.holding import Places
from ekiben.activator.models import Models
from ekiben.activator.proxy import Proxy
from ekiben.beside import build_parser, stop_signal
from ekiben.core import names
from ekiben.kube.client import ApiError, Client
from ekiben.kube.store import Key

logger = logging.getLogger("ekiben.activator")

EXIT_FAILED = 1
# After --grace: for the words to those that were given up, and before the kubelet's patience ends.
LAST_SECONDS = 1.0


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM and until nothing is held any more; return the exit status."""
    options = _parser().parse_args(arguments)
    logs.configure(options.log_level, options.log_format)
    try:
        asyncio.run(_serve(options))
    except (ApiError, OSError) as problem:
        logger.critical("%s", problem)
        return EXIT_FAILED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = build_parser(
        "ekiben.activator",
        "Holds requests to models that have no pods until one is ready, and passes them on.",
        port=names.ACTIVATOR_PORT,
    )
    add = parser.add_argument
    add(
        "--control-port",
        type=int,
        default=names.ACTIVATOR_CONTROL_PORT,
        help="port for probes, metrics and the operator (default: %(default)s)",
    )
    add(
        "--most-held",
        type=int,
        default=5000,
        help="requests held at a time, of all models (default: %(default)s)",
    )
    add(
        "--linger",
        type=float,
        default=10.0,
        help="seconds after SIGTERM for which new requests are still taken, since not everybody has heard"
        " yet that this process goes (default: %(default)s)",
    )
    add(
        "--grace",
        type=float,
        default=150.0,
        help="seconds after that for what is held or on its way (default: %(default)s)",
    )
    return parser


class Activator:
    """The two servers and the watches behind them; `stopping` makes it unready."""

    def __init__(self, client: Client, options: argparse.Namespace) -> None:
        self._options = options
        self.stopping = False
        self.models = Models(client, options.namespaces, self._look)
        self.places = Places(self.models.ready, options.most_held)
        self.proxy = Proxy(self.models.find, self.models.limits, self.places, port=options.pods_port)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, then until what is held is answered, or `--grace` is over."""
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self.proxy.handle)
        # A caller that goes away frees its place.
        requests = web.AppRunner(
            app, access_log=None, shutdown_timeout=LAST_SECONDS, handler_cancellation=True
        )
        control = web.AppRunner(
            build_control(self.places, self._unready),
            access_log=None,
            shutdown_timeout=0.1,
            handler_cancellation=True,
        )
        self.models.start()
        try:
            for runner, port in ((requests, self._options.port), (control, self._options.control_port)):
                await runner.setup()
                await web.TCPSite(runner, self._options.host, port, backlog=2048).start()
            logger.info(
                "requests on port %d, control on port %d", requests.addresses[0][1], control.addresses[0][1]
            )
            await stop.wait()
            await self._finish(requests)
        finally:
            await requests.cleanup()
            await control.cleanup()
            await self.proxy.close()
            await self.models.stop()

    async def _finish(self, requests: web.AppRunner) -> None:
        self.stopping = True
        await asyncio.sleep(self._options.linger)
        for site in list(requests.sites):
            await site.stop()
        try:
            async with asyncio.timeout(self._options.grace):
                await self.proxy.idle.wait()
        except TimeoutError:
            logger.warning("%d requests are given up: --grace is over", self.proxy.in_flight)
            self.places.give_up()

    def _look(self, key: Key) -> None:
        self.places.look(key)

    def _unready(self) -> list[str]:
        return ["stopping"] if self.stopping else self.models.problems()


async def _serve(options: argparse.Namespace) -> None:
    stop = stop_signal()
    client = await Client.connect(user_agent="ekiben-activator")
    try:
        await Activator(client, options).run(stop)
    finally:
        with contextlib.suppress(ApiError):
            await client.close()


if __name__ == "__main__":
    sys.exit(main())

"""`python -m ekiben.adapter`: serve the metrics that autoscalers ask about models' pods."""

from __future__ import annotations

import argparse
import asyncio
import logging
import ssl
import sys
from pathlib import Path

from aiohttp import web

from ekiben import logs
from ekiben.adapter.access import FrontProxy, Reviews
from ekiben.adapter.api import build_app
from ekiben.adapter.certificate import given_context, own_context
from ekiben.adapter.pods import Pods
from ekiben.beside import build_parser, stop_signal
from ekiben.kube.client import ApiError, Client

logger = logging.getLogger("ekiben.adapter")

EXIT_FAILED, EXIT_MISUSED = 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM; return the exit status."""
    options = _parser().parse_args(arguments)
    logs.configure(options.log_level, options.log_format)
    if bool(options.cert_file) != bool(options.key_file):
        print("--cert-file and --key-file belong together: give both, or neither", file=sys.stderr)
        return EXIT_MISUSED
    try:
        asyncio.run(_serve(options))
    except (ApiError, OSError, ssl.SSLError) as problem:
        logger.critical("%s", problem)
        return EXIT_FAILED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = build_parser(
        "ekiben.adapter",
        "Serves custom.metrics.k8s.io: what models' pods feel, read from them when an autoscaler asks.",
        port=6443,
    )
    add = parser.add_argument
    add("--cert-file", type=Path, help="certificate to serve with, PEM (default: one of its own)")
    add("--key-file", type=Path, help="its key, PEM")
    return parser


async def _serve(options: argparse.Namespace) -> None:
    stop = stop_signal()
    client = await Client.connect(user_agent="ekiben-adapter")
    pods = Pods(client, options.namespaces, port=options.pods_port)
    try:
        proxy = await FrontProxy.read(client)
        given = options.cert_file
        context = given_context(given, options.key_file) if given else own_context("ekiben-adapter")
        proxy.trust(context)
        pods.start()
        runner = web.AppRunner(build_app(pods, proxy, Reviews(client)), access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, options.host, options.port, ssl_context=context).start()
            logger.info("answering on %s:%d", *runner.addresses[0][:2])
            await stop.wait()
        finally:
            await runner.cleanup()
    finally:
        await pods.close()
        await client.close()


if __name__ == "__main__":
    sys.exit(main())

"""What the processes beside the operator have in common: the options, and what ends them."""

from __future__ import annotations

import argparse
import asyncio
import signal

from ekiben import __version__
from ekiben.core import names


def build_parser(program: str, description: str, port: int) -> argparse.ArgumentParser:
    """Build the parser of `python -m PROGRAM`; a process adds to it what only it knows."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=f"{description} The API server is the pod's own, or KUBECONFIG's.",
    )
    add = parser.add_argument
    add("--version", action="version", version=f"ekiben {__version__}")
    add("--host", default="0.0.0.0", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=port, help="port to listen on (default: %(default)s)")
    add(
        "--namespaces",
        type=_listed,
        default=[],
        help="namespaces to answer for, with commas (default: all)",
    )
    add("--pods-port", type=int, default=names.PORT, help=argparse.SUPPRESS)
    add("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    add("--log-format", default="json", choices=("json", "text"))
    return parser


def stop_signal() -> asyncio.Event:
    """Return an event that SIGTERM sets, or SIGINT."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]

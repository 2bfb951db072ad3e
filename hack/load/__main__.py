"""`python -m load`: send requests at a constant rate, print one line of JSON per answer."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from urllib.parse import urlsplit

import click

from load.client import Answer, Load, Target, to_line

LONGEST_SECONDS = 3600.0
HIGHEST_RATE = 1000.0


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter("write where to connect, such as http://127.0.0.1:8000/predict")
    return value


def _json(value: str) -> str:
    try:
        json.loads(value)
    except ValueError as problem:
        raise click.BadParameter(f'write JSON, such as {{"instances": []}}: {problem}') from None
    return value


@click.command()
@click.option(
    "--url",
    required=True,
    callback=lambda _context, _parameter, value: _url(value),
    help="Where to connect, e.g. http://127.0.0.1:8000/predict.",
)
@click.option("--host", required=True, help="Host header, e.g. iris.example.com.")
@click.option(
    "--body", required=True, callback=lambda _context, _parameter, value: _json(value), help="JSON to send."
)
@click.option("--rate", type=click.FloatRange(0.1, HIGHEST_RATE), default=50.0, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.1, LONGEST_SECONDS), default=60.0, show_default=True)
@click.option(
    "--fresh", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="On new connections."
)
@click.option("--timeout", type=click.FloatRange(0.1, 300), default=10.0, show_default=True)
@click.option("--burst", type=click.IntRange(1, 2000), help="Send so many at once instead, and end.")
def main(
    url: str,
    host: str,
    body: str,
    rate: float,
    seconds: float,
    fresh: float,
    timeout: float,
    burst: int | None,
) -> None:
    """Send requests at a constant rate for a bounded time; SIGTERM ends it early and politely."""

    def told(answer: Answer) -> None:
        sys.stdout.write(to_line(answer) + "\n")
        sys.stdout.flush()

    async def run() -> None:
        load = Load(Target(url, host, body, timeout), rate, fresh, told)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, load.stop)
        await (load.burst(burst) if burst else load.run(seconds))

    asyncio.run(run())


if __name__ == "__main__":
    main()

"""Run the load generator beside what is tried out, and account for every request."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from load.client import Answer, Target, from_line

HACK = Path(__file__).resolve().parents[1]
LONGEST_SECONDS = 1800


@dataclass
class Traffic:
    """The answers so far, in the order in which they came."""

    answers: list[Answer] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, answer: Answer) -> None:
        """Take an answer in and wake whoever waits for it."""
        self.answers.append(answer)
        self.news.set()

    def since(self, at: float) -> list[Answer]:
        """Return the answers to requests sent from `at` (epoch seconds) on."""
        return [answer for answer in self.answers if answer.at >= at]

    def lost(self, at: float = 0.0) -> list[Answer]:
        """Return the requests without a 2xx answer."""
        return [answer for answer in self.since(at) if answer.is_lost]

    def versions(self, at: float = 0.0) -> Counter[str]:
        """Count the answers by the model version that gave them."""
        return Counter(answer.version for answer in self.since(at))

    async def until(self, seen: Callable[[Traffic], bool], seconds: float) -> None:
        """Wait until the answers fulfil something; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not seen(self):
                self.news.clear()
                await self.news.wait()


@contextlib.asynccontextmanager
async def traffic(
    target: Target, rate: float, prefix: Sequence[str] = (), fresh: float = 0.5
) -> AsyncIterator[Traffic]:
    """Send `rate` requests a second while the block runs; `prefix` is what enters the cluster's network."""
    options = ("--rate", str(rate), "--fresh", str(fresh), "--seconds", str(LONGEST_SECONDS))
    process = await _start(target, prefix, *options)
    seen = Traffic()
    reader = asyncio.create_task(_read(process, seen))
    try:
        yield seen
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(target.timeout + 5):
                await reader
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def burst(target: Target, count: int, prefix: Sequence[str] = ()) -> Traffic:
    """Send so many requests at once, and wait for all of their answers."""
    process = await _start(target, prefix, "--burst", str(count))
    seen = Traffic()
    try:
        async with asyncio.timeout(target.timeout + 20):
            await _read(process, seen)
            await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return seen


async def _start(target: Target, prefix: Sequence[str], *options: str) -> asyncio.subprocess.Process:
    command = [*prefix, sys.executable, "-m", "load", "--url", target.url, "--host", target.host]
    command += ["--body", target.body, "--timeout", str(target.timeout), *options]
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=HACK,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(HACK)},
        stdout=asyncio.subprocess.PIPE,
    )


async def _read(process: asyncio.subprocess.Process, seen: Traffic) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        seen.add(from_line(line.decode()))

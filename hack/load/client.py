"""Send requests at a constant rate and write down what became of each.

The rate does not wait for answers (open loop), so a stall shows as late or lost requests instead of as fewer
of them. A request is lost when its answer is not 2xx, or when there is none within the time-out.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass

import aiohttp


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: `url` is dialled, `host` is asked for; `body` is sent as JSON."""

    url: str
    host: str
    body: str
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request: `at` is when it was sent (epoch seconds), `status` 0 means no answer."""

    id: str
    at: float
    seconds: float
    status: int
    version: str
    fresh: bool
    error: str = ""

    @property
    def is_lost(self) -> bool:
        """Tell whether the caller did not get what it asked for."""
        return not 200 <= self.status < 300


class Load:
    """A constant rate of requests, a share of them on new connections."""

    def __init__(
        self, target: Target, rate: float, fresh_share: float, told: Callable[[Answer], None]
    ) -> None:
        self._target, self._rate, self._fresh_share, self._told = target, rate, fresh_share, told
        self._pending: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Send nothing more; what is under way is still waited for."""
        self._stop.set()

    async def run(self, seconds: float) -> None:
        """Send for at most `seconds`, then wait for the answers that are still out."""
        keep = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
        once = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=self._target.timeout)
        async with (
            aiohttp.ClientSession(connector=keep, timeout=timeout) as kept,
            aiohttp.ClientSession(connector=once, timeout=timeout) as fresh,
        ):
            start, sent = time.monotonic(), 0
            while not self._stop.is_set() and (now := time.monotonic() - start) < seconds:
                while sent < now * self._rate:
                    # Spread the two kinds evenly instead of in bursts.
                    is_fresh = int((sent + 1) * self._fresh_share) > int(sent * self._fresh_share)
                    self._send(fresh if is_fresh else kept, is_fresh)
                    sent += 1
                await asyncio.sleep(min(1 / self._rate, 0.05))
            if self._pending:
                await asyncio.wait(self._pending, timeout=self._target.timeout + 1)

    async def burst(self, count: int) -> None:
        """Send so many at once, each on a connection of its own, and wait for their answers."""
        once = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=self._target.timeout)
        async with aiohttp.ClientSession(connector=once, timeout=timeout) as fresh:
            for _ in range(count):
                self._send(fresh, True)
            await asyncio.wait(self._pending)

    def _send(self, session: aiohttp.ClientSession, is_fresh: bool) -> None:
        task = asyncio.create_task(self._one(session, is_fresh))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _one(self, session: aiohttp.ClientSession, is_fresh: bool) -> None:
        request_id, at, start = uuid.uuid4().hex, time.time(), time.monotonic()
        headers = {"Host": self._target.host, "X-Request-Id": request_id, "Content-Type": "application/json"}
        status, version, error = 0, "", ""
        try:
            async with session.post(self._target.url, data=self._target.body, headers=headers) as answer:
                await answer.read()
                status, version = answer.status, answer.headers.get("x-model-version", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            error = f"{type(problem).__name__}: {problem}"[:200]
        seconds = time.monotonic() - start
        self._told(Answer(request_id, at, round(seconds, 4), status, version, is_fresh, error))


def to_line(answer: Answer) -> str:
    """Return one answer as a line of JSON."""
    return json.dumps(asdict(answer), separators=(",", ":"))


def from_line(line: str) -> Answer:
    """Read one answer back; raises ValueError."""
    return Answer(**json.loads(line))

"""Read one pod's counters over HTTP, trusting nothing about the other end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from ekiben.samples.metrics import PAGE_LIMIT, MetricsError, too_large

_LONGEST_MESSAGE = 300
# A little longer than the default time between two looks: a fleet has thousands of pods, each worth 11 KiB.
_KEPT_SECONDS = 12.0


def new_session() -> aiohttp.ClientSession:
    """Make a session that goes straight to the pods and keeps nothing of them but connections for a while.

    A proxy of the environment can't reach pods, and an inflated page could be any size. To connect costs more
    than to ask; a server that ends closes what is idle, so no kept connection holds up a pod that drains.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "Accept": "text/plain; version=0.0.4",
            "Accept-Encoding": "identity",
            "User-Agent": "ekiben",
        },
        auto_decompress=False,
        trust_env=False,
    )


class Fetcher:
    """Reads pods of every model over one session, a bounded number at a time."""

    def __init__(
        self, port: int, session_factory: Callable[[], aiohttp.ClientSession], max_concurrency: int
    ) -> None:
        self._port = port
        self._session_factory = session_factory
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(max_concurrency)

    async def read(self, ip: str, timeout: float) -> bytes:
        """Return one pod's page within `timeout` seconds from when its turn comes; raises MetricsError."""
        async with self._slots:
            return await self._page(ip, timeout)

    async def close(self) -> None:
        """Close the session; nothing may be read any more."""
        if self._session is not None:
            await self._session.close()

    async def _page(self, ip: str, timeout: float) -> bytes:
        if self._session is None:
            self._session = self._session_factory()
        url = f"http://{f'[{ip}]' if ':' in ip else ip}:{self._port}/metrics"
        limits = aiohttp.ClientTimeout(total=timeout)
        try:
            # Redirects are not followed: a pod must not choose whom the operator talks to.
            async with self._session.get(url, timeout=limits, allow_redirects=False) as response:
                return await self._body(response)
        except TimeoutError:
            raise MetricsError("MetricsUnreachable", f"did not answer {url} within {timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            message = f"can't be read at {url}: {type(problem).__name__}: {problem}"
            raise MetricsError("MetricsUnreachable", message[:_LONGEST_MESSAGE]) from problem

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status != 200:
            raise MetricsError(
                "MetricsUnreachable",
                f"answered {response.status} to {response.url}: BentoML's metrics.enabled must not be false",
            )
        parts, size = [], 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > PAGE_LIMIT:
                raise too_large()
        return b"".join(parts)

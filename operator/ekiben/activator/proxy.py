"""Pass one request on to a pod, and its answer back: both as streams, nothing stored, nothing sent twice."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

import aiohttp
from aiohttp import web
from yarl import URL

from ekiben.activator import metrics
from ekiben.activator.holding import FullError, LateError, Places
from ekiben.activator.models import Limits
from ekiben.core import names
from ekiben.kube.store import Key

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 2.0
# What belongs to one connection and not to the message (RFC 9110, 7.6.1); what is expected is answered here.
_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade", "expect"),
    }
)
_LARGEST_CHUNK = 64 * 1024


class NotSentError(Exception):
    """A pod could not be connected to, so it has nothing of the request: another one may have it."""


class Proxy:
    """Answers every request to a model; `find` tells whose it is, `limits` how it may be held.

    `in_flight` counts the requests that are not answered yet; `idle` is set while there are none.
    """

    def __init__(
        self,
        find: Callable[[Mapping[str, str], str], Key | None],
        limits: Callable[[Key], Limits],
        places: Places,
        *,
        port: int = names.PORT,
    ) -> None:
        self._find, self._limits, self._places, self._port = find, limits, places, port
        self._session: aiohttp.ClientSession | None = None
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()

    async def close(self) -> None:
        """Close what is open to pods."""
        if self._session is not None:
            await self._session.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request: with a pod's answer, or with why there is none."""
        self.in_flight += 1
        self.idle.clear()
        try:
            return await self._answer(request)
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self.idle.set()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        key = self._find(request.headers, request.host)
        if key is None:
            metrics.REQUESTS.labels("unknown").inc()
            return _refusal(
                404,
                f"no model is known for host {request.host[:100]!r}: ask for NAME.NAMESPACE, or through the"
                " model's own route",
            )
        limits = self._limits(key)
        began = time.monotonic()
        deadline = asyncio.get_running_loop().time() + limits.wake_seconds
        while True:
            try:
                ip = await self._places.find(key, limits, deadline)
            except FullError:
                metrics.REQUESTS.labels("full").inc()
                text = f"{key[1]} has no pods, and too many requests wait for one already"
                return _refusal(503, text, retry_after=1)
            except LateError:
                metrics.REQUESTS.labels("late").inc()
                waited = time.monotonic() - began
                text = f"{key[1]} had no pods, and none got ready within {waited:.1f} s"
                return _refusal(503, text, retry_after=5)
            metrics.HELD_SECONDS.observe(time.monotonic() - began)
            try:
                with self._places.using(ip):
                    return await self._pass_on(request, ip)
            except NotSentError:
                self._places.avoid(ip)

    async def _pass_on(self, request: web.Request, ip: str) -> web.StreamResponse:
        """Send the request to a pod, and its answer to the caller; NotSentError where it got nothing."""
        host = f"[{ip}]" if ":" in ip else ip
        url = URL(f"http://{host}:{self._port}{request.raw_path}", encoded=True)
        try:
            sent = await self._open().request(
                request.method,
                url,
                headers=_passed(request.headers),
                data=request.content if request.can_read_body else None,
                allow_redirects=False,
                skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as problem:
            logger.info("can't connect to %s: %s", ip, type(problem).__name__)
            raise NotSentError from None
        except (aiohttp.ClientError, OSError) as problem:
            metrics.REQUESTS.labels("failed").inc()
            return _refusal(502, f"the pod gave no answer: {type(problem).__name__}")
        async with sent:
            return await self._send_back(request, sent)

    async def _send_back(self, request: web.Request, sent: aiohttp.ClientResponse) -> web.StreamResponse:
        answer = web.StreamResponse(status=sent.status, reason=sent.reason, headers=_passed(sent.headers))
        # Whoever asks again should find the pods themselves: the activator is in the path no longer by then.
        answer.force_close()
        await answer.prepare(request)
        try:
            async for part in sent.content.iter_any():
                for start in range(0, len(part), _LARGEST_CHUNK):
                    await answer.write(part[start : start + _LARGEST_CHUNK])
        except (aiohttp.ClientError, OSError) as problem:
            # Half an answer must not look like a whole one.
            metrics.REQUESTS.labels("failed").inc()
            logger.warning("an answer broke off: %s", type(problem).__name__)
            if request.transport is not None:
                request.transport.abort()
            return answer
        await answer.write_eof()
        metrics.REQUESTS.labels("answered").inc()
        return answer

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # A kept connection may just have been closed by a pod, with a request of ours on its way.
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                # How long an answer may take is the pod's business, and the route's.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            )
        return self._session


def _passed(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers that are passed on: all but those of the connection, and those that it names."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    return [
        (name, value)
        for name, value in headers.items()
        if name.lower() not in _HOP_BY_HOP and name.lower() not in named
    ]


def _refusal(status: int, text: str, retry_after: int | None = None) -> web.Response:
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    answer = web.json_response({"error": text}, status=status, headers=headers)
    answer.force_close()
    return answer

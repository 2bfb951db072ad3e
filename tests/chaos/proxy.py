"""An HTTP proxy before the real API server that does to its clients what networks and servers do.

TLS towards both sides: it shows the API server's own certificate, and hands on each client's bearer token.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any

import yaml
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector, web

from chaos.faults import Asked, Faults, Strike
from integration.lab import Lab
from localcluster.child import free_ports

_HOP = frozenset({"host", "connection", "transfer-encoding", "content-length", "accept-encoding"})
_LONGEST_LINE = 4 * 1024 * 1024
# A held event is let go after this, in seconds, where no other comes to overtake it.
_HELD_SECONDS = 0.3
_SAID = {
    "401": ("Unauthorized", "the token has expired"),
    "409": ("Conflict", "the object has been modified; please apply your changes to the latest version"),
    "410": ("Expired", "too old resource version"),
    "429": ("TooManyRequests", "the server has received too many requests"),
    "500": ("InternalError", "etcdserver: leader changed"),
    "503": ("ServiceUnavailable", "the server is currently unable to handle the request"),
}


class Proxy:
    """One proxy; `kubeconfig` is the operator's account through it."""

    def __init__(self, lab: Lab, faults: Faults) -> None:
        self.faults = faults
        self._lab = lab
        (self._port,) = free_ports(1)
        self.kubeconfig = lab.plane.directory / f"proxy-{self._port}.kubeconfig"
        app = web.Application(client_max_size=_LONGEST_LINE)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)
        self._streams: list[tuple[web.Request, Asked]] = []
        self._session: ClientSession | None = None

    async def start(self) -> None:
        """Listen."""
        pki = self._lab.plane.pki
        trusting = ssl.create_default_context(cafile=str(pki.crt("ca")))
        self._session = ClientSession(
            connector=TCPConnector(ssl=trusting, limit=0),
            timeout=ClientTimeout(total=None),
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding", "Content-Type", "User-Agent"),
            read_bufsize=_LONGEST_LINE,
        )
        serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        serving.load_cert_chain(pki.crt("server"), pki.key("server"))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=serving).start()
        config = yaml.safe_load(self._lab.operator_kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self._port}"
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(yaml.safe_dump(config))

    async def stop(self) -> None:
        """Let go of everything."""
        self.cut()
        await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def cut(self, resource: str = "") -> int:
        """Cut the open watches on a resource, all of them without one; return how many there were."""
        found = [request for request, asked in self._streams if resource in ("", asked.resource)]
        for request in found:
            _abort(request)
        return len(found)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        asked = Asked.of(
            request.method, request.path, watch="watch" in request.query, paged="limit" in request.query
        )
        strike = self.faults.of_request(asked)
        if strike is not None and strike.kind == "410" and asked.verb == "watch":
            # The API server accepts such a watch, and tells in its first event.
            return web.Response(body=_too_old(), content_type="application/json")
        if strike is not None and strike.kind in _SAID:
            return _refusal(strike.kind)
        if strike is not None and strike.kind == "lost request":
            return _abort(request)
        if strike is not None and strike.kind == "slow":
            await asyncio.sleep(strike.seconds)
        try:
            return await self._forward(request, asked, strike)
        except (ClientError, OSError, TimeoutError):
            return _abort(request)

    async def _forward(self, request: web.Request, asked: Asked, strike: Strike | None) -> web.StreamResponse:
        assert self._session is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        url = f"{self._lab.plane.server}{request.path_qs}"
        body = await request.read() or None
        async with self._session.request(request.method, url, headers=headers, data=body) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            if asked.verb == "watch" and answer.status == 200:
                return await self._stream(request, asked, answer, kept)
            content = await answer.read()
        if strike is not None and strike.kind == "lost answer":
            return _abort(request)
        return web.Response(status=answer.status, headers=kept, body=content)

    async def _stream(
        self, request: web.Request, asked: Asked, answer: ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=200, headers=headers)
        await response.prepare(request)
        self._streams.append((request, asked))
        try:
            await _Stream(self.faults, asked, answer, response, request).run()
        finally:
            self._streams.remove((request, asked))
        return response


class _Stream:
    """One watch on its way to a client."""

    def __init__(
        self,
        faults: Faults,
        asked: Asked,
        answer: ClientResponse,
        response: web.StreamResponse,
        request: web.Request,
    ) -> None:
        self._faults = faults
        self._asked = asked
        self._answer = answer
        self._response = response
        self._request = request
        self._held = b""

    async def run(self) -> None:
        """Hand on line by line, until one side ends it or a fault does."""
        reading = asyncio.ensure_future(self._answer.content.readline())
        try:
            while True:
                await asyncio.wait({reading}, timeout=_HELD_SECONDS if self._held else None)
                if not reading.done():
                    await self._let_go()
                    continue
                line = reading.result()
                if not line:
                    await self._let_go()
                    return
                reading = asyncio.ensure_future(self._answer.content.readline())
                if not await self._pass(line):
                    return
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _pass(self, line: bytes) -> bool:
        """Hand one event on as its fault will have it; False where that was the end."""
        strike = self._faults.of_event(self._asked)
        kind = strike.kind if strike else ""
        if strike is not None and kind in ("late", "stalled"):
            await asyncio.sleep(strike.seconds)
        if kind in ("dropped", "torn"):
            if kind == "torn":
                await self._response.write(line[: len(line) // 2])
            _abort(self._request)
            return False
        if kind == "reordered" and not self._held:
            self._held = line
            return True
        if kind in ("ended", "gone"):
            if kind == "gone":
                await self._response.write(_too_old())
            return False
        await self._response.write(line * 2 if kind == "duplicated" else line)
        await self._let_go()
        return True

    async def _let_go(self) -> None:
        held, self._held = self._held, b""
        if held:
            await self._response.write(held)


def _too_old() -> bytes:
    return json.dumps({"type": "ERROR", "object": _status("410")}).encode() + b"\n"


def _status(code: str) -> dict[str, Any]:
    reason, message = _SAID[code]
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": int(code),
    }


def _refusal(code: str) -> web.Response:
    headers = {"Retry-After": "1"} if code == "429" else {}
    return web.json_response(_status(code), status=int(code), headers=headers)


def _abort(request: web.Request) -> web.Response:
    """Cut a client's connection; whatever is answered then reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)

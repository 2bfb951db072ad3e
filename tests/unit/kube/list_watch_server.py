"""A server that answers LIST and WATCH as an API server does, and fails on request."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Manifest = dict[str, Any]


def status_of(code: int, message: str) -> Manifest:
    """A Status object, the body of every refusal."""
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}


def service(name: str, **labels: str) -> Manifest:
    """A small object as the server keeps it."""
    return {"metadata": {"namespace": "ns", "name": name, "uid": f"uid-of-{name}", "labels": labels}}


@dataclass
class ListWatchServer:
    """One kind of objects with a history of versions.

    `oldest` is the version before which watches get 410; `refusals` are answers (status, headers) given in
    place of the next ones; `silent` holds everything back from watches; `present` False answers 404;
    `expiring_pages` is how many times going on with a list is refused; `stalled` answers nothing at all.
    """

    objects: dict[str, Manifest] = field(default_factory=dict)
    version: int = 100
    oldest: int = 0
    history: list[tuple[int, bytes]] = field(default_factory=list)
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    watches: set[web.StreamResponse] = field(default_factory=set)
    silent: bool = False
    present: bool = True
    expiring_pages: int = 0
    stalled: bool = False
    headers: list[dict[str, str]] = field(default_factory=list)
    peers: set[object] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _extra: list[bytes] = field(default_factory=list)
    _drops: int = 0

    @property
    def lists(self) -> list[dict[str, str]]:
        """The LIST requests so far, by their parameters."""
        return [request for request in self.requests if "watch" not in request]

    @property
    def watched_from(self) -> list[int]:
        """The versions from which watches were asked for so far."""
        return [int(request["resourceVersion"]) for request in self.requests if "watch" in request]

    def put(self, item: Manifest) -> None:
        """Create or change an object."""
        name = item["metadata"]["name"]
        event = "MODIFIED" if name in self.objects else "ADDED"
        self._record(event, item)
        self.objects[name] = item

    def delete(self, name: str) -> None:
        """Delete an object."""
        self._record("DELETED", self.objects.pop(name))

    def bookmark(self) -> None:
        """Send a bookmark to the watches that are open."""
        about = {"kind": "Service", "metadata": {"resourceVersion": str(self.version)}}
        self.say(json.dumps({"type": "BOOKMARK", "object": about}).encode())

    def say(self, line: bytes) -> None:
        """Send any line to the watches that are open."""
        self._extra.append(line)
        self._wake()

    def drop_watches(self) -> None:
        """Cut every watch off in the middle."""
        self._drops += 1
        self._wake()

    def forget_history(self) -> None:
        """Compact: who comes back with an older version is told 410."""
        self.oldest = self.version

    def _record(self, event: str, item: Manifest) -> None:
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        line = json.dumps({"type": event, "object": {"apiVersion": "v1", "kind": "Service", **item}})
        self.history.append((self.version, line.encode()))
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        query = dict(request.query)
        self.requests.append(query)
        self.headers.append(dict(request.headers))
        self.peers.add(request.transport and request.transport.get_extra_info("peername"))
        if self.stalled:
            await asyncio.Event().wait()
        if self.refusals:
            code, headers = self.refusals.pop(0)
            return web.json_response(status_of(code, "refused on request"), status=code, headers=headers)
        if not self.present:
            return web.json_response(status_of(404, "the server could not find it"), status=404)
        return await self._watch(request, query) if "watch" in query else self._list(query)

    def _list(self, query: dict[str, str]) -> web.Response:
        start, limit = int(query.get("continue", "0")), int(query["limit"])
        if start and self.expiring_pages:
            self.expiring_pages -= 1
            return web.json_response(status_of(410, "the continue parameter is too old"), status=410)
        page = list(self.objects.values())[start : start + limit]
        about = {"resourceVersion": str(self.version)}
        if start + limit < len(self.objects):
            about["continue"] = str(start + limit)
        return web.json_response({"kind": "ServiceList", "metadata": about, "items": page})

    async def _watch(self, request: web.Request, query: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        position = int(query["resourceVersion"])
        if position < self.oldest:
            gone = {"type": "ERROR", "object": status_of(410, "too old resource version")}
            await response.write(json.dumps(gone).encode() + b"\n")
            return response
        self.watches.add(response)
        said, drops = len(self._extra), self._drops
        try:
            while drops == self._drops:
                news = self._news
                if not self.silent:
                    lines = [line for version, line in self.history if version > position]
                    lines += self._extra[said:]
                    position, said = max(position, self.version), len(self._extra)
                    if lines:
                        await response.write(b"\n".join(lines) + b"\n")
                await news.wait()
            assert request.transport is not None
            request.transport.abort()
        finally:
            self.watches.discard(response)
        return response

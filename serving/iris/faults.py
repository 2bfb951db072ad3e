"""The middleware that makes a release misbehave, request by request, and says which release answered."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from releases import Release

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Share:
    """Pick a fixed share of a sequence, evenly spread: 0.2 picks every fifth, with no randomness."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.seen = 0

    def picks_next(self) -> bool:
        """Count one more and say whether it belongs to the share."""
        before = int(self.seen * self.share + 1e-9)
        self.seen += 1
        return int(self.seen * self.share + 1e-9) > before


class Faults:
    """Add x-model-version to every answer; fail or delay the release's share of the calls to `path`.

    It sits inside BentoML's own metrics middleware, so what it does is counted as the model's doing. It
    works per request, not in the batched method, because an exception there fails the whole batch: the
    share would then depend on the load.
    """

    def __init__(self, app: App, name: str, release: Release, path: str) -> None:
        self.app = app
        self.name = name
        self.release = release
        self.path = path
        self.failing = Share(release.failing_share)
        self.slow = Share(release.slow_share)
        self.device = asyncio.Lock()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        async def send_versioned(message: Message) -> None:
            if message["type"] == "http.response.start":
                version = (b"x-model-version", self.name.encode())
                message["headers"] = [*message.get("headers", []), version]
            await send(message)

        if scope["type"] != "http" or scope["path"] != self.path:
            await self.app(scope, receive, send_versioned)
            return
        if self.slow.picks_next():
            await asyncio.sleep(self.release.delay)
        if self.release.turn:
            # As a model on an accelerator: it takes one call at a time, and no CPU of ours meanwhile.
            async with self.device:
                await asyncio.sleep(self.release.turn)
        if self.failing.picks_next():
            report_failure(self.name, request_id(scope))
            await send_error(send_versioned)
            return
        await self.app(scope, receive, send_versioned)


def request_id(scope: Message) -> str:
    """Return the caller's x-request-id, or an empty string."""
    found = [value for key, value in scope["headers"] if key == b"x-request-id"]
    return found[0].decode("latin-1") if found else ""


def report_failure(release: str, request: str) -> None:
    """Print one JSON line, so that a client can match the errors it saw with those we made."""
    line = {"event": "request_failed", "release": release, "request_id": request}
    # One write per line: print() would let two workers' lines run into each other.
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def send_error(send: Send) -> None:
    """Answer 500 with a JSON body of the same form as BentoML's own errors."""
    body = json.dumps({"error": "this release fails a share of its requests on purpose"}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})

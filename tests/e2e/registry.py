"""An image registry in memory on loopback: enough of the OCI distribution specification to be pushed to."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>blobs|manifests)/(?P<reference>[^/]*/?[^/]*)")


class Handler(BaseHTTPRequestHandler):
    """Serves one registry; what was pushed is in the class attributes of a subclass."""

    protocol_version = "HTTP/1.1"
    blobs: ClassVar[dict[str, bytes]]
    manifests: ClassVar[dict[str, bytes]]
    uploads: ClassVar[dict[str, bytes]]

    def do_GET(self) -> None:
        found = _PATH.fullmatch(self.path)
        if self.path == "/v2/":
            self._answer(200)
        elif found is not None and self._stored(found) is not None:
            self._answer(200, self._stored(found) or b"")
        else:
            self._answer(404)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        location = f"{self.path.rstrip('/')}/{len(self.uploads)}"
        self.uploads[location] = b""
        self._answer(202, location=location)

    def do_PATCH(self) -> None:
        self.uploads[self.path] += self._body()
        self._answer(202, location=self.path)

    def do_PUT(self) -> None:
        url, body = urlsplit(self.path), self._body()
        if "/manifests/" in url.path:
            self.manifests[url.path.removeprefix("/v2/").replace("/manifests/", ":")] = body
            self._answer(201)
            return
        content = self.uploads.pop(url.path) + body
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if parse_qs(url.query)["digest"] != [digest]:
            self._answer(400)
            return
        self.blobs[digest] = content
        self._answer(201, location=url.path)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""

    def _stored(self, found: re.Match[str]) -> bytes | None:
        if found["kind"] == "blobs":
            return self.blobs.get(found["reference"])
        return self.manifests.get(f"{found['name']}:{found['reference']}")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, body: bytes = b"", location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def registry() -> Iterator[tuple[str, type[Handler]]]:
    """Run a registry; yield its host and port, and what holds the pushed blobs and manifests."""
    kept = type("Kept", (Handler,), {"blobs": {}, "manifests": {}, "uploads": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kept)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

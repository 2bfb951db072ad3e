"""A gate for rollouts: shut until somebody opens it. Standard library only; a start for your own.

    python server.py --port 8080
    curl localhost:8080/                                  # what was asked, and what is open
    curl -X PUT    localhost:8080/models/iris             # open for model iris in namespace models
    curl -X DELETE localhost:8080/models/iris             # shut again

Ekiben asks by POST /; the body says what about (docs/gates.md). Whoever reaches PUT can open a gate: put
something in front of it that knows who is who.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGEST = 65536


class Gate(ThreadingHTTPServer):
    """Remembers which models it is open for, and what was asked last about each."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, Handler)
        self.open: set[str] = set()
        self.asked: dict[str, Any] = {}


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Gate

    def do_POST(self) -> None:
        """Say whether a rollout may go on."""
        try:
            asked = json.loads(self.rfile.read(min(int(self.headers.get("Content-Length", 0)), LARGEST)))
            model = f"{asked['namespace']}/{asked['model']}"
        except (ValueError, KeyError, TypeError):
            return self._answer(400, "the body is not what Ekiben sends")
        self.server.asked[model] = asked
        if model in self.server.open:
            return self._answer(200, "open")
        return self._answer(409, f"nobody has opened the gate for {model}")

    def do_PUT(self) -> None:
        """Open the gate for a model."""
        self.server.open.add(self.path.strip("/"))
        self._answer(200, "open")

    def do_DELETE(self) -> None:
        """Shut the gate for a model."""
        self.server.open.discard(self.path.strip("/"))
        self._answer(200, "shut")

    def do_GET(self) -> None:
        """Show what was asked, and what is open."""
        self._answer(
            200, json.dumps({"open": sorted(self.server.open), "asked": self.server.asked}, indent=2)
        )

    def _answer(self, status: int, text: str) -> None:
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: who opened what belongs into a log of your own."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A gate for rollouts of Ekiben.")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8080)
    asked = parser.parse_args(arguments)
    with Gate((asked.host, asked.port)) as gate:
        gate.serve_forever()


if __name__ == "__main__":
    main()

"""A guard before a Prometheus: who asks must show a token, or a name and a password, or gets 401."""

from __future__ import annotations

import base64
from typing import Any

from rig.site import Site

SECRET = "prometheus"
TOKEN, USERNAME, PASSWORD = "a-token", "keda", "a-password"
PORT = 8080

# What a query says of the Secret, by the way in which its credentials are shown.
KEYS: dict[str, Any] = {
    "bearer": {"name": SECRET, "key": "token"},
    "basic": {
        "username": {"name": SECRET, "key": "username"},
        "password": {"name": SECRET, "key": "password"},
    },
}
# Each way has a path of its own.
_SHOWN = {
    "bearer": f"Bearer {TOKEN}",
    "basic": "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode(),
}
_GUARD = """
import sys, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
address, port, *shown = sys.argv[1:]
shown = dict(zip(shown[::2], shown[1::2]))

class Guard(BaseHTTPRequestHandler):
    def do_GET(self):
        way, _, path = self.path[1:].partition("/")
        if self.headers["Authorization"] != shown.get(way, ""):
            return self.send_error(401)
        with urllib.request.urlopen(f"{address}/{path}", timeout=5) as answer:
            body = answer.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(("", int(port)), Guard).serve_forever()
"""


def address_of(namespace: str, way: str) -> str:
    """Return where the guard of a namespace takes credentials that are shown in this way."""
    return f"http://guard.{namespace}:{PORT}/{way}"


def build_secret(token: str = TOKEN, password: str = PASSWORD) -> dict[str, Any]:
    """Build the Secret with what the guard wants to be shown."""
    data = {"token": token, "username": USERNAME, "password": password}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": data}


def build_guard(site: Site, prometheus: str) -> list[dict[str, Any]]:
    """Build a pod that passes on to a Prometheus what comes with credentials, and its Service."""
    labels = {"app": "guard"}
    shown = [word for pair in _SHOWN.items() for word in pair]
    container = {
        "name": "guard",
        # It has Python, and is there.
        "image": site.image("1.0.0"),
        "command": ["python", "-c", _GUARD, prometheus, str(PORT), *shown],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    }
    pods = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "guard"},
            "spec": {"selector": {"matchLabels": labels}, "template": pods},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "guard"},
            "spec": {"selector": labels, "ports": [{"port": PORT}]},
        },
    ]

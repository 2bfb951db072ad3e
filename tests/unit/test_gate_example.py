"""The example gate answers as docs/gates.md says."""

from __future__ import annotations

import importlib.util
import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

SERVER = Path(__file__).parents[2] / "examples/gate/server.py"
ASKED = {"namespace": "models", "model": "iris", "rollout": "k7c4f9xw2p.3"}


@pytest.fixture
def gate() -> Iterator[str]:
    """The example, serving; its address."""
    spec = importlib.util.spec_from_file_location("gate_server", SERVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.Gate(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def ask(url: str, method: str = "GET", body: Any = None) -> tuple[int, str]:
    """Make one request."""
    data = json.dumps(body).encode() if body is not None else None
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def test_a_gate_is_shut_until_somebody_opens_it_and_can_be_shut_again(gate: str) -> None:
    assert ask(gate, "POST", ASKED) == (409, "nobody has opened the gate for models/iris\n")
    ask(f"{gate}/models/iris", "PUT")
    assert ask(gate, "POST", ASKED)[0] == 200
    assert ask(gate, "POST", {**ASKED, "model": "rose"})[0] == 409
    ask(f"{gate}/models/iris", "DELETE")
    assert ask(gate, "POST", ASKED)[0] == 409
    assert json.loads(ask(gate)[1])["asked"]["models/iris"] == ASKED


def test_a_body_of_somebody_else_is_refused(gate: str) -> None:
    assert ask(gate, "POST", ["?"])[0] == 400

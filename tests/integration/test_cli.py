"""`kubectl ekiben` against a real API server and a working operator: a day with a model."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ekiben.cli.exits import Exit
from ekiben.cli.main import main
from integration.site import Site, is_at

pytestmark = pytest.mark.apiserver

STEPS = [{"weight": 50, "hold": "1s"}, {"pause": {}}]


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What it wrote for programs."""
        return json.loads(self.out)


async def ekiben(site: Site, *words: str) -> Said:
    """Run one command as a user of the namespace would."""
    where = ("--kubeconfig", str(site.lab.plane.kubeconfig), "-n", site.namespace)
    out, err = io.StringIO(), io.StringIO()

    def run() -> int:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                return main([*words, *where])
            except SystemExit as misused:
                return int(misused.code or 0)

    code = await asyncio.to_thread(run)
    return Said(code, out.getvalue(), err.getvalue())


async def test_a_day_with_a_model(site: Site, tmp_path: Path) -> None:
    missing = await ekiben(site, "status", "iris", "--watch=false")
    assert (missing.code, site.namespace in missing.err) == (Exit.NOT_FOUND, True)
    await site.running()
    first = await site.serve("v1", rollout={"canary": {"steps": STEPS}})
    served = await ekiben(site, "status", "mdep/iris", "--timeout", "60s")
    assert (served.code, first in served.out) == (Exit.OK, True), served

    await site.release("v2")
    status = await site.until(is_at("Paused", 2), "v2 pauses")
    second, rollout = status["rollout"]["revision"], status["rollout"]["id"]
    tree = await ekiben(site, "get", "iris")
    assert f"canary {second}" in tree.out
    assert f"stable {first}" in tree.out
    picture = (await ekiben(site, "get", "iris", "-o", "json")).data
    told = {pod["name"] for branch in picture["revisions"] for pod in branch["pods"] if pod["ready"]}
    assert told == {pod.name for pod in (*site.pods(first), *site.pods(second)) if pod.ready}
    waiting = await ekiben(site, "status", "iris", "--timeout", "1s")
    assert (waiting.code, f"set rollout.resume to {rollout}/2" in waiting.out) == (Exit.TIMED_OUT, True)
    (reason,) = (await ekiben(site, "why", "iris", "-o", "json")).data["waitsFor"]
    assert (reason["reason"], "kubectl ekiben resume iris" in reason["remedy"]) == ("PauseStep", True)
    listed = (await ekiben(site, "history", "iris", "-o", "json")).data
    assert [(item["outcome"], item["role"]) for item in listed] == [
        ("InFlight", "canary"),
        ("Promoted", "stable"),
    ]
    assert [item["image"].rpartition(":")[2] for item in listed] == ["v2", "v1"]
    rows = (await ekiben(site, "get")).out.splitlines()
    assert [row.split()[:4] for row in rows] == [
        ["NAME", "STATUS", "STABLE", "CANARY"],
        ["iris", "Paused", first, second],
    ]

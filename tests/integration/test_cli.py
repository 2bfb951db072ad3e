"""`kubectl ekiben` against a real API server and a working operator: a day with a model."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ekiben.cli.exits import Exit
from ekiben.cli.main import main
from ekiben.kube.kinds import EVENT, MODELDEPLOYMENT
from integration.operators import iris
from integration.site import Site, is_at, spec_of

pytestmark = pytest.mark.apiserver

CLEARED = b"\x1b[H\x1b[2J"
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
    served = await ekiben(site, "status", "mdep/iris", "--timeout", "2m")
    assert (served.code, first in served.out) == (Exit.OK, True), served

    site.behaviour("v2").pullable.clear()
    await site.release("v2")
    await check_that_events_explain(site)
    site.behaviour("v2").pullable.set()
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
    paused = await ekiben(site, "pause", "iris")
    assert (paused.code, "paused: true" in paused.out) == (Exit.OK, True), paused
    await site.until(lambda now: "rollout.paused" in now["message"], "the pause is seen")
    resumed = await ekiben(site, "resume", "iris")
    assert resumed.code == Exit.OK, resumed
    status = await site.promoted("v2")
    assert [(said["command"], said["result"]) for said in status["commands"]] == [("resume", "Honoured")]

    compared = await ekiben(site, "diff", "iris", "1", "2")
    assert [line for line in compared.out.splitlines() if line[:1] in "+-"][2:] == [
        "-  image: registry.example.com/iris:v1",
        "+  image: registry.example.com/iris:v2",
    ]
    undone = await ekiben(site, "undo", "iris")
    assert (undone.code, "iris:v1" in undone.out) == (Exit.OK, True), undone
    # Made by a plain create: nobody will write the image again.
    assert undone.err == ""
    back = await site.until(is_at("Paused", 2), "v1 is rolled out again")
    assert back["rollout"]["revision"] == first
    aborted = await ekiben(site, "abort", "iris")
    assert aborted.code == Exit.OK, aborted
    ended = await ekiben(site, "status", "iris", "--timeout", "2m", "-o", "json")
    assert (ended.code, ended.data["outcome"], ended.data["stable"]) == (Exit.ABORTED, "ABORTED", second)
    retried = await ekiben(site, "retry", "iris")
    assert retried.code == Exit.OK, retried
    await site.until(is_at("Paused", 2), "it is tried again")
    promoted = await ekiben(site, "promote", "iris")
    assert promoted.code == Exit.OK, promoted
    status = await site.promoted("v1")
    assert status["stable"]["revision"] == first
    refused = await ekiben(site, "abort", "iris")
    assert (refused.code, "no rollout is in flight" in refused.err) == (Exit.FAILED, True)

    before = (await site.client.get(MODELDEPLOYMENT, site.namespace, "iris") or {})["metadata"]
    await check_plans(site, tmp_path, first)
    await check_the_program(site)
    after = (await site.client.get(MODELDEPLOYMENT, site.namespace, "iris") or {})["metadata"]
    assert before["generation"] == after["generation"], "plan, lint and dry runs write nothing"

    restarted = await ekiben(site, "restart", "iris")
    assert restarted.code == Exit.OK, restarted
    status = await site.until(lambda now: bool((now.get("canary") or {}).get("image")), "it is rolled out")
    assert status["canary"]["revision"] not in (first, second)
    assert status["canary"]["image"] == status["stable"]["image"]


async def check_plans(site: Site, folder: Path, serving: str) -> None:
    """Ask what files would do, and lint them."""
    path = folder / "iris.yaml"

    def write(**spec: Any) -> None:
        manifest = iris() | {"spec": spec_of("v1", rollout={"canary": {"steps": STEPS}}) | spec}
        path.write_text(yaml.safe_dump(manifest))

    write()
    same = (await ekiben(site, "plan", "-f", str(path), "-o", "json")).data
    assert [(item["verdict"], item["revision"]) for item in same] == [("NoRevision", serving)]
    write(env=[{"name": "THREADS", "value": "4"}])
    (changed,) = (await ekiben(site, "plan", "-f", str(path), "-o", "json")).data
    assert (changed["verdict"], changed["peak"]["pods"]) == ("NewRevision", 4)
    assert changed["changes"] == ["spec.env"]
    write(autoscaling={"minReplicas": 3, "maxReplicas": 2})
    refused = await ekiben(site, "plan", "-f", str(path))
    assert refused.code == Exit.INVALID
    assert "autoscaling.minReplicas must not be above maxReplicas" in refused.out
    write(replicaz=2)
    linted = await ekiben(site, "lint", "-f", str(path))
    assert (linted.code, linted.out) == (
        Exit.INVALID,
        "ModelDeployment/iris: spec.replicaz is no field: write replicas\n",
    )
    unknown = await ekiben(site, "plan", "-f", str(path))
    assert (unknown.code, "replicaz" in unknown.out) == (Exit.INVALID, True)
    dry = await ekiben(site, "undo", "iris", "--to", "2", "--dry-run")
    assert (dry.code, "nothing was written" in dry.out) == (Exit.OK, True), dry


async def check_that_events_explain(site: Site) -> None:
    """Say of a pod that waits what its own last Event says, and no other pod's."""
    waiting = await site.until(lambda now: "manifest unknown" in now.get("message", ""), "v2 can't be pulled")
    revision = waiting["canary"]["revision"]
    await site.wait(lambda: len(site.pods(revision)) == 2, "v2 has its pods")
    pods = [pod.name for pod in site.pods(revision)]
    for name, note in [*((pod, f"the answer to {pod}") for pod in pods), ("another", "not about it")]:
        event = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": f"{name}.1"},
            "regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": site.namespace, "name": name},
            "type": "Warning",
            "reason": "Unhealthy",
            "note": note,
            "action": "Probe",
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "reportingController": "kubelet",
            "reportingInstance": "node-1",
        }
        await site.client.create(EVENT, site.namespace, event)
    expected = {(f"Pod {pod} of canary", f"manifest unknown; the answer to {pod}") for pod in pods}
    found: list[Any] = []

    async def explains() -> bool:
        nonlocal found
        found = (await ekiben(site, "why", "iris", "-o", "json")).data["waitsFor"]
        return {(item["object"], item["says"]) for item in found} == expected

    await site.eventually(explains, lambda: f"both pods are explained by their Events; it was {found}")


async def check_the_program(site: Site) -> None:
    """Run what pip installs: -w where nobody looks on, and on a terminal."""
    where = ("--kubeconfig", str(site.lab.plane.kubeconfig), "-n", site.namespace)
    command = [sys.executable, "-m", "ekiben.cli.main", "get", "iris", "-w", *where]
    # Without PYTHONUNBUFFERED: each line must come out by itself.
    dropped = ("PYTHONUNBUFFERED", "NO_COLOR")
    environment = {key: value for key, value in os.environ.items() if key not in dropped}
    keyboard, terminal = os.openpty()
    program = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=environment)
    shown = await asyncio.create_subprocess_exec(
        *command, stdout=terminal, env={**environment, "TERM": "xterm"}
    )
    os.close(terminal)
    try:
        assert program.stdout is not None
        async with asyncio.timeout(120):
            lines = [(await program.stdout.readline()).decode().split() for _ in range(2)]
            drawn = b""
            while drawn.count(CLEARED) < 2:
                drawn += await asyncio.to_thread(os.read, keyboard, 65536)
        assert [line[:2] for line in lines] == [["NAME", "STATUS"], ["iris", "Healthy"]]
        assert b"\x1b[32mHealthy\x1b[0m" in drawn
        assert "└─ iris-".encode() in drawn
    finally:
        for started in (program, shown):
            started.send_signal(signal.SIGINT)
        codes = [await started.wait() for started in (program, shown)]
        os.close(keyboard)
    assert codes == [Exit.INTERRUPTED, Exit.INTERRUPTED]

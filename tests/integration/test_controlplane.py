"""The bare control plane that other tests stand on: it keeps its data, and it never outlives its parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from localcluster import tools
from localcluster.client import Kubectl
from localcluster.controlplane import ControlPlane
from localcluster.errors import LocalClusterError
from localcluster.gotoolchain import go
from localcluster.paths import PACKAGE
from localcluster.tools import PAUSE, RECORD

pytestmark = pytest.mark.apiserver
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def built() -> None:
    """Skip loudly where Kubernetes is not built."""
    try:
        tools.command_path("kube-apiserver")
    except LocalClusterError as missing:
        pytest.skip(f"no real API server: {missing}")


def eventually(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_outage_keeps_the_data_and_the_address_and_controllers_come_back(tmp_path: Path) -> None:
    with ControlPlane.start(tmp_path, controller_manager=True) as plane:
        kubectl, server = Kubectl(plane.kubeconfig), plane.server
        kubectl.run("create", "namespace", "before")
        plane.pause_apiserver()
        with pytest.raises(LocalClusterError, match="refused"):
            kubectl.run("get", "namespaces")
        plane.restart_apiserver()
        assert plane.server == server
        assert kubectl.get("namespace", "before") is not None
        kubectl.run("create", "namespace", "after")
        eventually(lambda: kubectl.get("--namespace=after", "serviceaccount", "default") is not None)
        pids = plane.pids()
    assert not [name for name, pid in pids.items() if Path(f"/proc/{pid}").exists()]


def test_the_children_die_with_their_parent_even_when_it_is_killed(tmp_path: Path) -> None:
    program = (
        "import json, sys, time; from pathlib import Path\n"
        "from localcluster.controlplane import ControlPlane\n"
        "plane = ControlPlane.start(Path(sys.argv[1]))\n"
        "print(json.dumps(plane.pids()), flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
        stdout=subprocess.PIPE,
    )
    try:
        assert parent.stdout is not None
        pids = json.loads(parent.stdout.readline())
        assert set(pids) == {"etcd", "kube-apiserver"}
        assert all(Path(f"/proc/{pid}").exists() for pid in pids.values())
    finally:
        parent.kill()
        parent.communicate()
    eventually(lambda: not any(_runs(pid) for pid in pids.values()))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_two_control_planes_run_side_by_side(control_plane: ControlPlane, tmp_path: Path) -> None:
    with ControlPlane.start(tmp_path) as other:
        Kubectl(other.kubeconfig).run("create", "namespace", "mine")
        assert other.server != control_plane.server
        assert Kubectl(control_plane.kubeconfig).get("namespace", "mine") is None


def test_a_flag_that_the_api_server_refuses_is_reported_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(
        LocalClusterError, match=r"kube-apiserver ended with code 1(.|\n)*unknown flag: --nonsense"
    ):
        ControlPlane.start(tmp_path, extra_apiserver_args=["--nonsense"])


def test_a_tool_is_built_once_and_appears_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Go's own cache moves with XDG_CACHE_HOME too, and compiling Go's library anew is not what is tested.
    cache = subprocess.run(
        [go(), "env", "GOCACHE"], capture_output=True, text=True, check=True
    ).stdout.strip()
    monkeypatch.setenv("GOCACHE", cache)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tools.ensure(PAUSE)
    assert os.access(folder / "pause", os.X_OK)
    assert json.loads((folder / RECORD).read_text())["cpus"] == os.cpu_count()
    stamp = (folder / "pause").stat().st_mtime_ns
    assert tools.ensure(PAUSE) == folder
    assert (folder / "pause").stat().st_mtime_ns == stamp
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]

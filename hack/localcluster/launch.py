"""Start a box on this machine, and take one away again: processes, cgroups, link, folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from localcluster.box import LINK_INSIDE, run
from localcluster.cgroups import CgroupPlan, make_groups, move_to_leaf, remove_groups
from localcluster.errors import LocalClusterError
from localcluster.machine import memory_limit
from localcluster.network import Network
from localcluster.paths import PACKAGE
from localcluster.state import State

_NAMESPACES = ("--mount", "--net", "--uts", "--ipc", "--cgroup", "--pid")
# Enters the groups given before "--", then becomes the command after it.
_ENTER_GROUPS = (
    'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@"'
)


def start_box(
    state: State, plan: CgroupPlan, network: Network, node_json: Path, locks: Iterable[int]
) -> State:
    """Start the box and hand it its link; return the state with its processes.

    `locks` are descriptors that the box keeps open, so that their locks are held exactly as long as it lives.
    """
    make_groups(plan, memory_limit())
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent), "PYTHONUNBUFFERED": "1"}
    unshare = ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    node = [sys.executable, "-m", "localcluster.node", str(node_json)]
    command = ["sh", "-c", _ENTER_GROUPS, "sh", *plan.groups, "--", *unshare, *node]
    with (state.folder / "log" / "node.log").open("ab") as log:
        outer = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=tuple(locks),
            cwd="/",
        )
    state = state.with_processes(outer.pid).save()
    inner = _first_process(outer)
    state = state.with_processes(outer.pid, inner).save()
    move_to_leaf(plan, outer.pid)
    _connect(state, network, inner)
    return state


def _first_process(outer: subprocess.Popen[bytes], timeout: float = 10.0) -> int:
    """Return the machine's number of the box's process 1."""
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and outer.poll() is None:
        found = children.read_text().split()
        if found:
            return int(found[0])
        time.sleep(0.01)
    raise LocalClusterError("the box did not start: see log/node.log in the cluster's folder.")


def _connect(state: State, network: Network, pid: int) -> None:
    """Link the machine and the box, and route the cluster's pods and Services there."""
    peer = ("peer", "name", LINK_INSIDE, "netns", str(pid))
    run("ip", "link", "add", state.link, "type", "veth", *peer)
    run("ip", "address", "add", f"{network.machine}/{network.link_prefix}", "dev", state.link)
    run("ip", "link", "set", state.link, "up")
    for destination in (network.pods, network.services):
        run("ip", "route", "add", destination, "via", network.node)


def reap(state: State, timeout: float = 15.0) -> None:
    """Take away everything that the state lists, whatever is left of it. The image store stays."""
    for process in state.processes:
        process.kill()
    deadline = time.monotonic() + timeout
    while state.is_alive():
        if time.monotonic() > deadline:
            raise LocalClusterError(
                f"the processes of cluster {state.name} do not end: see `ps` for its pids."
            )
        time.sleep(0.02)
    remove_groups(state.groups, state.enabled)
    if Path("/sys/class/net", state.link).exists():
        # Gone with the box's network namespace in a moment; what else carries its name is ours all the same.
        subprocess.run(["ip", "link", "delete", state.link], capture_output=True, check=False)
    Path(state.kubeconfig).unlink(missing_ok=True)
    # The state file goes last: a reaper that is killed half-way is followed by one that knows what is left.
    for child in state.folder.iterdir():
        if child.name != "state.json":
            shutil.rmtree(child) if child.is_dir() else child.unlink()
    shutil.rmtree(state.folder)


def write_node_json(state: State, plan: CgroupPlan, values: Mapping[str, object]) -> Path:
    """Write what the box is told."""
    file = state.folder / "node.json"
    node = {
        "folder": str(state.folder),
        "name": state.name,
        "block": state.block,
        "plan": plan.to_json(),
        **values,
    }
    file.write_text(json.dumps(node, indent=2))
    return file

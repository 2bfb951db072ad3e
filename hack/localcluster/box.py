"""The walls of a boxed node, seen from inside: mounts that hide the machine, and the network link.

Everything here runs in namespaces of its own, so the kernel takes all of it back when the box ends.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from localcluster.cgroups import LEAF, CgroupPlan
from localcluster.errors import LocalClusterError
from localcluster.network import Network

LINK_INSIDE = "up0"
# The kubelet writes these, and they are the whole machine's: vm and kernel sysctls know no namespace.
KUBELET_SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
# What the node's components write to, and the machine has its own of.
_PRIVATE = ("/var/lib", "/var/log")
_SYSFS_FLAGS = ("-o", "nosuid,nodev,noexec")


def run(*command: str) -> None:
    """Run a command; raise with what it said where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LocalClusterError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")


def build_walls(folder: Path, store: Path, plan: CgroupPlan, keep: Iterable[Path]) -> None:
    """Hide the machine's /sys, /run, /var/lib and /var/log; `keep` are paths that must stay visible."""
    run("mount", "--make-rshared", "/")
    run("mount", "-t", "sysfs", *_SYSFS_FLAGS, "sysfs", "/sys")
    _mount_cgroups(plan)
    _hide(folder, keep)
    containerd = Path("/var/lib/containerd")
    containerd.mkdir()
    run("mount", "--bind", str(store), str(containerd))
    _pin_sysctls()


def _mount_cgroups(plan: CgroupPlan) -> None:
    root = Path("/sys/fs/cgroup")
    if plan.version == 2:
        run("mount", "-t", "cgroup2", "cgroup2", str(root))
        _delegate(root, plan)
        return
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(root))
    for tree in plan.trees:
        (root / tree.name).mkdir()
        run("mount", "-t", "cgroup", "-o", tree.options, "cgroup", str(root / tree.name))
        for controller in tree.controllers - {tree.name}:
            (root / controller).symlink_to(tree.name)


def _delegate(root: Path, plan: CgroupPlan, timeout: float = 10.0) -> None:
    """Hand the controllers to the box's groups, once its root group holds no process any more."""
    leaf = root / LEAF
    leaf.mkdir(exist_ok=True)
    (leaf / "cgroup.procs").write_text(str(os.getpid()))
    wanted = " ".join(f"+{controller}" for controller in plan.delegate)
    deadline = time.monotonic() + timeout
    while True:
        try:
            (root / "cgroup.subtree_control").write_text(wanted)
            return
        except OSError as error:
            # The process that started the box is still in the root group: its parent outside moves it.
            if time.monotonic() > deadline:
                raise LocalClusterError(f"cgroup controllers can't be delegated: {error}.") from error
            time.sleep(0.02)


def _hide(folder: Path, keep: Iterable[Path]) -> None:
    """Put private folders over the shared ones, and what must stay visible back on top."""
    kept = [path for path in dict.fromkeys(keep) if path.exists()]
    handles = {path: os.open(path, os.O_PATH) for path in kept if path.is_relative_to("/var")}
    handles |= {path: os.open(path, os.O_PATH) for path in kept if path.is_relative_to("/run")}
    for target in _PRIVATE:
        private = folder / target.strip("/").replace("/", "-")
        private.mkdir(exist_ok=True)
        run("mount", "--bind", str(private), target)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for path, handle in handles.items():
        if not path.exists():
            path.mkdir(parents=True)
            run("mount", "--bind", f"/proc/{os.getpid()}/fd/{handle}", str(path))
        os.close(handle)
    for name in ("netns", "lock", "sysctl"):
        Path("/run", name).mkdir(exist_ok=True)


def _pin_sysctls() -> None:
    """Show the kubelet the value it wants, read-only: then it is content and leaves the machine's alone."""
    for number, (name, value) in enumerate(KUBELET_SYSCTLS.items()):
        file, target = Path("/run/sysctl") / str(number), f"/proc/sys/{name}"
        if Path(target).exists():
            file.write_text(f"{value}\n")
            run("mount", "--bind", str(file), target)
            run("mount", "-o", "remount,bind,ro", target)


def connect(network: Network, timeout: float = 10.0) -> None:
    """Configure the link that the machine moves into the box, and forwarding between pods."""
    deadline = time.monotonic() + timeout
    while not Path("/sys/class/net", LINK_INSIDE).exists():
        if time.monotonic() > deadline:
            raise LocalClusterError("the machine did not hand over the network link in time.")
        time.sleep(0.02)
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{network.node}/{network.link_prefix}", "dev", LINK_INSIDE)
    run("ip", "link", "set", LINK_INSIDE, "up")
    # Service addresses are translated only when a route leads to them.
    run("ip", "route", "add", "default", "via", network.machine)
    for name in ("ip_forward", "conf/all/route_localnet"):
        Path("/proc/sys/net/ipv4", name).write_text("1")

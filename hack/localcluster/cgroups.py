"""Plan the control groups of a boxed node from what the machine has; carry the plan out; take it back.

Three kinds of machine:
- v2 (most of today's): one tree, every controller in it. The box gets a group of its own at the root;
  inside, that group *is* the root, and all processes move to a leaf of it, because a v2 group that hands
  controllers to its children may hold no process itself.
- v1: a tree per controller, sometimes several controllers in one tree.
- hybrid: v1, plus a v2 tree without controllers that only systemd uses. The box gets the v1 trees only; the
  kubelet, containerd and runc then see a plain v1 machine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from localcluster.errors import LocalClusterError

# What the kubelet refuses to start without, by kind; on v2 the cpu controller counts CPU time too.
_REQUIRED_V1 = frozenset({"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "pids"})
_REQUIRED_V2 = frozenset({"cpu", "memory", "pids"})
_WANTED_V2 = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")
ROOT = PurePosixPath("/sys/fs/cgroup")
LEAF = "init"


@dataclass(frozen=True)
class Tree:
    """One mounted v1 tree: its folder's name under /sys/fs/cgroup, and the mount options that pick it."""

    name: str
    options: str

    @property
    def controllers(self) -> frozenset[str]:
        """The controllers of this tree; none for a named tree such as systemd's."""
        return frozenset(
            option for option in self.options.split(",") if not option.startswith(("name=", "none"))
        )


@dataclass(frozen=True)
class CgroupPlan:
    """What is made outside (groups, enabled controllers) and mounted inside."""

    version: int
    groups: tuple[str, ...]
    trees: tuple[Tree, ...]
    enable: tuple[str, ...]
    delegate: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON, for the process inside the box."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CgroupPlan:
        """Read what to_json() wrote."""
        return cls(
            version=data["version"],
            groups=tuple(data["groups"]),
            trees=tuple(Tree(**tree) for tree in data["trees"]),
            enable=tuple(data["enable"]),
            delegate=tuple(data["delegate"]),
        )


def plan_cgroups(mountinfo: str, name: str, available: str = "", enabled: str = "") -> CgroupPlan:
    """Plan the groups of a box called `name`.

    `mountinfo` is /proc/self/mountinfo; `available` and `enabled` are cgroup.controllers and
    cgroup.subtree_control of a v2 root, and empty elsewhere. Raises where no kubelet can run.
    """
    v1 = [mount for mount in _mounts(mountinfo) if mount[1] == "cgroup"]
    if v1:
        return _plan_v1(v1, name)
    v2 = [folder for folder, kind, _ in _mounts(mountinfo) if kind == "cgroup2"]
    if str(ROOT) in v2:
        return _plan_v2(name, available.split(), enabled.split())
    raise LocalClusterError("no control groups are mounted under /sys/fs/cgroup: mount cgroup2 there first.")


def _plan_v1(mounts: list[tuple[str, str, str]], name: str) -> CgroupPlan:
    trees = tuple(Tree(PurePosixPath(folder).name, _picking(options)) for folder, _, options in mounts)
    missing = _REQUIRED_V1 - frozenset().union(*(tree.controllers for tree in trees))
    if missing:
        names = ", ".join(sorted(missing))
        raise LocalClusterError(f"the kubelet needs the v1 cgroup controllers {names}: mount them first.")
    groups = tuple(f"{folder}/{name}" for folder, _, _ in mounts)
    return CgroupPlan(version=1, groups=groups, trees=trees, enable=(), delegate=())


def _picking(options: str) -> str:
    """Return the mount options that name the same v1 tree again, out of those it is mounted with."""
    ignored = {"rw", "ro", "xattr", "clone_children", "noprefix", "none"}
    kept = [one for one in options.split(",") if one not in ignored and not one.startswith("release_agent=")]
    return ",".join(["none", *kept] if kept[0].startswith("name=") else kept)


def _plan_v2(name: str, available: list[str], enabled: list[str]) -> CgroupPlan:
    missing = _REQUIRED_V2 - set(available)
    if missing:
        names = ", ".join(sorted(missing))
        raise LocalClusterError(
            f"the kubelet needs the cgroup controllers {names}, which /sys/fs/cgroup does not have here: "
            "run on the machine itself rather than in a container, or boot without cgroup_disable."
        )
    delegate = tuple(controller for controller in _WANTED_V2 if controller in available)
    enable = tuple(controller for controller in delegate if controller not in enabled)
    return CgroupPlan(version=2, groups=(f"{ROOT}/{name}",), trees=(), enable=enable, delegate=delegate)


def _mounts(mountinfo: str) -> list[tuple[str, str, str]]:
    """Return (folder, file system, super options) of every control group mount."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind in {"cgroup", "cgroup2"}:
            found.append((left.split(" ")[4], kind, options))
    return found


def read_plan(name: str) -> CgroupPlan:
    """Plan for this machine."""

    def text(path: str) -> str:
        file = Path(path)
        return file.read_text() if file.exists() else ""

    available, enabled = text(f"{ROOT}/cgroup.controllers"), text(f"{ROOT}/cgroup.subtree_control")
    return plan_cgroups(text("/proc/self/mountinfo"), name, available, enabled)


def make_groups(plan: CgroupPlan, memory_limit: int) -> None:
    """Make the planned groups and bound their memory in bytes, so that no pod can starve the machine."""
    for controller in plan.enable:
        Path(f"{ROOT}/cgroup.subtree_control").write_text(f"+{controller}")
    for group in map(Path, plan.groups):
        group.mkdir(exist_ok=True)
        if plan.version == 1 and (group / "cpuset.cpus").exists():
            # A v1 cpuset starts empty, and an empty one takes no process.
            for file in ("cpuset.cpus", "cpuset.mems"):
                (group / file).write_text((group.parent / file).read_text())
            (group / "cgroup.clone_children").write_text("1")
        for file in ("memory.limit_in_bytes", "memory.max"):
            if (group / file).exists():
                (group / file).write_text(str(memory_limit))


def move_to_leaf(plan: CgroupPlan, pid: int) -> None:
    """Move the process that started the box out of the way of controllers, which only v2 asks for."""
    if plan.version == 2:
        leaf = Path(plan.groups[0]) / LEAF
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text(str(pid))


def remove_groups(groups: tuple[str, ...], enabled: tuple[str, ...], timeout: float = 15.0) -> None:
    """Kill what is left in the listed groups and remove them; disable the controllers that we enabled."""
    deadline = time.monotonic() + timeout
    for group in map(Path, groups):
        while group.exists() and not _try_remove(group):
            if time.monotonic() > deadline:
                raise LocalClusterError(f"{group} could not be removed: see who is in its cgroup.procs.")
            time.sleep(0.05)
    for controller in enabled:
        # The kernel says no while another cluster uses it.
        with contextlib.suppress(OSError):
            Path(f"{ROOT}/cgroup.subtree_control").write_text(f"-{controller}")


def _try_remove(group: Path) -> bool:
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            for pid in (Path(folder) / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            Path(folder).rmdir()
    return not group.exists()

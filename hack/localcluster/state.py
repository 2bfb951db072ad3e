"""What a cluster made on this machine, written down *before* it is made.

Whoever reaps a cluster, after any crash, touches what its state file lists and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from localcluster.errors import LocalClusterError
from localcluster.paths import WORK_TREE, cache_dir

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,18}[a-z0-9])?")


@dataclass(frozen=True)
class ProcessId:
    """A process, told apart from a later one with the same number: by when it started, on which boot."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """Identify a running process."""
        return cls(pid, _started(pid), _boot())

    def is_alive(self) -> bool:
        """Say whether this very process still runs (a zombie does not)."""
        try:
            return self.boot == _boot() and self.started == _started(self.pid)
        except (OSError, ProcessLookupError):
            return False

    def kill(self) -> None:
        """Send SIGKILL to this very process, if it still runs."""
        if self.is_alive():
            os.kill(self.pid, signal.SIGKILL)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _started(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] in {"Z", "X"}:
        raise ProcessLookupError(pid)
    return int(fields[19])


@dataclass(frozen=True)
class State:
    """One cluster: where it lives and everything of the machine that it took."""

    name: str
    work_tree: str
    block: str
    link: str
    groups: tuple[str, ...]
    enabled: tuple[str, ...]
    kubeconfig: str
    processes: tuple[ProcessId, ...] = field(default=())
    ready: bool = False

    @property
    def folder(self) -> Path:
        """The cluster's own folder."""
        return cluster_dir(self.name)

    def is_alive(self) -> bool:
        """Say whether any process of the box still runs."""
        return any(process.is_alive() for process in self.processes)

    def save(self) -> State:
        """Write the state file in one step; returns itself."""
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / ".state.new"
        fresh.write_text(json.dumps(asdict(self), indent=2) + "\n")
        fresh.rename(self.folder / "state.json")
        return self

    def with_processes(self, *pids: int) -> State:
        """Return the state with the box's processes identified."""
        return replace(self, processes=tuple(ProcessId.of(pid) for pid in pids))

    def made_ready(self) -> State:
        """Return the state of a cluster that has come up."""
        return replace(self, ready=True)


def cluster_dir(name: str) -> Path:
    """Return the folder of the cluster called `name`."""
    return cache_dir() / "clusters" / name


def default_name(work_tree: Path = WORK_TREE) -> str:
    """Return the name of a work tree's cluster: the same for the same path."""
    return "ekiben-" + hashlib.sha256(str(work_tree).encode()).hexdigest()[:6]


def check_name(name: str) -> str:
    """Return a cluster's name, or raise: it becomes a host name, a cgroup and a folder."""
    if not _NAME.fullmatch(name):
        raise LocalClusterError(
            f"--name {name!r} can't name a cluster: use at most 20 lower-case letters, digits and dashes, "
            "a letter first."
        )
    return name


def load(name: str) -> State | None:
    """Read a cluster's state; None where there is no such cluster."""
    file = cluster_dir(name) / "state.json"
    if not file.exists():
        return None
    try:
        return _parse(json.loads(file.read_text()))
    except (ValueError, KeyError, TypeError) as error:
        raise LocalClusterError(
            f"{file} can't be read ({error}): look at it, then remove its folder."
        ) from error


def _parse(data: dict[str, Any]) -> State:
    processes = tuple(ProcessId(**process) for process in data.pop("processes"))
    groups, enabled = tuple(data.pop("groups")), tuple(data.pop("enabled"))
    return State(**data, groups=groups, enabled=enabled, processes=processes)


def load_all() -> list[State]:
    """Read the state of every cluster on this machine."""
    names = sorted(file.parent.name for file in (cache_dir() / "clusters").glob("*/state.json"))
    return [state for state in map(load, names) if state is not None]

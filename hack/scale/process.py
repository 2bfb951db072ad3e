"""Measure a process from outside: CPU seconds and memory, as the kernel counts them."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, in user and kernel mode."""
    # The command's name stands in parentheses and may hold spaces.
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS


def cpu_ms(pid: int) -> float:
    """Return the CPU time of a process's threads that still run, in ms, as the scheduler counts it."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6


def peak_mib(pid: int) -> float:
    """Return the most memory that a process has had resident, in MiB."""
    return _status(pid, "VmHWM")


def resident_mib(pid: int) -> float:
    """Return the memory that a process has resident now, in MiB."""
    return _status(pid, "VmRSS")


def _status(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"process {pid} has ended")

"""The machine's image stores: one containerd store per cluster that runs at a time, reused by the next.

A cluster takes the first store that nobody holds, so on most machines there is one, and images that were
loaded once are there for every later cluster of any work tree. The box itself holds the lock, to its end.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from localcluster.paths import cache_dir


def _lock_file(number: int) -> Path:
    return cache_dir() / "stores" / f"{number}.lock"


def _try_lock(file: Path) -> int | None:
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextlib.contextmanager
def taken_store() -> Iterator[tuple[Path, int]]:
    """Take the first free store; yield its folder and the lock's descriptor, for the box to inherit."""
    attempts = ((number, _try_lock(_lock_file(number))) for number in itertools.count())
    number, descriptor = next((number, held) for number, held in attempts if held is not None)
    folder = cache_dir() / "stores" / str(number)
    folder.mkdir(exist_ok=True)
    try:
        yield folder, descriptor
    finally:
        os.close(descriptor)


def remove_free_stores() -> list[Path]:
    """Remove every store that no cluster holds; return their folders."""
    removed = []
    for file in sorted((cache_dir() / "stores").glob("*.lock")):
        descriptor = _try_lock(file)
        if descriptor is not None:
            folder = file.with_suffix("")
            if folder.exists():
                shutil.rmtree(folder)
                removed.append(folder)
            os.close(descriptor)
    return removed


def snapshotter_for(folder: Path, mounts: str) -> str:
    """Return containerd's snapshotter: overlayfs can't lie on an overlay; files are copied there instead.

    `mounts` is /proc/self/mounts; the longest mount point above the folder decides.
    """
    points = [line.split(" ")[1:3] for line in mounts.splitlines()]
    above = [(point, kind) for point, kind in points if folder.is_relative_to(point)]
    deepest = max(above, key=lambda pair: len(pair[0]), default=("/", ""))
    return "native" if deepest[1] == "overlay" else "overlayfs"

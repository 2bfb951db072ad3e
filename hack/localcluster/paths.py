"""Where things live on this machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
WORK_TREE = PACKAGE.parent.parent


def cache_dir() -> Path:
    """Return the machine's cache of built tools, images and clusters (XDG_CACHE_HOME is honoured)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ekiben"


def local_dir(work_tree: Path = WORK_TREE) -> Path:
    """Return the work tree's folder that git ignores, made if missing."""
    folder = work_tree / ".local"
    folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], None]) -> Iterator[int]:
    """Hold the file lock `path`; call `on_wait` once where somebody else has it. Yields the descriptor.

    The kernel drops the lock when its holder dies, so no lock is ever stale.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)

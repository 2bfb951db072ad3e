"""Run the programs that do the work, and keep what they say for when they fail."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from images.errors import ImageError

_TAIL = 15


def run(what: str, argv: Sequence[object], log: Path, env: Mapping[str, str], cwd: Path) -> None:
    """Run a command with its output in `log`. Raises ImageError with the log's last lines where it fails."""
    with log.open("wb") as output:
        done = subprocess.run(
            [str(item) for item in argv], stdout=output, stderr=output, env=env, cwd=cwd, check=False
        )
    if done.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").strip().splitlines()[-_TAIL:])
        raise ImageError(f"{what} failed with exit code {done.returncode}; all it said is in {log}:\n{tail}")


def answers(argv: Sequence[str], env: Mapping[str, str]) -> bool:
    """Say whether a command exists and ends well."""
    try:
        done = subprocess.run(argv, capture_output=True, env=env, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0

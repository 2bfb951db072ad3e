"""Get the system packages that building without Docker needs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from images.errors import ImageError
from localcluster.progress import say

PACKAGES = {"mmdebstrap": "mmdebstrap", "buildah": "buildah"}


def missing_packages() -> list[str]:
    """Return the packages whose command is not on PATH."""
    return [package for command, package in PACKAGES.items() if shutil.which(command) is None]


def ensure_packages() -> None:
    """Install what is missing where that is possible. Raises ImageError with the exact command elsewhere."""
    if os.geteuid() != 0:
        raise ImageError(
            "Building images without Docker needs root (chroots, mounts): use sudo, or start Docker."
        )
    missing = missing_packages()
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise ImageError(f"Install {' and '.join(missing)} with your package manager, or start Docker.")
    say(f"installing system packages: {' '.join(missing)}")
    # Without recommends: buildah's include crun, which refuses hosts with both cgroup versions.
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    for argv in (["apt-get", "update", "-q"], install):
        _apt(argv)


def _apt(argv: Sequence[str]) -> None:
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0:
        raise ImageError(f"`{' '.join(argv)}` failed: {done.stderr.strip() or done.stdout.strip()}")

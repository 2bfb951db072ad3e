"""Find what must not stand in a committed file or an image: where this machine gets packages, and its paths.

What to look for is asked of the package managers themselves, so no address stands here either.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from images.registry import pip_files, pip_settings
from localcluster.paths import WORK_TREE, cache_dir

INDEX_LINE = re.compile(
    rb"^\s*(--(extra-)?index-url\b|-i\s+\w+://|--find-links\b|--trusted-host\b|(extra-)?index-url\s*=|"
    rb"deb\s+(\[|\w+://)|URIs:|registry\s*=\s*\w+://|(ENV|ARG|export)\s+(PIP|UV|GOPROXY|NPM)\w*(INDEX|PROXY|REGISTRY))",
    re.MULTILINE,
)
_HOST = re.compile(r"\w://(?:[^/\s@]*@)?([A-Za-z0-9.-]*[A-Za-z0-9])")


def registry_hosts() -> set[str]:
    """Return the hosts that pip, uv, npm, Go, cargo and apt of this machine would ask."""
    said = list(pip_settings(pip_files(os.environ), os.environ).values())
    said += [
        value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "NPM_", "CARGO_"))
    ]
    # Where nothing is configured each tool has a default of its own, which its help or its settings name.
    for argv in (
        [sys.executable, "-m", "pip", "download", "--help"],
        ["npm", "config", "get", "registry"],
        ["go", "env", "GOPROXY"],
        ["apt-get", "indextargets", "--format", "$(SITE)"],
    ):
        if shutil.which(argv[0]):
            said.append(subprocess.run(argv, capture_output=True, text=True, check=False).stdout)
    cargo = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "config.toml"
    if cargo.exists():
        said.append(str(tomllib.loads(cargo.read_text())))
    return {host for text in said for host in _HOST.findall(text) if "." in host}


def machine_paths() -> set[str]:
    """Return paths that only this machine has: the work tree, the interpreter's home, the cache."""
    paths = {WORK_TREE, Path(sys.prefix), Path(sys.base_prefix), cache_dir()}
    common = ("/usr", "/opt/hostedtoolcache")
    # A folder right below the root, such as /app, is anybody's.
    return {str(path) for path in paths if len(path.parts) > 2 and not str(path).startswith(common)}


def pattern(words: set[str]) -> re.Pattern[bytes]:
    """Return a pattern that finds any of the words where a longer one does not continue them."""
    longest = sorted(words, key=len, reverse=True)
    return re.compile(
        b"(?<![\\w.-])(" + b"|".join(re.escape(word.encode()) for word in longest) + b")(?![\\w-])"
    )

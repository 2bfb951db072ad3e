"""Build the iris service: its Bentos with `bentoml build`, their images with `bentoml containerize`."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from uv import find_uv_bin

from images.backend import Backend
from images.command import run
from images.errors import ImageError
from images.names import IRIS, iris_image
from images.registry import index_environment
from localcluster.progress import step

LOCK = IRIS / "requirements.txt"


def build_iris(versions: Sequence[str], backend: Backend) -> list[str]:
    """Build the given releases and return their images' names."""
    python = ensure_python(backend.folder)
    with tempfile.TemporaryDirectory(prefix="bentoml-", dir=backend.folder) as store:
        ours = bentoml_environment(python, Path(store))
        with step("training the iris models"):
            run("training", [python, "train.py"], backend.folder / "train.log", os.environ | ours, IRIS)
        for version in versions:
            with step(f"iris {version}: bentoml build"):
                build_bento(python, version, backend, os.environ | ours)
                check_bento(read_bento(Path(store), version), backend)
            with (
                step(f"iris {version}: bentoml containerize with {backend.name}"),
                backend.environment() as env,
            ):
                options = [*backend.bentoml_options(), "--image-tag", iris_image(version), f"iris:{version}"]
                argv = [python, "-m", "bentoml", "containerize", *options]
                run("bentoml containerize", argv, backend.log(iris_image(version)), env | ours, IRIS)
    return [iris_image(version) for version in versions]


def build_bento(python: Path, version: str, backend: Backend, env: Mapping[str, str]) -> None:
    """Build one release's Bento into the store that `env` names."""
    argv = [python, "-m", "bentoml", "build", "--arg", f"release={version}", "--version", version, IRIS]
    run("bentoml build", argv, backend.log(f"bento:{version}"), env, IRIS)


def read_bento(store: Path, version: str) -> dict[str, Any]:
    """Return the description of a Bento in a store."""
    bento = yaml.safe_load((store / "bentos" / "iris" / version / "bento.yaml").read_text())
    return dict(bento)


def check_bento(bento: Mapping[str, Any], backend: Backend) -> None:
    """Refuse what the backend can't honour in a Bento, before it fails half-way. Raises ImageError."""
    if "image" not in bento:
        raise ImageError(f"bento {bento['name']} has no image section: build it with BentoML 1.4 or newer.")
    image = bento["image"]
    backend.check_base(image["base_image"], image["python_version"])
    secret = [env["name"] for env in bento["envs"] if env.get("stage") == "build"]
    if secret and backend.name != "docker":
        raise ImageError(
            f"bento {bento['name']} has envs of stage `build` ({', '.join(secret)}), which need BuildKit. "
            "Drop the stage, or build on a machine where `docker info` answers."
        )


def ensure_python(folder: Path) -> Path:
    """Return a Python that has exactly the locked packages, in a folder named after the lock."""
    identity = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = folder / f"venv-{identity}"
    python = home / "bin" / "python"
    if (home / "complete").exists():
        return python
    for old in folder.glob("venv-*"):
        shutil.rmtree(old)
    uv, log, env = find_uv_bin(), folder / "venv.log", os.environ | index_environment()
    with step("installing the locked packages that bentoml build needs"):
        run("uv venv", [uv, "venv", "--python", sys.executable, home], log, env, folder)
        sync = [uv, "pip", "sync", "--require-hashes", "--compile-bytecode", "--python", python, LOCK]
        run("uv pip sync", sync, log, env, folder)
        (home / "complete").touch()
    return python


def bentoml_environment(python: Path, store: Path) -> dict[str, str]:
    """Return the variables for BentoML's commands, with a store of their own."""
    # BentoML looks for uv on PATH; where it is not, it installs one into the venv, past the lock.
    path = os.pathsep.join([str(python.parent), str(Path(find_uv_bin()).parent), os.environ["PATH"]])
    return {
        "PATH": path,
        "BENTOML_HOME": str(store),
        "BENTOML_DO_NOT_TRACK": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }

"""What the images are called, and where their sources are."""

from __future__ import annotations

import runpy
from pathlib import Path

from images.errors import ImageError

WORK_TREE = Path(__file__).resolve().parents[2]
IRIS = WORK_TREE / "serving" / "iris"
# No registry resolves it: a cluster that lacks the image says so at once instead of asking the network.
REGISTRY = "ekiben.local"
OPERATOR_LOCK = WORK_TREE / "requirements" / "operator.txt"
OPERATOR_DOCKERFILE = WORK_TREE / "operator" / "Dockerfile"
OPERATOR_PACKAGE = WORK_TREE / "operator" / "ekiben"


def iris_versions() -> list[str]:
    """Return every release in serving/iris/releases.py, oldest first."""
    return list(runpy.run_path(str(IRIS / "releases.py"))["RELEASES"])


def iris_version(asked: str) -> str:
    """Return the release that `asked` means: `2` and `2.0.0` are the same. Raises ImageError for others."""
    for version in iris_versions():
        if asked.removeprefix("v") in (version, version.partition(".")[0]):
            return version
    raise ImageError(f"iris has no version {asked!r}: choose one of {', '.join(iris_versions())}.")


def iris_image(version: str) -> str:
    """Return the image's name for a full version such as 1.0.0."""
    return f"{REGISTRY}/iris:{version}"


def operator_image() -> str:
    """Return the operator's image name; its tag is the version of the package."""
    package = runpy.run_path(str(OPERATOR_PACKAGE / "__init__.py"))
    return f"{REGISTRY}/operator:{package['__version__']}"

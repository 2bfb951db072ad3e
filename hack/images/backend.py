"""What the two ways of building an image have in common, and which one this machine gets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from images.buildah import Buildah
from images.command import answers
from images.docker import Docker
from localcluster.paths import cache_dir


class Backend(Protocol):
    """Builds images, and saves them as archives that `ctr images import` and `docker load` read."""

    @property
    def name(self) -> str:
        """The name as `bentoml containerize --backend` knows it."""

    @property
    def folder(self) -> Path:
        """The folder for logs and whatever else is kept between builds."""

    def prepare(self) -> None:
        """Get ready to build. Raises ImageError where this machine can't."""

    def key(self) -> str:
        """Return what every image built here also depends on."""

    def check_base(self, image: str, python: str) -> None:
        """Raise ImageError where a base image, or its Python, can't be had."""

    def environment(self) -> AbstractContextManager[dict[str, str]]:
        """Yield the environment in which BentoML may call this backend's program."""

    def bentoml_options(self) -> list[str]:
        """Return the options for `bentoml containerize`."""

    def build(self, context: Path, dockerfile: Path, image: str) -> None:
        """Build one Dockerfile."""

    def save(self, images: Sequence[str], out: Path) -> dict[str, str]:
        """Write images into one archive, each layer once; return each image's digest."""

    def clean(self, images: Sequence[str]) -> None:
        """Remove what this backend keeps between builds, the given images at least."""

    def log(self, image: str) -> Path:
        """Return where the output of building an image goes."""


def choose_backend() -> Backend:
    """Return Docker where its engine answers (a client without one is common), otherwise buildah."""
    folder = cache_dir() / "image-builds"
    return Docker(folder) if answers(["docker", "info"], os.environ) else Buildah(folder)

"""Build images with a Docker engine, where one answers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from images.command import answers, run
from images.errors import ImageError


@dataclass(frozen=True)
class Docker:
    """The backend for machines with Docker; layers stay in the engine, logs in `folder`."""

    folder: Path
    name: str = "docker"

    def prepare(self) -> None:
        """Make the folder of the logs."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def key(self) -> str:
        """Return what every image built here also depends on."""
        return self.name

    def check_base(self, image: str, python: str) -> None:
        """Accept every base image: the engine can pull it."""

    @contextmanager
    def environment(self) -> Iterator[dict[str, str]]:
        """Yield the environment for the engine's client."""
        yield dict(os.environ)

    def bentoml_options(self) -> list[str]:
        """Return the options for `bentoml containerize`."""
        return ["--backend", "docker"]

    def build(self, context: Path, dockerfile: Path, image: str) -> None:
        """Build one Dockerfile."""
        argv = ["docker", "build", "--tag", image, "--file", dockerfile, context]
        run(f"building {image}", argv, self.log(image), os.environ, context)

    def save(self, images: Sequence[str], out: Path) -> dict[str, str]:
        """Write images into one archive, each layer once; return each image's id."""
        run(
            "docker save",
            ["docker", "save", "--output", out, *images],
            self.folder / "save.log",
            os.environ,
            out.parent,
        )
        return {image: self._id(image) for image in images}

    def clean(self, images: Sequence[str]) -> None:
        """Remove the given images from the engine."""
        if not answers(["docker", "image", "rm", "--force", *images], os.environ):
            raise ImageError("`docker image rm` failed: is a container of these images still there?")

    def log(self, image: str) -> Path:
        """Return where the output of building an image goes."""
        return self.folder / f"{image.rpartition('/')[2].replace(':', '-')}.log"

    def _id(self, image: str) -> str:
        argv = ["docker", "image", "inspect", "--format", "{{.Id}}", image]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()

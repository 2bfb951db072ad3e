"""Build images with buildah: no engine, no registry.

buildah keeps its layers in a storage of our own under the user's cache directory, so a step whose inputs did
not change is taken from there, and the machine's other containers are not touched.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from images.archive import write_archive
from images.base import BASE_IMAGE, BASE_PYTHON, SOURCES, base_key, make_base
from images.command import answers, run
from images.errors import ImageError
from images.registry import write_build_configuration
from images.system import ensure_packages
from localcluster.progress import step


@dataclass(frozen=True)
class Buildah:
    """The backend for machines without Docker; everything it keeps is in `folder`."""

    folder: Path
    name: str = "buildah"

    def prepare(self) -> None:
        """Install what is missing and make the base image, once per machine."""
        ensure_packages()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not answers(["buildah", "inspect", "--type", "image", self._base_marker], self.storage_env()):
            with step(f"making {BASE_IMAGE} from Debian packages, once per machine"):
                self._make_base()

    def key(self) -> str:
        """Return what every image built here also depends on."""
        return f"{self.name} {base_key()}"

    def check_base(self, image: str, python: str) -> None:
        """Refuse what only a registry could give. Raises ImageError."""
        if image != BASE_IMAGE:
            raise ImageError(
                f"base image {image!r} can't be had without Docker: only {BASE_IMAGE} can be stood in for. "
                "Use that one, or build on a machine where `docker info` answers."
            )
        if python != BASE_PYTHON:
            raise ImageError(
                f"Python {python} can't be had without Docker: the stand-in for {BASE_IMAGE} has Python "
                f"{BASE_PYTHON}. Use that one, or build on a machine where `docker info` answers."
            )

    @contextmanager
    def environment(self) -> Iterator[dict[str, str]]:
        """Yield the environment in which buildah, called by us or by BentoML, builds in our storage."""
        with tempfile.TemporaryDirectory(prefix="ekiben-build-") as name:
            sources = self._sources.read_text()
            mounts = write_build_configuration(Path(name), [Path(find_uv_bin())], sources)
            # Packages fetched by one build serve the next, and don't lie twice in the image.
            (self.folder / "packages").mkdir(exist_ok=True)
            mounts.append(f"{self.folder / 'packages'}:/root/.cache:rw")
            settings = Path(name) / "containers.conf"
            settings.write_text(f"[containers]\nvolumes = {json.dumps(mounts)}\n")
            yield self.storage_env() | {"CONTAINERS_CONF": str(settings)}

    def bentoml_options(self) -> list[str]:
        """Return the options for `bentoml containerize`; it must not ask a registry for the base image."""
        return ["--backend", "buildah", "--opt", "pull-never"]

    def build(self, context: Path, dockerfile: Path, image: str) -> None:
        """Build one Dockerfile."""
        with self.environment() as env:
            argv = ["buildah", "build", "--pull-never", "--tag", image, "--file", dockerfile, context]
            run(f"building {image}", argv, self.log(image), env, context)

    def save(self, images: Sequence[str], out: Path) -> dict[str, str]:
        """Write images into one archive, each layer once; return each image's digest."""
        with tempfile.TemporaryDirectory(prefix="layout-", dir=self.folder) as layout:
            for image in images:
                # Level 1: a third less time for a tenth more bytes, which only go to this machine's cluster.
                level = ["--compression-format", "gzip", "--compression-level", "1"]
                argv = ["buildah", "push", "--quiet", *level, image, f"oci:{layout}:{image}"]
                run(f"saving {image}", argv, self.folder / "save.log", self.storage_env(), self.folder)
            digests = write_archive(Path(layout), out)
        # Layers of builds that have lost their name to a newer one; steps of named images stay.
        argv = ["buildah", "rmi", "--prune"]
        run("removing old layers", argv, self.folder / "save.log", self.storage_env(), self.folder)
        return digests

    def clean(self, images: Sequence[str]) -> None:
        """Remove everything that this backend keeps, the given images and all their layers."""
        for argv in (["buildah", "rm", "--all"], ["buildah", "rmi", "--all", "--force"]):
            if not answers(argv, self.storage_env()):
                raise ImageError(f"`{' '.join(argv)}` failed: is a build still running?")
        if str(self.folder) in Path("/proc/self/mountinfo").read_text():
            raise ImageError(f"something is still mounted under {self.folder}: unmount it first.")
        shutil.rmtree(self.folder)
        shutil.rmtree(self._runroot, ignore_errors=True)

    def log(self, image: str) -> Path:
        """Return where the output of building an image goes."""
        return self.folder / f"{image.rpartition('/')[2].replace(':', '-')}.log"

    @property
    def _runroot(self) -> Path:
        """The record of mounts, on a file system that a reboot empties as it empties the mounts."""
        return Path(f"/run/ekiben-images-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]}")

    @property
    def _base_marker(self) -> str:
        return f"localhost/ekiben:{base_key()}"

    @property
    def _sources(self) -> Path:
        return self.folder / f"{base_key()}.list"

    def _make_base(self) -> None:
        with tempfile.TemporaryDirectory(prefix="base-", dir=self.folder) as name:
            made, log = Path(name), self.folder / "base.log"
            make_base(made, log)
            (made / SOURCES).rename(self._sources)
            argv = ["buildah", "build", "--tag", f"docker.io/library/{BASE_IMAGE}", made]
            run(f"importing {BASE_IMAGE}", argv, log, self.storage_env(), made)
            # Last: it says that all of the above is there.
            argv = ["buildah", "tag", f"docker.io/library/{BASE_IMAGE}", self._base_marker]
            run("naming the base image", argv, log, self.storage_env(), made)

    def storage_env(self) -> dict[str, str]:
        """Return the environment for a buildah that uses our storage."""
        storage = {
            "driver": self._driver(),
            "graphroot": str(self.folder / "storage"),
            "runroot": str(self._runroot),
        }
        settings = self.folder / "storage.conf"
        settings.write_text("[storage]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in storage.items()))
        ours = {
            "CONTAINERS_STORAGE_CONF": str(settings),
            "BUILDAH_ISOLATION": "chroot",
            "BUILDAH_LAYERS": "true",
        }
        return os.environ | ours

    def _driver(self) -> str:
        """Return overlay, or vfs, which copies whole layers, where overlay can't lie on this disk."""
        argv = ["stat", "--file-system", "--format", "%T", str(self.folder)]
        under = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
        supported = "overlay" in Path("/proc/filesystems").read_text().split()
        return "overlay" if supported and under != "overlayfs" else "vfs"

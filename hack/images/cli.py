"""The command line of the image builder."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from images.backend import choose_backend
from images.build import iris_archive, operator_archive, read_record
from images.errors import ImageError
from images.names import WORK_TREE, iris_image, iris_version, iris_versions, operator_image

OUT = WORK_TREE / "build" / "images"
out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=OUT,
    show_default="build/images",
    help="The folder that the archives go to.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Build Ekiben's container images as archives for `ctr images import`, `docker load` or `kind load`.

    Docker builds them where `docker info` answers, otherwise buildah does, without a registry (as root, on
    Debian or Ubuntu). An archive whose inputs did not change is not built again.
    """


@cli.group()
def build() -> None:
    """Build images and print the archives' paths and the images' digests."""


@build.command("iris")
@click.option(
    "--version", "asked", multiple=True, help="A release, as 1 or 1.0.0; may be repeated. All if left out."
)
@out_option
def build_iris(asked: tuple[str, ...], out: Path) -> None:
    """Build the iris service: several releases go into one archive and share their layers."""
    versions = sorted({iris_version(version) for version in asked}) or iris_versions()
    show(iris_archive(versions, writable(out), choose_backend()))


@build.command("operator")
@out_option
def build_operator(out: Path) -> None:
    """Build the operator."""
    show(operator_archive(writable(out), choose_backend()))


@build.command("all")
@out_option
def build_all(out: Path) -> None:
    """Build the operator and every release of iris."""
    folder, backend = writable(out), choose_backend()
    show(operator_archive(folder, backend))
    show(iris_archive(iris_versions(), folder, backend))


@cli.command()
def clean() -> None:
    """Remove the base image, the layers and the packages that builds keep in the user's cache."""
    choose_backend().clean([operator_image(), *(iris_image(version) for version in iris_versions())])


def writable(folder: Path) -> Path:
    """Make the folder that archives go to; ImageError where it can't be one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"--out {folder} can't be a folder: {error.strerror}; name another") from error
    return folder.resolve()


def show(archive: Path) -> None:
    """Print an archive's path and its images."""
    click.echo(archive)
    if record := read_record(archive):
        for name, digest in record.digests.items():
            click.echo(f"  {name}  {digest}")


def main() -> None:
    """Run a command; what the caller can mend is one sentence and exit code 1."""
    try:
        cli()
    except ImageError as error:
        click.echo(f"images: {error}", err=True)
        sys.exit(1)

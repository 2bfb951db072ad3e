"""Build archives of images, and leave alone those that are up to date."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from images.backend import Backend
from images.iris import build_iris
from images.names import (
    IRIS,
    OPERATOR_DOCKERFILE,
    OPERATOR_LOCK,
    OPERATOR_PACKAGE,
    WORK_TREE,
    iris_image,
    iris_versions,
    operator_image,
)
from localcluster.paths import locked
from localcluster.progress import say, step

PACKAGE = Path(__file__).resolve().parent
KEPT = 2


@dataclass(frozen=True)
class Record:
    """What stands beside an archive: its inputs' key, its images' digests, how long it took in seconds."""

    key: str
    backend: str
    digests: dict[str, str]
    seconds: float


def iris_archive(versions: Sequence[str], out: Path, backend: Backend) -> Path:
    """Build releases of iris into one archive in `out`; iris.tar where it holds them all."""
    every = list(versions) == iris_versions()
    archive = out / ("iris.tar" if every else f"iris-{'-'.join(versions)}.tar")
    names = [iris_image(version) for version in versions]
    key = inputs_key([backend.key(), *names], [IRIS, PACKAGE])
    return _ensure(archive, key, backend, lambda: build_iris(versions, backend))


def operator_archive(out: Path, backend: Backend) -> Path:
    """Build the operator's image into an archive in `out`."""
    name = operator_image()

    def build() -> list[str]:
        with step(f"building {name} with {backend.name}"):
            backend.build(WORK_TREE, OPERATOR_DOCKERFILE, name)
        return [name]

    sources = [OPERATOR_PACKAGE, OPERATOR_DOCKERFILE, OPERATOR_LOCK, PACKAGE]
    return _ensure(out / "operator.tar", inputs_key([backend.key(), name], sources), backend, build)


def inputs_key(facts: Iterable[str], sources: Iterable[Path]) -> str:
    """Return a hash of facts and files, folders taken whole; a file's name counts, its time doesn't."""
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(f"{fact}\0".encode())
    for source in sources:
        files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
        for file in files:
            if "__pycache__" not in file.parts:
                content = hashlib.sha256(file.read_bytes()).hexdigest()
                digest.update(f"{file.relative_to(source.parent)}\0{content}\0".encode())
    return digest.hexdigest()


def read_record(archive: Path) -> Record | None:
    """Return what is known of an archive; None where it, or its record, is missing or torn."""
    try:
        record = Record(**json.loads(record_file(archive).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return record if archive.exists() else None


def record_file(archive: Path) -> Path:
    """Return where an archive's record stands."""
    return archive.with_suffix(".json")


def _ensure(archive: Path, key: str, backend: Backend, build: Callable[[], list[str]]) -> Path:
    """Build an archive unless nothing it depends on has changed.

    Archives are kept in the backend's folder under the key of their inputs, so another work tree on this
    machine gets the same bytes, and so the same digests.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    record = read_record(archive)
    if record is not None and record.key == key:
        say(f"{archive.name} is up to date")
        return archive
    kept = backend.folder / "archives" / f"{archive.stem}@{key[:16]}.tar"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with locked(backend.folder / "lock", lambda: say("waiting for another build of images on this machine")):
        if read_record(kept) is None:
            began = time.monotonic()
            backend.prepare()
            names = build()
            with step(f"saving {archive.name}"):
                digests = backend.save(names, kept)
            fresh = Record(key, backend.name, digests, round(time.monotonic() - began, 1))
            record_file(kept).write_text(json.dumps(asdict(fresh), indent=2) + "\n")
        for file, target in ((kept, archive), (record_file(kept), record_file(archive))):
            _place(file, target)
        _drop_old(kept, archive.stem)
    return archive


def _place(file: Path, target: Path) -> None:
    """Put a kept file at its target, complete or not at all; without a second copy on the same disk."""
    fresh = target.with_name(f".{target.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        os.link(file, fresh)
    except OSError:
        shutil.copyfile(file, fresh)
    os.replace(fresh, target)


def _drop_old(kept: Path, stem: str) -> None:
    """Mark an archive as used now, and remove the ones of its kind that were not used for longest."""
    os.utime(kept)
    same_kind = sorted(kept.parent.glob(f"{stem}@*.tar"), key=lambda file: file.stat().st_mtime)
    for file in same_kind[:-KEPT]:
        record_file(file).unlink(missing_ok=True)
        file.unlink()

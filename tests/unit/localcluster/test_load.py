"""An image is loaded although containerd collects what the one before it had."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

from localcluster import cluster
from localcluster.errors import LocalClusterError

COLLECTED = "ctr: failed to prepare extraction snapshot: parent snapshot sha256:42 does not exist: not found"


@pytest.fixture
def imports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the errors that the next imports end with, "" for none; what was imported is taken out."""
    errors: list[str] = []

    def ctr(_: Any, *arguments: str, stdin: IO[bytes] | None = None) -> subprocess.CompletedProcess[str]:
        if arguments[:2] == ("images", "list"):
            return subprocess.CompletedProcess(arguments, 0, "REF TYPE DIGEST\n", "")
        assert stdin is not None
        assert stdin.read() == b"an archive"
        error = errors.pop(0)
        return subprocess.CompletedProcess(arguments, 1 if error else 0, "", error)

    monkeypatch.setattr(cluster, "_ctr", ctr)
    monkeypatch.setattr(cluster, "_snapshotter", lambda _: "overlayfs")
    monkeypatch.setattr(cluster, "be_root", lambda: None)
    monkeypatch.setattr(cluster, "running", lambda _: SimpleNamespace())
    monkeypatch.setattr(cluster, "image_digests", lambda _: {"ekiben.local/operator:0.1.0": "sha256:1"})
    return errors


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "operator.tar"
    path.write_bytes(b"an archive")
    return path


def test_what_was_collected_amid_an_import_is_imported_again(imports: list[str], archive: Path) -> None:
    imports += [COLLECTED, ""]
    assert cluster.load("one", archive) == ["ekiben.local/operator:0.1.0"]
    assert not imports


@pytest.mark.parametrize("errors", [["ctr: no space left on device"], [COLLECTED, COLLECTED]])
def test_an_import_that_fails_otherwise_or_again_is_said(
    imports: list[str], archive: Path, errors: list[str]
) -> None:
    imports += errors
    with pytest.raises(LocalClusterError, match=r"operator\.tar could not be imported: ctr: "):
        cluster.load("one", archive)
    assert not imports

"""The archive that a layout becomes."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path

from images.archive import write_archive
from localcluster.oci import image_names


def blob(layout: Path, data: bytes) -> dict[str, object]:
    folder = layout / "blobs" / "sha256"
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(data).hexdigest()
    (folder / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def write_layout(layout: Path, names: list[str]) -> Path:
    """Write what `buildah push oci:` leaves behind for images that share one layer."""
    shared = blob(layout, b"shared layer")
    manifests = []
    for name in names:
        manifest = blob(layout, json.dumps({"layers": [shared, blob(layout, name.encode())]}).encode())
        manifests.append(manifest | {"annotations": {"org.opencontainers.image.ref.name": name}})
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return layout


NAMES = ["ekiben.local/iris:1.0.0", "ekiben.local/iris:2.0.0"]


def test_images_are_named_for_containerd_and_layers_are_stored_once(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", NAMES)
    archive = tmp_path / "iris.tar"

    digests = write_archive(layout, archive)

    assert image_names(archive) == NAMES
    with tarfile.open(archive) as tar:
        blobs = [name for name in tar.getnames() if name.startswith("blobs/")]
    assert len(blobs) == len(set(blobs)) == 5
    assert [digests[name].removeprefix("sha256:") in " ".join(blobs) for name in NAMES] == [True, True]
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_the_same_layout_gives_the_same_bytes_at_any_time(tmp_path: Path) -> None:
    first, second = (write_layout(tmp_path / name, NAMES) for name in ("first", "second"))
    for file in second.rglob("*"):
        os.utime(file, (1, 1))
    write_archive(first, tmp_path / "first.tar")
    write_archive(second, tmp_path / "second.tar")
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()

"""Turn an OCI layout that buildah wrote into one archive that `ctr images import` names by itself.

The same layout gives the same bytes: times, owners and order are fixed.
Format: the OCI image specification 1.1 (image layout in a tar).
"""

from __future__ import annotations

import json
import os
import tarfile
from io import BytesIO
from pathlib import Path

_REF = "org.opencontainers.image.ref.name"
_CONTAINERD = "io.containerd.image.name"


def write_archive(layout: Path, out: Path) -> dict[str, str]:
    """Write `out` from the layout's images, whose ref names are full names; return name -> manifest digest.

    The file appears only when complete.
    """
    index = json.loads((layout / "index.json").read_text())
    digests: dict[str, str] = {}
    for manifest in index["manifests"]:
        name = manifest["annotations"][_REF]
        # ctr would call an image without this annotation import-<date>@<digest>.
        manifest["annotations"] = {_CONTAINERD: name, _REF: name.rpartition(":")[2]}
        digests[name] = manifest["digest"]
    fresh = out.with_name(f".{out.name}.new")
    with tarfile.open(fresh, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "oci-layout", (layout / "oci-layout").read_bytes())
        _add(tar, "index.json", json.dumps(index, sort_keys=True, separators=(",", ":")).encode())
        for blob in sorted((layout / "blobs" / "sha256").iterdir()):
            _add(tar, f"blobs/sha256/{blob.name}", blob)
    os.replace(fresh, out)
    return digests


def _add(tar: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    info = tarfile.TarInfo(name)
    info.mode = 0o644
    if isinstance(content, bytes):
        info.size = len(content)
        tar.addfile(info, BytesIO(content))
        return
    info.size = content.stat().st_size
    with content.open("rb") as stream:
        tar.addfile(info, stream)

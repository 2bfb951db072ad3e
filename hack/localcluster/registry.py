"""Push image archives to a registry, with skopeo: it knows every kind of log-in."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from localcluster.errors import LocalClusterError
from localcluster.oci import image_names
from localcluster.paths import cache_dir
from localcluster.progress import step

_NAME = "io.containerd.image.name"
_REF = "org.opencontainers.image.ref.name"


def target_name(name: str, registry: str) -> str:
    """Return an image's name in `registry`: its own registry is replaced, its path and tag stay."""
    return f"{registry.rstrip('/')}/{name.partition('/')[2]}"


def push(archive: Path, registry: str, *, insecure: bool = False) -> dict[str, str]:
    """Push every image of an archive; return its name -> its name in the registry."""
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        raise LocalClusterError("pushing images needs skopeo: install it with the system's package manager.")
    names = image_names(archive)
    targets = {name: target_name(name, registry) for name in names}
    cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix=".push-") as scratch:
        layout = Path(scratch)
        with tarfile.open(archive) as tar:
            tar.extractall(layout, filter="data")
        _name_references(layout)
        for number, name in enumerate(names):
            source = (
                f"oci:{layout}:{number}"
                if (layout / "index.json").exists()
                else f"docker-archive:{archive}:{name}"
            )
            command = [
                skopeo,
                "--insecure-policy",
                "copy",
                "--quiet",
                f"--dest-tls-verify={str(not insecure).lower()}",
            ]
            with step(f"pushing {targets[name]}"):
                _run([*command, source, f"docker://{targets[name]}"])
    return targets


def _name_references(layout: Path) -> None:
    """Number the references of a layout's images: those in an archive are tags, which need not be unique."""
    file = layout / "index.json"
    if not file.exists():
        return
    index: dict[str, Any] = json.loads(file.read_text())
    named = [one for one in index["manifests"] if one.get("annotations", {}).get(_NAME)]
    for number, manifest in enumerate(named):
        manifest["annotations"][_REF] = str(number)
    file.write_text(json.dumps(index | {"manifests": named}))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LocalClusterError(f"skopeo could not push to {command[-1]}: {done.stderr.strip()}")

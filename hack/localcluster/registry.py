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
    targets = {name: target_name(name, registry) for name in image_names(archive)}
    verify = f"--dest-tls-verify={str(not insecure).lower()}"
    cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix=".push-") as scratch:
        sources = _sources(archive, Path(scratch), list(targets))
        for name, target in targets.items():
            with step(f"pushing {target}"):
                _run(
                    [
                        skopeo,
                        "--insecure-policy",
                        "copy",
                        "--quiet",
                        verify,
                        *sources[name],
                        f"docker://{target}",
                    ]
                )
    return targets


def _sources(archive: Path, layout: Path, names: list[str]) -> dict[str, list[str]]:
    """Return what skopeo copies each image from; an OCI archive is unpacked into `layout`."""
    with tarfile.open(archive) as tar:
        tar.extractall(layout, filter="data")
    file = layout / "index.json"
    index: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"manifests": []}
    named = [one for one in index["manifests"] if one.get("annotations", {}).get(_NAME)]
    if not named:
        return {name: [f"docker-archive:{archive}:{name}"] for name in names}
    # The references in an archive are tags, which two images may share; numbers are unique.
    for number, manifest in enumerate(named):
        manifest["annotations"][_REF] = str(number)
    file.write_text(json.dumps(index | {"manifests": named}))
    return {
        manifest["annotations"][_NAME]: ["--preserve-digests", f"oci:{layout}:{number}"]
        for number, manifest in enumerate(named)
    }


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LocalClusterError(f"skopeo could not push to {command[-1]}: {done.stderr.strip()}")

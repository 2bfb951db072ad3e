"""Run a container image's process without a container engine: its layers, its user, its entrypoint.

Layers are unpacked once each and stacked read-only with overlayfs in a mount namespace that dies with the
process, so the root is as read-only as the operator makes it in a pod; only /tmp can be written.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

# $1 the layers, $2 an empty folder, $3 uid, $4 gid, $5 working directory, then the environment and command.
_ENTER = """
set -e
mount -t overlay overlay -o "ro,lowerdir=$1" "$2"
mount -t proc proc "$2/proc"
mount -t tmpfs tmpfs "$2/tmp"
mount --rbind /dev "$2/dev"
root=$2 uid=$3 gid=$4 dir=$5
shift 5
exec setpriv --no-new-privs chroot --userspec="$uid:$gid" --groups= "$root" env -i -C "$dir" "$@"
"""


@dataclass(frozen=True)
class Image:
    """One image of an archive: what its configuration says, and its unpacked layers, lowest first."""

    name: str
    digest: str
    config: Mapping[str, Any]
    layers: Sequence[Path]

    def start(
        self, command: Sequence[str], env: Mapping[str, str], scratch: Path, stdout: IO[bytes] | int
    ) -> subprocess.Popen[bytes]:
        """Start the image's process with a pod's limits; it is the process that Popen knows.

        `command` replaces the entrypoint where it begins with a slash, else it is the entrypoint's arguments.
        """
        root, runtime = scratch / "root", scratch / "runtime"
        root.mkdir(exist_ok=True)
        # What every container runtime adds.
        (runtime / "etc").mkdir(parents=True, exist_ok=True)
        (runtime / "etc/hosts").write_text("127.0.0.1 localhost\n")
        entry = [] if command[:1] and command[0].startswith("/") else list(self.config["Entrypoint"])
        declared = dict(item.split("=", 1) for item in self.config["Env"])
        variables = [f"{key}={value}" for key, value in (declared | dict(env)).items()]
        uid, gid = self.user()
        stack = ":".join(str(layer) for layer in [runtime, *reversed(self.layers)])
        inside = [
            stack,
            str(root),
            uid,
            gid,
            self.config.get("WorkingDir", "/"),
            *variables,
            *entry,
            *command,
        ]
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "sh", *inside]
        return subprocess.Popen(argv, stdout=stdout, stderr=subprocess.STDOUT)

    def user(self) -> tuple[str, str]:
        """Return uid and gid as numbers; a name is looked up in the image's own /etc/passwd."""
        user = str(self.config["User"])
        if user[:1].isdigit():
            uid, _, gid = user.partition(":")
            return uid, gid or uid
        files = [layer / "etc/passwd" for layer in self.layers]
        passwd = [file for file in files if file.exists()][-1].read_text().splitlines()
        found = next(line.split(":") for line in passwd if line.startswith(f"{user}:"))
        return found[2], found[3]

    def with_layer(self, layer: Path) -> Image:
        """Return the image with one more unpacked layer on top."""
        return Image(self.name, self.digest, self.config, [*self.layers, layer])


def unpack(archive: Path, folder: Path) -> dict[str, Image]:
    """Unpack an OCI archive's images; layers that images share are unpacked once."""
    images = {}
    with tarfile.open(archive) as tar:
        for entry in _json(tar, "index.json")["manifests"]:
            manifest = _json(tar, _blob(entry["digest"]))
            config = _json(tar, _blob(manifest["config"]["digest"]))["config"]
            layers = [_layer(tar, layer["digest"], folder) for layer in manifest["layers"]]
            name = entry["annotations"]["io.containerd.image.name"]
            images[name] = Image(name, entry["digest"], config, layers)
    return images


def overlay_works(folder: Path) -> bool:
    """Say whether this process may stack folders with overlayfs in a mount namespace of its own."""
    for name in ("a", "b", "root"):
        (folder / name).mkdir()
    mount = 'mount -t overlay overlay -o "ro,lowerdir=$1/a:$1/b" "$1/root"'
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh", str(folder)]
    return os.geteuid() == 0 and subprocess.run(argv, capture_output=True, check=False).returncode == 0


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _open(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    stream = tar.extractfile(name)
    assert stream is not None, f"{name} is no file"
    return stream


def _json(tar: tarfile.TarFile, name: str) -> Any:
    return json.load(_open(tar, name))


def _layer(tar: tarfile.TarFile, digest: str, folder: Path) -> Path:
    target = folder / digest.removeprefix("sha256:")[:16]
    if not target.exists():
        target.mkdir()
        # GNU tar, as it restores owners and modes ten times faster than Python does.
        unpacking = subprocess.Popen(["tar", "-xzf", "-", "-C", str(target)], stdin=subprocess.PIPE)
        assert unpacking.stdin is not None
        stream = _open(tar, _blob(digest))
        while chunk := stream.read(1 << 20):
            unpacking.stdin.write(chunk)
        unpacking.stdin.close()
        assert unpacking.wait() == 0, f"layer {digest} can't be unpacked"
        _convert_whiteouts(target)
    return target


def _convert_whiteouts(layer: Path) -> None:
    """Turn a layer's `.wh.NAME` files into what overlayfs takes for a removed file."""
    for file in layer.rglob(".wh.*"):
        assert file.name != ".wh..wh..opq", f"{file}: opaque folders are not handled"
        file.unlink()
        os.mknod(file.with_name(file.name.removeprefix(".wh.")), stat.S_IFCHR | 0o600, os.makedev(0, 0))

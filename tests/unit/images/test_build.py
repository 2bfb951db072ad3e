"""When an archive is built, and when it is left alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from images.build import KEPT, inputs_key, operator_archive, read_record, record_file
from images.names import operator_image
from unit.images.fake import FakeBackend


@pytest.fixture
def backend(tmp_path: Path) -> FakeBackend:
    return FakeBackend(tmp_path / "cache")


def test_an_archive_is_built_once_and_its_record_says_what_is_in_it(
    tmp_path: Path, backend: FakeBackend
) -> None:
    archive = operator_archive(tmp_path / "out", backend)
    assert operator_archive(tmp_path / "out", backend) == archive
    assert backend.built == [operator_image()]
    record = read_record(archive)
    assert record is not None
    assert record.digests == {operator_image(): "sha256:1"}
    assert archive.read_text() == operator_image()


def test_another_base_builds_it_again(tmp_path: Path, backend: FakeBackend) -> None:
    operator_archive(tmp_path, backend)
    backend.base = "base-2"
    operator_archive(tmp_path, backend)
    assert len(backend.built) == 2


def test_another_work_tree_gets_the_same_file_without_a_build(tmp_path: Path, backend: FakeBackend) -> None:
    first = operator_archive(tmp_path / "one", backend)
    second = operator_archive(tmp_path / "two", backend)
    assert len(backend.built) == 1
    assert second.samefile(first)
    assert read_record(second) == read_record(first)


@pytest.mark.parametrize("harm", ["no archive", "no record", "torn record"])
def test_a_missing_or_torn_file_is_put_back(tmp_path: Path, backend: FakeBackend, harm: str) -> None:
    archive = operator_archive(tmp_path, backend)
    if harm == "no archive":
        archive.unlink()
    elif harm == "no record":
        record_file(archive).unlink()
    else:
        record_file(archive).unlink()
        record_file(archive).write_text('{"key": ')
    operator_archive(tmp_path, backend)
    assert archive.read_text() == operator_image()
    assert read_record(archive) is not None
    assert len(backend.built) == 1


def test_a_torn_file_in_the_cache_is_built_again(tmp_path: Path, backend: FakeBackend) -> None:
    operator_archive(tmp_path / "one", backend)
    [kept] = (backend.folder / "archives").glob("*.json")
    kept.write_text('{"key": ')
    operator_archive(tmp_path / "two", backend)
    assert len(backend.built) == 2


def test_only_the_last_used_archives_are_kept(tmp_path: Path, backend: FakeBackend) -> None:
    for number in range(KEPT + 2):
        backend.base = f"base-{number}"
        operator_archive(tmp_path, backend)
    archives = sorted((backend.folder / "archives").iterdir())
    assert len(archives) == 2 * KEPT
    assert (tmp_path / "operator.tar").samefile(
        max(archives, key=lambda file: (file.suffix, file.stat().st_mtime))
    )


def test_a_failed_build_leaves_no_record(
    tmp_path: Path, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: FakeBackend, context: Path, dockerfile: Path, image: str) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(FakeBackend, "build", fail)
    with pytest.raises(OSError, match="disk full"):
        operator_archive(tmp_path, backend)
    assert read_record(tmp_path / "operator.tar") is None


def test_the_key_follows_content_and_names_but_not_times_or_compiled_files(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "__pycache__").mkdir(parents=True)
    (source / "a.py").write_text("one")
    key = inputs_key(["fact"], [source])

    os.utime(source / "a.py", (1, 1))
    (source / "__pycache__" / "a.pyc").write_text("compiled")
    assert inputs_key(["fact"], [source]) == key

    assert inputs_key(["other"], [source]) != key
    (source / "a.py").write_text("two")
    assert inputs_key(["fact"], [source]) != key
    (source / "a.py").rename(source / "b.py")
    (source / "b.py").write_text("one")
    assert inputs_key(["fact"], [source]) != key

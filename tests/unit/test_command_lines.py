"""A clumsy user at the command lines: one sentence names the option and the remedy, no traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from demo.__main__ import main as demo
from images.cli import main as images
from load.__main__ import main as load
from localcluster.cli import main as localcluster

TARGET = ("--url", "http://127.0.0.1:1", "--host", "iris.example.com", "--body", "{}")


@pytest.mark.parametrize(
    ("words", "option", "remedy"),
    [
        (("--rate", "nan"), "--rate", "such as 20"),
        (("--rate", "0"), "--rate", "1<=x<=1000"),
        (("--rate", "inf"), "--rate", "1<=x<=1000"),
        (("--namespace", "Bad NS"), "--namespace", "lower-case letters"),
        (("--namespace", ""), "--namespace", "lower-case letters"),
    ],
)
def test_the_demo_says_what_to_write_before_it_begins(
    words: tuple[str, ...], option: str, remedy: str
) -> None:
    done = CliRunner().invoke(demo, words)
    assert done.exit_code == 2
    assert option in done.output
    assert remedy in done.output


@pytest.mark.parametrize(
    ("words", "option", "remedy"),
    [
        (("--url", "nonsense"), "--url", "http://127.0.0.1:8000/predict"),
        (("--url", "ftp://somewhere"), "--url", "http://127.0.0.1:8000/predict"),
        (("--body", "{"), "--body", "write JSON"),
        (("--seconds", "-1"), "--seconds", "0.1<=x"),
    ],
)
def test_the_load_sends_nothing_where_it_is_told_nonsense(
    words: tuple[str, ...], option: str, remedy: str
) -> None:
    done = CliRunner().invoke(load, (*TARGET, *words))
    assert done.exit_code == 2
    assert option in done.output
    assert remedy in done.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("control-plane", "--dir", "{file}"), "--dir {file} can't be a folder"),
        (("control-plane", "--hpa-sync-period", "soon"), "write 1s, 30s or 2m"),
        (("load", "{file}"), "{file} can't be read as an image archive: file could not be opened"),
    ],
)
def test_the_local_cluster_says_it_in_one_line(
    words: tuple[str, ...],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "file"
    file.write_text("no archive")
    monkeypatch.setattr(sys, "argv", ["localcluster", *(word.format(file=file) for word in words)])
    with pytest.raises(SystemExit) as ended:
        localcluster()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert says.format(file=file) in said
    assert said.count("\n") == 1


def test_the_image_builder_names_a_folder_that_it_can_not_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "below"
    monkeypatch.setattr(sys, "argv", ["images", "build", "operator", "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        images()
    assert ended.value.code == 1
    assert (
        capsys.readouterr().err == f"images: --out {out} can't be a folder: Not a directory; name another\n"
    )

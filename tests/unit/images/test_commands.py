"""What a person is told when something is missing or goes wrong."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from images import cli, system
from images.command import answers, run
from images.errors import ImageError


def test_a_failed_command_says_where_its_output_is_and_how_it_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "print('first'); [print(f'line {n}') for n in range(30)]; raise SystemExit(3)"
    with pytest.raises(ImageError, match="building x failed with exit code 3") as failed:
        run("building x", [sys.executable, "-c", script], log, os.environ, tmp_path)
    assert str(log) in str(failed.value)
    assert "line 29" in str(failed.value)
    assert "first" not in str(failed.value)
    assert log.read_text().startswith("first")


def test_a_command_that_does_not_exist_does_not_answer() -> None:
    assert not answers(["no-such-command-of-ours"], os.environ)
    assert not answers([sys.executable, "-c", "raise SystemExit(1)"], os.environ)
    assert answers([sys.executable, "-c", ""], os.environ)


def test_without_docker_and_root_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ImageError, match="use sudo, or start Docker"):
        system.ensure_packages()


def test_without_apt_the_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda command: None)
    with pytest.raises(ImageError, match="Install mmdebstrap and buildah with your package manager"):
        system.ensure_packages()


def test_what_is_there_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda command: f"/bin/{command}")
    assert system.missing_packages() == []


@pytest.mark.parametrize(
    "words", [["--help"], ["build", "--help"], ["build", "iris", "--help"], ["clean", "--help"]]
)
def test_every_command_explains_itself(words: list[str]) -> None:
    result = CliRunner().invoke(cli.cli, words)
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_an_unknown_version_is_one_sentence_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["images", "build", "iris", "--version", "9"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("images: iris has no version '9': choose one of")

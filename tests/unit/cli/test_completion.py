"""What a shell is offered, where."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ekiben.cli.completion import SCRIPTS, SHELLS, Wanted, wanted
from ekiben.cli.main import main
from ekiben.cli.words import VERBS
from unit.cli.world import ENVIRONMENT

COMMANDS = tuple(verb.name for verb in VERBS)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], Wanted(COMMANDS)),
        (["pro"], Wanted(COMMANDS)),
        (["-n", "shop", ""], Wanted(COMMANDS)),
        (["get", ""], Wanted((), "models")),
        (["get", "-n", "shop", "ir"], Wanted((), "models")),
        (["get", "iris", "-o", ""], Wanted(("json", "yaml", "wide"), "", "iris")),
        (["get", "iris", ""], Wanted(())),
        (["undo", "iris", "--to", ""], Wanted((), "revisions", "iris")),
        (["diff", "iris", "stable", ""], Wanted((), "revisions", "iris")),
        (["lint", "-f", ""], Wanted((), "files")),
        (["completion", ""], Wanted(SHELLS)),
    ],
)
def test_a_place_is_offered_what_may_stand_there(words: list[str], expected: Wanted) -> None:
    assert wanted(words) == expected


def test_a_dash_is_offered_the_flags_of_the_command() -> None:
    offered = wanted(["undo", "iris", "--"]).words
    assert {"--to", "--dry-run", "--namespace", "-n", "--help"} <= set(offered)
    assert "--timeout" not in offered


def test_the_answer_ends_with_what_kubectl_reads() -> None:
    command = [sys.executable, "-m", "ekiben.cli.completion", "com"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True, timeout=60)
    assert done.stdout == "completion\n:4\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "kubectl_complete-ekiben" in capsys.readouterr().out


def test_bash_completes_by_the_script(tmp_path: Path) -> None:
    program = tmp_path / "kubectl_complete-ekiben"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ekiben.cli.completion "$@"\n')
    program.chmod(0o755)
    lines = ["COMP_WORDS=(kubectl-ekiben pro)", "COMP_CWORD=1", "_kubectl_ekiben", 'echo "${COMPREPLY[*]}"']
    script = SCRIPTS["bash"] + "\n".join(lines)
    path = {**ENVIRONMENT, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=path, check=True, timeout=60
    )
    assert done.stdout.strip() == "promote"

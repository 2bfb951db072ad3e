"""The words of the command line: help, misuse, and what no help may cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ekiben.cli.exits import Exit
from ekiben.cli.main import main
from ekiben.cli.words import VERBS, Verb
from localcluster.child import free_ports
from unit.cli.world import ENVIRONMENT

HEAVY = ("aiohttp", "kubernetes", "pydantic", "yaml", "prometheus_client")


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_command_has_help_with_an_example(verb: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb.name, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"example:\n  kubectl ekiben {verb.example}" in said
    assert verb.example.split()[0] == verb.name


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["advise", "iris", "--window", "500ms"], "no duration of hours, minutes and whole seconds"),
        (["status", "iris", "--timeout", "soon"], "write for example 30s, 10m or 1h30m"),
        (["status", "iris", "--watch=maybe"], "write true or false"),
        (["why", "mdep/"], "names no ModelDeployment"),
        (["staus"], "invalid choice: 'staus'"),
        (["get", "iris", "-o", "xml"], "invalid choice: 'xml'"),
        (["lint"], "-f/--filename"),
    ],
)
def test_a_clumsy_user_is_told_what_to_write(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == Exit.MISUSED
    assert says in capsys.readouterr().err


def test_a_missing_kubeconfig_is_named_with_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "--kubeconfig", "/nowhere/config"]) == Exit.FAILED
    said = capsys.readouterr().err
    assert "/nowhere/config does not exist" in said
    assert said.count("\n") == 1


def test_an_api_server_that_is_away_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config"
    (port,) = free_ports(1)
    config.write_text(
        "{current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}],"
        " users: [{name: a, user: {}}],"
        f" clusters: [{{name: a, cluster: {{server: 'https://127.0.0.1:{port}'}}}}]}}"
    )
    assert main(["get", "--kubeconfig", str(config)]) == Exit.FAILED
    said = capsys.readouterr().err
    assert said.startswith("kubectl ekiben: the API server can't be reached: ")
    assert said.count("\n") == 1


def test_help_imports_nothing_that_costs_time() -> None:
    code = "import sys; from ekiben.cli.parser import build_parser; import ekiben.cli.main; build_parser();"
    command = [sys.executable, "-c", f"{code} print(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True, timeout=60)
    assert not set(HEAVY) & set(done.stdout.split())

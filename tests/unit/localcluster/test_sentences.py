"""What the command line says to bad input: one sentence with the remedy, and a non-zero exit."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest
from click.testing import CliRunner

from localcluster import cli, cluster, machine
from localcluster.addons import render
from localcluster.backends import Existing, choose
from localcluster.errors import LocalClusterError
from localcluster.kubeconfig import write_kubeconfig
from localcluster.pki import create_control_plane_pki
from localcluster.registry import target_name

COMMANDS = [
    "up",
    "down",
    "load",
    "keda",
    "kubeconfig",
    "gateway",
    "status",
    "prune",
    "measure",
    "control-plane",
    "tools",
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of this test's own, with no cluster in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.parametrize(
    "command", [[], *([name] for name in COMMANDS), ["tools", "build"], ["tools", "list"]]
)
def test_every_command_has_help(command: list[str]) -> None:
    result = CliRunner().invoke(cli.cli, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def run(
    *arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["localcluster", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["status", "--name", "none"], "there is no cluster none: run `make cluster-up`"),
        (["kubeconfig", "--name", "none"], "cluster none is not up: run `make cluster-up` first"),
        (["up", "--name", "No"], "can't name a cluster"),
        (["load", "--name", "none", "/nowhere.tar"], "/nowhere.tar can't be read as an image archive"),
        (["--backend", "existing", "up"], "set KUBECONFIG to the kubeconfig file"),
        (["--backend", "existing", "keda"], "nothing is installed into a cluster of yours"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_1(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    code, said = run(*arguments, capsys=capsys, monkeypatch=monkeypatch)
    assert code == 1
    assert sentence in said
    assert "Traceback" not in said


def test_a_full_disk_is_said_as_such(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/file")

    monkeypatch.setattr(cluster, "up", full)
    code, said = run("up", capsys=capsys, monkeypatch=monkeypatch)
    assert code == 1
    assert "the disk is full (/cache/file): free some space" in said


@pytest.mark.parametrize(
    ("system", "uid", "sentence"),
    [("Darwin", 0, "needs Linux and this is Darwin"), ("Linux", 1000, "as root")],
)
def test_other_systems_and_other_users_are_told(system: str, uid: int, sentence: str) -> None:
    with pytest.raises(LocalClusterError, match=sentence):
        machine.check_platform(system, uid)


def test_root_on_linux_is_welcome() -> None:
    machine.check_platform("Linux", 0)


def test_too_little_disk_is_said_in_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage(10, 10, 500_000_000))
    with pytest.raises(LocalClusterError, match=r"0\.5 GB free and 3\.2 GB are needed"):
        machine.check_disk(tmp_path / "not" / "there" / "yet", machine.MINIMUM_DISK)


def test_without_apt_the_exact_command_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "missing_packages", lambda: ["containerd", "runc"])
    monkeypatch.setattr(shutil, "which", lambda _command: None)
    command = "apt-get install --yes --no-install-recommends containerd runc"
    with pytest.raises(LocalClusterError, match=command):
        machine.ensure_packages()


def test_missing_commands_are_named_by_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda command: None if command in {"runc", "ctr"} else "/bin/x")
    monkeypatch.setattr(machine, "CNI_FOLDERS", ("/nowhere",))
    assert machine.missing_packages() == ["containerd", "containernetworking-plugins", "runc"]


def test_kind_without_an_engine_is_told_to_start_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _command: "/usr/bin/docker")
    silent = subprocess.CompletedProcess[str]([], 0, stdout='""', stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_arguments, **_options: silent)
    with pytest.raises(LocalClusterError, match="`docker info` does not answer"):
        choose("kind").up()


def test_an_existing_cluster_needs_a_registry_to_load_into(tmp_path: Path) -> None:
    with pytest.raises(LocalClusterError, match="set EKIBEN_REGISTRY"):
        Existing({}).load([tmp_path / "x.tar"])


def test_an_unknown_backend_is_refused_with_those_there_are() -> None:
    with pytest.raises(LocalClusterError, match="choose local, kind or existing"):
        choose("docker")


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("localhost/iris:1", "registry.example.com/team/iris:1"),
        ("localhost/a/b:2", "registry.example.com/team/a/b:2"),
    ],
)
def test_a_pushed_image_keeps_its_path_and_tag(name: str, target: str) -> None:
    assert target_name(name, "registry.example.com/team/") == target


@pytest.mark.parametrize("manifest", ["cluster.yaml", "traefik.yaml", "gateway.yaml", "metrics-server.yaml"])
def test_a_manifest_with_a_value_missing_is_an_error_and_not_an_empty_string(manifest: str) -> None:
    if manifest == "gateway.yaml":
        assert "${" not in render(manifest, {})
    else:
        with pytest.raises(KeyError):
            render(manifest, {})


def test_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    pki = create_control_plane_pki(tmp_path / "pki", ["10.0.0.1"]).pki
    config = write_kubeconfig(tmp_path / "config", name="x", server="https://x", pki=pki, user="admin")
    keys = [*pki.folder.glob("*.key"), config]
    assert {f.stat().st_mode & 0o777 for f in keys} == {0o600}
    assert len(keys) == 6

"""Names and state files: whoever reaps must know exactly what was made, and by which process."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from localcluster import state as states
from localcluster.errors import LocalClusterError
from localcluster.state import ProcessId, State, check_name, default_name


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "ekiben"


def make_state(name: str = "one") -> State:
    return State(
        name=name,
        work_tree="/somewhere",
        block="10.205.0.0/16",
        link="ek1",
        groups=("/sys/fs/cgroup/one",),
        enabled=("cpuset",),
        kubeconfig="/somewhere/.local/kubeconfig",
    )


def test_a_state_is_read_back_as_it_was_written(cache: Path) -> None:
    state = make_state().with_processes(os.getpid()).made_ready().save()
    assert states.load("one") == state
    assert states.load_all() == [state]
    assert state.folder == cache / "clusters" / "one"


def test_a_cluster_that_was_never_made_has_no_state() -> None:
    assert states.load("one") is None
    assert states.load_all() == []


def test_a_torn_state_file_is_refused_with_its_path() -> None:
    state = make_state().save()
    (state.folder / "state.json").write_text('{"name": "one"')
    with pytest.raises(LocalClusterError, match=r"state\.json can't be read"):
        states.load("one")


def test_a_running_process_is_alive_and_an_ended_one_is_not() -> None:
    process = subprocess.Popen(["sleep", "60"])
    identity = ProcessId.of(process.pid)
    assert identity.is_alive()
    identity.kill()
    process.wait()
    assert not identity.is_alive()


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen(["sleep", "60"])
    identity = ProcessId.of(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not identity.is_alive()
    process.wait()


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another"}])
def test_a_later_process_with_the_same_number_is_not_taken_for_it_and_not_killed(
    change: dict[str, int | str],
) -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        mistaken = replace(ProcessId.of(process.pid), **change)  # type: ignore[arg-type]
        assert not mistaken.is_alive()
        mistaken.kill()
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_the_default_name_depends_on_the_work_tree_alone() -> None:
    assert default_name(Path("/a")) == default_name(Path("/a"))
    assert default_name(Path("/a")) != default_name(Path("/b"))
    assert check_name(default_name(Path("/a"))) == default_name(Path("/a"))


@pytest.mark.parametrize("name", ["", "A", "1a", "a_b", "a/b", "..", "a-", "a" * 21])
def test_a_name_that_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(LocalClusterError, match=r"--name .* can't name a cluster"):
        check_name(name)

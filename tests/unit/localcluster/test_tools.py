"""What a built tool's folder is named after, and what a missing tool says."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from localcluster import tools
from localcluster.errors import LocalClusterError
from localcluster.gotoolchain import MINIMUM, parse_version
from localcluster.paths import locked
from localcluster.tools import KUBERNETES, TOOLS, Tool, cache_key, linker_flags, pinned_version

GO = "go version go1.26.8 linux/amd64"


@dataclass(frozen=True)
class Sample(Tool):
    """A tool whose source lies in a folder of the test's."""

    folder: Path = Path()

    @property
    def source(self) -> Path:
        """The test's folder."""
        return self.folder


def make_tool(folder: Path, package: str = ".") -> Sample:
    folder.mkdir()
    (folder / "go.mod").write_text("module x\n\ngo 1.26\n\nrequire example.com/y v1.2.3\n")
    (folder / "go.sum").write_text("sum")
    (folder / "main.go").write_text("package main")
    return Sample(name="x", package=package, commands=("x",), folder=folder)


def test_the_same_pins_make_the_same_key_wherever_they_lie(tmp_path: Path) -> None:
    assert cache_key(make_tool(tmp_path / "a"), GO) == cache_key(make_tool(tmp_path / "b"), GO)


@pytest.mark.parametrize("file", ["go.mod", "go.sum", "main.go", "another.go"])
def test_any_change_of_what_is_built_changes_the_key(tmp_path: Path, file: str) -> None:
    tool = make_tool(tmp_path / "a")
    before = cache_key(tool, GO)
    (tool.source / file).write_text("module x\n\ngo 1.26\n\nrequire example.com/y v1.2.4\n")
    assert cache_key(tool, GO) != before


def test_another_compiler_or_package_changes_the_key(tmp_path: Path) -> None:
    tool = make_tool(tmp_path / "a")
    assert cache_key(tool, GO) != cache_key(tool, GO.replace("1.26.8", "1.27.0"))
    assert cache_key(tool, GO) != cache_key(make_tool(tmp_path / "b", package="./cmd"), GO)


def test_a_file_that_go_does_not_read_leaves_the_key_alone(tmp_path: Path) -> None:
    tool = make_tool(tmp_path / "a")
    before = cache_key(tool, GO)
    (tool.source / "notes.txt").write_text("hello")
    assert cache_key(tool, GO) == before


def test_a_pin_is_read_from_a_go_mod(tmp_path: Path) -> None:
    tool = make_tool(tmp_path / "a")
    assert pinned_version(tool, "example.com/y") == "v1.2.3"
    with pytest.raises(LocalClusterError, match=r"does not require example\.com/z"):
        pinned_version(tool, "example.com/z")


def test_kubernetes_reports_the_version_that_is_pinned() -> None:
    version = pinned_version(KUBERNETES, "k8s.io/kubernetes")
    assert f"component-base/version.gitVersion={version}" in linker_flags(KUBERNETES)


def test_every_staging_module_is_replaced_by_the_release_that_is_pinned() -> None:
    release = pinned_version(KUBERNETES, "k8s.io/kubernetes").replace("v1.", "v0.")
    lines = (KUBERNETES.source / "go.mod").read_text().splitlines()
    replaced = [line.split("=> ")[1].split(" ")[1] for line in lines if " => k8s.io/" in line]
    assert replaced
    assert set(replaced) == {release}


def test_no_tool_asks_for_a_newer_go_than_the_one_that_is_made_sure_of() -> None:
    for tool in TOOLS.values():
        lines = (tool.source / "go.mod").read_text().splitlines()
        wanted = parse_version(next(line for line in lines if line.startswith("go ")).replace("go ", "go"))
        assert wanted is not None
        assert wanted <= MINIMUM, tool.name


@pytest.mark.parametrize(
    ("text", "version"),
    [(GO, (1, 26, 8)), ("go version go1.19 linux/amd64", (1, 19, 0)), ("go1.27rc1", (1, 27, 0)), ("", None)],
)
def test_a_go_version_is_read(text: str, version: tuple[int, int, int] | None) -> None:
    assert parse_version(text) == version


def test_a_tool_that_is_not_built_says_how_to_build_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "tool_dir", lambda tool: tmp_path / tool.name)
    with pytest.raises(LocalClusterError, match="localcluster tools build kubernetes"):
        tools.command_path("kubectl")


def test_an_unknown_tool_is_refused_with_those_there_are() -> None:
    with pytest.raises(LocalClusterError, match=r"'nope' is no tool .* kubernetes, helm"):
        tools.command_path("nope")


def test_two_builders_take_turns_and_only_the_first_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    def build(tool: Tool, folder: Path) -> None:
        built.append(tool.name)
        folder.mkdir()

    monkeypatch.setattr(tools, "tool_dir", lambda _tool: tmp_path / "tools" / "x-1")
    monkeypatch.setattr(tools, "_build", build)
    waits = threading.Event()
    monkeypatch.setattr(tools, "say", lambda _message: waits.set())
    tool = make_tool(tmp_path / "a")
    with locked(tmp_path / "tools" / "x.lock", lambda: None):
        second = threading.Thread(target=tools.ensure, args=(tool,))
        second.start()
        assert waits.wait(10)
        (tmp_path / "tools" / "x-1").mkdir()
    second.join(10)
    assert built == []
    assert tools.ensure(tool) == tmp_path / "tools" / "x-1"

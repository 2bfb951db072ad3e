"""No committed file says where this machine gets packages, or where the work tree lies on it."""

from __future__ import annotations

import subprocess

from localcluster.paths import WORK_TREE
from registry_lines import INDEX_LINE, machine_paths, pattern, registry_hosts

LISTS = (
    "*.txt",
    "*.in",
    "*.toml",
    "*.lock",
    "*.cfg",
    "*.conf",
    "*.mk",
    "Makefile",
    "*Dockerfile",
    ".npmrc",
    ".ci/*",
)


def tracked(*patterns: str) -> dict[str, bytes]:
    """Return the tracked files that still exist, path -> content."""
    argv = ["git", "ls-files", "-z", "--", *patterns]
    names = subprocess.run(argv, cwd=WORK_TREE, capture_output=True, check=True).stdout.decode().split("\0")
    files = {name: WORK_TREE / name for name in names if name}
    return {name: file.read_bytes() for name, file in files.items() if file.is_file()}


def test_no_tracked_file_names_a_registry_host_of_this_machine() -> None:
    hosts = registry_hosts()
    assert hosts, "no host was found to look for: the check would be empty"
    wanted = pattern(hosts)
    assert {name: found.group() for name, data in tracked().items() if (found := wanted.search(data))} == {}


def test_no_tracked_list_of_packages_has_an_index_line() -> None:
    files = tracked(*LISTS)
    assert "requirements/operator.txt" in files
    assert {name: found.group() for name, data in files.items() if (found := INDEX_LINE.search(data))} == {}


def test_no_tracked_file_names_a_path_of_this_machine() -> None:
    wanted = pattern(machine_paths())
    assert {name: found.group() for name, data in tracked().items() if (found := wanted.search(data))} == {}


def test_every_locked_package_has_its_hashes() -> None:
    for name in (
        "requirements/operator.txt",
        "requirements/lowest.txt",
        "requirements/dev.txt",
        "serving/iris/requirements.txt",
    ):
        lines = tracked(name)[name].decode().splitlines()
        pins = [
            number for number, line in enumerate(lines) if "==" in line and not line.startswith((" ", "#"))
        ]
        assert len(pins) > 20
        assert [lines[number] for number in pins if "--hash=sha256:" not in lines[number + 1]] == []


def test_the_check_finds_what_it_looks_for() -> None:
    host = sorted(registry_hosts())[0]
    assert pattern({host}).search(f"--index-url https://{host}/simple".encode())
    for line in (
        "--index-url https://x/simple",
        "index-url = x",
        "deb http://x y main",
        "registry=https://x",
    ):
        assert INDEX_LINE.search(f"first\n{line}\n".encode()), line
    assert not INDEX_LINE.search(b"kopf==1.45.2 \\\n    --hash=sha256:00\n")

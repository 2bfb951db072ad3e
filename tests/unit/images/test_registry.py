"""What a build is told about this machine's package index, and what it is not."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from images.registry import certificates, pip_files, pip_settings, uv_settings, write_build_configuration


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_later_files_and_then_variables_win(tmp_path: Path) -> None:
    system = write(tmp_path / "system", "[global]\nindex-url = https://a/simple\ntimeout = 5\n")
    person = write(tmp_path / "person", "[global]\nindex-url = https://b/simple\n")
    assert pip_settings([system, person], {})["index-url"] == "https://b/simple"
    found = pip_settings([system, person], {"PIP_INDEX_URL": "https://c/simple"})
    assert found == {"index-url": "https://c/simple", "timeout": "5"}


def test_only_where_packages_come_from_is_taken(tmp_path: Path) -> None:
    file = write(tmp_path / "pip.conf", "[global]\nuser = true\ncert = /x.pem\n[install]\nproxy = http://p\n")
    assert pip_settings([file], {"PIP_REQUIRE_VIRTUALENV": "1"}) == {"proxy": "http://p"}


def test_a_password_with_a_percent_sign_survives(tmp_path: Path) -> None:
    file = write(tmp_path / "pip.conf", "[global]\nindex-url = https://u:p%40s@host/simple\n")
    assert pip_settings([file], {})["index-url"] == "https://u:p%40s@host/simple"


def test_a_named_file_is_the_strongest(tmp_path: Path) -> None:
    assert pip_files({"HOME": "/h", "PIP_CONFIG_FILE": "/named"})[-1] == Path("/named")
    assert Path("/h/.config/pip/pip.conf") in pip_files({"HOME": "/h"})


def test_uv_follows_pip_unless_it_has_settings_of_its_own() -> None:
    pip = {"index-url": "https://a", "extra-index-url": "https://b https://c", "trusted-host": "a b"}
    assert uv_settings(pip, {}) == {
        "system-certs": True,
        "index-url": "https://a",
        "extra-index-url": ["https://b", "https://c"],
        "allow-insecure-host": ["a", "b"],
    }
    assert uv_settings(pip, {"UV_DEFAULT_INDEX": "https://d"})["index-url"] == "https://d"
    assert uv_settings({}, {}) == {"system-certs": True}


def test_certificates_are_those_the_environment_names(tmp_path: Path) -> None:
    bundle = write(tmp_path / "mine.pem", "CERT")
    assert certificates({"PIP_CERT": str(bundle)}) == bundle
    assert certificates({"PIP_CERT": str(tmp_path / "gone")}) != tmp_path / "gone"


def test_a_build_sees_everything_read_only_and_under_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.test/simple")
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    monkeypatch.delenv("UV_INDEX_URL", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(write(tmp_path / "mine.pem", "CERT")))
    tool = write(tmp_path / "bin/uv", "#!/bin/sh\n")
    tool.chmod(0o755)
    folder = tmp_path / "build"

    mounts = [mount.split(":") for mount in write_build_configuration(folder, [tool], "deb x y z\n")]

    assert {mode for _, _, mode in mounts} == {"ro"}
    inside = {target: Path(source) for source, target, _ in mounts}
    assert all(source.is_relative_to(folder) for source in inside.values())
    assert "index-url = https://index.test/simple" in (inside["/etc/xdg"] / "pip/pip.conf").read_text()
    uv = tomllib.loads((inside["/etc/xdg"] / "uv/uv.toml").read_text())
    assert uv["index-url"] == "https://index.test/simple"
    assert (inside["/etc/ssl/certs"] / "ca-certificates.crt").read_text() == "CERT"
    assert (inside["/etc/apt/sources.list.d"] / "debian.list").read_text() == "deb x y z\n"
    assert (inside["/usr/local/sbin"] / "uv").stat().st_mode & 0o111

"""Hand this machine's package index, proxy and certificates to a build, and to the build only.

Everything is written into one temporary folder that buildah mounts while RUN lines run, so no address and no
credential gets into an image's layers or history.
"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# What says where packages come from; the rest of a person's pip configuration is not the build's business.
_PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")


def pip_files(environ: Mapping[str, str]) -> list[Path]:
    """Return pip's configuration files, the strongest last (pip's own order)."""
    home = Path(environ.get("HOME", "/root"))
    files = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip/pip.conf"]
    files.append(Path(environ.get("XDG_CONFIG_HOME", str(home / ".config"))) / "pip/pip.conf")
    files.append(Path(sys.prefix) / "pip.conf")
    return [*files, Path(environ["PIP_CONFIG_FILE"])] if "PIP_CONFIG_FILE" in environ else files


def pip_settings(files: Iterable[Path], environ: Mapping[str, str]) -> dict[str, str]:
    """Return where pip gets packages from: from its files, then from PIP_* variables, which win."""
    settings: dict[str, str] = {}
    for file in files:
        # No interpolation: a password in an address may hold a %.
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(file)
        for section in ("global", "install"):
            if parser.has_section(section):
                settings |= {name.replace("_", "-"): value for name, value in parser.items(section)}
    for name in _PIP_SETTINGS:
        if value := environ.get(f"PIP_{name.upper().replace('-', '_')}"):
            settings[name] = value
    return {name: settings[name] for name in _PIP_SETTINGS if name in settings}


def uv_settings(pip: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, object]:
    """Return the same for uv, whose own variables win over pip's settings."""
    default = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL") or pip.get("index-url")
    extra = environ.get("UV_EXTRA_INDEX_URL") or pip.get("extra-index-url", "")
    settings: dict[str, object] = {"system-certs": True}
    if default:
        settings["index-url"] = default
    if extra.split():
        settings["extra-index-url"] = extra.split()
    if hosts := pip.get("trusted-host", "").split():
        settings["allow-insecure-host"] = hosts
    return settings


def index_environment() -> dict[str, str]:
    """Return variables that tell uv of pip's index and the system's certificates, where it has no better."""
    pip = pip_settings(pip_files(os.environ), os.environ)
    found = {"UV_SYSTEM_CERTS": "true"}
    if "index-url" in pip and not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & os.environ.keys():
        found["UV_DEFAULT_INDEX"] = pip["index-url"]
    return found


def certificates(environ: Mapping[str, str]) -> Path | None:
    """Return this machine's bundle of trusted certificates."""
    named = [Path(environ[name]) for name in CERTIFICATES if environ.get(name)]
    return next((file for file in [*named, SYSTEM_CERTIFICATES] if file.is_file()), None)


def write_build_configuration(folder: Path, tools: Iterable[Path], apt_sources: str) -> list[str]:
    """Fill `folder` with what a build may see, and return the mounts as `host:container:ro`.

    `tools` are programs that the build finds on its PATH without their becoming part of the image.
    """
    pip = pip_settings(pip_files(os.environ), os.environ)
    _write(folder / "xdg/pip/pip.conf", "\n".join(["[global]", *(f"{k} = {v}" for k, v in pip.items()), ""]))
    uv = uv_settings(pip, os.environ)
    _write(folder / "xdg/uv/uv.toml", "".join(f"{key} = {json.dumps(value)}\n" for key, value in uv.items()))
    _write(folder / "apt/debian.list", apt_sources)
    mounts = {folder / "xdg": "/etc/xdg", folder / "apt": "/etc/apt/sources.list.d"}
    if bundle := certificates(os.environ):
        (folder / "certs").mkdir()
        shutil.copyfile(bundle, folder / "certs/ca-certificates.crt")
        mounts[folder / "certs"] = "/etc/ssl/certs"
    (folder / "tools").mkdir()
    for tool in tools:
        shutil.copy2(tool, folder / "tools" / tool.name)
    # Debian's images have this folder, empty and on PATH: a file mount would leave its mount point behind.
    mounts[folder / "tools"] = "/usr/local/sbin"
    return [f"{host}:{container}:ro" for host, container in mounts.items()]


def debian_sources(suite: str) -> list[str]:
    """Return apt lines for the mirror that this machine uses for a Debian suite; none on another system."""
    if shutil.which("apt-get") is None:
        return []
    line = "$(ORIGIN) deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    argv = ["apt-get", "indextargets", "--format", line, "Created-By: Packages"]
    found = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()
    lines = [line.removeprefix("Debian ") for line in found if line.startswith("Debian ")]
    ours = [line for line in lines if line.split()[2].partition("-")[0] == suite]
    return ours if any(line.split()[2] == suite for line in ours) else []


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(text)

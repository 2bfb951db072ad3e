"""Build the pinned Go programs that a local cluster runs, once per machine.

A tool's folder in the cache is named after everything it is built from, so a changed pin is another folder,
and a folder that exists is complete: it is built elsewhere on the same disk and renamed into place.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from localcluster.errors import LocalClusterError
from localcluster.gotoolchain import environment, go, module_dir
from localcluster.kedasource import MODULE as KEDA_MODULE
from localcluster.kedasource import trim_keda
from localcluster.paths import PACKAGE, cache_dir, locked
from localcluster.progress import say

# 1.7.0 asks for Go 1.27 even to be unpacked; 1.6 has the same standard channel for what Ekiben uses.
GATEWAY_API_VERSION = "v1.6.3"
RECORD = "build.json"
BUILD_FLAGS = ("-trimpath",)


@dataclass(frozen=True)
class Tool:
    """A Go program of ours: the folder under go/ that pins it, and the names it is called by.

    `pins` is the folder where several tools share one, `tags` are build tags; `trimmed` is our file
    that says which part of the source is built.
    """

    name: str
    package: str
    commands: tuple[str, ...]
    version_of: str = ""
    version_variable: str = ""
    pins: str = ""
    tags: str = ""
    trimmed: str = ""

    @property
    def source(self) -> Path:
        """The folder with its go.mod and go.sum."""
        return PACKAGE / "go" / (self.pins or self.name)


KUBERNETES = Tool(
    name="kubernetes",
    package=".",
    commands=(
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kube-proxy",
        "kubelet",
        "kubectl",
        "etcd",
        "coredns",
        "metrics-server",
    ),
    version_of="k8s.io/kubernetes",
    version_variable="k8s.io/component-base/version.git",
)
HELM = Tool(name="helm", package="helm.sh/helm/v4/cmd/helm", commands=("helm",))
PAUSE = Tool(name="pause", package=".", commands=("pause",))
KIND = Tool(name="kind", package="sigs.k8s.io/kind", commands=("kind",))
KWOK = Tool(name="kwok", package="sigs.k8s.io/kwok/cmd/kwok", commands=("kwok",))
# The webhooks import nothing that the operator does not: they are a matter of linking.
KEDA_OPERATOR, KEDA_ADAPTER, KEDA_WEBHOOKS = (
    Tool(
        name=f"keda-{part}",
        package=f"{KEDA_MODULE}/cmd/{part}",
        commands=(f"keda-{part}",),
        pins="keda",
        trimmed="kedasource.py",
    )
    for part in ("operator", "adapter", "webhooks")
)
# Of Prometheus' ways to find its targets only Kubernetes': the others are most of what it would compile.
PROMETHEUS = Tool(
    name="prometheus",
    package="github.com/prometheus/prometheus/cmd/prometheus",
    commands=("prometheus",),
    pins="keda",
    tags="remove_all_sd,enable_kubernetes_sd",
)
TOOLS = {
    tool.name: tool
    for tool in (KUBERNETES, HELM, PAUSE, KIND, KWOK, KEDA_OPERATOR, KEDA_ADAPTER, KEDA_WEBHOOKS, PROMETHEUS)
}


def pinned_version(tool: Tool, module: str) -> str:
    """Return the version of `module` in the tool's go.mod, such as v1.36.3."""
    found = re.search(
        rf"^\s*(?:require )?{re.escape(module)} (v\S+)", (tool.source / "go.mod").read_text(), re.M
    )
    if found is None:
        raise LocalClusterError(f"{tool.source / 'go.mod'} does not require {module}.")
    return found[1]


def linker_flags(tool: Tool) -> str:
    """Return -ldflags: no symbol tables, and the version that Kubernetes reports of itself."""
    flags = ["-s", "-w"]
    if tool.version_variable:
        version = pinned_version(tool, tool.version_of)
        major, minor = version.removeprefix("v").split(".")[:2]
        values = {"Version": version, "Major": major, "Minor": minor, "TreeState": "clean"}
        flags += [f"-X {tool.version_variable}{key}={value}" for key, value in values.items()]
    return " ".join(flags)


def cache_key(tool: Tool, go_version: str) -> str:
    """Hash everything that a tool's binary is made from, file names included."""
    digest = hashlib.sha256()
    for part in (go_version, tool.package, *BUILD_FLAGS, linker_flags(tool), *tool.commands):
        digest.update(part.encode() + b"\0")
    if tool.tags:
        digest.update(tool.tags.encode() + b"\0")
    if tool.trimmed:
        digest.update((PACKAGE / tool.trimmed).read_bytes() + b"\0")
    for file in sorted(tool.source.iterdir()):
        if file.suffix in {".go", ".mod", ".sum"}:
            digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def tool_dir(tool: Tool) -> Path:
    """Return the cache folder of this very build of a tool, built or not."""
    said = subprocess.run(
        [str(go()), "version"], capture_output=True, text=True, env=environment(), check=True
    )
    return cache_dir() / "tools" / f"{tool.name}-{cache_key(tool, said.stdout.strip())}"


def command_path(command: str) -> Path:
    """Return the path of a built command such as `kubectl`; raise with the remedy where it is not built."""
    tool = next((tool for tool in TOOLS.values() if command in tool.commands), None)
    if tool is None:
        raise LocalClusterError(f"{command!r} is no tool of the local cluster; it has {', '.join(TOOLS)}.")
    path = tool_dir(tool) / command
    if not path.exists():
        raise LocalClusterError(
            f"{command} is not built yet: run "
            f"`PYTHONPATH=hack python -m localcluster tools build {tool.name}`."
        )
    return path


def ensure(tool: Tool) -> Path:
    """Build a tool unless this very build of it is in the cache; return its folder."""
    folder = tool_dir(tool)
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.parent / f"{tool.name}.lock"
    with locked(lock, lambda: say(f"{tool.name} is being built by another process: waiting for it")):
        if not folder.exists():
            _build(tool, folder)
    return folder


def _build(tool: Tool, folder: Path) -> None:
    say(f"building {tool.name} into {folder}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{tool.name}-") as scratch:
        target = Path(scratch) / "target"
        target.mkdir()
        binary = target / tool.name
        compiled = _compile(tool, binary, _source_flags(tool, Path(scratch) / "source"))
        for command in tool.commands:
            if command != tool.name:
                (target / command).symlink_to(tool.name)
        minutes = round((time.monotonic() - began) / 60, 2)
        record = {
            "minutes": minutes,
            "packages": compiled,
            "cpus": os.cpu_count(),
            "bytes": binary.stat().st_size,
        }
        (target / RECORD).write_text(json.dumps(record) + "\n")
        os.rename(target, folder)
    say(f"built {tool.name}: {minutes} min, {compiled} packages compiled")


def _source_flags(tool: Tool, scratch: Path) -> tuple[str, ...]:
    """Return the flags that say what is built of the source; a trimmed one is written into `scratch`."""
    tags = (f"-tags={tool.tags}",) if tool.tags else ()
    if not tool.trimmed:
        return tags
    return (*tags, *trim_keda(tool.source, pinned_version(tool, KEDA_MODULE), scratch))


def _compile(tool: Tool, binary: Path, more: tuple[str, ...]) -> int:
    """Run `go build`, saying every 15 s how far it is; return how many packages it had to compile."""
    flags = [*BUILD_FLAGS, *more, "-mod=readonly", "-v", "-ldflags", linker_flags(tool), "-o", str(binary)]
    command = [str(go()), "build", *flags, tool.package]
    process = subprocess.Popen(
        command,
        cwd=tool.source,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    lines: list[str] = []
    assert process.stderr is not None
    stderr = process.stderr
    reader = threading.Thread(target=lambda: lines.extend(stderr), daemon=True)
    reader.start()
    try:
        while reader.is_alive():
            reader.join(timeout=15)
            if reader.is_alive():
                say(f"  still building {tool.name}: {_packages(lines)} packages compiled so far")
    except BaseException:
        process.kill()
        raise
    finally:
        code = process.wait()
        stderr.close()
    if code != 0:
        said = "".join(lines[-20:])
        raise LocalClusterError(f"go build of {tool.name} failed (free disk space? GOPROXY?):\n{said}")
    return _packages(lines)


def _packages(lines: list[str]) -> int:
    return sum(1 for line in lines if " " not in line.strip())


def builds() -> list[tuple[str, dict[str, float]]]:
    """Return the recorded builds in the cache: folder name, and minutes, packages, cpus, bytes."""
    records = sorted((cache_dir() / "tools").glob(f"*/{RECORD}"))
    return [(record.parent.name, json.loads(record.read_text())) for record in records]


def remove_old_builds() -> list[Path]:
    """Remove builds whose pins are not this work tree's; running programs keep their files until they end."""
    current = {tool_dir(tool) for tool in TOOLS.values()}
    old = [
        record.parent
        for record in (cache_dir() / "tools").glob(f"*/{RECORD}")
        if record.parent not in current
    ]
    for folder in old:
        shutil.rmtree(folder)
    return old


def gateway_api_crds() -> list[Path]:
    """Return the manifests of the Gateway API's standard channel, from its pinned Go module."""
    folder = module_dir("sigs.k8s.io/gateway-api", GATEWAY_API_VERSION) / "config" / "crd" / "standard"
    return sorted(path for path in folder.glob("*.yaml") if path.name != "kustomization.yaml")


def keda_config() -> Path:
    """Return the folder of KEDA's own manifests, from its pinned Go module."""
    return module_dir(KEDA_MODULE, pinned_version(KEDA_OPERATOR, KEDA_MODULE)) / "config"


def keda_crds() -> list[Path]:
    """Return the manifests of KEDA's kinds that Ekiben writes."""
    folder = keda_config() / "crd" / "bases"
    return [folder / f"keda.sh_{plural}.yaml" for plural in ("scaledobjects", "triggerauthentications")]


def kwok_stages() -> list[Path]:
    """Return kwok's own stages, from its pinned module: nodes are ready, and pods start at once."""
    version = pinned_version(KWOK, "sigs.k8s.io/kwok")
    folder = module_dir("sigs.k8s.io/kwok", version) / "kustomize" / "stage"
    parts = ("node/fast/node-*", "node/heartbeat-with-lease/node-*", "pod/fast/pod-*")
    return [path for part in parts for path in sorted(folder.glob(f"{part}.yaml"))]

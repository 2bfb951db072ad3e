"""KEDA's source with only the scalers that the tests use: all of them would compile for three times as long.

Everything else of KEDA is built as it is: its controllers, its loops, its metrics service and its adapter.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from localcluster.errors import LocalClusterError
from localcluster.gotoolchain import module_dir

MODULE = "github.com/kedacore/keda/v2"
# What has a field of its own in a model, and of what is only passed on the source that needs nobody else.
TRIGGERS = frozenset({"cpu", "cron", "kubernetes-workload", "memory", "prometheus"})
# Those of TRIGGERS, and azure_queue's for a constant that all of them use.
_SCALERS = frozenset(
    f"{name}.go"
    for name in (
        *("scaler", "cpu_memory_scaler", "cron_scaler", "kubernetes_workload_scaler", "prometheus_scaler"),
        "azure_queue_scaler",
    )
)
_COPIED = ("go.mod", "go.sum", "apis", "cmd", "controllers", "pkg", "version")
_BUILDER = Path("pkg") / "scaling" / "scalers_builder.go"
_CASE = re.compile(r'\tcase ("[^"]+"(?:, "[^"]+")*):')


def trim_keda(pins: Path, version: str, scratch: Path) -> tuple[str, ...]:
    """Write the trimmed source into `scratch`; return the flags by which `go build` in `pins` takes it."""
    source = module_dir(MODULE, version)
    copy = scratch / "keda"
    copy.mkdir(parents=True)
    for name in _COPIED:
        if (source / name).is_dir():
            shutil.copytree(source / name, copy / name, ignore=shutil.ignore_patterns("*_test.go"))
        elif (source / name).exists():
            shutil.copyfile(source / name, copy / name)
    # Modules are read-only in Go's cache, and copies of them too.
    for folder in (copy, *(path for path in copy.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    for file in (copy / "pkg" / "scalers").glob("*.go"):
        if file.name not in _SCALERS:
            file.unlink()
    builder = copy / _BUILDER
    trimmed = without_cases(builder.read_text())
    builder.chmod(0o644)
    builder.write_text(trimmed)
    pinned = (pins / "go.mod").read_text()
    (scratch / "go.mod").write_text(f"{pinned}\nreplace {MODULE} => {copy}\n")
    shutil.copyfile(pins / "go.sum", scratch / "go.sum")
    return (f"-modfile={scratch / 'go.mod'}",)


def without_cases(text: str) -> str:
    """Remove from the switch over a trigger's type the cases of all other triggers."""
    kept, skipping, found = [], False, set()
    for line in text.splitlines(keepends=True):
        if case := _CASE.match(line):
            named = set(re.findall(r'"([^"]+)"', case[1]))
            skipping = not named & TRIGGERS
            found |= named
        elif line.startswith(("\tdefault:", "\t}")):
            skipping = False
        if not skipping:
            kept.append(line)
    if missing := TRIGGERS - found:
        raise LocalClusterError(
            f"KEDA's {_BUILDER} has no case for {', '.join(sorted(missing))}: see TRIGGERS."
        )
    return "".join(kept)

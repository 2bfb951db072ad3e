"""Talk to a cluster through the kubectl we built."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster.errors import LocalClusterError
from localcluster.paths import cache_dir
from localcluster.tools import command_path


@dataclass(frozen=True)
class Kubectl:
    """kubectl with one kubeconfig."""

    kubeconfig: Path

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl and return what it printed; raise with what it complained about."""
        done = self._call(arguments, stdin)
        if done.returncode != 0:
            raise LocalClusterError(f"`kubectl {' '.join(arguments)}` failed: {done.stderr.strip()}")
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any] | None:
        """Return an object, or None where there is none or nobody answers."""
        done = self._call(("get", "--request-timeout=5s", "--output=json", *arguments), "")
        return None if done.returncode != 0 else dict(json.loads(done.stdout))

    def apply(self, *, files: Sequence[Path] = (), text: str = "") -> None:
        """Apply manifests from files or text, server-side."""
        named = [part for file in files for part in ("--filename", str(file))]
        source = named or ["--filename", "-"]
        self.run(
            "apply", "--server-side", "--force-conflicts", "--field-manager=localcluster", *source, stdin=text
        )

    def _call(self, arguments: Sequence[str], stdin: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"KUBECACHEDIR": str(cache_dir() / "kubectl")}
        command = [str(command_path("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, env=environment, check=False
        )


def condition(document: dict[str, Any] | None, kind: str) -> str:
    """Return the status of an object's condition, such as True; empty where it has none."""
    conditions = ((document or {}).get("status") or {}).get("conditions") or []
    return next((str(one["status"]) for one in conditions if one["type"] == kind), "")

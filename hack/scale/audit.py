"""Count what the operator asks of the API server, from the server's audit log."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Requests:
    """Requests by (verb, resource), watches and what is about Leases left out; and the refused ones."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: Counter[tuple[str, str, int]] = field(default_factory=Counter)

    @property
    def writes(self) -> int:
        """How many of them change something, Events included."""
        return sum(count for (verb, _), count in self.counts.items() if verb in WRITES)

    @property
    def lists(self) -> int:
        """How many of them read a whole collection."""
        return self.counts_of("list")

    @property
    def gets(self) -> int:
        """How many of them read one object."""
        return self.counts_of("get")

    def per_object(self, objects: int) -> dict[str, float]:
        """Return each kind of request per object, by verb and resource, as it is stored."""
        return {f"{verb} {what}": count / objects for (verb, what), count in sorted(self.counts.items())}

    def counts_of(self, verb: str) -> int:
        """Return how many have a verb."""
        return sum(count for (known, _), count in self.counts.items() if known == verb)

    def told(self, objects: int) -> str:
        """Say per object what was asked, most first."""
        parts = [
            f"{count / objects:.2f} {verb} {resource}"
            for (verb, resource), count in self.counts.most_common()
        ]
        parts += [f"{count} x {code} to {verb} {what}" for (verb, what, code), count in self.refused.items()]
        return ", ".join(parts) or "nothing"


class AuditLog:
    """The API server's audit log, of which the bench has it write one user's requests only."""

    def __init__(self, folder: Path, user: str) -> None:
        self.path = folder / "audit.log"
        self._policy = folder / "audit-policy.json"
        rules: list[dict[str, Any]] = [{"level": "Metadata", "users": [user]}, {"level": "None"}]
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": rules,
        }
        self._policy.write_text(json.dumps(policy))

    def apiserver_args(self) -> tuple[str, ...]:
        """Return what the API server has to be told."""
        return (f"--audit-policy-file={self._policy}", f"--audit-log-path={self.path}")

    def mark(self) -> int:
        """Return where the log ends now."""
        return self.path.stat().st_size if self.path.exists() else 0

    def since(self, mark: int) -> Requests:
        """Count the requests after a mark."""
        found = Requests()
        if not self.path.exists():
            return found
        with self.path.open("rb") as log:
            log.seek(mark)
            for line in log:
                _count(found, json.loads(line))
        return found


def _count(found: Requests, entry: dict[str, Any]) -> None:
    about = entry.get("objectRef") or {}
    resource = about.get("resource", "discovery")
    if entry["verb"] == "watch" or resource == "leases":
        return
    name = f"{resource}/{about['subresource']}" if about.get("subresource") else resource
    found.counts[entry["verb"], name] += 1
    code = (entry.get("responseStatus") or {}).get("code", 0)
    # A look-up of a name that is free is answered with 404, as it should be.
    if code >= 400 and not (entry["verb"] == "get" and code == 404):
        found.refused[entry["verb"], name, code] += 1

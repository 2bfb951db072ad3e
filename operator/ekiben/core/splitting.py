"""How the live route splits the traffic: its main rule by weight, each other one by headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ekiben.core.snapshot import Manifest
from ekiben.core.steps import Headers


def rules_of(route: Manifest) -> Iterator[tuple[Headers, dict[str, Any]]]:
    """Yield a route's rules with the headers that each matches by; none for the main rule."""
    for rule in route.get("spec", {}).get("rules") or ():
        yield matched(rule), rule


def matched(rule: Mapping[str, Any]) -> Headers:
    """Return the headers that a rule matches by."""
    matches: Any = rule.get("matches") or ({},)
    return frozenset(
        (str(header.get("name", "")).lower(), str(header.get("value", "")))
        for header in matches[0].get("headers") or ()
    )


def percent_to(rule: Mapping[str, Any], service: str) -> int:
    """Return the percent that a rule sends to a Service."""
    backends = rule.get("backendRefs") or ()
    total = sum(backend.get("weight", 1) for backend in backends)
    share = sum(backend.get("weight", 1) for backend in backends if backend.get("name") == service)
    return round(100 * share / total) if total else 0

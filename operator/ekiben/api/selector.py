"""Label selectors, matched on our side: kopf's watch on models has no filter of its own."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_REQUIREMENT = re.compile(
    r"""\s*(?:
        (?P<absent>!)\s*(?P<absent_key>[-\w./]+)
      | (?P<set_key>[-\w./]+)\s+(?P<verb>in|notin)\s*\((?P<values>[^()]*)\)
      | (?P<key>[-\w./]+)\s*(?P<sign>==|=|!=)\s*(?P<value>[-\w.]*)
      | (?P<present_key>[-\w./]+)
    )\s*(?P<end>,|$)""",
    re.VERBOSE,
)
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?")
_EXAMPLE = "write it as kubectl's --selector, for example: shard=a, or: shard in (a,b), or: !shard"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One label's value is, or is not, one of `values`; None among them stands for a missing label."""

    key: str
    values: Collection[str | None]
    negated: bool

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels meet it."""
        return (labels.get(self.key) in self.values) is not self.negated


def parse_selector(text: str) -> tuple[Requirement, ...]:
    """Read a selector as kubectl does; "" is met by everything. Raises ValueError with the remedy."""
    found: list[Requirement] = []
    position = 0
    while position < len(text):
        part = _REQUIREMENT.match(text, position)
        if part is None or (part["end"] == "," and part.end() == len(text)):
            raise ValueError(f"no label selector from {text[position:][:40]!r} on; {_EXAMPLE}")
        found.append(_requirement(part))
        position = part.end()
    return tuple(found)


def _requirement(part: re.Match[str]) -> Requirement:
    key = part["absent_key"] or part["set_key"] or part["key"] or part["present_key"]
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no label's name; {_EXAMPLE}")
    if part["absent"] or part["present_key"]:
        return Requirement(key, (None,), negated=not part["absent"])
    values = [value.strip() for value in part["values"].split(",")] if part["verb"] else [part["value"]]
    for value in values:
        if not _VALUE.fullmatch(value):
            raise ValueError(f"{value!r} is no label's value; {_EXAMPLE}")
    return Requirement(key, frozenset(values), negated=part["verb"] == "notin" or part["sign"] == "!=")


def matches(selector: Collection[Requirement], labels: Mapping[str, str] | None) -> bool:
    """Tell whether labels meet every requirement."""
    return all(requirement.matches(labels or {}) for requirement in selector)

"""Put the tables into docs/analysis.md, between their marks."""

from __future__ import annotations

import re

from rig.site import ROOT

PAGE = ROOT / "docs" / "analysis.md"


def write(healthy: str, worse: str, said: str) -> None:
    """Replace what the page shows of the last run."""
    text = PAGE.read_text()
    for name, body in (("healthy", healthy), ("worse", worse), ("run", f"{said}\n")):
        text = between(text, name, body)
    PAGE.write_text(text)


def between(text: str, name: str, body: str) -> str:
    """Replace the text between the marks of this name; raises ValueError where they are missing."""
    marks = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->\n)", re.DOTALL)
    if not marks.search(text):
        raise ValueError(f"{PAGE.name} has no marks named {name}")
    return marks.sub(lambda match: f"{match[1]}\n{body}\n{match[2]}", text)

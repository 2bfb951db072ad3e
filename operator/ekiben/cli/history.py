"""What was rolled out and how it ended, newest first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ekiben.api.status import Stage
from ekiben.cli.exits import CommandError, Exit
from ekiben.cli.facts import Facts
from ekiben.cli.pods import Manifest
from ekiben.cli.text import PLAIN, Cell, Paint, ago, span, table
from ekiben.core.revision import image_of, record_of, revision_of
from ekiben.core.snapshot import Record

_OUTCOMES = {"Promoted": "good", "RolledBack": "bad", "Aborted": "bad", "InFlight": "warn", "Queued": "warn"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One rollout; `image` is empty where its revision is not kept any more.

    `began` is when it began, `source` the revision that served then, `by` who or what decided how it ended,
    or who began it while it is in flight; empty where an older version of the operator did not say.
    """

    rollout: str
    revision: str
    outcome: str
    at: datetime | None
    image: str
    message: str
    role: str
    began: datetime | None = None
    source: str = ""
    by: str = ""

    def took(self, now: datetime) -> str:
        """Say how long it took, or has taken so far."""
        end = now if self.outcome == "InFlight" else self.at
        return span((end - self.began).total_seconds()) if self.began and end else "-"


def records_of(raws: Sequence[Manifest]) -> dict[str, Record]:
    """Read what each revision was from the ControllerRevisions."""
    found = (record_of(raw) for raw in raws)
    return {record.revision: record for record in found if record is not None}


def entries(facts: Facts, records: dict[str, Record]) -> list[Entry]:
    """Return the rollout in flight, those that the status remembers, and revisions known by records alone."""

    shown = {side.revision: side.image for side in (facts.status.stable, facts.status.canary) if side}
    shown |= {name: image_of(record) for name, record in records.items()}

    def entry(
        rollout: str, revision: str, outcome: str, at: datetime | None, message: str, **more: Any
    ) -> Entry:
        image, role = shown.get(revision, ""), _role(facts, revision)
        return Entry(rollout, revision, outcome, at, image, message, role, **more)

    found = []
    if rollout := facts.rollout:
        found.append(
            entry(
                rollout.id,
                rollout.revision,
                "Queued" if rollout.stage is Stage.QUEUED else "InFlight",
                rollout.started_at or rollout.stage_started_at,
                facts.status.message,
                began=rollout.started_at,
                source=rollout.from_,
                by=rollout.by,
            )
        )
    found += [
        entry(
            item.rollout,
            item.revision,
            str(item.outcome),
            item.at,
            item.message,
            began=item.started_at,
            source=item.from_ or "",
            by=item.by or "",
        )
        for item in facts.status.history
    ]
    told = {item.revision for item in found}
    rest = sorted(
        (record for record in records.values() if record.revision not in told),
        key=lambda record: -record.number,
    )
    found += [
        entry(f"{item.revision}.{item.number}", item.revision, item.outcome.capitalize() or "-", None, "")
        for item in rest
    ]
    return found


def _role(facts: Facts, revision: str) -> str:
    return "stable" if revision == facts.stable else "canary" if revision == facts.canary else ""


def history(found: Sequence[Entry], now: datetime, paint: Paint = PLAIN) -> list[str]:
    """Write the table."""
    heads = ("ROLLOUT", "", "OUTCOME", "AGE", "TOOK", "FROM", "BY", "IMAGE", "MESSAGE")
    rows: list[list[Cell | str]] = [[Cell(head, "dim") for head in heads]]
    seen: set[str] = set()
    for item in found:
        role = "" if item.role in seen else item.role
        seen.add(item.role)
        outcome = Cell(item.outcome, _OUTCOMES.get(item.outcome, ""))
        image = item.image or "(not kept)"
        when = (ago(item.at, now), item.took(now))
        whence = (item.source or "-", item.by or "-")
        rows.append([item.rollout, Cell(role, "bold"), outcome, *when, *whence, image, item.message])
    return table(rows, paint)


def as_data(found: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the same for a program."""
    return [
        {
            "rollout": item.rollout,
            "revision": item.revision,
            "role": item.role or None,
            "outcome": item.outcome,
            "at": item.at.isoformat() if item.at else None,
            "startedAt": item.began.isoformat() if item.began else None,
            "from": item.source or None,
            "by": item.by or None,
            "image": item.image or None,
            "message": item.message,
        }
        for item in found
    ]


def chosen(word: str, facts: Facts, records: dict[str, Record]) -> Record:
    """Find a revision by its name, a rollout's ID or number, or one of `stable`, `canary` and `spec`."""
    if word == "spec":
        if facts.spec is None:
            raise CommandError(f"the spec of {facts.name} can't be read: kubectl ekiben why {facts.name}")
        if facts.wanted is None:
            raise CommandError(
                f"what the spec of {facts.name} asks for is not known: a ConfigMap that it tracks is missing,"
                f" or may not be read; see kubectl ekiben why {facts.name}"
            )
        return revision_of(facts.spec, config=facts.config)
    if word in ("stable", "canary"):
        name = facts.stable if word == "stable" else facts.canary
        if name is None:
            raise CommandError(f"{facts.name} has no {word} now", Exit.NOT_FOUND)
    else:
        name = word.partition(".")[0]
    numbered = [record for record in records.values() if str(record.number) == word]
    record = records.get(name) or (numbered[0] if numbered else None)
    if record is None:
        kept = ", ".join(sorted(records)) or "none"
        raise CommandError(
            f"{facts.name} has no revision {word}: it keeps {kept} (rollout.revisionHistoryLimit)",
            Exit.NOT_FOUND,
        )
    return record

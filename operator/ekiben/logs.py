"""Log lines that say which ModelDeployment they are about, as JSON or as text."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from ekiben.core.plan import Decision

Key = tuple[str, str]

_decisions = logging.getLogger("ekiben.decisions")
# json.dumps would make one for every line.
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)

_about: ContextVar[Key | None] = ContextVar("about", default=None)


@contextmanager
def about(key: Key) -> Iterator[None]:
    """Let every line logged inside carry this namespace and name."""
    token = _about.set(key)
    try:
        yield
    finally:
        _about.reset(token)


def configure(level: str, style: str) -> None:
    """Send everything logged from now on to stderr; `style` is json or text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # One line per scrape and probe drowns everything else.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # Kopf tells of its own steps and of every event it hands on; ours are told here.
    logging.getLogger("kopf").setLevel(max(logging.WARNING, root.level))


def decision(made: Decision) -> None:
    """Log a decision in one line; the fields are described in docs/decisions.md and don't change."""
    fields = {
        "decision": made.decision,
        "rollout": made.rollout,
        "from": made.old,
        "to": made.new,
        "by": made.by,
        "reason": made.reason,
        "numbers": [item.model_dump(mode="json", by_alias=True, exclude_none=True) for item in made.numbers],
    }
    _decisions.info("%s %s: %s", made.decision, made.rollout, made.message, extra={"fields": fields})


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message; namespace and name; error with its trace.

    What a record carries as `fields` comes with it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        key = _subject(record)
        if key is not None:
            line |= {"namespace": key[0], "name": key[1]}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return _ENCODER.encode(line)


class TextFormatter(logging.Formatter):
    """Time, level, namespace/name and message, for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        key = _subject(record)
        subject = f" {key[0]}/{key[1]}:" if key else ""
        text = f"{_time(record)} {record.levelname:<7}{subject} {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _subject(record: logging.LogRecord) -> Key | None:
    """Find what a line is about: our own context, else what kopf attached to its record."""
    key = _about.get()
    if key is not None:
        return key
    reference = getattr(record, "k8s_ref", None)
    if isinstance(reference, dict) and reference.get("name"):
        return str(reference.get("namespace") or ""), str(reference["name"])
    return None

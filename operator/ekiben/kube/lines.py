"""Split a watch's byte stream into the events that it carries, one JSON object a line."""

from __future__ import annotations

from typing import Any

import orjson

from ekiben.kube.errors import ApiError, error_from_status

# etcd refuses objects over 1.5 MiB; JSON with managed fields can be a few times that.
LONGEST_LINE = 16 * 2**20


class LineSplitter:
    """Collect chunks and give back whole lines; a line over 16 MiB is an ApiError."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Add a chunk; return the lines that it completes, without their line ends and without empty ones."""
        head, *rest = chunk.split(b"\n")
        self._parts.append(head)
        self._size += len(head)
        if self._size > LONGEST_LINE:
            raise garbled(f"a line of over {LONGEST_LINE} bytes")
        if not rest:
            return []
        lines = [b"".join(self._parts), *rest[:-1]]
        self._parts, self._size = [rest[-1]], len(rest[-1])
        return [line for line in lines if line]


def parse_event(line: bytes) -> tuple[str, dict[str, Any]]:
    """Read one watch event as (type, object).

    Raises ApiError: what an ERROR event says, or "Garbled" for what is no watch event.
    """
    try:
        event = orjson.loads(line)
        kind, item = event["type"], event["object"]
    except (ValueError, TypeError, KeyError) as problem:
        raise garbled(f"{type(problem).__name__} in a watch event") from None
    if not isinstance(kind, str) or not isinstance(item, dict):
        raise garbled("a watch event without type or object")
    if kind == "ERROR":
        raise error_from_status(item)
    return kind, item


def garbled(what: str) -> ApiError:
    """Describe an answer that no API server gives."""
    return ApiError(0, "Garbled", what)

"""What the API server, or the way to it, answered instead of what was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping

_REJECTED = frozenset({400, 403, 405, 413, 415, 422})
_LONGEST_RETRY_AFTER = 300.0
_LONGEST_MESSAGE = 2000
# The API server answers 500 to an apply whose manifest does not fit the schema, and etcd to an object of over
# 1.5 MiB: these are no outages, and the same manifest will never be accepted.
_BAD_MANIFEST = ("failed to create typed patch object", "etcdserver: request is too large")


class ApiError(Exception):
    """A failed request; `status` is the HTTP status, 0 where no whole answer came back.

    `reason` is the API server's own word ("Conflict", "Expired"), or "Network", or "Config" when our
    credentials can't be loaded. `retry_after` is in seconds, None where the server named no time. `by_server`
    tells that the answer was a Status, which the API server writes, and not a pod or a proxy behind it.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        retry_after: float | None = None,
        *,
        by_server: bool = False,
    ) -> None:
        super().__init__(status, reason, message, retry_after)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.by_server = by_server

    def __str__(self) -> str:
        return f"{self.status or 'no answer'} {self.reason}: {self.message}"

    @property
    def is_conflict(self) -> bool:
        """The object changed since it was read, exists already, or is another one than the uid says."""
        return self.status == 409

    @property
    def is_not_found(self) -> bool:
        """The object, its namespace, or its whole kind does not exist."""
        return self.status == 404

    @property
    def is_gone(self) -> bool:
        """The resource version asked for is too old to go on from."""
        return self.status == 410

    @property
    def is_rejected(self) -> bool:
        """The server understood and refuses: the same request will be refused again."""
        return self.status in _REJECTED or self._is_bad_manifest

    @property
    def is_of_webhook(self) -> bool:
        """A webhook that must be asked could not be: one of these kinds can't be written, others can."""
        return self.status == 500 and "failed calling webhook" in self.message

    @property
    def is_retryable(self) -> bool:
        """The same request may well succeed later; 401 counts, because tokens rotate."""
        return self.status in (0, 401, 408, 429) or (self.status >= 500 and not self._is_bad_manifest)

    @property
    def _is_bad_manifest(self) -> bool:
        return self.status == 500 and any(sign in self.message for sign in _BAD_MANIFEST)


def network_error(problem: BaseException) -> ApiError:
    """Describe a request that got no whole answer."""
    return ApiError(0, "Network", f"{type(problem).__name__}: {problem}".rstrip(": "))


def error_from_response(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """Read a Status object, or whatever a proxy put in its place."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        answer = {"message": body[:_LONGEST_MESSAGE].decode(errors="replace").strip()}
    error = error_from_status(answer, status)
    header = _seconds(headers.get("Retry-After"))
    if header is not None:
        error.retry_after = header
    return error


def error_from_status(answer: Mapping[str, object], status: int = 0) -> ApiError:
    """Read a Status object, as watches send it too; `status` where it came with an HTTP status of its own."""
    code = answer.get("code")
    details = answer.get("details")
    return ApiError(
        status or (code if isinstance(code, int) else 500),
        str(answer.get("reason") or "Unknown"),
        str(answer.get("message") or "no message")[:_LONGEST_MESSAGE],
        _seconds(details.get("retryAfterSeconds")) if isinstance(details, dict) else None,
        by_server=answer.get("kind") == "Status",
    )


def _seconds(value: object) -> float | None:
    """Read a number of seconds, bounded so that a hostile answer can't park a key for ever."""
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return min(seconds, _LONGEST_RETRY_AFTER) if seconds > 0 else None

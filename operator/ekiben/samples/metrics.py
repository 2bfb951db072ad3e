"""Read one page of BentoML metrics into cumulative counters of the requests that clients sent.

Only some of BentoML's families are looked at, all but the first only where somebody asks for them, and their
lines are parsed by expressions of our own: prometheus-client's parser takes 617 ms for a page of 4 MB, this
one 4 ms, or 60 ms with durations. A scanner that asks for a thousand unknown paths makes such a page, because
every path becomes a series.

Pages come from pods, so they are hostile input: whatever is wrong with one ends as a MetricsError.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

PAGE_LIMIT = 4 * 1024 * 1024
REQUESTS = "bentoml_service_request_total"
DURATIONS = "bentoml_service_request_duration_seconds_bucket"
BUSY = "bentoml_service_request_duration_seconds_sum"
IN_FLIGHT = "bentoml_service_request_in_progress"
LAST_REQUEST = "bentoml_service_last_request_timestamp_seconds"
BATCHES = "bentoml_service_adaptive_batch_size_count"
BATCHED = "bentoml_service_adaptive_batch_size_sum"
# BentoML counts its probes and its own pages like requests. An API that is itself routed at "/" shares its
# label with the index page and can't be told from it.
NOT_COUNTED = re.compile(
    r"/((readyz|livez|healthz|metrics|docs\.json|schema\.json)?$|(static_content|assets)/)"
)

Reason = Literal["MetricsUnreachable", "MetricsTooLarge", "MetricsInvalid", "ServiceNameMismatch"]

_LABEL = re.compile(rb'([a-zA-Z_]\w*)="([^"\\]*+(?:\\.[^"\\]*+)*+)",?+')
# Labels are read strictly in order: a client may put `,runner_name=` into a path, and so into a value.
_LABELS = re.compile(rb'(?:[a-zA-Z_]\w*="[^"\\]*+(?:\\.[^"\\]*+)*+",?+)*+')
_VALUE = re.compile(rb"[ \t]+(\S+)(?:[ \t]+-?\d+)?[ \t]*")
_REQUESTS, _DURATIONS, _BUSY, _IN_FLIGHT, _BATCHES, _BATCHED = (
    f"{name}{{".encode() for name in (REQUESTS, DURATIONS, BUSY, IN_FLIGHT, BATCHES, BATCHED)
)
# All pods of a model export the same series, look after look: what their labels say is worth keeping.
_SERIES_KEPT = 8192
# But not where they are long, in bytes: a pod could fill our memory with a new one in every look.
_LONGEST_KEPT = 1024
# Sums of it over a page and over a thousand pods still fit the status's 64 bits.
_MOST_REQUESTS = 2**40
# The year 9000, in seconds since 1970: what may follow from a time must still be one.
_LATEST = 221_845_392_000.0
_EXCERPT = 80
_NAMES_SHOWN = 5


class MetricsError(Exception):
    """Metrics that can't be had; `message` is a sentence for the user that fits behind "the pod at IP"."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


@dataclass(frozen=True, slots=True)
class Reading:
    """A pod's counters since its process started, or the difference of two such.

    `codes` counts requests by HTTP status (0: not a status); `within` counts those that took no longer than
    each bucket's bound, keyed as `bound` makes it, infinity included. `busy_ms` is how long they took all
    together; `batched` inputs went through the model in `batches`. `in_flight` is no counter: it holds at
    the instant of the reading, or of the later of two.
    """

    codes: Mapping[int, int]
    within: Mapping[float, int]
    busy_ms: int = 0
    batches: int = 0
    batched: int = 0
    in_flight: int = 0

    @property
    def timed(self) -> int:
        """How many requests there are of which it is known how long they took."""
        return self.within.get(math.inf, 0)

    def since(self, before: Reading) -> Reading | None:
        """Return what came after `before`, None where a counter of requests fell back.

        The others are for means, and a sum of floats may seem to fall: what falls of them counts as nothing.
        """
        fell = any(self.codes.get(code, 0) < count for code, count in before.codes.items()) or any(
            self.within.get(bucket, 0) < count for bucket, count in before.within.items()
        )
        if fell:
            return None
        return Reading(
            {code: count - before.codes.get(code, 0) for code, count in self.codes.items()},
            {bucket: count - before.within.get(bucket, 0) for bucket, count in self.within.items()},
            max(self.busy_ms - before.busy_ms, 0),
            max(self.batches - before.batches, 0),
            max(self.batched - before.batched, 0),
            self.in_flight,
        )


def bound(seconds: float) -> float:
    """Round a latency bound to microseconds, so that 35 x 0.001 finds the bucket "0.035"."""
    return round(seconds, 6)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be read of a page.

    `service` is whose requests, None for every service's. Of the duration buckets those of `bounds` are read,
    in seconds, and infinity; with None all of them, with an empty collection none. Requests to a path of
    `exclude`, or to one below it, don't count.
    """

    service: str | None
    bounds: frozenset[float] | None = None
    busy: bool = False
    batches: bool = False
    exclude: tuple[str, ...] = ()
    in_flight: bool = False


def parse(page: bytes, service: str | None, bounds: Collection[float] | None = None) -> Reading:
    """Read the requests and their durations, as `Wanted` says; raises MetricsError."""
    return read_page(page, Wanted(service, None if bounds is None else frozenset(bounds)))


def read_page(page: bytes, wanted: Wanted) -> Reading:
    """Count what is wanted of a page; raises MetricsError."""
    if len(page) > PAGE_LIMIT:
        raise too_large()
    codes: Counter[int] = Counter()
    services: set[str] = set()
    for line in _lines_of(page, _REQUESTS):
        series, count = _series(line, len(_REQUESTS))
        services.add(series.service)
        if _counts(series, wanted):
            codes[series.code] += count
    _check_service(services, wanted.service)
    return Reading(
        dict(codes),
        _within(page, wanted) if wanted.bounds is None or wanted.bounds else {},
        _sum(page, _BUSY, wanted, _milliseconds) if wanted.busy else 0,
        _sum(page, _BATCHES, wanted) if wanted.batches else 0,
        _sum(page, _BATCHED, wanted) if wanted.batches else 0,
        _sum(page, _IN_FLIGHT, wanted) if wanted.in_flight else 0,
    )


def last_request(page: bytes) -> float | None:
    """Return when the last request came that was no probe, in seconds since 1970; None where none did.

    Each worker tells of its own. Raises MetricsError for what is no time.
    """
    latest = None
    for line in _lines_of(page, f"{LAST_REQUEST}{{".encode()):
        match = _VALUE.fullmatch(line, line.rfind(b"}") + 1)
        try:
            at = float(match[1]) if match else math.nan
        except ValueError:
            at = math.nan
        if not 0 <= at <= _LATEST:
            raise _invalid(line[-_EXCERPT:], "is no time of a request")
        latest = max(at, latest or 0.0)
    return latest


def _counts(series: _Series, wanted: Wanted) -> bool:
    """Tell whether a series counts requests that are wanted."""
    if not series.counts or wanted.service not in (None, series.service):
        return False
    return not wanted.exclude or not any(
        series.endpoint == path or series.endpoint.startswith(f"{path.rstrip('/')}/")
        for path in wanted.exclude
    )


def _within(page: bytes, wanted: Wanted) -> dict[float, int]:
    within: Counter[float] = Counter()
    bounds = None if wanted.bounds is None else {*map(bound, wanted.bounds), math.inf}
    for line in _lines_of(page, _DURATIONS):
        series, count = _series(line, len(_DURATIONS))
        bucket = _bucket(series.bucket)
        if wanted.service in (None, series.service) and (bounds is None or bucket in bounds):
            within[bucket] += count if _counts(series, wanted) else 0
    return dict(within)


def too_large() -> MetricsError:
    """Build the error of a page over the limit."""
    return MetricsError(
        "MetricsTooLarge",
        f"has a metrics page of more than {PAGE_LIMIT // 1024 // 1024} MiB: every unknown path that is asked "
        "for becomes a series, so let only the model's own paths through the gateway, then restart the pod",
    )


class _Series(NamedTuple):
    """What the labels of one line say; `counts` is False for BentoML's own pages."""

    service: str
    endpoint: str
    counts: bool
    code: int
    bucket: bytes


def _whole(value: float) -> int | None:
    return int(value) if 0 <= value <= _MOST_REQUESTS and value.is_integer() else None


def _milliseconds(value: float) -> int | None:
    return int(value * 1000) if 0 <= value <= _MOST_REQUESTS else None


def _lines_of(page: bytes, family: bytes) -> Iterator[bytes]:
    """Yield the lines of one family: to search for them takes a tenth of looking at every line."""
    page = b"\n" + page
    start = page.find(b"\n" + family)
    while start >= 0:
        end = page.find(b"\n", start + 1)
        yield page[start + 1 :] if end < 0 else page[start + 1 : end]
        start = page.find(b"\n" + family, end) if end >= 0 else -1


def _sum(page: bytes, family: bytes, wanted: Wanted, number: Callable[[float], int | None] = _whole) -> int:
    """Add up a family's series of wanted requests."""
    found = (_series(line, len(family), number) for line in _lines_of(page, family))
    return sum(count for series, count in found if _counts(series, wanted))


def _series(line: bytes, start: int, number: Callable[[float], int | None] = _whole) -> tuple[_Series, int]:
    """Read one line whose labels begin at `start`; `number` takes its value over, None where it can't be."""
    end = line.rfind(b"}")
    labels = line[start:end]
    read = _series_of if len(labels) <= _LONGEST_KEPT else _series_of.__wrapped__
    series = read(labels) if end >= start else None
    match = _VALUE.fullmatch(line, end + 1)
    if series is None or not match:
        raise _invalid(line, "is not a line of the Prometheus text format")
    try:
        value = number(float(match[1]))
    except ValueError:
        value = None
    if value is None:
        raise _invalid(match[1], "is not a number of requests" if number is _whole else "is not a time")
    return series, value


@lru_cache(_SERIES_KEPT)
def _series_of(text: bytes) -> _Series | None:
    """Read the labels between the braces; None where they are none."""
    if not _LABELS.fullmatch(text):
        return None
    labels = dict(_LABEL.findall(text))
    endpoint = labels.get(b"endpoint", b"").decode(errors="replace")
    return _Series(
        service=labels.get(b"runner_name", b"").decode(errors="replace"),
        endpoint=endpoint,
        counts=not NOT_COUNTED.match(endpoint),
        code=_code(labels.get(b"http_response_code", b"")),
        bucket=labels.get(b"le", b""),
    )


def _bucket(text: bytes) -> float:
    try:
        bucket = float(text)
    except ValueError:
        bucket = math.nan
    if not bucket > 0:
        raise _invalid(text, "is not the bound of a duration bucket")
    return bound(bucket)


def _code(text: bytes) -> int:
    return int(text) if len(text) == 3 and text.isdigit() else 0


def _invalid(text: bytes, what: str) -> MetricsError:
    excerpt = text[:_EXCERPT].decode(errors="replace")
    return MetricsError("MetricsInvalid", f"has a metrics page that can't be read: {excerpt!r} {what}")


def _check_service(services: set[str], service: str | None) -> None:
    if not services:
        raise MetricsError(
            "MetricsInvalid",
            f"has a metrics page without {REQUESTS}: it must come from BentoML, with metrics enabled and "
            "metrics.namespace left as it is",
        )
    if service is not None and service not in services:
        names = ", ".join(
            name if name.isidentifier() else repr(name)
            for name in sorted(name[:_EXCERPT] for name in services)[:_NAMES_SHOWN]
        )
        raise MetricsError(
            "ServiceNameMismatch", f"serves {names}, not {service}: set spec.bento.service to the right one"
        )

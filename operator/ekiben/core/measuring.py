"""Questions whose answer is one number: what a query of Prometheus gives, or a place in a JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from ekiben.api.fields import seconds
from ekiben.api.judging import Check
from ekiben.api.sources import Call, Prometheus, SecretKeyRef, Web
from ekiben.core.calling import HttpCall, SecretKey
from ekiben.core.filling import filled

DEFAULT_TIMEOUT = "10s"
_QUERY, _QUERY_RANGE = "/api/v1/query", "/api/v1/query_range"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure(HttpCall):
    """Ask one URL for a number; the value is a Measured.

    `path` says where in a JSON document it is. `over` and `step` are seconds and make it a range of a
    Prometheus, which begins at `since` (a UNIX time) at the earliest.
    """

    reads: Literal["prometheus", "json"]
    path: str = "$"
    over: float | None = None
    step: float = 15.0
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """The smallest and the largest number that came back, the same for one; None: there was none."""

    low: float | None = None
    high: float | None = None


def build_measure(
    check: Check, words: Mapping[str, str], *, every: float, about: str, since: float
) -> Measure:
    """Build the question of a check of prometheus or web; raises UnknownPlaceholderError.

    `words` are what may stand in double braces; the others are as in Measure.
    """
    if check.prometheus is not None:
        asked = _of_prometheus(check.prometheus, words)
        return Measure(**asked, **call_parts(check.prometheus), every=every, about=about, since=since)
    web = check.web
    assert web is not None, "who calls this has seen to it"
    return Measure(**_of_web(web, words), **call_parts(web), every=every, about=about)


def call_parts(call: Call) -> dict[str, Any]:
    """Return what every call over HTTP has in common, as an HttpCall takes it."""
    headers, tls = call.headers or (), call.tls
    return {
        "timeout": seconds(call.timeout or DEFAULT_TIMEOUT),
        "headers": tuple((item.name, item.value) for item in headers if item.value is not None),
        "secret_headers": tuple(
            (item.name, _key(item.secret)) for item in headers if item.secret is not None
        ),
        "bearer": _key(call.bearer) if call.bearer else None,
        "basic": (_key(call.basic.username), _key(call.basic.password)) if call.basic else None,
        "ca": _key(tls.ca_secret) if tls and tls.ca_secret else None,
        "insecure_skip_verify": bool(tls and tls.insecure_skip_verify),
    }


def _of_prometheus(asked: Prometheus, words: Mapping[str, str]) -> dict[str, Any]:
    span = asked.range
    query = urlencode({"query": filled(asked.query, words)})
    address = filled(asked.address, words).rstrip("/")
    url = f"{address}{_QUERY_RANGE if span else _QUERY}?{query}"
    parts: dict[str, Any] = {"url": url, "reads": "prometheus"}
    return parts | ({"over": seconds(span.over), "step": seconds(span.step)} if span else {})


def _of_web(asked: Web, words: Mapping[str, str]) -> dict[str, Any]:
    return {
        "url": filled(asked.url, words),
        "method": asked.method or "GET",
        "body": filled(asked.body or "", words),
        "reads": "json",
        "path": asked.json_path or "$",
    }


def _key(secret: SecretKeyRef) -> SecretKey:
    return SecretKey(secret.name, secret.key)

"""Ask over HTTP what a tenant wants to know, without lending the tenant what is the operator's own.

The URL, the headers and the body are a tenant's, and so may be the server. So only listed hosts are called,
at addresses that are neither the operator's own ground nor a cloud's; no redirect is followed, no proxy and
no cookie used, nothing is inflated; an answer is cut off at `LARGEST`. Whoever asks bounds the time. What a
Secret holds goes into the request and nowhere else.
"""

from __future__ import annotations

import base64
import functools
import re
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from ekiben.asking.asker import Means, UnansweredError
from ekiben.asking.secrets import read_secret
from ekiben.core.calling import HOSTS, CallPolicy, HttpAnswer, HttpCall
from ekiben.kube.store import Key

LARGEST = 1024 * 1024
_HEADER_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
# They say where a request goes and where it ends, which is not the tenant's to say.
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade"})


async def find_answer(means: Means, key: Key, call: HttpCall) -> HttpAnswer:
    """Make one call; raises UnansweredError where it may not be made, or no whole answer comes."""
    url, policy = _checked(call.url, means.calls), means.calls
    headers = await _headers(means, key, call)
    context = await _context(means, key, call) if url.startswith("https:") else True
    try:
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(policy), ssl=context, use_dns_cache=False, force_close=True
        )
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            # Whoever asks bounds the whole of it.
            timeout=aiohttp.ClientTimeout(total=None),
        ) as session:
            body = call.body.encode() if call.body else None
            sent = session.request(call.method, url, headers=headers, data=body, allow_redirects=False)
            async with sent as answer:
                return HttpAnswer(answer.status, await _body(answer))
    except aiohttp.ClientConnectorCertificateError as problem:
        raise UnansweredError(
            f"the certificate of {_place(url)} is not trusted: {problem.certificate_error}", "BadCertificate"
        ) from None
    except (aiohttp.ClientError, OSError, ValueError) as problem:
        refused = _cause(problem)
        if refused is not None:
            raise refused from None
        raise UnansweredError(f"{_place(url)} can't be asked: {problem or type(problem).__name__}") from None


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in answer.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise UnansweredError(f"the answer is larger than {LARGEST // 1024} KiB", "AnswerTooLarge")
    return b"".join(parts)


def _place(url: str) -> str:
    """Return scheme, host and port: a path or query may hold what is nobody else's business."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _checked(url: str, policy: CallPolicy) -> str:
    """Return the URL if it may be called."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise UnansweredError("the URL can't be understood", "BadURL") from None
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
        raise UnansweredError("the URL must begin with http:// or https:// and name a host", "BadURL")
    if parts.username is not None or parts.password is not None:
        raise UnansweredError("the URL must not hold a password: name a Secret instead", "BadURL")
    if not policy.allows_host(host, port):
        raise UnansweredError(
            f"host {host} at port {port} may not be called: list it in the chart value {HOSTS}",
            "HostForbidden",
        )
    if _is_address(host):
        _allow(policy, host, host)
    return url


def _is_address(host: str) -> bool:
    """Tell whether the client would connect to a host without looking it up, `127.1` included."""
    return ":" in host or re.fullmatch(r"[0-9.]+", host) is not None


def _allow(policy: CallPolicy, host: str, address: str) -> None:
    try:
        allowed = policy.allows_address(address)
    except ValueError:
        allowed = False
    if not allowed:
        raise UnansweredError(
            f"host {host} is at {address}, an address of the operator's own pod or node: list the address"
            f" itself in the chart value {HOSTS} if that is meant",
            "HostForbidden",
        )


class _Resolver(AbstractResolver):
    """Looks names up and returns what may be called: the addresses checked are those connected to."""

    def __init__(self, policy: CallPolicy) -> None:
        self._policy = policy
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for item in found:
            try:
                _allow(self._policy, host, item["host"])
            except UnansweredError as problem:
                raise _RefusedError(problem) from problem
        return found

    async def close(self) -> None:
        await self._resolver.close()


class _RefusedError(OSError):
    """Carries a refusal through the client's own handling of what resolvers raise."""

    def __init__(self, refusal: UnansweredError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


def _cause(problem: BaseException | None) -> UnansweredError | None:
    """Find a refusal of ours below what the client made of it."""
    while problem is not None:
        if isinstance(problem, _RefusedError):
            return problem.refusal
        problem = problem.__cause__ or problem.__context__
    return None


async def _headers(means: Means, key: Key, call: HttpCall) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity", "User-Agent": "ekiben"}
    for name, value in call.headers:
        _set_header(headers, name, value)
    for name, secret in call.secret_headers:
        _set_header(headers, name, await _secret_text(means, key, secret))
    if call.bearer is not None:
        headers["Authorization"] = f"Bearer {await _secret_text(means, key, call.bearer)}"
    if call.basic is not None:
        user, password = [await _secret_text(means, key, part) for part in call.basic]
        headers["Authorization"] = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
    return headers


def _set_header(headers: dict[str, str], name: str, value: str) -> None:
    if not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS or not _HEADER_VALUE.fullmatch(value):
        raise UnansweredError(f"header {name!r} can't be sent", "BadHeader")
    headers[name] = value


async def _secret_text(means: Means, key: Key, secret: Any) -> str:
    """Read what goes into a header; a file's last line end is no part of it."""
    value = await read_secret(means, key[0], secret)
    try:
        text = value.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or not _HEADER_VALUE.fullmatch(text):
        raise UnansweredError(
            f"key {secret.key} of Secret {secret.name} holds nothing that a header can carry", "BadSecret"
        )
    return text


async def _context(means: Means, key: Key, call: HttpCall) -> ssl.SSLContext:
    if call.insecure_skip_verify:
        return _unverified()
    if call.ca is None:
        return _system()
    bundle = await read_secret(means, key[0], call.ca)
    try:
        return ssl.create_default_context(cadata=bundle.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise UnansweredError(
            f"key {call.ca.key} of Secret {call.ca.name} is no bundle of certificates in PEM", "BadSecret"
        ) from None


@functools.cache
def _system() -> ssl.SSLContext:
    return ssl.create_default_context()


@functools.cache
def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context

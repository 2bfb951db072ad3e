"""Find the API server and the credentials for it, keep the credentials fresh, and send requests with them.

kubernetes.aio's ApiClient is left out on purpose: it asks two threads about .netrc and proxies before every
request and copies every body, at six times the CPU of the request itself (docs/adr/0007).
"""

from __future__ import annotations

import asyncio
import os
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from ekiben.kube.credentials import UNREADABLE, Configuration, Hook, of_kubeconfig, of_pod
from ekiben.kube.errors import ApiError

# A line of a watch is a whole object.
_READ_BUFFER = 2**21
# A rollout that comes after a quiet minute should not wait for TLS first; the API server keeps them for 90 s.
_KEPT_SECONDS = 60.0
_REFRESH_SECONDS = 60.0
_FAREWELL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Access:
    """What another HTTP client needs to reach the same API server as the same user."""

    server: str
    ca_file: str | None
    cert_file: str | None
    key_file: str | None
    token: str | None
    verify: bool


class Connection:
    """A session with one API server, as one user; safe to share between tasks of one event loop."""

    def __init__(self, configuration: Configuration, user_agent: str) -> None:
        self._configuration = configuration
        self._options: dict[str, Any] = {
            "proxy": configuration.proxy or _proxy_of_environment(configuration.host),
            "proxy_headers": configuration.proxy_headers,
        }
        if configuration.tls_server_name:
            self._options["server_hostname"] = configuration.tls_server_name
        self._session = aiohttp.ClientSession(
            # Every watch holds a connection, and each namespace that is served has six of them: a limit here
            # would leave none for requests. How many of those run at once is the Client's.
            connector=aiohttp.TCPConnector(
                limit=0, ssl=_trust(configuration), keepalive_timeout=_KEPT_SECONDS
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # Long lists would come compressed: that costs both sides more CPU than the bytes are worth.
            headers={
                "Accept-Encoding": "identity",
                "User-Agent": user_agent,
            },
            read_bufsize=_READ_BUFFER,
        )

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,
        accept: str = "application/json",
    ) -> aiohttp.ClientResponse:
        """Send one request; return the answer with its body unread. Raises what aiohttp raises."""
        headers = {"Content-Type": content_type, "Accept": accept}
        if authorization := await self._authorization():
            headers["Authorization"] = authorization
        url = f"{self._configuration.host}{path}"
        return await self._session.request(
            method, url, data=body, headers=headers, timeout=timeout, **self._options
        )

    async def access(self) -> Access:
        """Say how another HTTP client reaches the server; the token is fresh."""
        configuration, authorization = self._configuration, await self._authorization()
        return Access(
            server=configuration.host,
            ca_file=configuration.ssl_ca_cert,
            cert_file=configuration.cert_file,
            key_file=configuration.key_file,
            token=authorization.split()[-1] if authorization else None,
            verify=configuration.verify_ssl,
        )

    async def close(self) -> None:
        """Close every connection, those included that were just being made."""
        await self._session.close()
        # Their sockets end in the next rounds of the loop, of which the last one of a process has none.
        await asyncio.sleep(_FAREWELL_SECONDS)

    async def _authorization(self) -> str | None:
        return await self._configuration.get_api_key_with_prefix("BearerToken")


def _trust(configuration: Configuration) -> ssl.SSLContext:
    """Say whom to trust, and who we are to the server."""
    context = ssl.create_default_context(
        cafile=configuration.ssl_ca_cert, cadata=getattr(configuration, "ca_cert_data", None)
    )
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if getattr(configuration, "disable_strict_ssl_verification", False):
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _proxy_of_environment(server: str) -> str | None:
    """Return the proxy that the environment names for a server; looked up once, not for every request."""
    where = urlsplit(server)
    if where.hostname is None or urllib.request.proxy_bypass(where.hostname):
        return None
    return urllib.request.getproxies().get(where.scheme)


async def connect(kubeconfig: str | Path | None, context: str | None, user_agent: str) -> Connection:
    """Open a session: by `kubeconfig`, else $KUBECONFIG, else the pod's service account.

    `context` picks one of a kubeconfig's contexts. Raises ApiError("Config") with the remedy.
    """
    chosen = str(kubeconfig or os.environ.get("KUBECONFIG") or "")
    in_pod = not chosen and context is None and "KUBERNETES_SERVICE_HOST" in os.environ
    source = "the pod's service account" if in_pod else chosen or "~/.kube/config"
    try:
        configuration, load = await (of_pod() if in_pod else of_kubeconfig(source, context))
        connection = Connection(configuration, user_agent)
    except UNREADABLE as problem:
        why = f"can't be used: {_one_line(problem)}" if in_pod or _exists(source) else "does not exist"
        what = f"no API server to talk to: {source} {why}"
        raise ApiError(0, "Config", f"{what}. Name a kubeconfig (KUBECONFIG), or run in a pod") from problem
    configuration.refresh_api_key_hook = _refresher(load)
    return connection


def _exists(kubeconfig: str) -> bool:
    """Tell whether one of the files is there: of none, the library says that it lacks a key."""
    return any(Path(part).expanduser().exists() for part in kubeconfig.split(os.pathsep))


def _refresher(load: Hook) -> Hook:
    """Load at most once a minute: token files rotate, and what exec plugins gave expires.

    The library would do this in a pod only. What can't be loaded is an ApiError("Config") for the request
    that needs it, and is tried again with the next one.
    """
    due = monotonic() + _REFRESH_SECONDS

    async def refresh(configuration: Configuration) -> None:
        nonlocal due
        now = monotonic()
        if now < due:
            return
        due = now + _REFRESH_SECONDS
        try:
            await load(configuration)
        except UNREADABLE as problem:
            due = now
            raise ApiError(0, "Config", f"no fresh credentials: {_one_line(problem)}") from problem

    return refresh


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())

"""Find the API server and the credentials for it, and keep the credentials fresh."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import yaml
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from ekiben.kube.errors import ApiError

CONNECTIONS = 32
_REFRESH_SECONDS = 60.0
_UNREADABLE = (ConfigException, OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError)

Load = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Access:
    """What another HTTP client needs to reach the same API server as the same user."""

    server: str
    ca_file: str | None
    cert_file: str | None
    key_file: str | None
    token: str | None
    verify: bool


async def access(api: Any) -> Access:
    """Read how an ApiClient reaches its server; the token is fresh."""
    configuration = api.configuration
    authorization = await configuration.get_api_key_with_prefix("BearerToken")
    return Access(
        server=configuration.host,
        ca_file=configuration.ssl_ca_cert,
        cert_file=configuration.cert_file,
        key_file=configuration.key_file,
        token=authorization.split()[-1] if authorization else None,
        verify=configuration.verify_ssl,
    )


async def connect(kubeconfig: str | Path | None, context: str | None, user_agent: str) -> Any:
    """Build a kubernetes.aio ApiClient: from `kubeconfig`, else $KUBECONFIG, else the pod's service account.

    `context` picks one of a kubeconfig's contexts. Raises ApiError("Config") with the remedy.
    """
    chosen = str(kubeconfig or os.environ.get("KUBECONFIG") or "")
    in_pod = not chosen and context is None and "KUBERNETES_SERVICE_HOST" in os.environ
    source = "the pod's service account" if in_pod else chosen or "~/.kube/config"
    configuration = Configuration(connection_pool_maxsize=CONNECTIONS)
    try:
        if in_pod:
            load: Load = _load_from_pod
            await load(configuration)
        else:
            loader = await load_kube_config(source, context, configuration, persist_config=False)
            load = loader.load_and_set
        api = ApiClient(configuration)
    except _UNREADABLE as problem:
        why = f"can't be used: {_one_line(problem)}" if in_pod or _exists(source) else "does not exist"
        what = f"no API server to talk to: {source} {why}"
        raise ApiError(0, "Config", f"{what}. Name a kubeconfig (KUBECONFIG), or run in a pod") from problem
    configuration.refresh_api_key_hook = _refresher(load)
    api.user_agent = user_agent
    return api


def _exists(kubeconfig: str) -> bool:
    """Tell whether one of the files is there: of none, the library says that it lacks a key."""
    return any(Path(part).expanduser().exists() for part in kubeconfig.split(os.pathsep))


async def _load_from_pod(configuration: Any) -> None:
    load_incluster_config(configuration, try_refresh_token=False)


def _refresher(load: Load) -> Load:
    """Load at most once a minute: token files rotate, and what exec plugins gave expires.

    The library would do this in a pod only. What can't be loaded is an ApiError("Config") for the request
    that needs it, and is tried again with the next one.
    """
    due = monotonic() + _REFRESH_SECONDS

    async def refresh(configuration: Any) -> None:
        nonlocal due
        now = monotonic()
        if now < due:
            return
        due = now + _REFRESH_SECONDS
        try:
            await load(configuration)
        except _UNREADABLE as problem:
            due = now
            raise ApiError(0, "Config", f"no fresh credentials: {_one_line(problem)}") from problem

    return refresh


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())

"""Find the API server and the credentials for it, and keep the credentials fresh."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from ekiben.kube.errors import ApiError

CONNECTIONS = 32
_REFRESH_SECONDS = 60.0
_UNREADABLE = (ConfigException, OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError)


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
    in_cluster = not chosen and context is None and "KUBERNETES_SERVICE_HOST" in os.environ
    source = "the pod's service account" if in_cluster else chosen or "~/.kube/config"
    configuration = Configuration(connection_pool_maxsize=CONNECTIONS)
    try:
        if in_cluster:
            load_incluster_config(configuration)
        else:
            loader = await load_kube_config(source, context, configuration, persist_config=False)
            configuration.refresh_api_key_hook = _refresher(loader)
        api = ApiClient(configuration)
    except _UNREADABLE as problem:
        raise ApiError(
            0,
            "Config",
            f"no API server to talk to: {source}: {problem}. Name a kubeconfig (KUBECONFIG), or run in a pod",
        ) from problem
    api.user_agent = user_agent
    return api


def _refresher(loader: Any) -> Callable[[Any], Awaitable[None]]:
    """Read token files again, and run exec plugins whose token expires, at most once a minute."""
    due = time.monotonic() + _REFRESH_SECONDS

    async def refresh(configuration: Any) -> None:
        nonlocal due
        now = time.monotonic()
        if now < due:
            return
        due = now + _REFRESH_SECONDS
        try:
            await loader.load_and_set(configuration)
        except _UNREADABLE:
            due = now
            raise

    return refresh

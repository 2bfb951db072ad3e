"""Where the API server is and who we are to it: by a pod's own files, or by a kubeconfig.

kubernetes.aio reads kubeconfigs, with exec plugins and all that. A pod has two files instead, and to import
kubernetes.aio for these would cost a start a quarter of its CPU, and 12 MiB for as long as it runs.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import yaml

# Where the kubelet puts a service account's token and whom to trust.
POD_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError)

Hook = Callable[[Any], Awaitable[None]]


class Configuration(Protocol):
    """What we use of kubernetes.aio's Configuration; the hook is called before each use of the token."""

    host: str
    ssl_ca_cert: str | None
    cert_file: str | None
    key_file: str | None
    verify_ssl: bool
    proxy: str | None
    proxy_headers: dict[str, str] | None
    tls_server_name: str | None
    refresh_api_key_hook: Hook | None

    async def get_api_key_with_prefix(self, identifier: str) -> str | None:
        """Return the value of the Authorization header; None where certificates say who we are."""


class PodConfiguration:
    """The API server as a pod's environment and its service account's files name it."""

    def __init__(self, folder: Path) -> None:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        self.host = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        self.ssl_ca_cert: str | None = str(folder / "ca.crt")
        self.cert_file: str | None = None
        self.key_file: str | None = None
        self.verify_ssl = True
        self.proxy: str | None = None
        self.proxy_headers: dict[str, str] | None = None
        self.tls_server_name: str | None = None
        self.refresh_api_key_hook: Hook | None = None
        self._token_file = folder / "token"
        self._token = ""

    async def load(self, _: Configuration) -> None:
        """Read the token, which the kubelet renews; ValueError for an empty one."""
        token = self._token_file.read_text().strip()
        if not token:
            raise ValueError(f"{self._token_file} is empty")
        self._token = token

    async def get_api_key_with_prefix(self, identifier: str) -> str | None:
        """Return the value of the Authorization header."""
        if self.refresh_api_key_hook is not None:
            await self.refresh_api_key_hook(self)
        return f"Bearer {self._token}"


async def of_pod() -> tuple[Configuration, Hook]:
    """Return what the pod's service account says, and what reads it again; raises UNREADABLE."""
    configuration = PodConfiguration(POD_FOLDER)
    await configuration.load(configuration)
    return configuration, configuration.load


async def of_kubeconfig(path: str, context: str | None) -> tuple[Configuration, Hook]:
    """Return what a kubeconfig says, and what reads it again; raises UNREADABLE."""
    # Imported late, so that a pod does without.
    from kubernetes.aio import client  # noqa: PLC0415
    from kubernetes.aio.config import ConfigException, load_kube_config  # noqa: PLC0415

    configuration: Configuration = client.Configuration()
    try:
        loader = await load_kube_config(path, context, configuration, persist_config=False)
    except ConfigException as problem:
        raise ValueError(str(problem)) from problem

    async def load(to: Configuration) -> None:
        try:
            await loader.load_and_set(to)
        except ConfigException as problem:
            raise ValueError(str(problem)) from problem

    return configuration, load

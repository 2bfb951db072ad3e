"""Who asks, and may they: the front-proxy protocol of aggregated APIs.

The API server connects with a client certificate that its own CA signed, and names the user in headers;
anybody else who can reach the port could write such headers, so they count for nothing without that
certificate. Whether the user may read the metric is asked of the API server (SubjectAccessReview), and its
word kept for a minute.
"""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import CONFIGMAP, SUBJECTACCESSREVIEW

logger = logging.getLogger(__name__)

GROUP = "custom.metrics.k8s.io"
CONFIG_NAMESPACE, CONFIG_NAME = "kube-system", "extension-apiserver-authentication"
KEPT_SECONDS = 60.0
MOST_KEPT = 4096


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """How the API server proves itself: its CA, its names, and the headers in which it names users."""

    ca: str
    allowed_names: frozenset[str]
    user_headers: tuple[str, ...]
    group_headers: tuple[str, ...]

    @classmethod
    async def read(cls, client: Client) -> FrontProxy:
        """Read what the API server publishes; raises ApiError where it has no aggregation layer."""
        found = await client.get(CONFIGMAP, CONFIG_NAMESPACE, CONFIG_NAME)
        data = (found or {}).get("data") or {}
        if not data.get("requestheader-client-ca-file"):
            raise ApiError(
                0,
                "Config",
                f"ConfigMap {CONFIG_NAMESPACE}/{CONFIG_NAME} names no requestheader-client-ca-file: start the"
                " API server with its aggregation layer, --requestheader-client-ca-file",
            )
        return cls(
            ca=data["requestheader-client-ca-file"],
            allowed_names=frozenset(_listed(data, "requestheader-allowed-names")),
            user_headers=_listed(data, "requestheader-username-headers") or ("X-Remote-User",),
            group_headers=_listed(data, "requestheader-group-headers") or ("X-Remote-Group",),
        )

    def trust(self, context: ssl.SSLContext) -> None:
        """Ask callers for a certificate of this CA; probes may come without one."""
        context.load_verify_locations(cadata=self.ca)
        context.verify_mode = ssl.CERT_OPTIONAL

    def user(self, request: web.Request) -> tuple[str, tuple[str, ...]] | None:
        """Return who asks, with their groups; None where nobody has proven to speak for them."""
        peer = request.transport.get_extra_info("peercert") if request.transport else None
        if not peer or (self.allowed_names and _common_name(peer) not in self.allowed_names):
            return None
        name = next((value for header in self.user_headers if (value := request.headers.get(header))), "")
        groups = tuple(value for header in self.group_headers for value in request.headers.getall(header, ()))
        return (name, groups) if name else None


class Reviews:
    """The API server's word on who may read which metric, kept for `KEPT_SECONDS`."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._kept: dict[tuple[str, tuple[str, ...], str, str], tuple[bool, float]] = {}

    async def allowed(self, user: str, groups: tuple[str, ...], namespace: str, metric: str) -> bool:
        """Tell whether a user may read a metric of a namespace's pods; ApiError where nobody can say."""
        key, now = (user, groups, namespace, metric), self._clock()
        word, until = self._kept.get(key, (False, 0.0))
        if now < until:
            return word
        wanted = {
            "namespace": namespace,
            "verb": "get",
            "group": GROUP,
            "version": "*",
            "resource": "pods",
            "subresource": metric,
            "name": "*",
        }
        answer = await self._client.create(
            SUBJECTACCESSREVIEW,
            None,
            {
                "apiVersion": SUBJECTACCESSREVIEW.api_version,
                "kind": SUBJECTACCESSREVIEW.kind,
                "spec": {"user": user, "groups": list(groups), "resourceAttributes": wanted},
            },
        )
        word = (answer.get("status") or {}).get("allowed") is True
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[key] = (word, now + KEPT_SECONDS)
        return word


def _listed(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    try:
        found = json.loads(data.get(key) or "[]")
    except ValueError:
        return ()
    return tuple(str(item) for item in found) if isinstance(found, list) else ()


def _common_name(peer: Mapping[str, Any]) -> str:
    return next((value for part in peer.get("subject", ()) for key, value in part if key == "commonName"), "")

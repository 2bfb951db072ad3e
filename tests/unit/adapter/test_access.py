"""Nobody is believed without the API server's certificate; its word on a user is kept for a minute."""

from __future__ import annotations

from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ekiben.adapter.access import KEPT_SECONDS, FrontProxy, Reviews
from ekiben.kube.client import ApiError, Client

PROXY = FrontProxy("", frozenset({"front-proxy"}), ("X-Remote-User",), ("X-Remote-Group",))
HEADERS = {"X-Remote-User": "hpa", "X-Remote-Group": "system:serviceaccounts"}


class Transport:
    """A connection whose peer showed a certificate of this common name, or none."""

    def __init__(self, name: str | None) -> None:
        self._name = name

    def get_extra_info(self, what: str, default: Any = None) -> Any:
        """Answer as asyncio's transports do."""
        if what != "peercert" or self._name is None:
            return default
        return {"subject": ((("commonName", self._name),),)}


def request(name: str | None, headers: dict[str, str]) -> web.Request:
    """Build a request over such a connection."""
    return make_mocked_request("GET", "/", headers=headers, transport=Transport(name))


def test_the_api_server_names_the_user_and_their_groups() -> None:
    assert PROXY.user(request("front-proxy", HEADERS)) == ("hpa", ("system:serviceaccounts",))


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        (None, HEADERS),
        ("", HEADERS),
        ("some-user", HEADERS),
        ("front-proxy", {}),
        ("front-proxy", {"X-Remote-Group": "system:masters"}),
    ],
)
def test_headers_count_for_nothing_without_the_certificate_and_the_name(
    name: str | None, headers: dict[str, str]
) -> None:
    assert PROXY.user(request(name, headers)) is None


class Server:
    """An API server that allows one user, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.broken = False

    async def create(self, kind: Any, namespace: str | None, body: dict[str, Any]) -> dict[str, Any]:
        """Answer a review."""
        self.asked.append(body["spec"])
        if self.broken:
            raise ApiError(503, "Unavailable", "not now")
        return {"status": {"allowed": body["spec"]["user"] == "hpa"}}


async def test_a_review_is_asked_once_a_minute_for_each_user_namespace_and_metric() -> None:
    server, now = Server(), [0.0]
    reviews = Reviews(cast(Client, server), clock=lambda: now[0])
    assert await reviews.allowed("hpa", ("g",), "team", "m")
    assert await reviews.allowed("hpa", ("g",), "team", "m")
    assert not await reviews.allowed("eve", ("g",), "team", "m")
    assert len(server.asked) == 2
    assert server.asked[0]["resourceAttributes"] == {
        "namespace": "team",
        "verb": "get",
        "group": "custom.metrics.k8s.io",
        "version": "*",
        "resource": "pods",
        "subresource": "m",
        "name": "*",
    }
    now[0] = KEPT_SECONDS
    assert await reviews.allowed("hpa", ("g",), "team", "m")
    assert len(server.asked) == 3


async def test_a_server_that_cannot_say_allows_nothing() -> None:
    server = Server()
    server.broken = True
    with pytest.raises(ApiError):
        await Reviews(cast(Client, server)).allowed("hpa", (), "team", "m")

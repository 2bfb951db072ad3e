"""When pods were last asked: read from real pages, and never guessed where one can't be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aiohttp import web

from ekiben.asking.asker import Means, UnansweredError
from ekiben.asking.idleness import find_last_request
from ekiben.core.idleness import LastRequest, Seen
from ekiben.samples.metrics import MetricsError, last_request
from unit.fake_client import FakeClient
from unit.samples.bento import REAL_PAGE
from unit.samples.world import free_port

MEANS = Means(FakeClient())
KEY = ("models", "iris")
FAMILY = b"bentoml_service_last_request_timestamp_seconds"
# What the page of a real pod says.
REAL = datetime.fromtimestamp(1795373499.280289, UTC)


class Pods:
    """Pods on loopback addresses that answer a page each."""

    def __init__(self) -> None:
        self.port = free_port()
        self.pages: dict[str, bytes] = {}
        self.runner = web.AppRunner(self._app(), access_log=None)

    def _app(self) -> web.Application:
        async def page(request: web.Request) -> web.Response:
            return web.Response(body=self.pages[request.host.partition(":")[0]])

        app = web.Application()
        app.router.add_get("/metrics", page)
        return app

    async def ask(self, *ips: str) -> Seen:
        """Ask these pods."""
        question = LastRequest(pods=tuple((f"uid-{ip}", ip) for ip in ips))
        return await find_last_request(MEANS, KEY, question, port=self.port)


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    """Yield two pods with the page of a real one."""
    made = Pods()
    await made.runner.setup()
    for ip in ("127.0.0.1", "127.0.0.2"):
        made.pages[ip] = REAL_PAGE
        await web.TCPSite(made.runner, ip, made.port).start()
    yield made
    await made.runner.cleanup()


def at(seconds: str) -> bytes:
    """Return the real page with another time of the last request."""
    return REAL_PAGE.replace(b"1.795373499280289e+09", seconds.encode())


def without_requests() -> bytes:
    """Return the page of a pod that nobody has asked yet."""
    return b"\n".join(line for line in REAL_PAGE.splitlines() if not line.startswith(FAMILY)) + b"\n"


async def test_the_last_of_all_pods_counts(pods: Pods) -> None:
    pods.pages["127.0.0.1"] = at("1.795373400e+09")
    assert await pods.ask("127.0.0.1", "127.0.0.2") == Seen(REAL, 0)
    assert await pods.ask("127.0.0.1") == Seen(datetime.fromtimestamp(1795373400, UTC), 0)


async def test_a_pod_without_requests_says_so(pods: Pods) -> None:
    pods.pages["127.0.0.1"] = without_requests()
    assert await pods.ask("127.0.0.1") == Seen(None, 0)


async def test_a_request_in_flight_is_seen(pods: Pods) -> None:
    gauge = b'bentoml_service_request_in_progress{endpoint="/predict",runner_name="Iris"} 2.0\n'
    pods.pages["127.0.0.1"] = without_requests() + gauge
    assert await pods.ask("127.0.0.1") == Seen(None, 2)


async def test_one_pod_that_does_not_answer_leaves_nothing_known(pods: Pods) -> None:
    with pytest.raises(UnansweredError, match="can't be read") as unknown:
        await pods.ask("127.0.0.1", "127.0.0.3")
    assert unknown.value.reason == "MetricsUnreachable"


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", "1e30", ""])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(MetricsError):
        last_request(at(text))


def test_the_latest_of_several_workers_counts() -> None:
    page = b"\n".join(FAMILY + b'{pid="%d",runner_name="Iris"} %d.5' % (pid, 1000 + pid) for pid in (3, 9, 4))
    assert last_request(page) == 1009.5

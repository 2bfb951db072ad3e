"""`python -m scale.pages KUBECONFIG`: answer /metrics for every fake pod, as BentoML would.

The pods' addresses belong to the bench's own network namespace, so that one listener has them all. Traffic
goes to the newest image of each model: its pods' counters grow by 1,000 requests a second, those of older
pods stand still. Nine pages of ten are 10 kB; the tenth is 1 MB, as a scanner makes one that asks for a few
hundred unknown paths: each becomes a series.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import zlib
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from ekiben.core import names
from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import POD

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0, "+Inf")
RATE = 1000
SMALL, LARGE = 3, 262
ONE_LARGE_IN = 10
ABOUT = 'runner_name="Iris",service_name="Iris",service_version="not available"'
DURATION, TOTAL = "bentoml_service_request_duration_seconds", "bentoml_service_request_total"
IN_FLIGHT = "bentoml_service_request_in_progress"


def build_page(paths: int) -> bytes:
    """Build a page with this many paths; `@` stands for the requests to the first one."""
    lines = [f"# HELP {DURATION} runner RPC duration in seconds", f"# TYPE {DURATION} histogram"]
    for number in range(paths):
        labels, value = _labels(number), "@" if number == 0 else "1.0"
        lines.append(f"{DURATION}_sum{{{labels}}} 5.579329351000069")
        lines += [f'{DURATION}_bucket{{{labels},le="{upper}"}} {value}' for upper in BUCKETS]
        lines.append(f"{DURATION}_count{{{labels}}} {value}")
    lines += [f"# HELP {TOTAL} Total number of runner RPC", f"# TYPE {TOTAL} counter"]
    lines += [f"{TOTAL}{{{_labels(number)}}} {'@' if number == 0 else '1.0'}" for number in range(paths)]
    lines += [f"# HELP {IN_FLIGHT} Total number of RPC in progress now", f"# TYPE {IN_FLIGHT} gauge"]
    lines.append(f'{IN_FLIGHT}{{endpoint="/predict",{ABOUT}}} 1.0')
    return "\n".join(lines).encode() + b"\n"


def _labels(number: int) -> str:
    path, code = ("/predict", "200") if number == 0 else (f"/wp-content/plugins/{number}/readme.txt", "404")
    return f'endpoint="{path}",http_response_code="{code}",{ABOUT}'


@dataclass(slots=True)
class Served:
    """The requests of one pod, counted up to the moment `at`."""

    model: str
    image: str
    large: bool
    count: int = 0
    at: float = 0.0


class Pages:
    """What every pod answers; with `only_small` none of them 1 MB."""

    def __init__(self, only_small: bool = False) -> None:
        self.reads = 0
        self._only_small = only_small
        self._pods: dict[str, Served] = {}
        self._newest: dict[str, str] = {}
        self._pages = {False: build_page(SMALL), True: build_page(LARGE)}

    def changed(self, event: str, pod: dict[str, Any]) -> None:
        """Take over one change of a pod."""
        ip = (pod.get("status") or {}).get("podIP")
        if not ip:
            return
        if event == "DELETED":
            self._pods.pop(ip, None)
            return
        image = pod["spec"]["containers"][0]["image"]
        about = pod["metadata"]
        model = f"{about['namespace']}/{(about.get('labels') or {}).get(names.MODEL, '')}"
        self._newest[model] = max(image, self._newest.get(model, ""))
        if ip not in self._pods:
            large = not self._only_small and zlib.crc32(about["uid"].encode()) % ONE_LARGE_IN == 0
            self._pods[ip] = Served(model, image, large, at=time.monotonic())

    def knows(self, ip: str) -> bool:
        """Tell whether a pod has this address."""
        return ip in self._pods

    def gets_requests(self, ip: str) -> bool:
        """Tell whether the pod at an address runs its model's newest image."""
        pod = self._pods[ip]
        return pod.image == self._newest[pod.model]

    async def answer(self, request: web.Request) -> web.Response:
        """Answer /metrics of the pod whose address was asked."""
        assert request.transport is not None
        ip = request.transport.get_extra_info("sockname")[0]
        if not self.knows(ip):
            return web.Response(status=404)
        pod, now = self._pods[ip], time.monotonic()
        if self.gets_requests(ip):
            pod.count += int((now - pod.at) * RATE)
        pod.at = now
        self.reads += 1
        return web.Response(body=self._pages[pod.large].replace(b"@", b"%d.0" % pod.count))

    async def told(self, _: web.Request) -> web.Response:
        """Say how many pages were read."""
        return web.Response(text=f"{self.reads}\n")


async def _serve(kubeconfig: str, only_small: bool) -> None:
    pages, client = Pages(only_small), await Client.connect(kubeconfig, user_agent="ekiben-bench-pages")
    app = web.Application()
    app.router.add_get("/metrics", pages.answer)
    app.router.add_get("/reads", pages.told)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", names.PORT, backlog=1024).start()
    while True:
        with contextlib.suppress(ApiError):
            pods, version = await client.list(POD)
            for pod in pods:
                pages.changed("ADDED", pod)
            async for event, pod in client.watch(POD, None, version):
                if event != "BOOKMARK":
                    pages.changed(event, pod)
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], "--small" in sys.argv[2:]))

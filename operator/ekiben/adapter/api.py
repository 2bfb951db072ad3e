"""The API itself: custom.metrics.k8s.io/v1beta2, as far as autoscalers ask: metrics of pods, by selector."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from ekiben.adapter.access import GROUP, FrontProxy, Reviews
from ekiben.adapter.latency import Guards
from ekiben.adapter.limits import limit_of
from ekiben.adapter.pods import Answer, Pods
from ekiben.core.names import CONCURRENCY, LATENCY, REQUESTS_PER_SECOND
from ekiben.kube.client import ApiError
from ekiben.samples.load import Felt

logger = logging.getLogger(__name__)

VERSION = "v1beta2"
ROOT = f"/apis/{GROUP}/{VERSION}"

READ: dict[str, Callable[[Felt], float | None]] = {
    CONCURRENCY: lambda felt: felt.concurrency,
    REQUESTS_PER_SECOND: lambda felt: felt.requests_per_second,
}
METRICS = (*READ, LATENCY)


def build_app(pods: Pods, proxy: FrontProxy, reviews: Reviews) -> web.Application:
    """Build the server's routes."""
    app = web.Application(middlewares=[_only_by_the_api_server(proxy)])
    handlers = _Handlers(pods, reviews)
    app.router.add_get("/healthz", handlers.healthz)
    app.router.add_get("/readyz", handlers.readyz)
    app.router.add_get(ROOT, handlers.resources)
    app.router.add_get(f"{ROOT}/namespaces/{{namespace}}/pods/{{pod}}/{{metric}}", handlers.metric)
    return app


def _only_by_the_api_server(proxy: FrontProxy) -> Any:
    @web.middleware
    async def check(request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path in ("/healthz", "/readyz"):
            answer: web.StreamResponse = await handler(request)
            return answer
        user = proxy.user(request)
        if user is None:
            return status(401, "Unauthorized", "only the API server may ask, as a front proxy for a user")
        request["user"] = user
        try:
            answer = await handler(request)
        except web.HTTPException as problem:
            return status(problem.status, problem.reason, f"{request.path}: {problem.reason}")
        except ApiError as problem:
            logger.warning("can't answer %s: %s", request.path, problem)
            return status(503, "ServiceUnavailable", str(problem))
        return answer

    return check


class _Handlers:
    def __init__(self, pods: Pods, reviews: Reviews) -> None:
        self._pods = pods
        self._reviews = reviews
        self._guards = Guards()

    async def healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(self, _: web.Request) -> web.Response:
        problems = self._pods.problems()
        return web.json_response({"ok": not problems, "problems": problems}, status=503 if problems else 200)

    async def resources(self, _: web.Request) -> web.Response:
        """List what can be asked: the API server's own check of whether we are there."""
        listed = [
            {
                "name": f"pods/{metric}",
                "singularName": "",
                "namespaced": True,
                "kind": "MetricValueList",
                "verbs": ["get"],
            }
            for metric in METRICS
        ]
        return web.json_response(
            {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{GROUP}/{VERSION}",
                "resources": listed,
            }
        )

    async def metric(self, request: web.Request) -> web.Response:
        """Answer about one pod, or with `*` about all that the label selector picks."""
        namespace, pod, metric = (request.match_info[key] for key in ("namespace", "pod", "metric"))
        user, groups = request["user"]
        if not await self._reviews.allowed(user, groups, namespace, metric):
            return status(403, "Forbidden", f"{user} may not get pods/{metric} of {GROUP} in {namespace}")
        if metric not in METRICS:
            return status(
                404, "NotFound", f"there is no metric {metric} of pods: ask for one of {', '.join(METRICS)}"
            )
        selector = request.query.get("labelSelector", "")
        try:
            limit = limit_of(request.query.get("metricLabelSelector", "")) if metric == LATENCY else None
        except ValueError as problem:
            return status(400, "BadRequest", f"metricLabelSelector: {problem}")
        try:
            answers = await self._pods.ask(namespace, selector, pod, durations=limit is not None)
        except ValueError as problem:
            return status(400, "BadRequest", f"labelSelector: {problem}")
        if limit is None:
            values = [READ[metric](answer.felt) for answer in answers]
        else:
            felt = [answer.felt for answer in answers]
            values = [self._guards.value((namespace, selector, pod), limit, felt)] * len(answers)
        items = [
            _item(namespace, answer, metric, value, datetime.now(UTC))
            for answer, value in zip(answers, values, strict=True)
            if value is not None
        ]
        return web.json_response(
            {
                "kind": "MetricValueList",
                "apiVersion": f"{GROUP}/{VERSION}",
                "metadata": {},
                "items": items,
            }
        )


def _item(namespace: str, answer: Answer, metric: str, value: float, now: datetime) -> dict[str, Any]:
    return {
        "describedObject": {
            "kind": "Pod",
            "namespace": namespace,
            "name": answer.pod,
            "apiVersion": "/v1",
        },
        "metric": {"name": metric, "selector": None},
        "timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "windowSeconds": round(answer.felt.window),
        "value": f"{round(1000 * value)}m",
    }


def status(code: int, reason: str, message: str) -> web.Response:
    """Build the refusal that clients of the API understand."""
    return web.json_response(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
        },
        status=code,
    )

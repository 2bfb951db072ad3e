"""Stand-ins for a gateway and for users, because the bare API of these tests has no data plane.

Honest about: a gateway takes a route over only where its Gateway exists, says so in the route's status with
the generation that it took over, and goes on with the last one for as long as the API server is away; users
send requests at a steady rate, which reach the ready pods that the backends' Services select, or are lost
where there is none.

Not honest about: requests are counted, not sent; endpoints change the moment a pod or a Service does.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from ekiben.core import names
from ekiben.core.splitting import percent_to, rules_of
from ekiben.core.steps import header_text
from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import GATEWAY, GATEWAYCLASS, HTTPROUTE, SERVICE
from integration.follow import Followed, Manifest
from integration.kubelet import Kubelet, PodServer, now

CONTROLLER = "ekiben.test/gateway"
CLASS = "stand-in"
NAME = "models"
TICK = 0.02
PROPAGATION = 0.05


class Gateway:
    """Takes over the HTTPRoutes of one namespace; `carried` is each route's spec as it serves it now."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.carried: dict[str, Manifest] = {}
        self.weights: dict[str, list[int]] = {}
        self.moved_at: dict[str, list[float]] = {}
        self.on_raise: Callable[[str, int], None] = lambda model, weight: None
        self._client = client
        self._namespace = namespace
        self._routes = Followed(client, HTTPROUTE, namespace, self._route_changed)
        self._gateways = Followed(client, GATEWAY, namespace, lambda before, now: self._look_again())
        self._changes = asyncio.Event()

    async def install(self) -> None:
        """Make the GatewayClass and the Gateway, programmed."""
        named = {"apiVersion": GATEWAYCLASS.api_version, "kind": "GatewayClass", "metadata": {"name": CLASS}}
        await self._client.apply(GATEWAYCLASS, None, named | {"spec": {"controllerName": CONTROLLER}})
        listener = {"name": "http", "port": 80, "protocol": "HTTP"}
        gateway = {
            "apiVersion": GATEWAY.api_version,
            "kind": "Gateway",
            "metadata": {"name": NAME},
            "spec": {"gatewayClassName": CLASS, "listeners": [listener]},
        }
        made = await self._client.create(GATEWAY, self._namespace, gateway)
        generation = made["metadata"]["generation"]
        conditions = [_condition(kind, generation) for kind in ("Accepted", "Programmed")]
        status = {"status": {"conditions": conditions}}
        await self._client.patch_merge(GATEWAY, self._namespace, NAME, status, "status")

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for work in (self._routes.follow(), self._gateways.follow(), self._take_over()):
                group.create_task(work)

    def weight(self, model: str) -> int | None:
        """Return the percent that the canary's backend really gets; None without a route."""
        return canary_weight(model, self.carried[model]) if model in self.carried else None

    def by_header(self, model: str) -> dict[str, int]:
        """Return the percent that the canary's backend really gets of requests with certain headers."""
        canary = names.canary_service(model)
        rules = rules_of({"spec": self.carried[model]})
        return {header_text(headers): percent_to(rule, canary) for headers, rule in rules if headers}

    def _look_again(self) -> None:
        self._changes.set()

    def _route_changed(self, before: Manifest | None, item: Manifest | None) -> None:
        if item is None and before is not None:
            self.carried.pop(before["metadata"]["name"], None)
        self._look_again()

    async def _take_over(self) -> None:
        while True:
            await self._changes.wait()
            self._changes.clear()
            await asyncio.sleep(PROPAGATION)
            for route in list(self._routes.items.values()):
                with contextlib.suppress(ApiError):
                    await self._accept(route)

    async def _accept(self, route: Manifest) -> None:
        meta, spec = route["metadata"], route["spec"]
        parents = [parent for parent in spec["parentRefs"] if parent["name"] in self._gateways.items]
        if not parents or meta["generation"] in _generations(route):
            return
        name = meta["name"]
        self.carried[name] = spec
        self._note(name, canary_weight(name, spec))
        conditions = [_condition(kind, meta["generation"]) for kind in ("Accepted", "ResolvedRefs")]
        said = [
            {"parentRef": parent, "controllerName": CONTROLLER, "conditions": conditions}
            for parent in parents
        ]
        try:
            status = {"status": {"parents": said}}
            await self._client.patch_merge(HTTPROUTE, self._namespace, name, status, "status")
        except ApiError:
            # Said when the API server is back, and the route is seen again.
            asyncio.get_running_loop().call_later(0.5, self._look_again)

    def _note(self, model: str, weight: int) -> None:
        weights = self.weights.setdefault(model, [])
        if weights and weights[-1] == weight:
            return
        if weights and weights[-1] < weight:
            self.on_raise(model, weight)
        weights.append(weight)
        self.moved_at.setdefault(model, []).append(asyncio.get_running_loop().time())


@dataclass(slots=True)
class _Load:
    """The requests to one model; `full` is the most pods that stable's backend had for them."""

    rate: float
    due: float = 0.0
    credit: int = 0
    full: int = 0


class Traffic:
    """Users of the models of one namespace; `sent` counts their requests.

    `lost` says what went wrong for them: a backend without a ready pod, more of the traffic for the canary's
    pods than they can carry, stable's Service pointed elsewhere while the route still sent users to it.
    """

    def __init__(self, client: Client, namespace: str, kubelet: Kubelet, gateway: Gateway) -> None:
        self.lost: list[str] = []
        self.sent = 0
        self._kubelet = kubelet
        self._gateway = gateway
        self._services = Followed(client, SERVICE, namespace, self._service_changed)
        gateway.on_raise = self._weight_rises
        self._loads: dict[str, _Load] = {}
        self._turn = itertools.count()

    def start(self, model: str, rate: float = 200.0) -> None:
        """Send requests to a model at a steady rate per second from now on."""
        self._loads[model] = _Load(rate, full=len(self.endpoints(names.stable_service(model))))

    def stop(self, model: str) -> None:
        """Send no more requests to a model."""
        self._loads.pop(model, None)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._services.follow())
            group.create_task(self._send())

    async def _send(self) -> None:
        clock = asyncio.get_running_loop().time
        last = clock()
        while True:
            await asyncio.sleep(TICK)
            elapsed, last = clock() - last, clock()
            for model, load in self._loads.items():
                load.due += load.rate * elapsed
                while load.due >= 1:
                    load.due -= 1
                    self._request(model, load)

    def _request(self, model: str, load: _Load) -> None:
        load.credit += self._gateway.weight(model) or 0
        to_canary = load.credit >= 100
        load.credit -= 100 if to_canary else 0
        service = names.canary_service(model) if to_canary else names.stable_service(model)
        pods = self.endpoints(service)
        self.sent += 1
        if not pods:
            self.lost.append(f"{service} has no ready pod")
            return
        if service == names.stable_service(model):
            load.full = max(load.full, len(pods))
        pod = pods[next(self._turn) % len(pods)]
        pod.serve(self._kubelet.behaviour(pod.image))

    def _weight_rises(self, model: str, weight: int) -> None:
        load = self._loads.get(model)
        pods = len(self.endpoints(names.canary_service(model)))
        if load is not None and weight * load.full > 100 * pods:
            self.lost.append(f"{weight}% for {pods} pods, where stable has {load.full}")

    def _service_changed(self, before: Manifest | None, item: Manifest | None) -> None:
        if before is None or item is None or item["metadata"]["name"] not in self._loads:
            return
        weight = self._gateway.weight(item["metadata"]["name"])
        if before["spec"].get("selector") != item["spec"].get("selector") and weight not in (None, 100):
            self.lost.append(f"stable's Service has changed its pods while {100 - weight}% go to it")

    def endpoints(self, service: str) -> list[PodServer]:
        """Return the ready pods behind a Service as it is now."""
        found = self._services.items.get(service)
        return self._kubelet.ready(found["spec"].get("selector") or {}) if found is not None else []


def canary_weight(model: str, spec: Manifest) -> int:
    """Return the percent that a route's spec gives to the canary's backend."""
    (main,) = (rule for headers, rule in rules_of({"spec": spec}) if not headers)
    return percent_to(main, names.canary_service(model))


def _generations(route: Manifest) -> set[int]:
    """Return the generations that a route's status says were taken over."""
    said = (route.get("status") or {}).get("parents") or ()
    return {condition["observedGeneration"] for parent in said for condition in parent["conditions"]}


def _condition(kind: str, generation: int) -> Manifest:
    return {
        "type": kind,
        "status": "True",
        "reason": kind,
        "message": "",
        "observedGeneration": generation,
        "lastTransitionTime": now(),
    }

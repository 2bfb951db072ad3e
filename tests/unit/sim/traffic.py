"""Requests: a steady stream, split by weights and selectors among the pods that are ready."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from ekiben.core.snapshot import Ref
from unit.sim.activator import Activator
from unit.sim.apiserver import ApiServer
from unit.sim.clock import Clock
from unit.sim.nodes import Nodes, SimPod

Weights = Mapping[str, int]
Headers = frozenset[tuple[str, str]]
# A pod with as much as it can take is not overloaded.
NOISE = 1e-6


class Traffic:
    """Callers from outside through the Gateway (or the Service without one), and others inside.

    `kept` comes over connections that callers keep open to a version's pods, whatever Services select;
    `with_headers` are requests a second that carry headers, which the rule with most of them takes.
    Requests are fluid: every stretch of time between two events brings `rate` a second, in fractions.
    """

    def __init__(
        self, clock: Clock, server: ApiServer, nodes: Nodes, activator: Activator | None = None
    ) -> None:
        self.clock, self.server, self.nodes, self.activator = clock, server, nodes, activator
        self.rate = 0.0
        self.inside_rate = 0.0
        self.kept: dict[str, float] = {}
        self.through_gateway = True
        self.with_headers: dict[Headers, float] = {}
        self.weights: Weights | None = None
        self.by_header: Mapping[Headers, Weights] = {}
        self.on_weights: Callable[[Weights], None] = lambda weights: None
        self.sent = 0.0
        self.lost = 0.0
        self.lost_why: dict[str, float] = defaultdict(float)
        self.served_by: dict[str, float] = defaultdict(float)
        self._last = self._elapsed = 0.0
        earlier = clock.before_each

        def flow() -> None:
            earlier()
            self.flow()

        clock.before_each = flow

    def set_weights(self, weights: Weights) -> None:
        """Take new weights into the data plane."""
        self.weights = weights
        self.on_weights(weights)

    def flow(self) -> None:
        """Send the requests of the time since the last call."""
        elapsed, self._last = self.clock.now - self._last, self.clock.now
        self._elapsed = elapsed
        self._hand_out()
        if elapsed <= 0 or not (self.rate or self.inside_rate or self.kept):
            return
        for tag, rate in self.kept.items():
            self._serve([pod for pod in self.nodes.of(tag) if pod.ready], rate * elapsed)
        name = self.server.model["metadata"]["name"]
        self._send(name, self.inside_rate * elapsed)
        if not self.through_gateway:
            self._send(name, self.rate * elapsed)
        else:
            self._split(self.weights, self.rate * elapsed)
            for headers, rate in self.with_headers.items():
                fitting = [known for known in self.by_header if known <= headers]
                most = max(fitting, key=len, default=frozenset())
                self._split(self.by_header.get(most, self.weights), rate * elapsed)

    def burst(self, requests: float) -> None:
        """Send some requests at once."""
        if self.through_gateway:
            self._split(self.weights, requests)
        else:
            self._send(self.server.model["metadata"]["name"], requests)

    def _hand_out(self) -> None:
        """Give what the activator holds to pods that are ready, and give up what it held for too long."""
        if self.activator is None or not self.activator.held:
            return
        pods = self._pods(self.server.model["metadata"]["name"])
        if pods:
            self._serve(pods, self.activator.take())
        elif late := self.activator.given_up():
            self._lose("held for too long", late)

    def _split(self, weights: Weights | None, amount: float) -> None:
        total = sum(weights.values()) if weights else 0
        if not weights or not total:
            self._lose("no route", amount)
            return
        for service, weight in weights.items():
            self._send(service, amount * weight / total)

    def _send(self, service: str, amount: float) -> None:
        if not amount:
            return
        pods, activator = self._pods(service), self.activator
        if activator is not None and service == self.server.model["metadata"]["name"]:
            passing = amount * activator.share(len(pods))
            if passing and (lost := passing * activator.lost_share()):
                self._lose("the activator is not there", lost)
                amount, passing = amount - lost, passing - lost
            if passing and not pods:
                activator.hold(passing)
                return
        if not amount:
            return
        if not pods:
            self._lose(f"Service {service} without ready pods", amount)
            return
        self._serve(pods, amount)

    def _pods(self, service: str) -> list[SimPod]:
        live = self.server.objects.get(Ref("Service", service))
        return list(self.nodes.selected(live["spec"]["selector"])) if live else []

    def _serve(self, pods: list[SimPod], amount: float) -> None:
        self.sent += amount if pods else 0.0
        each = amount / max(len(pods), 1)
        for pod in pods:
            behaviour = self.nodes.behaviour(pod.tag)
            self.served_by[pod.deployment] += each
            pod.served.requests += each
            pod.last_request = self.clock.now
            pod.served.errors += each * behaviour.errors
            pod.served.sheds += each * behaviour.sheds
            overloaded = self._elapsed > 0 and each / self._elapsed > behaviour.capacity * (1 + NOISE)
            pod.served.slow += each * (1.0 if overloaded else behaviour.slow)

    def _lose(self, why: str, amount: float) -> None:
        self.sent += amount
        self.lost += amount
        self.lost_why[why] += amount

"""The activator, as far as requests feel it: who comes to it, what it holds, and what it says of that."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ekiben.activator.models import limits_of, trim_model
from ekiben.core import names
from ekiben.core.asking import Question
from ekiben.core.idleness import LastRequest, Seen
from ekiben.core.snapshot import Ref
from unit.sim.apiserver import ApiServer
from unit.sim.clock import Clock
from unit.sim.nodes import Nodes, SimPod

if TYPE_CHECKING:
    from unit.sim.observe import Cluster

# So long a change of a slice takes until every node and gateway has heard of it.
SLICE_DELAY = 4.0
DEMAND_DELAY = 0.1


class Activator:
    """Holds what comes while no pod is ready; `cluster.activators` are the pods of it that there are."""

    def __init__(self, clock: Clock, server: ApiServer, nodes: Nodes, cluster: Cluster) -> None:
        self.clock, self.server, self.nodes, self.cluster = clock, server, nodes, cluster
        self.led: tuple[str, ...] = ()
        self.held: deque[tuple[float, float]] = deque()
        self.wake_operator: Callable[[], None] = lambda: None
        server.watchers.append(self._changed)

    def _changed(self, ref: Ref) -> None:
        if ref.kind == "EndpointSlice":
            self.clock.after(SLICE_DELAY, lambda: self._heard(ref))

    def _heard(self, ref: Ref) -> None:
        live = self.server.objects.get(ref, {})
        self.led = tuple(item["addresses"][0] for item in live.get("endpoints", ()))

    def share(self, pods: int) -> float:
        """Return the part of a Service's requests that comes here, beside so many ready pods."""
        return len(self.led) / (len(self.led) + pods) if self.led else 0.0

    def lost_share(self) -> float:
        """Return the part of what comes here that finds nobody."""
        alive = set(self.cluster.activators or ())
        return sum(address not in alive for address in self.led) / len(self.led) if self.led else 0.0

    def hold(self, amount: float) -> None:
        """Hold some requests."""
        if not self.held:
            self.clock.after(DEMAND_DELAY, self._tell)
        self.held.append((self.clock.now, amount))

    def take(self) -> float:
        """Hand out what is held, since pods are ready."""
        total = sum(amount for _, amount in self.held)
        if self.held:
            self.held.clear()
            self.clock.after(DEMAND_DELAY, self._tell)
        return total

    def given_up(self) -> float:
        """Return what was held for too long, and hold it no longer."""
        total, limits = 0.0, limits_of(trim_model(self.server.model))
        while self.held and self.held[0][0] + limits.wake_seconds < self.clock.now:
            total += self.held.popleft()[1]
        return total

    def _tell(self) -> None:
        demanded = bool(self.held)
        if demanded != self.cluster.demanded:
            self.cluster.demanded = demanded
            self.wake_operator()

    def last_request(self, question: Question) -> Seen:
        """Answer what pods say of their requests."""
        assert isinstance(question, LastRequest)
        asked = {uid for uid, _ in question.pods}
        pods: list[SimPod] = [pod for pod in self.nodes.pods.values() if pod.uid in asked]
        known = [pod.last_request for pod in pods if pod.last_request is not None]
        return Seen(self.clock.at(max(known)) if known else None, 0)


SLICE = Ref("EndpointSlice", names.activator_slice("iris"))

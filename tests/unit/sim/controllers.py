"""The controllers that act on Ekiben's children: Deployments, autoscalers, Gateway."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ekiben.core.snapshot import Manifest, Ref
from ekiben.core.splitting import rules_of
from unit.sim.apiserver import ApiServer
from unit.sim.clock import Clock
from unit.sim.keda import Keda
from unit.sim.nodes import Nodes, SimPod
from unit.sim.traffic import Traffic

DEPLOYMENT_DELAY = 0.05
GATEWAY_DELAY = 0.3
ROUTE_STATUS_DELAY = 0.2
AUTOSCALER_PERIOD = 15.0
SCALE_DOWN_STABILIZATION = 300.0
HPA = "HorizontalPodAutoscaler"


class DeploymentController:
    """Keeps each Deployment's pods at its replicas, and its status at its pods."""

    def __init__(self, clock: Clock, server: ApiServer, nodes: Nodes) -> None:
        self.clock, self.server, self.nodes = clock, server, nodes
        # So long it takes from settling that a pod is one too many until that pod is told.
        self.tells_after = 0.0
        self._queued: set[Ref] = set()
        server.watchers.append(self._enqueue)
        nodes.watchers.append(lambda pod: self._enqueue(Ref("Deployment", pod.deployment)))

    def _enqueue(self, ref: Ref) -> None:
        if ref.kind == "Deployment" and ref not in self._queued:
            self._queued.add(ref)
            self.clock.after(DEPLOYMENT_DELAY, lambda: self._reconcile(ref))

    def _reconcile(self, ref: Ref) -> None:
        self._queued.discard(ref)
        live = self.server.objects.get(ref)
        owner = live["metadata"]["uid"] if live else ""
        pods = []
        for pod in [item for item in self.nodes.pods.values() if item.deployment == ref.name]:
            if pod.owner != owner:
                self.nodes.delete(pod)
            elif not pod.deleting:
                pods.append(pod)
        wanted = live["spec"]["replicas"] if live else 0
        for _ in range(wanted - len(pods)):
            assert live is not None
            self.nodes.create(ref.name, owner, live["spec"]["template"])
        for pod in sorted(pods, key=_first_to_go)[: max(0, len(pods) - wanted)]:
            self._give_up(pod)
        if live:
            self._report(ref, live)

    def _give_up(self, pod: SimPod) -> None:
        if self.tells_after:
            self.clock.after(self.tells_after, lambda: self.nodes.delete(pod))
        else:
            self.nodes.delete(pod)

    def _report(self, ref: Ref, live: Manifest) -> None:
        pods = [pod for pod in self.nodes.pods.values() if pod.deployment == ref.name and not pod.deleting]
        ready = sum(pod.ready for pod in pods)
        status = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": len(pods) - ready,
        }
        self.server.edit(ref, status=status)


def _first_to_go(pod: SimPod) -> tuple[bool, float]:
    """Order pods as a ReplicaSet gives them up: the unready first, then the youngest."""
    return pod.ready, -pod.created


class Autoscalers:
    """Keeps each HPA's target within its bounds and at what its load asks for; of two on one, none."""

    def __init__(self, clock: Clock, server: ApiServer, traffic: Traffic, keda: Keda) -> None:
        self.clock, self.server, self.traffic, self.keda = clock, server, traffic, keda
        self.requests_per_pod: float | None = None
        # Why the metrics can't be read, as the real ones say it; "" while they can.
        self.fails = ""
        # Of these Deployments alone; with none of them of all.
        self.fails_of: frozenset[str] = frozenset()
        self._wishes: dict[Ref, list[tuple[float, int]]] = {}
        self._served: dict[str, float] = {}
        self._synced = 0.0
        clock.after(AUTOSCALER_PERIOD, self._sync)

    def _sync(self) -> None:
        rates = self._rates()
        found = {ref: live for ref, live in self.server.objects.items() if ref.kind == HPA}
        targets = [live["spec"]["scaleTargetRef"]["name"] for live in found.values()]
        for ref, autoscaler in found.items():
            # The real ones say AmbiguousSelector.
            if targets.count(autoscaler["spec"]["scaleTargetRef"]["name"]) == 1:
                self._scale(ref, autoscaler, rates)
        self.clock.after(AUTOSCALER_PERIOD, self._sync)

    def _rates(self) -> dict[str, float]:
        """Return each Deployment's requests per second since the last sync."""
        elapsed = self.clock.now - self._synced
        rates = {
            name: (total - self._served.get(name, 0.0)) / elapsed
            for name, total in self.traffic.served_by.items()
        }
        self._served, self._synced = dict(self.traffic.served_by), self.clock.now
        return rates

    def _scale(self, ref: Ref, autoscaler: Manifest, rates: dict[str, float]) -> None:
        spec = autoscaler["spec"]
        target = Ref("Deployment", spec["scaleTargetRef"]["name"])
        deployment = self.server.objects.get(target)
        if deployment is None or deployment["spec"]["replicas"] == 0:
            return
        current: int = deployment["spec"]["replicas"]
        fails = self._fails(autoscaler)
        by_load = current if fails else self._wished(target.name, rates.get(target.name, 0.0))
        wish = current if fails else self.keda.wished(autoscaler, by_load, current)
        wished = self._stabilised(ref, spec, wish)
        if (
            wished < current
            and spec.get("behavior", {}).get("scaleDown", {}).get("selectPolicy") == "Disabled"
        ):
            wished = current
        wished = max(spec["minReplicas"], min(spec["maxReplicas"], wished))
        if wished != current:
            self.server.scale(target.name, wished)
        told = (autoscaler.get("status") or {}).get("conditions") or ()
        status = {
            "currentReplicas": current,
            "desiredReplicas": wished,
            "conditions": [self._active(told, fails)],
        }
        self.server.edit(ref, status=status)

    def _fails(self, autoscaler: Manifest) -> str:
        """Return why an autoscaler can't read its metrics; "" where it can."""
        target = autoscaler["spec"]["scaleTargetRef"]["name"]
        own = self.fails if target in self.fails_of or not self.fails_of else ""
        return own or self.keda.fails(autoscaler)

    def _active(self, told: Sequence[dict[str, Any]], fails: str) -> dict[str, Any]:
        """Return the condition; its time moves with its status only."""
        status, now = ("False" if fails else "True"), self.clock.at(self.clock.now).isoformat()
        known = [item["lastTransitionTime"] for item in told if item["status"] == status]
        return {
            "type": "ScalingActive",
            "status": status,
            "reason": fails or "ValidMetricFound",
            "lastTransitionTime": next(iter(known), now),
        }

    def _wished(self, deployment: str, rate: float) -> int:
        """Return the pods for so many requests a second: what each can take, where that is known."""
        tags = {pod.tag for pod in self.traffic.nodes.pods.values() if pod.deployment == deployment}
        known = [self.traffic.nodes.behaviour(tag).capacity for tag in tags]
        each = min((item for item in known if item < math.inf), default=self.requests_per_pod)
        return math.ceil(rate / each - 0.1) if each else 1

    def _stabilised(self, ref: Ref, spec: dict[str, Any], wish: int) -> int:
        down = spec.get("behavior", {}).get("scaleDown", {})
        window = down.get("stabilizationWindowSeconds", SCALE_DOWN_STABILIZATION)
        since = self.clock.now - window
        wishes = [(at, n) for at, n in self._wishes.get(ref, ()) if at >= since] + [(self.clock.now, wish)]
        self._wishes[ref] = wishes
        return max(n for _, n in wishes)


def _weights(rule: dict[str, Any]) -> dict[str, int]:
    return {item["name"]: item["weight"] for item in rule["backendRefs"]}


class GatewayController:
    """Takes routes into the data plane a moment after they were written, then says so in their status."""

    def __init__(self, clock: Clock, server: ApiServer, traffic: Traffic) -> None:
        self.clock, self.server, self.traffic = clock, server, traffic
        self.present = True
        self.accepts = True
        self._queued: set[Ref] = set()
        server.watchers.append(self._enqueue)

    def appear(self) -> None:
        """Let the Gateway come into being."""
        self.present = True
        for ref in self.server.objects:
            self._enqueue(ref)

    def _enqueue(self, ref: Ref) -> None:
        if ref.kind == "HTTPRoute" and self.present and ref not in self._queued:
            self._queued.add(ref)
            self.clock.after(GATEWAY_DELAY, lambda: self._program(ref))

    def _program(self, ref: Ref) -> None:
        self._queued.discard(ref)
        live, is_main = self.server.objects.get(ref), ref.name == self.server.model["metadata"]["name"]
        if live is None:
            self.traffic.weights = None if is_main else self.traffic.weights
            return
        split = {headers: _weights(rule) for headers, rule in rules_of(live)}
        weights = split.pop(frozenset(), {})
        if self.accepts and is_main:
            self.traffic.by_header = split
        if self.accepts and is_main and weights != self.traffic.weights:
            self.traffic.set_weights(weights)
        generation = live["metadata"]["generation"]
        self.clock.after(ROUTE_STATUS_DELAY, lambda: self._report(ref, generation))

    def _report(self, ref: Ref, generation: int) -> None:
        live = self.server.objects.get(ref)
        if live is None:
            return
        accepted = {
            "type": "Accepted",
            "status": "True" if self.accepts else "False",
            "reason": "Accepted" if self.accepts else "NotAllowedByListeners",
            "message": "" if self.accepts else "no listener allows this namespace",
            "observedGeneration": generation,
        }
        resolved = {
            "type": "ResolvedRefs",
            "status": "True",
            "reason": "ResolvedRefs",
            "message": "",
            "observedGeneration": generation,
        }
        parents = [
            {
                "parentRef": parent,
                "controllerName": "example.com/gateway",
                "conditions": [accepted, resolved],
            }
            for parent in live["spec"]["parentRefs"]
        ]
        self.server.edit(ref, status={"parents": parents})

"""KEDA: makes a HorizontalPodAutoscaler of each ScaledObject, and takes it away before it lets that go."""

from __future__ import annotations

from math import ceil
from typing import Any

from ekiben.core.snapshot import Manifest, Ref
from unit.sim.apiserver import ApiServer
from unit.sim.clock import Clock

DELAY = 0.3
FINALIZER = "finalizer.keda.sh"
KINDS = ("ScaledObject", "TriggerAuthentication")


class Keda:
    """`runs` tells whether its operator is there; `broken` what it says of a ScaledObject that it can't use.

    `outage` says that nobody whom it asks answers, `window` how many pods the schedules ask for now, `queues`
    how many messages wait in each, and `computed` what every formula gives.
    """

    def __init__(self, clock: Clock, server: ApiServer) -> None:
        self.clock, self.server = clock, server
        self.runs = True
        self.broken = ""
        self.outage = False
        self.window = 0
        self.queues: dict[str, int] = {}
        self.computed = 0
        server.watchers.append(self._changed)

    def look_again(self) -> None:
        """Reconcile everything, as when it starts, or when what it can read has changed."""
        for ref in list(self.server.objects):
            self._changed(ref)

    def fails(self, autoscaler: Manifest) -> str:
        """Return why an autoscaler of its making can't read: whom it asks is down; "" for any other."""
        return "FailedGetExternalMetric" if _maker(autoscaler) and not self.runs else ""

    def wished(self, autoscaler: Manifest, by_load: int, current: int) -> int:
        """Return what an autoscaler of its making wishes."""
        made_of = _maker(autoscaler)
        scaled = self.server.objects.get(Ref("ScaledObject", made_of)) if made_of else None
        if scaled is None:
            return by_load
        spec = scaled["spec"]
        if self.outage and "fallback" in spec:
            return max(current, int(spec["fallback"]["replicas"]))
        if modifiers := spec["advanced"].get("scalingModifiers"):
            return ceil(self.computed / int(modifiers["target"]))
        return max(self._asked(trigger, by_load) for trigger in spec["triggers"])

    def _asked(self, trigger: Manifest, by_load: int) -> int:
        """Return for how many pods one trigger asks."""
        told = trigger["metadata"]
        match trigger["type"]:
            case "cron":
                return self.window
            case "rabbitmq":
                return ceil(self.queues.get(told["queueName"], 0) / int(told["value"]))
        return by_load

    def _changed(self, ref: Ref) -> None:
        if ref.kind == "ScaledObject" and self.runs:
            self.clock.after(DELAY, lambda: self._reconcile(ref))

    def _reconcile(self, ref: Ref) -> None:
        live = self.server.objects.get(ref)
        if live is None or not self.runs:
            return
        about, made = live["metadata"], Ref("HorizontalPodAutoscaler", f"keda-hpa-{ref.name}")
        if "deletionTimestamp" in about:
            if made in self.server.objects:
                self.server.delete(made)
            self.server.finish(ref)
            return
        if FINALIZER not in about.get("finalizers", ()):
            self.server.edit(ref, metadata={**about, "finalizers": [FINALIZER]})
            return
        self._make(made, live)
        self.server.edit(ref, status={"conditions": self._conditions()})

    def _make(self, made: Ref, scaled: Manifest) -> None:
        spec, about = scaled["spec"], scaled["metadata"]
        wanted = {
            "scaleTargetRef": spec["scaleTargetRef"],
            "minReplicas": spec["minReplicaCount"],
            "maxReplicas": spec["maxReplicaCount"],
            "behavior": spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
        }
        if made in self.server.objects:
            self.server.edit(made, spec=wanted)
            return
        owner = {"kind": "ScaledObject", "name": about["name"], "uid": about["uid"], "controller": True}
        metadata = {"name": made.name, "labels": about["labels"], "ownerReferences": [owner]}
        self.server.create(
            {"apiVersion": "autoscaling/v2", "kind": made.kind, "metadata": metadata, "spec": wanted}
        )

    def _conditions(self) -> list[dict[str, Any]]:
        ready = "False" if self.broken else "True"
        return [
            {"type": "Ready", "status": ready, "reason": "Checked", "message": self.broken},
            {"type": "Fallback", "status": str(self.outage), "reason": "Looked", "message": ""},
        ]


def _maker(autoscaler: Manifest) -> str:
    owners = autoscaler["metadata"].get("ownerReferences") or ()
    return next((str(owner["name"]) for owner in owners if owner["kind"] == "ScaledObject"), "")

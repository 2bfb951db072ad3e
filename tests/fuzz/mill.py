"""Pass after pass over one model, its children as the plans make them and its pods always ready."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from ekiben.api.policy import EVERY_ACCOUNT, NAMES, PodPolicy
from ekiben.api.v1alpha1 import API_VERSION, KIND
from ekiben.core import names as n
from ekiben.core.plan import Plan
from ekiben.core.reconcile import decide
from ekiben.core.snapshot import Manifest, Ref
from ekiben.observe import Remembered, Seen, build_snapshot

START = datetime(2026, 1, 1, tzinfo=UTC)
ANYTHING = PodPolicy(frozenset(NAMES), frozenset({EVERY_ACCOUNT}))
# More passes than these that write something, at one instant, are a loop.
PASSES_AT_ONCE = 30
PODS = 3


class Mill:
    """One model in a cluster that does at once what is asked of it."""

    def __init__(self, spec: Any, status: Any = None) -> None:
        about = {"namespace": "shop", "name": "iris", "uid": "u-1", "generation": 1, "resourceVersion": "1"}
        self.model: Manifest = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": about,
            "spec": copy.deepcopy(spec),
        }
        if status is not None:
            self.model["status"] = copy.deepcopy(status)
        self.children: dict[Ref, Manifest] = {}
        self.now = START

    def change(self, spec: Any) -> None:
        """Apply another spec."""
        self.model["spec"] = copy.deepcopy(spec)
        self.model["metadata"]["generation"] += 1

    def turn(self, minutes: int = 30, waits: int = 12) -> None:
        """Make passes until nothing is due, or until this much time or this many waits are over."""
        end, written = self.now + timedelta(minutes=minutes), 0
        while self.now < end:
            plan = self.one_pass()
            quiet = plan.status is None and not (plan.applies or plan.scales or plan.deletes)
            written = 0 if quiet else written + 1
            assert written <= PASSES_AT_ONCE, f"a loop: {plan.notes}"
            if not quiet or plan.requeue_after == 0:
                assert not quiet, f"a pass that writes nothing asks for the next at once: {plan.notes}"
                continue
            waits -= 1
            if plan.requeue_after is None or waits < 0:
                return
            self.now += timedelta(seconds=plan.requeue_after)

    def one_pass(self) -> Plan:
        """Decide once, and do what was decided."""
        seen = Seen(model=self.model, children=tuple(self.children.values()), pods=self._pods())
        plan = decide(build_snapshot(seen, Remembered(), self.now, ANYTHING))
        if plan.status is not None:
            self.model["status"] = json.loads(json.dumps(plan.status.to_wire()))
        for manifest in plan.applies:
            self._apply(json.loads(json.dumps(manifest)))
        for scale in plan.scales:
            self.children[Ref("Deployment", scale.deployment)]["spec"]["replicas"] = scale.replicas
        for delete in plan.deletes:
            del self.children[delete.ref]
        return plan

    @property
    def status(self) -> Manifest:
        """The status as it was last written."""
        found: Manifest = self.model.get("status", {})
        return found

    def _apply(self, manifest: Manifest) -> None:
        ref = Ref(manifest["kind"], manifest["metadata"]["name"])
        manifest["metadata"] |= {
            "uid": f"u-{ref.kind}-{ref.name}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
        manifest["metadata"].pop("resourceVersion", None)
        before = self.children.get(ref)
        if ref.kind == "Deployment":
            manifest["spec"]["replicas"] = before["spec"]["replicas"] if before else 1
        self.children[ref] = manifest

    def _pods(self) -> tuple[Manifest, ...]:
        started = "2026-01-01T00:00:00Z"
        pods = []
        for ref, child in self.children.items():
            if ref.kind != "Deployment":
                continue
            labels = {n.MODEL: "iris", n.REVISION: child["metadata"]["labels"][n.REVISION]}
            running = {"name": n.CONTAINER, "restartCount": 0, "state": {"running": {"startedAt": started}}}
            status = {
                "phase": "Running",
                "podIP": "192.0.2.1",
                "conditions": [
                    {"type": kind, "status": "True", "lastTransitionTime": started}
                    for kind in ("PodScheduled", "Ready")
                ],
                "containerStatuses": [running],
            }
            for number in range(min(child["spec"]["replicas"], PODS)):
                name = f"{ref.name}-{number}"
                about = {"name": name, "uid": f"u-{name}", "labels": labels}
                pods.append({"kind": "Pod", "metadata": about, "spec": {}, "status": status})
        return tuple(pods)

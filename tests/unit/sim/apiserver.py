"""An API server for one model and its children: server-side apply, optimistic locks, defaults."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ekiben.core.names import MANAGER
from ekiben.core.snapshot import Manifest, Ref
from unit.sim.clock import Clock, time_text
from unit.sim.defaults import with_defaults
from unit.sim.merge import merged

NAMESPACE = "shop"
MODEL_UID = "model-uid"
API_VERSIONS = {
    "Deployment": "apps/v1",
    "ControllerRevision": "apps/v1",
    "Service": "v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "ScaledObject": "keda.sh/v1alpha1",
    "TriggerAuthentication": "keda.sh/v1alpha1",
    "PodDisruptionBudget": "policy/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "ConfigMap": "v1",
    "Job": "batch/v1",
    "EndpointSlice": "discovery.k8s.io/v1",
}


class ApiError(Exception):
    """The server's refusal of one request."""

    def __init__(self, kind: Literal["Conflict", "NotFound", "Rejected", "Network"], message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


@dataclass(frozen=True)
class Write:
    """One write that the server accepted from the operator; `changed` tells whether it changed anything."""

    at: float
    verb: str
    ref: Ref
    changed: bool


class ApiServer:
    """Stores objects by kind and name, and tells its watchers about every change."""

    def __init__(self, clock: Clock, name: str, spec: dict[str, Any]) -> None:
        self.clock = clock
        meta = {
            "name": name,
            "namespace": NAMESPACE,
            "uid": MODEL_UID,
            "generation": 1,
            "resourceVersion": "1",
        }
        self.model: Manifest = {
            "apiVersion": "ekiben.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": meta,
            "spec": spec,
            "status": {},
        }
        self.objects: dict[Ref, Manifest] = {}
        self.admit: Callable[[Manifest], str] = lambda intent: ""
        self.watchers: list[Callable[[Ref], None]] = []
        self.model_watchers: list[Callable[[], None]] = []
        self._intents: dict[Ref, Manifest] = {}
        self._version = 1

    def apply(self, intent: Manifest) -> tuple[Manifest, bool]:
        """Apply a manifest as our field manager, with force; return the object and whether it changed."""
        ref = ref_of(intent)
        meta = intent["metadata"]
        live = self.objects.get(ref)
        if refusal := self.admit(intent):
            raise ApiError("Rejected", refusal)
        if API_VERSIONS[ref.kind] != intent["apiVersion"]:
            raise ApiError("Rejected", f"no matches for kind {ref.kind} in {intent['apiVersion']}")
        for precondition in ("resourceVersion", "uid"):
            if precondition in meta and (
                live is None or live["metadata"][precondition] != meta[precondition]
            ):
                raise ApiError("Conflict", f"{ref.kind} {ref.name}: {precondition} is another")
        own = {k: v for k, v in meta.items() if k not in ("resourceVersion", "uid")}
        intent = json.loads(json.dumps({**intent, "metadata": own}))
        result = with_defaults(ref, merged(live or {}, self._intents.get(ref, {}), intent))
        self._intents[ref] = intent
        return self._store(ref, result, live, applied=True)

    def scale(self, deployment: str, replicas: int) -> tuple[Manifest, bool]:
        """Set a Deployment's replicas through its scale subresource."""
        ref = Ref("Deployment", deployment)
        live = self._existing(ref)
        return self._store(ref, {**live, "spec": {**live["spec"], "replicas": replicas}}, live)

    def edit(self, ref: Ref, **parts: Any) -> None:
        """Replace top-level parts of an object, as another client or a controller would."""
        live = self._existing(ref)
        self._store(ref, {**live, **parts}, live)

    def create(self, manifest: Manifest) -> None:
        """Create an object for somebody else."""
        self._store(ref_of(manifest), with_defaults(ref_of(manifest), manifest), None)

    def create_new(self, manifest: Manifest) -> tuple[Manifest, bool]:
        """Create an object that must not be there yet."""
        ref = ref_of(manifest)
        if ref in self.objects:
            raise ApiError("Conflict", f"{ref.kind} {ref.name} exists already")
        return self._store(ref, with_defaults(ref, json.loads(json.dumps(manifest))), None)

    def delete(self, ref: Ref, uid: str | None = None) -> None:
        """Delete an object; with a uid only if it still is that one."""
        live = self._existing(ref)
        if uid is not None and live["metadata"]["uid"] != uid:
            raise ApiError("Conflict", f"{ref.kind} {ref.name}: uid is another")
        if live["metadata"].get("finalizers"):
            if "deletionTimestamp" not in live["metadata"]:
                gone = {**live["metadata"], "deletionTimestamp": time_text(self.clock.now)}
                self._store(ref, {**live, "metadata": gone}, live)
            return
        self.finish(ref)

    def finish(self, ref: Ref) -> None:
        """Let an object go for good, its finalizers taken away."""
        del self.objects[ref]
        self._intents.pop(ref, None)
        self._tell(ref)

    def write_status(self, status: dict[str, Any], resource_version: str) -> bool:
        """Replace the model's status under an optimistic lock; tell whether it changed."""
        if resource_version != self.model["metadata"]["resourceVersion"]:
            raise ApiError("Conflict", "the model has been modified")
        if status == self.model["status"]:
            return False
        self._change_model(status=json.loads(json.dumps(status)))
        return True

    def edit_model(self, spec: dict[str, Any]) -> None:
        """Replace the model's spec, as a user does."""
        if spec != self.model["spec"]:
            self._change_model({"generation": self.model["metadata"]["generation"] + 1}, spec=spec)

    def lose_status(self) -> None:
        """Empty the model's status, as a restore from a backup does."""
        self._change_model(status={})

    def delete_model(self) -> None:
        """Mark the model as being deleted, as with foreground deletion."""
        self._change_model({"deletionTimestamp": time_text(self.clock.now)})

    def _change_model(self, meta: Mapping[str, Any] | None = None, **parts: Any) -> None:
        self._version += 1
        metadata = {**self.model["metadata"], **(meta or {}), "resourceVersion": str(self._version)}
        self.model = {**self.model, **parts, "metadata": metadata}
        for watcher in self.model_watchers:
            watcher()

    def _existing(self, ref: Ref) -> Manifest:
        if ref not in self.objects:
            raise ApiError("NotFound", f"{ref.kind} {ref.name}")
        return self.objects[ref]

    def _store(
        self, ref: Ref, result: Manifest, live: Manifest | None, *, applied: bool = False
    ) -> tuple[Manifest, bool]:
        if live is not None and _without_versions(result) == _without_versions(live):
            return live, False
        self._version += 1
        meta = {
            **result["metadata"],
            "uid": live["metadata"]["uid"] if live else f"{ref.kind.lower()}-{self._version}",
            "resourceVersion": str(self._version),
            "generation": _generation(result, live),
            "creationTimestamp": live["metadata"]["creationTimestamp"] if live else time_text(self.clock.now),
        }
        # The one kind of which it is read when we changed it last.
        if applied and ref.kind == "ScaledObject":
            written = {"manager": MANAGER, "operation": "Apply", "time": time_text(self.clock.now)}
            meta["managedFields"] = [written]
        self.objects[ref] = {**result, "metadata": meta}
        self._tell(ref)
        return self.objects[ref], True

    def _tell(self, ref: Ref) -> None:
        for watcher in self.watchers:
            watcher(ref)


def ref_of(manifest: Mapping[str, Any]) -> Ref:
    """Name the object that a manifest describes."""
    return Ref(manifest["kind"], manifest["metadata"]["name"])


def _without_versions(manifest: Manifest) -> Manifest:
    meta = {
        k: v
        for k, v in manifest["metadata"].items()
        if k not in ("resourceVersion", "generation", "uid", "creationTimestamp", "managedFields")
    }
    return {**manifest, "metadata": meta}


def _generation(result: Manifest, live: Manifest | None) -> int:
    if live is None:
        return 1
    generation: int = live["metadata"]["generation"]
    return generation + (result.get("spec") != live.get("spec"))

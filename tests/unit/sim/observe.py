"""What the operator's watches have brought it, and what it remembers of its own writes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ekiben.api.v1alpha1 import parse_spec
from ekiben.core.asking import Answer, Question
from ekiben.core.names import MANAGED_BY, MANAGER
from ekiben.core.snapshot import (
    Applied,
    Content,
    Keda,
    Manifest,
    Observation,
    Preflight,
    Ref,
    Settled,
    Snapshot,
)
from ekiben.core.tracking import content_digest, tracked_maps
from ekiben.observe import Readings, Remembered, Seen, build_snapshot
from ekiben.observe_pods import is_coming
from ekiben.observe_scalers import wants_keda
from ekiben.ownership import CHILD_KINDS, fixed_refs
from ekiben.trims import trim_autoscaler, trim_scaled_object
from unit.sim.apiserver import ApiServer
from unit.sim.controllers import HPA
from unit.sim.keda import KINDS as KEDA_KINDS
from unit.sim.nodes import Nodes

GATEWAY = ("infra", "models")
GATEWAY_CLASS = "sim"
# What is read of these is little of what they say.
TRIMS = {HPA: trim_autoscaler, "ScaledObject": trim_scaled_object}


class Cluster:
    """What is neither the model's nor its pods': the Gateway, and how fresh our watches are."""

    def __init__(self) -> None:
        self.gateway_api = True
        self.gateway = True
        self.watches_fresh = True
        self.preflight: Preflight = "none"
        self.keda: Keda = "disabled"
        self.triggers: frozenset[str] = frozenset()
        self.activators: tuple[str, ...] | None = None
        self.demanded = False
        self.templates: dict[str, Manifest] = {}

    def gateways(self) -> dict[tuple[str, str], Manifest]:
        """Return the Gateways that exist."""
        spec, programmed = {"gatewayClassName": GATEWAY_CLASS}, {"type": "Programmed", "status": "True"}
        return {GATEWAY: {"spec": spec, "status": {"conditions": [programmed]}}} if self.gateway else {}


class Cache:
    """Children, pods and model as the watches brought them: late, never older than our own writes."""

    def __init__(self, server: ApiServer, nodes: Nodes, cluster: Cluster) -> None:
        self.server, self.nodes, self.cluster = server, nodes, cluster
        self.objects: dict[Ref, Manifest] = dict(server.objects)
        self.ledger: dict[Ref, Applied] = {}
        self.rejections: dict[Ref, str] = {}
        self.refused: dict[Ref, tuple[str, float]] = {}
        self.taken: set[Ref] = set()
        self.scaled: dict[str, int] = {}
        self.settled: Mapping[Ref, Settled] = {}
        self.readings = Readings()
        self.model: Manifest = server.model
        self.pods: dict[str, Manifest] = {pod.uid: pod.raw() for pod in nodes.pods.values()}

    def bring(self, ref: Ref, manifest: Manifest | None) -> bool:
        """Take over one object as a watch or an answer shows it; False when that is nothing new."""
        known = self.objects.get(ref)
        if manifest is None:
            live = self.server.objects.get(ref)
            # The name may have gone to a new object, which this news is not about.
            if known is not None and live is not None and live["metadata"]["uid"] == known["metadata"]["uid"]:
                return False
            return self.objects.pop(ref, None) is not None
        if known is not None and version_of(manifest) <= version_of(known):
            return False
        self.objects[ref] = manifest
        return True

    def bring_model(self, model: Manifest) -> bool:
        """Take over the model as a watch or an answer shows it; False when that is nothing new."""
        if version_of(model) <= version_of(self.model):
            return False
        self.model = model
        return True

    def bring_pod(self, uid: str, raw: Manifest | None) -> bool:
        """Take over one pod as a watch shows it; False when that is nothing new."""
        if raw is None:
            return self.pods.pop(uid, None) is not None
        known = self.pods.get(uid)
        self.pods[uid] = raw
        if known == raw:
            return False
        return not is_coming(raw) or (known is not None and not is_coming(known))

    def _config(self) -> dict[str, Content]:
        """Return what is known of the ConfigMaps that the spec tracks."""
        spec = parse_spec(self.model["spec"])
        return {name: _content(self.objects.get(Ref("ConfigMap", name))) for name in tracked_maps(spec)}

    def snapshot(
        self, observation: Observation | None, answers: Mapping[Question, Answer], now: datetime
    ) -> Snapshot:
        """Make of all this what one decision may see, with the operator's own code."""
        fixed = fixed_refs(self.model["metadata"]["name"])
        children = [
            _trimmed(manifest)
            for ref, manifest in self.objects.items()
            if (ref.kind in CHILD_KINDS and manifest["metadata"].get("labels", {}).get(MANAGED_BY) == MANAGER)
            or (ref.kind == "HTTPRoute" and ref in fixed)
        ]
        scalers = tuple(_trimmed(live) for ref, live in self.objects.items() if ref.kind == HPA)
        if not wants_keda(self.model, scalers) or self.cluster.keda == "disabled":
            # Nobody watches them.
            children = [item for item in children if item["kind"] not in KEDA_KINDS]
        seen = Seen(
            model=self.model,
            children=tuple(children),
            config=self._config(),
            pods=tuple(self.pods.values()),
            gateways=self.cluster.gateways(),
            gateway_classes={GATEWAY_CLASS: {}},
            templates=dict(self.cluster.templates),
            gateway_api=self.cluster.gateway_api,
            watches_fresh=self.cluster.watches_fresh,
            keda=self.cluster.keda,
            scalers=scalers,
            activators=self.cluster.activators,
            demanded=self.cluster.demanded,
        )
        remembered = Remembered(
            observation,
            dict(answers),
            self.ledger,
            self.rejections,
            frozenset(self.taken),
            settled=self.settled,
            readings=self.readings,
        )
        return build_snapshot(
            seen, remembered, now, preflight=self.cluster.preflight, triggers=self.cluster.triggers
        )


def _trimmed(manifest: Manifest) -> Manifest:
    trim = TRIMS.get(manifest["kind"])
    return trim(manifest) if trim else manifest


def _content(manifest: Manifest | None) -> Content:
    return Content(content_digest(manifest)) if manifest else Content()


def version_of(manifest: Manifest) -> int:
    """Return an object's resource version as a number."""
    return int(manifest["metadata"]["resourceVersion"])

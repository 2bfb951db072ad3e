"""One model in a simulated cluster: what scenarios act on and what they look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from ekiben.api.status import RolloutStatus, Stage, Status
from ekiben.api.v1alpha1 import Spec, parse_spec
from ekiben.core import names
from ekiben.core.asking import Question
from ekiben.core.idleness import LastRequest
from ekiben.core.plan import Plan
from ekiben.core.reconcile import decide as core_decide
from ekiben.core.revision import revision_of
from ekiben.core.snapshot import Content, Ref, Snapshot
from ekiben.core.snapshot import Keda as KedaState
from ekiben.core.splitting import percent_to, rules_of
from ekiben.core.steps import header_text
from ekiben.core.tracking import content_digest, tracked_maps, tracked_secrets
from unit.sim.activator import Activator
from unit.sim.apiserver import ApiServer
from unit.sim.asker import Oracle
from unit.sim.clock import Clock
from unit.sim.controllers import Autoscalers, DeploymentController, GatewayController
from unit.sim.jobs import Jobs
from unit.sim.keda import KINDS as KEDA_KINDS
from unit.sim.keda import Keda
from unit.sim.nodes import Behaviour, Nodes, SimPod
from unit.sim.observe import Cluster
from unit.sim.operator import Fault, Operator
from unit.sim.traffic import Traffic

MODEL = "iris"
IMAGE = "registry.example.com/iris"
# The children follow the status, at the latest when an operator that died in between is back.
DUST = 10.0
PATIENCE = 30.0


class World:
    """The cluster, its clock, its users and the operator; everything in it follows from spec and seed."""

    def __init__(
        self,
        spec: Mapping[str, Any],
        *,
        seed: int = 0,
        fault: Fault | None = None,
        decide: Callable[[Snapshot], Plan] = core_decide,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or Clock(seed)
        self.server = ApiServer(self.clock, MODEL, dict(spec))
        self.nodes = Nodes(self.clock)
        self.cluster = Cluster()
        self.activator = Activator(self.clock, self.server, self.nodes, self.cluster)
        self.traffic = Traffic(self.clock, self.server, self.nodes, self.activator)
        self.traffic.through_gateway = "traffic" in spec
        self.deployments = DeploymentController(self.clock, self.server, self.nodes)
        self.keda = Keda(self.clock, self.server)
        self.autoscalers = Autoscalers(self.clock, self.server, self.traffic, self.keda)
        self.gateway = GatewayController(self.clock, self.server, self.traffic)
        self.jobs = Jobs(self.clock, self.server)
        self.operator = Operator(self.clock, self.server, self.nodes, self.cluster, decide)
        self.operator.oracles[LastRequest] = self.activator.last_request
        self.activator.wake_operator = self.operator.wake
        self.operator.fault = fault
        self.nodes.config_map = lambda name: self.server.objects.get(Ref("ConfigMap", name))
        self._tags: dict[str, str] = {}
        self._name_revision()
        self.on_say: Callable[[str], None] = lambda text: None
        self.operator.on_note = self.say

    # -- time --------------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run_until(self.clock.now + seconds)

    def until(self, done: Callable[[], bool], within: float = 3600.0) -> None:
        """Let time pass until something is so; AssertionError when it is not so in time.

        An operator that fails once may take as much longer as it needs to come back.
        """
        patience = PATIENCE if self.operator.fault else 0.0
        if not self.clock.run_until(self.clock.now + within + patience, done):
            raise AssertionError(f"not so within {within:.0f}s")

    def until_settled(self, within: float = 3600.0) -> None:
        """Let time pass until the last edit has ended, well or not, and nothing retires any more."""
        self.until(self.is_settled, within)
        self.run(DUST)

    def until_stage(self, stage: Stage, step: int | None = None, within: float = 3600.0) -> None:
        """Let time pass until the rollout in flight is in a stage, of a step."""
        self.until(
            lambda: (
                self.rollout is not None and self.rollout.stage is stage and step in (None, self.rollout.step)
            ),
            within,
        )

    # -- hands -------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Note for the trace that somebody did something."""
        self.on_say(text)

    def release(self, tag: str) -> None:
        """Put another version into the spec, as a user does."""
        self.edit("bento.image", f"{IMAGE}:{tag}")

    def edit(self, path: str, value: Any) -> None:
        """Set one field of the spec by its dotted path; None takes the field away."""
        self.say(f"user sets {path}: {value}" if value is not None else f"user takes {path} away")
        self.server.edit_model(_with(self.server.model["spec"], path.split("."), value))
        self._name_revision()

    def configure(self, name: str, **data: str) -> None:
        """Write a ConfigMap, as a user does; without data it is deleted."""
        ref = Ref("ConfigMap", name)
        self.say(f"user writes ConfigMap {name}: {data}" if data else f"user deletes ConfigMap {name}")
        if not data:
            self.server.delete(ref)
        elif ref in self.server.objects:
            self.server.edit(ref, data=data)
        else:
            self.server.create(
                {"apiVersion": "v1", "kind": ref.kind, "metadata": {"name": name}, "data": data}
            )
        self._name_revision()

    def copies(self) -> list[Ref]:
        """Name the copies of ConfigMaps that there are."""
        owned = (ref for ref, live in self.server.objects.items() if live["metadata"].get("ownerReferences"))
        return [ref for ref in owned if ref.kind == "ConfigMap"]

    def reads(self, tag: str) -> set[str]:
        """Return what the pods of a version read in their ConfigMaps when they started."""
        pods = [
            pod for pod in self.nodes.pods.values() if self.tag_of(pod) == tag and pod.started is not None
        ]
        return {value for pod in pods for held in pod.config.values() for value in held["data"].values()}

    def behave(self, tag: str, **changes: Any) -> Behaviour:
        """Change how the pods of a version behave, from now on."""
        behaviour = self.nodes.behaviour(tag)
        for name, value in changes.items():
            setattr(behaviour, name, value)
        if self.clock.now:
            words = ", ".join(f"{name} {value}" for name, value in changes.items())
            self.say(f"{tag} from now on: {words}")
        return behaviour

    def answer(self, kind: type[Question], oracle: Oracle) -> None:
        """Have the operator's questions of a kind answered so: by a value, or by raising UnansweredError."""
        self.operator.oracles[kind] = oracle

    def command(self, name: str) -> None:
        """Give a command for the rollout in flight."""
        assert self.rollout is not None
        self.edit(f"rollout.{name}", self.rollout.id)

    def resume(self) -> None:
        """Resume the rollout in flight at the step where it is."""
        assert self.rollout is not None
        self.edit("rollout.resume", f"{self.rollout.id}/{self.rollout.step}")

    def kill_pods(self, tag: str, count: int | None = None) -> None:
        """Let pods of a version vanish at once, as when their nodes die."""
        pods = self.nodes.of(tag)[:count]
        self.say(f"{len(pods)} of the pods of {tag} are killed")
        for pod in pods:
            self.nodes.delete(pod)

    def restart_pods(self, tag: str) -> None:
        """Let the containers of a version die once and come back."""
        self.say(f"the containers of {tag} die")
        for pod in self.nodes.of(tag):
            self.nodes.restart(pod)

    def lose_readiness(self, tag: str) -> None:
        """Let the readiness probes of a version fail from now on."""
        self.say(f"the pods of {tag} are not ready any more")
        for pod in self.nodes.of(tag):
            self.nodes.set_ready(pod, False)

    def delete_child(self, kind: str, name: str) -> None:
        """Delete a child by hand."""
        self.say(f"user deletes {kind} {self.named(name)}")
        self.server.delete(Ref(kind, name))

    def set_weights_by_hand(self, canary: int) -> None:
        """Write other weights into the route, as a user does."""
        self.say(f"user sets the route to {100 - canary}/{canary}")
        ref = Ref("HTTPRoute", names.route(MODEL))
        spec = self.server.objects[ref]["spec"]
        shares = (100 - canary, canary)
        backends = [
            {**item, "weight": share}
            for item, share in zip(spec["rules"][0]["backendRefs"], shares, strict=True)
        ]
        rules = [{**spec["rules"][0], "backendRefs": backends}, *spec["rules"][1:]]
        self.server.edit(ref, spec={**spec, "rules": rules})

    def take_name(self, kind: str, name: str) -> None:
        """Let somebody else create an object with a child's name, before the operator has looked."""
        self.say(f"somebody else has a {kind} {name}")
        self.server.create(
            {
                "apiVersion": "v1",
                "kind": kind,
                "metadata": {"name": name, "labels": {"app": "shop"}},
                "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80}]},
            }
        )

    def lose_status(self) -> None:
        """Empty the status, as a restore from a backup does."""
        self.say("the status is lost")
        self.server.lose_status()

    def jump_clock(self, by: timedelta) -> None:
        """Let the operator's clock jump."""
        self.say(f"the operator's clock jumps by {by.total_seconds():+.0f}s")
        self.operator.skew += by
        self.operator.wake()

    def set_gateway(self, present: bool) -> None:
        """Let the Gateway that the spec names exist or not."""
        self.say(f"the Gateway {'appears' if present else 'is missing'}")
        self.cluster.gateway = self.gateway.present = present
        if present:
            self.gateway.appear()
        self.operator.wake()

    def set_keda(self, state: KedaState) -> None:
        """Let KEDA's kinds exist or not, or the chart not allow them; where they go, their objects go too."""
        if self.clock.now:
            self.say(f"KEDA is {state}")
        self.cluster.keda = state
        if state == "absent":
            for ref in [ref for ref in self.server.objects if ref.kind in KEDA_KINDS]:
                made = Ref("HorizontalPodAutoscaler", f"keda-hpa-{ref.name}")
                for gone in (ref, made):
                    if gone in self.server.objects:
                        self.server.finish(gone)
        self.operator.wake()

    def add_autoscaler(self, name: str, tag: str, **bounds: int) -> Ref:
        """Let somebody else create an autoscaler for the Deployment of a version."""
        self.say(f"somebody else creates HPA {name} for {tag}")
        target = {"kind": "Deployment", "name": self.revision_child(tag)}
        ref = Ref("HorizontalPodAutoscaler", name)
        self.server.create(
            {
                "apiVersion": "autoscaling/v2",
                "kind": ref.kind,
                "metadata": {"name": name},
                "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 9, **bounds},
            }
        )
        return ref

    def scaler(self, tag: str) -> str:
        """Return what scales a version: `HPA`, `ScaledObject`, both or neither."""
        name = self.revision_child(tag)
        kinds = {"HPA": "HorizontalPodAutoscaler", "ScaledObject": "ScaledObject"}
        return " ".join(word for word, kind in kinds.items() if Ref(kind, name) in self.server.objects)

    def set_activators(self, *addresses: str, installed: bool = True) -> None:
        """Let these pods of the activator be there, or none be installed."""
        self.say(f"activator pods: {', '.join(addresses) or 'none'}" if installed else "no activator")
        self.cluster.activators = addresses if installed else None
        self.operator.wake()

    # -- eyes --------------------------------------------------------------------------------------------

    @property
    def spec(self) -> Spec:
        """The spec as stored."""
        return parse_spec(self.server.model["spec"])

    @property
    def status(self) -> Status:
        """The status as stored."""
        return Status.model_validate(self.server.model["status"])

    @property
    def rollout(self) -> RolloutStatus | None:
        """The rollout in the stored status, over or not."""
        return self.status.rollout

    @property
    def in_flight(self) -> bool:
        """Tell whether a rollout is in flight."""
        rollout = self.rollout
        return rollout is not None and rollout.stage is not Stage.OVER

    def is_settled(self) -> bool:
        """Tell whether the last edit has ended, well or not, and nothing retires any more."""
        wire = self.server.model["status"]
        if wire.get("observedGeneration") != self.server.model["metadata"]["generation"] or wire.get(
            "retiring"
        ):
            return False
        settled = [item for item in wire.get("conditions", ()) if item["type"] == "Settled"]
        return bool(settled) and settled[0]["status"] == "True"

    def condition(self, kind: str) -> str:
        """Return a condition as `status/reason`."""
        for item in self.status.conditions:
            if item.type == kind:
                return f"{item.status}/{item.reason}"
        return ""

    def _name_revision(self) -> None:
        """Name the spec's revision by the tag of its image, what its ConfigMaps hold, and its own scaling."""
        spec = self.spec
        live = {name: self.server.objects.get(Ref("ConfigMap", name)) for name in tracked_maps(spec)}
        config = {name: Content(content_digest(found)) for name, found in live.items() if found}
        if len(config) == len(live):
            values = [value for found in live.values() if found for value in found["data"].values()]
            tag = "+".join([spec.bento.image.rsplit(":", 1)[-1], *values, *tracked_secrets(spec)])
            if spec.autoscaling and spec.autoscaling.canary:
                tag += f"/max{spec.autoscaling.most}"
            self._tags[revision_of(spec, config=config).revision] = tag

    def tag(self, revision: str | None) -> str | None:
        """Name a revision by the tag of its image."""
        return self._tags.get(revision, revision) if revision else None

    def tag_of(self, pod: SimPod) -> str:
        """Name a pod's version."""
        return self.tag(pod.labels[names.REVISION]) or pod.tag

    def named(self, text: str) -> str:
        """Replace every revision in a text by the tag of its image."""
        for revision, tag in self._tags.items():
            text = text.replace(revision, tag)
        return text

    def revision_child(self, tag: str) -> str:
        """Name the Deployment of a version."""
        return names.revision_child(MODEL, next(name for name, known in self._tags.items() if known == tag))

    def pods(self, tag: str) -> tuple[int, int]:
        """Count a version's ready pods and all its pods."""
        pods = [pod for pod in self.nodes.pods.values() if self.tag_of(pod) == tag and not pod.deleting]
        return sum(pod.ready for pod in pods), len(pods)

    def replicas(self, tag: str) -> int:
        """Return what a version's Deployment asks for."""
        live = self.server.objects.get(Ref("Deployment", self.revision_child(tag)))
        return int(live["spec"]["replicas"]) if live else 0

    def weights(self) -> str:
        """Return the live route's weights as `95/5`: the stable Service's and the canary Service's."""
        live = self.server.objects.get(Ref("HTTPRoute", names.route(MODEL)))
        if live is None:
            return "-"
        backends = {item["name"]: item["weight"] for item in live["spec"]["rules"][0]["backendRefs"]}
        return f"{backends[names.stable_service(MODEL)]}/{backends.get(names.canary_service(MODEL), 0)}"

    def by_header(self) -> dict[str, int]:
        """Return the percent that each rule by headers of the live route sends to the canary."""
        live = self.server.objects.get(Ref("HTTPRoute", names.route(MODEL)), {})
        canary = names.canary_service(MODEL)
        return {header_text(headers): percent_to(rule, canary) for headers, rule in rules_of(live) if headers}

    def selects(self, service: str) -> str:
        """Return the version that a Service selects, `all` for every version."""
        live = self.server.objects.get(Ref("Service", service))
        if live is None:
            return "-"
        return self.tag(live["spec"]["selector"].get(names.REVISION)) or "all"

    def final(self) -> dict[str, Any]:
        """Return what every run of a scenario must end with, whatever the order of things."""
        status, rollout = self.status, self.rollout
        return {
            "stable": self.tag(status.stable.revision) if status.stable else None,
            "outcome": str(rollout.outcome) if rollout and rollout.outcome else None,
            "revision": self.tag(rollout.revision) if rollout else None,
            "stage": str(rollout.stage) if rollout else None,
            "failed": [(self.tag(item.revision), item.reason) for item in status.failed_revisions],
            "history": [(self.tag(item.revision), str(item.outcome)) for item in status.history],
            "weights": self.weights(),
            "services": (
                self.selects(names.stable_service(MODEL)),
                self.selects(names.canary_service(MODEL)),
            ),
            "conditions": {item.type: f"{item.status}/{item.reason}" for item in status.conditions},
        }

    def describe(self) -> str:
        """Return the state of the world in one line, for messages."""
        rollout = self.rollout
        where = f"{rollout.stage} step {rollout.step} {rollout.outcome or ''}" if rollout else "no rollout"
        return f"+{self.clock.now:.0f}s {where} | {self.status.message} | {self.final()}"


def gateway_spec(tag: str = "v1", **parts: Any) -> dict[str, Any]:
    """Return a spec that is served through a Gateway, with steps short enough for a trace."""
    return service_spec(
        tag, **{"traffic": {"parentRefs": [{"name": "models", "namespace": "infra"}]}, **parts}
    )


def service_spec(tag: str = "v1", **parts: Any) -> dict[str, Any]:
    """Return a spec without a Gateway."""
    return {"bento": {"image": f"{IMAGE}:{tag}", "service": "Iris"}, "replicas": 4, **parts}


def _with(spec: Any, path: list[str], value: Any) -> dict[str, Any]:
    head, *rest = path
    result = dict(spec)
    if rest:
        result[head] = _with(result.get(head, {}), rest, value)
    elif value is None:
        result.pop(head, None)
    else:
        result[head] = value
    return result

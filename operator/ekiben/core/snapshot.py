"""Everything that one decision may see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from ekiben.api.measured import Counters
from ekiben.api.status import Stage, Status
from ekiben.api.template import Template
from ekiben.api.v1alpha1 import Spec
from ekiben.core.asking import Answer, Question

Manifest = dict[str, Any]
# Where a ScaledObject's metadata, as it is kept, says when we asked last for anything else in it.
ASKED_AT = "askedAt"
Preflight = Literal["none", "quotas", "nodes"]
Keda = Literal["disabled", "absent", "unreadable", "installed"]


class Ref(NamedTuple):
    """A child object: its kind and name; the namespace is the model's."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Model:
    """The ModelDeployment's metadata that decisions need; `writers` tells whose hand is behind what."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    deleting: bool = False
    writers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InvalidSpec:
    """A spec that can't be understood or is not allowed: a reason of the conditions, and what to write."""

    message: str
    reason: str = "InvalidSpec"


@dataclass(frozen=True, slots=True)
class Record:
    """What a revision was when it was born: the content of its ControllerRevision.

    `inputs` is the canonical form of what the user wrote about the pod (it gives the revision its name);
    `buckets` are the latency bounds in seconds that its pods export, `service` included so that they can be
    rendered; neither `buckets` nor `template_version` is hashed.
    """

    revision: str
    inputs: Mapping[str, Any]
    template_version: int
    buckets: tuple[float, ...] = ()
    deadline_seconds: float = 600.0
    number: int = 0
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of a revision, reduced to what decisions need.

    `init_restarts` counts those of an init container that still keeps it from starting.
    """

    name: str
    uid: str
    revision: str
    ip: str | None = None
    ready: bool = False
    deleting: bool = False
    scheduled: bool = True
    started_at: datetime | None = None
    ready_changed_at: datetime | None = None
    restarts: int = 0
    init_restarts: int = 0
    waiting_reason: str = ""
    waiting_message: str = ""
    image_digest: str | None = None

    @property
    def serves(self) -> bool:
        """Tell whether it can serve now."""
        return self.ready and not self.deleting

    @property
    def lost_readiness(self) -> bool:
        """Tell whether it was ready since its container started, and is not any more."""
        return (
            not self.ready
            and not self.deleting
            and self.started_at is not None
            and self.ready_changed_at is not None
            and self.ready_changed_at > self.started_at
        )


@dataclass(frozen=True, slots=True)
class Scrape:
    """How reading the metrics of one revision's pods went, last time."""

    pods_read: int = 0
    pods_failed: int = 0
    reason: str = ""
    message: str = ""
    quiet_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What the sampler has counted in the current window."""

    window: str
    at: datetime
    counters: Mapping[str, Counters] = field(default_factory=dict)
    resets: Mapping[str, int] = field(default_factory=dict)
    scrapes: Mapping[str, Scrape] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Applied:
    """What we last applied and what the server made of it: keeps its normalising from looking like drift."""

    intent: str
    live: str


@dataclass(frozen=True, slots=True)
class Settled:
    """A child that was found as it should be, and still is while neither side has changed.

    `made_of` is what its intent is rendered from, `live` is what of the object an intent is compared with.
    """

    made_of: tuple[Any, ...]
    live: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class GatewayView:
    """One Gateway that the spec names, as far as it exists."""

    namespace: str
    name: str
    found: bool
    class_name: str = ""
    class_found: bool = False
    programmed: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class RouteClaim:
    """Another HTTPRoute that answers the same hostname and path on a Gateway that we name."""

    namespace: str
    name: str
    hostname: str
    created_at: datetime


class Reading(NamedTuple):
    """Whether an autoscaler can read its metrics: its condition ScalingActive, `since` as it is written."""

    status: str
    reason: str
    since: str

    @classmethod
    def of(cls, autoscaler: Manifest) -> Reading | None:
        """Read what a HorizontalPodAutoscaler says; None where it has said nothing, or nonsense."""
        status = autoscaler.get("status")
        told = status.get("conditions") if isinstance(status, Mapping) else None
        for item in told if isinstance(told, list) else ():
            if isinstance(item, Mapping) and item.get("type") == "ScalingActive":
                said = (str(item.get(key) or "") for key in ("status", "reason", "lastTransitionTime"))
                return cls(*said)
        return None


@dataclass(frozen=True, slots=True)
class Scaler:
    """An autoscaler that we did not make, and that has to do with the model.

    `target` is the Deployment that it sizes, "" for the model itself (by /scale). `kind` and `name` are its
    maker's where another object made it; `ours` tells that this is a ScaledObject of ours. Only of those are
    the fewest and most pods known, and whether metrics can be read.
    """

    kind: str
    name: str
    target: str
    ours: bool = False
    bounds: tuple[int, int] | None = None
    reading: Reading | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the cluster offers beyond the model's own children.

    `claims` are others' routes in the place of ours, `preview_claims` in the place of the preview's;
    `preflight` is what may be read for room. `keda` tells whether ScaledObjects can be had, `triggers`
    are the types of its triggers that the chart allows, and `scalers` autoscalers that others made for the
    model or its Deployments, KEDA's for our ScaledObjects included. `activators` are where requests to a
    model without pods can be held, None where no activator is installed; `demanded` tells whether any is held
    there for this model.
    """

    gateway_api: bool = True
    gateways: tuple[GatewayView, ...] = ()
    claims: tuple[RouteClaim, ...] = ()
    preview_claims: tuple[RouteClaim, ...] = ()
    watches_fresh: bool = True
    preflight: Preflight = "none"
    keda: Keda = "disabled"
    triggers: frozenset[str] = frozenset()
    scalers: tuple[Scaler, ...] = ()
    activators: tuple[str, ...] | None = None
    demanded: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """The line of rollouts as one model has to see it, where only so many may run at once.

    `turn` tells whether a rollout may begin now; `place` counts from 1, of `waiting`; `running` of `limit`
    run, of which a few are named; `namespace` is empty where the limit is that of the whole operator.
    `next_waits` tells a rollout that only looks for room whether somebody else could begin in its place.
    """

    turn: bool
    place: int
    waiting: int
    running: int
    limit: int
    names: tuple[str, ...] = ()
    namespace: str = ""
    next_waits: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """What is known of a tracked ConfigMap: a digest of its content, None where there is no such ConfigMap.

    `problem` says why it can't be read.
    """

    digest: str | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One instant of one model, as our caches see it.

    `wanted` is the revision that the spec asks for, None where nobody has named it yet; `config` is what is
    known of the ConfigMaps that the spec tracks, by name; `settled` are the children that an earlier decision
    found as they should be; `line` is None where there is no limit. `doubtful` are copies of ConfigMaps that
    others made in our place: what they hold has to be looked at.
    """

    model: Model
    spec: Spec | InvalidSpec
    status: Status
    now: datetime
    wanted: Record | None = None
    live: Mapping[Ref, Manifest] = field(default_factory=dict)
    foreign: frozenset[Ref] = frozenset()
    doubtful: frozenset[Ref] = frozenset()
    records: Mapping[str, Record] = field(default_factory=dict)
    config: Mapping[str, Content] = field(default_factory=dict)
    pods: tuple[Pod, ...] = ()
    observation: Observation | None = None
    answers: Mapping[Question, Answer] = field(default_factory=dict)
    templates: Mapping[str, Template | str] = field(default_factory=dict)
    cluster: Cluster = Cluster()
    ledger: Mapping[Ref, Applied] = field(default_factory=dict)
    settled: Mapping[Ref, Settled] = field(default_factory=dict)
    rejections: Mapping[Ref, str] = field(default_factory=dict)
    line: Line | None = None

    @property
    def is_calm(self) -> bool:
        """Tell whether no rollout is in flight and every pod serves: nothing is on its way."""
        rollout = self.status.rollout
        moving = rollout is not None and rollout.stage not in (Stage.OVER, Stage.QUEUED)
        return not moving and all(pod.serves for pod in self.pods)

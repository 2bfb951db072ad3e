"""Turn what the caches hold about one model into the snapshot that a decision sees. Pure.

Objects come from the API server and from whoever may write to it, so every field may be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError

from ekiben.api.crd import model_schema
from ekiben.api.policy import RESTRICTED, PodPolicy, refusal
from ekiben.api.status import Status
from ekiben.api.template import Template
from ekiben.api.v1alpha1 import Spec, parse_spec
from ekiben.api.wording import sentences
from ekiben.core import names
from ekiben.core.asking import Answer, Question
from ekiben.core.previewing import preview_hostnames
from ekiben.core.revision import record_of, revision_of
from ekiben.core.snapshot import (
    Applied,
    Cluster,
    Content,
    InvalidSpec,
    Keda,
    Line,
    Manifest,
    Model,
    Observation,
    Pod,
    Preflight,
    Record,
    Ref,
    Settled,
    Snapshot,
)
from ekiben.core.times import parse_time
from ekiben.observe_pods import observe_pod
from ekiben.observe_routes import claims_of, gateway_views
from ekiben.observe_scalers import scalers_of
from ekiben.ownership import is_ours, sort_children
from ekiben.writers import OTHERS_CONTENT

T = TypeVar("T")
R = TypeVar("R")


class Readings:
    """What was read of a model's objects: what is the same since the last snapshot is not read again."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Any, Any]] = {}
        self._now: dict[str, tuple[Any, Any]] = {}

    def turn(self) -> None:
        """Begin a snapshot, and forget what the last one did not ask for."""
        self._last, self._now = self._now, {}

    def of(self, what: str, source: T, read: Callable[[T], R]) -> R:
        """Return `read(source)`; `read` must be pure, and nobody may change `source`."""
        held = self._last.get(what)
        known = held is not None and (held[0] is source or held[0] == source)
        result: R = held[1] if held is not None and known else read(source)
        # Not the old source: it would be kept beside its equal in the caches, and compared again next time.
        self._now[what] = (source, result)
        return result


@dataclass(frozen=True, slots=True)
class Seen:
    """What the caches hold about one model, as the API server sent it.

    `children` are all objects of CHILD_KINDS that are the model's, carry its label, or have a name that its
    children have; `config` is what is known of the ConfigMaps that it tracks; `routes` are at least the
    HTTPRoutes that answer where the model wants to; `gateways` are by (namespace, name), `gateway_classes`
    by name; `scalers` are at least the HorizontalPodAutoscalers that target the model or its Deployments;
    `activators` and `demanded` are as in `Cluster`.
    """

    model: Manifest
    children: tuple[Manifest, ...] = ()
    config: Mapping[str, Content] = field(default_factory=dict)
    pods: tuple[Manifest, ...] = ()
    routes: tuple[Manifest, ...] = ()
    gateways: Mapping[tuple[str, str], Manifest] = field(default_factory=dict)
    gateway_classes: Mapping[str, Manifest] = field(default_factory=dict)
    templates: Mapping[str, Manifest] = field(default_factory=dict)
    gateway_api: bool = True
    watches_fresh: bool = True
    keda: Keda = "disabled"
    scalers: tuple[Manifest, ...] = ()
    activators: tuple[str, ...] | None = None
    demanded: bool = False


@dataclass(frozen=True, slots=True)
class Remembered:
    """What we know of one model beyond the caches, since we started.

    `conflicts` are names that a look-up found taken, by objects that our watches don't show; `records` are
    what the last snapshot said of each revision, `settled` the children that then needed no write; `checked`
    are the uids of copies that others made, and that were found to hold what they should.
    """

    observation: Observation | None = None
    answers: Mapping[Question, Answer] = field(default_factory=dict)
    ledger: Mapping[Ref, Applied] = field(default_factory=dict)
    rejections: Mapping[Ref, str] = field(default_factory=dict)
    conflicts: frozenset[Ref] = frozenset()
    checked: Set[str] = frozenset()
    records: Mapping[str, Record] = field(default_factory=dict)
    settled: Mapping[Ref, Settled] = field(default_factory=dict)
    readings: Readings = field(default_factory=Readings)
    line: Line | None = None


def build_snapshot(
    seen: Seen,
    remembered: Remembered,
    now: datetime,
    policy: PodPolicy = RESTRICTED,
    preflight: Preflight = "none",
    triggers: frozenset[str] = frozenset(),
) -> Snapshot:
    """Gather everything that one decision may see.

    `policy` is what models may ask for, `preflight` where their rollouts look for room, `triggers` the types
    of KEDA's triggers that they may name.
    """
    readings = remembered.readings
    readings.turn()
    model = observe_model(seen.model)
    spec = readings.of("spec", seen.model.get("spec"), lambda raw: observe_spec({"spec": raw}, policy))
    status = readings.of("status", seen.model.get("status"), lambda raw: observe_status({"status": raw}))
    live, named = sort_children(seen.children, model)
    foreign = named | (remembered.conflicts - live.keys())
    if isinstance(spec, InvalidSpec) or not preview_hostnames(spec):
        # Without a preview its name is nothing to us: another model's route may have it.
        foreign -= {Ref("HTTPRoute", names.preview_route(model.name))}
    return Snapshot(
        model=model,
        spec=spec,
        status=status,
        now=now,
        wanted=_wanted(spec, seen.config, readings),
        config=seen.config,
        live=live,
        foreign=foreign,
        doubtful=_doubtful(live, remembered.checked),
        records=_with_pods(remembered.records, status) | _records(live, readings),
        pods=_pods(seen, model, readings),
        observation=remembered.observation,
        answers=remembered.answers,
        line=remembered.line,
        templates=_templates(seen.templates, readings),
        cluster=replace(
            _cluster(seen, model, spec, live),
            preflight=preflight,
            keda=seen.keda,
            triggers=triggers,
            scalers=scalers_of(seen.scalers, model),
            activators=seen.activators,
            demanded=seen.demanded,
        ),
        ledger=remembered.ledger,
        settled=remembered.settled,
        rejections=remembered.rejections,
    )


def _doubtful(live: Mapping[Ref, Manifest], checked: Set[str]) -> frozenset[Ref]:
    """Name the copies of ConfigMaps that others made, and whose content nobody has looked at yet."""
    about = {ref: raw["metadata"] for ref, raw in live.items() if ref.kind == "ConfigMap"}
    return frozenset(
        ref for ref, item in about.items() if item.get(OTHERS_CONTENT) and item.get("uid") not in checked
    )


def _wanted(spec: Spec | InvalidSpec, config: Mapping[str, Content], readings: Readings) -> Record | None:
    """Name the revision that the spec asks for, with what its ConfigMaps hold."""
    if isinstance(spec, InvalidSpec):
        return None
    return readings.of("wanted", (spec, config), lambda pair: revision_of(pair[0], config=pair[1]))


def observe_model(raw: Manifest) -> Model:
    """Read the metadata that decisions need."""
    metadata = raw["metadata"]
    return Model(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
        resource_version=metadata.get("resourceVersion", ""),
        deleting="deletionTimestamp" in metadata,
        writers=metadata.get("writers") or {},
    )


def observe_spec(raw: Manifest, policy: PodPolicy = RESTRICTED) -> Spec | InvalidSpec:
    """Parse the spec; where it can't be understood or is not allowed, say which field is wrong and why."""
    try:
        spec = parse_spec(raw.get("spec") or {})
    except ValidationError as problem:
        return InvalidSpec(_sentence(problem, Spec))
    forbidden = refusal(raw["spec"], policy)
    return spec if forbidden is None else InvalidSpec(forbidden, reason="NotAllowed")


def observe_template(raw: Manifest) -> Template | str:
    """Parse a ModelAnalysis; where it can't be understood, return which field is wrong and why."""
    try:
        return Template.model_validate(raw.get("spec") or {})
    except ValidationError as problem:
        return _sentence(problem, Template)


def _templates(raws: Mapping[str, Manifest], readings: Readings) -> dict[str, Template | str]:
    return {name: readings.of(f"template {name}", raw, observe_template) for name, raw in raws.items()}


def observe_status(raw: Manifest) -> Status:
    """Parse the status; one that we did not write, or not whole, counts as lost and is rebuilt."""
    try:
        return Status.model_validate(raw.get("status") or {})
    except ValidationError:
        return Status()


def _records(live: Mapping[Ref, Manifest], readings: Readings) -> dict[str, Record]:
    """Read what each revision was from its ControllerRevision."""
    records = (
        readings.of(f"record {ref.name}", raw, record_of)
        for ref, raw in live.items()
        if ref.kind == "ControllerRevision"
    )
    return {record.revision: record for record in records if record is not None}


def _pods(seen: Seen, model: Model, readings: Readings) -> tuple[Pod, ...]:
    pods = (
        readings.of(f"pod {_name(raw)}", raw, lambda raw: observe_pod(raw, model.name))
        for raw in sorted(seen.pods, key=_name)
    )
    return tuple(pod for pod in pods if pod is not None)


def _with_pods(records: Mapping[str, Record], status: Status) -> dict[str, Record]:
    """Return the records of revisions that have pods: a ControllerRevision deleted by hand is made again."""
    sides = (status.stable, status.canary, *status.retiring)
    return {side.revision: records[side.revision] for side in sides if side and side.revision in records}


def _cluster(seen: Seen, model: Model, spec: Spec | InvalidSpec, live: Mapping[Ref, Manifest]) -> Cluster:
    traffic = None if isinstance(spec, InvalidSpec) else spec.traffic
    if traffic is None:
        return Cluster(gateway_api=seen.gateway_api, watches_fresh=seen.watches_fresh)
    own = live.get(Ref("HTTPRoute", names.route(model.name)))
    preview = live.get(Ref("HTTPRoute", names.preview_route(model.name)))
    others = [route for route in seen.routes if not is_ours(route, model)]
    hostnames = preview_hostnames(spec) if isinstance(spec, Spec) else ()
    elsewhere = traffic.model_copy(update={"hostnames": hostnames})
    return Cluster(
        gateway_api=seen.gateway_api,
        gateways=gateway_views(traffic, model, seen.gateways, seen.gateway_classes),
        claims=claims_of(others, traffic, model, _created(own)),
        preview_claims=claims_of(others, elsewhere, model, _created(preview)) if hostnames else (),
        watches_fresh=seen.watches_fresh,
    )


def _created(route: Manifest | None) -> datetime | None:
    return parse_time(route["metadata"].get("creationTimestamp")) if route else None


def _sentence(problem: ValidationError, model: type[Spec | Template]) -> str:
    """Say in one sentence which field is wrong first and what to write, and how many more there are."""
    first, *others = sentences(problem, _schema_of(model))
    return f"{first} ({len(others)} more like this)" if others else first


@cache
def _schema_of(model: type[Spec | Template]) -> Mapping[str, Any]:
    """Return a schema whose sentences are told; made only once somebody errs."""
    return model_schema(model)


def _name(raw: Manifest) -> str:
    return str(raw.get("metadata", {}).get("name", ""))


def _labels(raw: Manifest) -> Mapping[str, str]:
    return raw.get("metadata", {}).get("labels") or {}

"""A model in the states that a user meets, as the API server would send it; no cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ekiben.api.generated import CHECKOUT
from ekiben.api.status import Status
from ekiben.api.v1alpha1 import API_VERSION, KIND, parse_spec
from ekiben.cli.facts import Facts, facts_of
from ekiben.core.render import build_record
from ekiben.core.revision import revision_of
from ekiben.core.snapshot import Model, Snapshot
from ekiben.core.starting import plan_of
from ekiben.core.view import View

Json = dict[str, Any]
# For programs that a test starts: where the package is not installed, as with the oldest dependencies.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT / "operator")}
NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
GOLDEN = Path(__file__).parent / "golden"
MODEL = Model("shop", "iris", "5f1c7d0a", 3, "812")


def ago(seconds: float) -> str:
    """Return the time so many seconds before NOW, as Kubernetes writes it."""
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def spec(tag: str, **more: Any) -> Json:
    """Return a raw spec."""
    steps = [{"weight": 20, "hold": "10s"}, {"pause": {}}, {"weight": 50}]
    return {
        "bento": {"image": f"registry.example.com/iris:{tag}", "service": "Iris"},
        "replicas": 2,
        "rollout": {"canary": {"steps": steps}},
        "analysis": {"minSamples": 50, "checks": [{"metric": "error-rate", "max": "1%"}]},
        **more,
    }


def revision(tag: str) -> str:
    """Name the revision of a tag."""
    return revision_of(parse_spec(spec(tag))).revision


V1, V2, V3 = (revision(tag) for tag in ("v1", "v2", "v3"))


def record(tag: str, number: int, outcome: str = "retired") -> Json:
    """Return the ControllerRevision of a tag."""
    born = replace(revision_of(parse_spec(spec(tag))), number=number)
    return build_record(MODEL, born, outcome)


def condition(kind: str, status: str, reason: str, message: str = "") -> Json:
    """Return a condition."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": ago(60),
        "observedGeneration": 3,
    }


def _hash() -> str:
    """Return the hash of the steps and checks of `spec`, as the operator writes it."""
    wanted = parse_spec(spec("v1"))
    seen = Snapshot(model=MODEL, spec=wanted, status=Status(), now=NOW)
    return plan_of(View(snapshot=seen, spec=wanted, status=Status(), wanted=revision_of(wanted))).hash


HASH = _hash()


def side(tag: str, replicas: int = 2, ready: int = 2) -> Json:
    """Return what the status says of one revision."""
    return {
        "revision": revision(tag),
        "image": f"registry.example.com/iris:{tag}",
        "replicas": replicas,
        "readyReplicas": ready,
        "servedAt": ago(3600),
    }


def settled(reason: str, message: str = "") -> list[Json]:
    """Return the conditions of a model that has come to an end."""
    bad = reason not in ("Promoted",)
    return [
        condition("Ready", "True", "Serving"),
        condition("Reconciling", "False", "Idle"),
        condition("Stalled", "True" if bad else "False", reason if bad else "Idle", message),
        condition("TrafficApplied", "True", "ServiceOnly"),
        condition("RolledOut", "False" if bad else "True", reason, message),
        condition("Settled", "True", reason, message),
    ]


def moving(reason: str, message: str) -> list[Json]:
    """Return the conditions of a model that is on its way."""
    return [
        condition("Ready", "True", "Serving"),
        condition("Reconciling", "True", reason, message),
        condition("Stalled", "False", "Idle"),
        condition("TrafficApplied", "True", "ServiceOnly"),
        condition("RolledOut", "Unknown", "InProgress", message),
        condition("Settled", "Unknown", "InProgress", message),
    ]


def model(raw_spec: Json, status: Json, **metadata: Any) -> Facts:
    """Return a model; its status is about its generation unless `metadata` says otherwise."""
    about = {
        "name": "iris",
        "namespace": "shop",
        "uid": MODEL.uid,
        "generation": 3,
        "resourceVersion": "812",
        "creationTimestamp": ago(7200),
        **metadata,
    }
    whole = {"observedGeneration": 3, **status}
    Status.model_validate(whole)
    raw = {"apiVersion": API_VERSION, "kind": KIND, "metadata": about, "spec": raw_spec, "status": whole}
    return facts_of(raw)


def serving(**more: Any) -> Facts:
    """Return a model of which v2 serves, v1 served before, and nothing is on its way."""
    message = f"{V2} serves with 2 of 2 pods"
    status = {
        "phase": "Healthy",
        "message": message,
        "url": "http://iris.shop:3000",
        "ready": "2/2",
        "stable": side("v2"),
        "rollout": rollout("v2", "Over", 3, outcome="Promoted", weight=0),
        "history": [ended("v2", 2, "Promoted", 600), ended("v1", 1, "Promoted", 7000)],
        "conditions": settled("Promoted", message),
        **more,
    }
    return model(spec("v2"), status)


def rollout(tag: str, stage: str, step: int, number: int = 2, **more: Any) -> Json:
    """Return a rollout."""
    steps = [{"weight": 20, "hold": "10s"}, {"pause": {}}, {"weight": 50}]
    return {
        "id": f"{revision(tag)}.{number}",
        "revision": revision(tag),
        "provider": "Gateway",
        "stage": stage,
        "stageStartedAt": ago(8),
        "startedAt": ago(30),
        "step": step,
        "weight": 20,
        "plan": {"hash": HASH, "steps": steps, "checks": [{"metric": "error-rate", "max": "1%"}]},
        **more,
    }


def ended(tag: str, number: int, outcome: str, seconds: float, message: str = "", **more: Any) -> Json:
    """Return an entry of the history."""
    return {
        "rollout": f"{revision(tag)}.{number}",
        "revision": revision(tag),
        "outcome": outcome,
        "message": message,
        "at": ago(seconds),
        **more,
    }


def baking() -> Facts:
    """Return a model of which v2 serves, in its bake, and v1 keeps its pods."""
    said = f"100% to {V2}, baking for another 480s; {V1} keeps its pods"
    held = {"revision": V1, "since": "2026-11-22T10:00:00Z", "until": "2026-11-22T10:00:30Z"}
    found = in_flight("Baking", 3, "Baking", said, stable=side("v2"), canary=None, retiring=[held])
    status = found.raw["status"]
    status = {**status, "rollout": {**status["rollout"], "previous": V1, "weight": 100}}
    return facts_of({**found.raw, "status": status})


def in_flight(
    stage: str = "Holding", step: int = 1, reason: str = "Samples", message: str = "", **more: Any
) -> Facts:
    """Return a model of which v1 serves and v2 is on its way."""
    said = message or f"step 1 of 3: 20% to {V2}, error-rate: 12 of 50 requests seen"
    check = {
        "metric": "error-rate",
        "verdict": "Waiting",
        "value": "0%",
        "limit": "1%",
        "samples": 12,
        "message": "error-rate: 12 of 50 requests seen",
    }
    status = {
        "phase": "Progressing",
        "message": said,
        "url": "http://iris.example.com/",
        "ready": "3/3",
        "stable": side("v1"),
        "canary": side("v2", 1, 1),
        "rollout": rollout("v2", stage, step, observedShare="19.8%", checks=[check]),
        "history": [ended("v1", 1, "Promoted", 7000)],
        "conditions": moving(reason, said),
        **more,
    }
    return model(spec("v2"), status)


def rolled_back() -> Facts:
    """Return a model of which v2 failed; v1 serves."""
    message = f"{V2} rolled back: error-rate 16.7% of 60 requests, limit 1%; {V1} serves"
    why = "error-rate 16.7% of 60 requests, limit 1%"
    failed = {"revision": V2, "rollout": f"{V2}.2", "reason": "AnalysisFailed", "message": why, "at": ago(20)}
    status = {
        "phase": "Degraded",
        "message": message,
        "ready": "2/2",
        "stable": side("v1"),
        "rollout": rollout("v2", "Over", 1, outcome="RolledBack", weight=0),
        "failedRevisions": [failed],
        "history": [
            ended("v2", 2, "RolledBack", 20, why, startedAt=ago(380), by="check error-rate", **{"from": V1}),
            ended("v1", 1, "Promoted", 7000),
        ],
        "conditions": settled("RolledBack", message),
    }
    return model(spec("v2"), status)


def pod(tag: str, number: int, *, ready: bool = True, seconds: float = 3600, **status: Any) -> Json:
    """Return a pod; `status` goes over a running one's."""
    said = "True" if ready else "False"
    return {
        "metadata": {
            "name": f"iris-{revision(tag)}-{number}",
            "labels": {"ekiben.dev/revision": revision(tag), "ekiben.dev/model": "iris"},
            "creationTimestamp": ago(seconds),
        },
        "spec": {"nodeName": "node-1"},
        "status": {
            "podIP": "10.0.0.7",
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Ready", "status": said},
            ],
            "containerStatuses": [
                {"name": "bento", "restartCount": 0, "state": {"running": {"startedAt": ago(seconds)}}}
            ],
            **status,
        },
    }


def pods() -> list[Json]:
    """Return the pods of `in_flight`."""
    return [pod("v1", 1), pod("v1", 2), pod("v2", 1, seconds=25)]


def golden(name: str, lines: Sequence[str]) -> None:
    """Compare with the text that was read and approved; UPDATE_GOLDEN=1 writes it: read what changed."""
    path, text = GOLDEN / f"{name}.txt", "\n".join(lines) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()

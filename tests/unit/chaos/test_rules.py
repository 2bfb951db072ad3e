"""The rules of the chaos: each is silent over a good history and speaks where its own is broken."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.faults import Asked, Faults
from rules.history import Entry, Manifest
from rules.judge import judge, made_once, told_once

OLD, NEW = "aaaaaaaaaa", "bbbbbbbbbb"
PLAN = {"hash": "h", "steps": [{"weight": 20}, {"weight": 50}]}


def rollout(stage: str, number: int = 2, step: int = 0, **more: Any) -> Manifest:
    return {"id": f"{NEW}.{number}", "revision": NEW, "stage": stage, "step": step, "plan": PLAN, **more}


def model(version: int, *, gap: bool = False, **status: Any) -> Entry:
    said = {"stable": {"revision": OLD, "image": "iris:good-1"}, **status}
    item = {"metadata": {"name": "iris", "uid": "m"}, "status": said}
    return Entry(version, "ModelDeployment", "iris", item, gap)


def child(version: int, kind: str, name: str, spec: Manifest, uid: str = "c") -> Entry:
    about = {"name": name, "uid": uid, "labels": {"ekiben.dev/model": "iris"}}
    return Entry(version, kind, name, {"metadata": about, "spec": spec})


def route(version: int, weight: int) -> Entry:
    backends = [{"name": "iris", "weight": 100 - weight}, {"name": "iris-canary", "weight": weight}]
    return child(version, "HTTPRoute", "iris", {"rules": [{"backendRefs": backends}]})


def service(version: int, revision: str) -> Entry:
    return child(version, "Service", "iris", {"selector": {"ekiben.dev/revision": revision}})


def size(version: int, replicas: int) -> Entry:
    return child(version, "Deployment", f"iris-{OLD}", {"replicas": replicas})


def pod(version: int, name: str, ready: str = "True") -> Entry:
    labels = {"ekiben.dev/model": "iris", "ekiben.dev/revision": NEW}
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}
    return Entry(
        version, "Pod", name, {"metadata": {"name": name, "uid": name, "labels": labels}, "status": status}
    )


def good() -> list[Entry]:
    """A rollout from the first step to its promotion."""
    new = {"stable": {"revision": NEW, "image": "iris:good-2"}}
    ended = [{"rollout": f"{NEW}.2", "revision": NEW, "outcome": "Promoted", "at": "2026-01-01T00:00:00Z"}]
    return [
        model(1),
        service(2, OLD),
        size(3, 2),
        route(4, 0),
        model(5, rollout=rollout("Preparing", step=1)),
        pod(5, "first"),
        model(6, rollout=rollout("Shifting", step=1)),
        route(7, 20),
        model(8, rollout=rollout("Holding", step=1)),
        model(9, rollout=rollout("Enlarging", step=2)),
        pod(10, "second"),
        model(10, rollout=rollout("TakingAll", step=2)),
        route(11, 100),
        model(12, **new, rollout=rollout("Repointing", step=2)),
        service(13, NEW),
        model(14, **new, rollout=rollout("Returning", step=2)),
        route(15, 0),
        model(16, **new, rollout=rollout("Over", step=2, outcome="Promoted"), history=ended),
        size(17, 0),
    ]


def test_a_good_history_breaks_no_rule() -> None:
    assert judge(good()) == []
    assert made_once(good(), {}) == []


FAILED = {"revision": OLD, "rollout": f"{OLD}.1", "reason": "Restarted", "at": "2026-01-01T00:00:00Z"}
ENDED = {"rollout": f"{OLD}.1", "revision": OLD, "outcome": "Promoted", "at": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ([model(18, rollout=rollout("Returning"))], "in one write"),
        ([model(18, rollout=rollout("Preparing", number=1))], "rollout bbbbbbbbbb.1 after bbbbbbbbbb.2"),
        ([model(18, history=[ENDED, ENDED])], "ended twice"),
        ([model(18, failedRevisions=[FAILED])], "has failed"),
        ([model(18, stable={"revision": OLD, "image": "iris:bad-3"})], "is stable"),
        ([service(18, "cccccccccc")], "while bbbbbbbbbb is stable"),
        ([route(18, 20)], "the status allows 0%"),
    ],
    ids=["transition", "number", "outcome", "failed", "bad image", "selector", "weight"],
)
def test_each_rule_speaks_where_it_is_broken(extra: list[Entry], said: str) -> None:
    (breach,) = judge([*good(), *extra])
    assert said in breach


def test_stable_that_shrinks_in_a_rollout_is_a_breach() -> None:
    (breach,) = judge([*good()[:9], size(20, 1)])
    assert "shrank from 2 to 1" in breach


def test_a_weight_that_goes_back_and_forth_is_a_breach() -> None:
    history = [*good()[:9], route(20, 0), route(21, 20)]
    assert ["raised to 20% again" in breach for breach in judge(history)] == [True]
    assert judge(history, alone=False) == []


def test_a_weight_without_the_pods_for_it_is_a_breach_whoever_writes() -> None:
    history = [*good()[:7], pod(7, "first", "False"), route(8, 20)]
    for alone in (True, False):
        (breach,) = judge(history, alone=alone)
        assert "20% for 0 ready pods, stable has 2" in breach


def test_nothing_is_judged_over_a_gap() -> None:
    history = [*good()[:9], size(20, 1), model(21, gap=True, rollout=rollout("Over", step=2))]
    assert judge(history) == []


def test_a_child_made_twice_is_a_breach_unless_it_was_deleted() -> None:
    again = child(18, "Service", "iris", {"selector": {}}, uid="another")
    assert made_once([*good(), again], {}) == ["Service iris was made 2 times"]
    assert made_once([*good(), again], {("Service", "iris"): 1}) == []


def test_an_event_told_twice_is_a_breach() -> None:
    event = {"regarding": {"uid": "m"}, "reason": "Promoted", "note": "v2 serves"}
    assert told_once([event]) == []
    assert told_once([event, event]) == ["told 2 times: Promoted: v2 serves"]
    assert told_once([{**event, "series": {"count": 3}}]) == ["told 3 times: Promoted: v2 serves"]


def test_the_same_seed_strikes_the_same_way_however_requests_interleave() -> None:
    writes, lists = Asked("patch", "services"), Asked("list", "pods")
    one, other = Faults("7", active=True), Faults("7", active=True)
    first = [one.of_request(writes) for _ in range(200)] + [one.of_request(lists) for _ in range(200)]
    mixed = [(other.of_request(writes), other.of_request(lists)) for _ in range(200)]
    assert first == [write for write, _ in mixed] + [item for _, item in mixed]
    assert one.counts == other.counts
    assert one.counts.total() == sum(strike is not None for strike in first) > 50
    assert Faults("7").of_request(writes) is None


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("GET /apis/ekiben.dev/v1alpha1/modeldeployments", Asked("list", "modeldeployments")),
        ("GET /api/v1/namespaces/lab/pods", Asked("list", "pods", "lab")),
        (
            "PUT /apis/ekiben.dev/v1alpha1/namespaces/lab/modeldeployments/iris/status",
            Asked("update", "modeldeployments/status", "lab"),
        ),
        (
            "PATCH /apis/apps/v1/namespaces/lab/deployments/iris/scale",
            Asked("patch", "deployments/scale", "lab"),
        ),
        ("DELETE /api/v1/namespaces/lab/services/iris", Asked("delete", "services", "lab")),
        ("GET /apis", Asked("get", "discovery")),
    ],
)
def test_requests_are_told_apart(line: str, asked: Asked) -> None:
    method, path = line.split()
    assert Asked.of(method, path) == asked

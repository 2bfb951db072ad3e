"""KEDA's objects are watched while a model uses them and never otherwise; whose an autoscaler is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from ekiben.caches import Caches
from ekiben.core.snapshot import Model, Reading, Scaler
from ekiben.kube.client import ApiError
from ekiben.kube.kinds import HPA, SCALEDOBJECT, Kind
from ekiben.observe_scalers import scalers_of, wants_keda
from ekiben.scaled import ScaledObjects
from ekiben.trims import trim_autoscaler, trim_scaled_object
from unit.fake_client import FakeClient, Manifest
from unit.kube.conftest import eventually

IRIS, ROSE = ("shop", "iris"), ("shop", "rose")
MODEL = Model("shop", "iris", "model-uid", 1, "1")
DEPLOYMENT = "iris-k7c4f9xw2p"
OURS = {"app.kubernetes.io/managed-by": "ekiben", "ekiben.dev/model": "iris"}
ABSENT = ApiError(404, "NotFound", "the server could not find the requested resource")
FORBIDDEN = ApiError(403, "Forbidden", "scaledobjects.keda.sh is forbidden")


class Server(FakeClient):
    """Has KEDA's kinds or not; watches hear nothing."""

    def __init__(self, problem: ApiError | None = None) -> None:
        super().__init__()
        self.problem = problem
        self.listed: list[str] = []
        self.watching = 0

    async def list_pages(
        self, kind: Kind, *_: Any, **__: Any
    ) -> AsyncGenerator[tuple[list[Manifest], str], None]:
        self.listed.append(kind.plural)
        if self.problem:
            raise self.problem
        yield [], "1"

    async def watch(self, *_: Any, **__: Any) -> AsyncGenerator[tuple[str, Manifest], None]:
        self.watching += 1
        try:
            await asyncio.Event().wait()
            yield "BOOKMARK", {}
        finally:
            self.watching -= 1


def scaled_objects(server: Server, woken: list[Any], allowed: bool = True) -> ScaledObjects:
    return ScaledObjects(server, ("",), allowed, woken.append, lambda old, new: None)


async def test_a_cluster_in_which_nobody_uses_keda_is_asked_nothing() -> None:
    server = Server()
    keda = scaled_objects(server, [])
    keda.ensure(IRIS, False)
    assert keda.is_known(IRIS)
    assert keda.state() == "absent"
    assert server.listed == []
    await keda.stop()


async def test_where_the_chart_does_not_allow_it_nothing_is_asked_and_that_is_said() -> None:
    server = Server()
    keda = scaled_objects(server, [], allowed=False)
    keda.ensure(IRIS, True)
    assert keda.is_known(IRIS)
    assert keda.state() == "disabled"
    assert server.listed == []
    await keda.stop()


@pytest.mark.parametrize(
    ("problem", "state"), [(None, "installed"), (ABSENT, "absent"), (FORBIDDEN, "unreadable")]
)
async def test_a_model_waits_until_it_is_known_whether_keda_is_there(
    problem: ApiError | None, state: str
) -> None:
    server, woken = Server(problem), []
    keda = scaled_objects(server, woken)
    keda.ensure(IRIS, True)
    assert not keda.is_known(IRIS)
    assert keda.is_known(ROSE), "who does not use it waits for nothing"
    await eventually(lambda: woken == [IRIS], "its user is woken")
    assert keda.state() == state
    assert keda.store(SCALEDOBJECT, "shop") is not None
    await keda.stop()


async def test_with_the_last_model_that_uses_it_the_watches_end() -> None:
    server = Server()
    keda = scaled_objects(server, [])
    keda.ensure(IRIS, True)
    keda.ensure(ROSE, True)
    await eventually(lambda: server.watching == 2, "both kinds are watched")
    keda.ensure(IRIS, False)
    assert keda.store(SCALEDOBJECT, "shop") is not None
    keda.ensure(ROSE, False)
    await eventually(lambda: server.watching == 0, "nothing is watched")
    assert keda.store(SCALEDOBJECT, "shop") is None
    await keda.stop()


def autoscaler(name: str, target: str, kind: str = "Deployment", **metadata: Any) -> Manifest:
    about = {"name": name, "namespace": "shop", "uid": "u", **metadata}
    spec = {"scaleTargetRef": {"kind": kind, "name": target}, "maxReplicas": 9}
    return {"kind": "HorizontalPodAutoscaler", "metadata": about, "spec": spec, "status": {"x": 1}}


def owned(kind: str, name: str, uid: str = "u") -> list[Manifest]:
    return [{"kind": kind, "name": name, "uid": uid, "controller": True}]


def test_others_are_told_from_ours_and_from_what_keda_makes() -> None:
    found = scalers_of(
        [
            autoscaler("theirs", DEPLOYMENT),
            autoscaler(
                DEPLOYMENT,
                DEPLOYMENT,
                labels=OURS,
                ownerReferences=owned("ModelDeployment", "iris", "model-uid"),
            ),
            autoscaler(
                "keda-hpa-a", DEPLOYMENT, labels=OURS, ownerReferences=owned("ScaledObject", DEPLOYMENT)
            ),
            autoscaler("keda-hpa-b", DEPLOYMENT, ownerReferences=owned("ScaledObject", "queue")),
            autoscaler("by-scale", "iris", kind="ModelDeployment"),
            autoscaler("of-rose", "rose-k7c4f9xw2p"),
            autoscaler("of-a-set", "iris", kind="StatefulSet"),
            {"metadata": {"name": "broken"}, "spec": None},
        ],
        MODEL,
    )
    assert set(found) == {
        Scaler("HorizontalPodAutoscaler", "theirs", DEPLOYMENT),
        Scaler("ScaledObject", DEPLOYMENT, DEPLOYMENT, ours=True),
        Scaler("ScaledObject", "queue", DEPLOYMENT),
        Scaler("HorizontalPodAutoscaler", "by-scale", ""),
    }


def test_of_anybody_elses_autoscaler_only_whose_it_is_and_what_it_sizes_is_kept() -> None:
    theirs = trim_autoscaler(autoscaler("theirs", DEPLOYMENT, annotations={"a": "b"}))
    assert theirs["spec"] == {"scaleTargetRef": {"kind": "Deployment", "name": DEPLOYMENT}}
    assert "status" not in theirs
    assert "annotations" not in theirs["metadata"]
    ours = trim_autoscaler(autoscaler(DEPLOYMENT, DEPLOYMENT, labels=OURS))
    assert ours["spec"]["maxReplicas"] == 9


def test_of_our_autoscalers_status_only_whether_it_can_read_is_kept() -> None:
    when = {"lastTransitionTime": "2026-01-01T00:00:00Z"}
    active = {"type": "ScalingActive", "status": "False", "reason": "FailedGetPodsMetric", **when}
    conditions = [
        {"type": "AbleToScale", "status": "True", "reason": "SucceededGetScale", **when},
        {**active, "message": "other words each time"},
    ]
    raw = autoscaler(DEPLOYMENT, DEPLOYMENT, labels=OURS)
    status = {"conditions": conditions, "currentMetrics": [{"type": "Pods"}], "currentReplicas": 3}
    assert trim_autoscaler({**raw, "status": status})["status"] == {"conditions": [active]}
    assert trim_autoscaler(raw)["status"] == {"conditions": []}


def test_of_one_that_keda_made_of_ours_bounds_are_kept_and_whether_it_can_read() -> None:
    active = {"type": "ScalingActive", "status": "False", "reason": "FailedGetExternalMetric"}
    active["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    raw = autoscaler("keda-hpa-a", DEPLOYMENT, labels=OURS, ownerReferences=owned("ScaledObject", DEPLOYMENT))
    raw["spec"] |= {"minReplicas": 2, "behavior": {"scaleUp": {}}, "metrics": [{"type": "External"}]}
    raw["status"] = {"conditions": [{**active, "message": "other words"}], "currentReplicas": 3}
    trimmed = trim_autoscaler(raw)
    assert trimmed["spec"].keys() == {"scaleTargetRef", "minReplicas", "maxReplicas"}
    (found,) = scalers_of([trimmed], MODEL)
    assert found.bounds == (2, 9)
    assert found.reading == Reading("False", "FailedGetExternalMetric", "2026-01-01T00:00:00Z")
    of_theirs = trim_autoscaler({**raw, "metadata": {**raw["metadata"], "labels": {}}})
    assert (of_theirs["spec"].keys(), "status" in of_theirs) == ({"scaleTargetRef"}, False)


@pytest.mark.parametrize(
    "status", [None, [], {"conditions": 7}, {"conditions": [7, {"type": "ScalingActive"}]}]
)
def test_whatever_an_autoscaler_of_kedas_says_is_read(status: Any) -> None:
    raw = autoscaler("keda-hpa-a", DEPLOYMENT, labels=OURS, ownerReferences=owned("ScaledObject", DEPLOYMENT))
    (found,) = scalers_of([raw | {"status": status, "spec": {**raw["spec"], "minReplicas": "2"}}], MODEL)
    assert (found.ours, found.bounds) == (True, None)
    assert found.reading in (None, Reading("", "", ""))


@pytest.mark.parametrize(
    ("managed", "asked_at"),
    [
        (
            [{"manager": "ekiben", "operation": "Apply", "time": "2026-01-01T00:00:00Z"}],
            "2026-01-01T00:00:00Z",
        ),
        ([{"manager": "keda", "operation": "Update", "time": "2026-01-01T00:00:00Z"}], None),
        ([{"manager": "ekiben", "operation": "Apply", "subresource": "status", "time": "x"}], None),
        ([{"manager": "ekiben", "operation": "Apply"}], None),
        ([7], None),
        (None, None),
    ],
)
def test_of_who_wrote_a_scaled_object_only_when_we_asked_last_is_kept(
    managed: Any, asked_at: str | None
) -> None:
    trimmed = trim_scaled_object({"metadata": {"name": "x", "managedFields": managed}, "spec": {}})
    assert trimmed["metadata"] == ({"name": "x"} if asked_at is None else {"name": "x", "askedAt": asked_at})


def test_of_a_scaled_objects_status_only_trouble_is_kept() -> None:
    conditions = [
        {"type": "Ready", "status": "True", "message": "fine"},
        {"type": "Active", "status": "False"},
        {"type": "Fallback", "status": "True", "reason": "FallbackExists"},
    ]
    status = {"conditions": conditions, "lastActiveTime": "2026-01-01T00:00:00Z"}
    trimmed = trim_scaled_object({"metadata": {"name": "x"}, "spec": {}, "status": status})
    assert trimmed["status"] == {"conditions": [conditions[2]]}


@pytest.mark.parametrize(
    ("block", "status", "wanted"),
    [
        ({"engine": "keda"}, {}, True),
        ({"metrics": [{"prometheus": {}}]}, {}, True),
        ({"engine": "auto", "metrics": [{"cpu": "70%"}, {"schedule": {}}]}, {}, True),
        ({"metrics": [{"name": "queue", "trigger": {}}]}, {}, True),
        ({"engine": "hpa", "metrics": [{"schedule": {}}]}, {}, False),
        ({"metrics": [{"cpu": "70%"}, 7]}, {}, False),
        ({"metrics": "prometheus"}, {}, False),
        (None, {"scaling": {"engine": "keda"}}, True),
        ([], {"scaling": []}, False),
    ],
)
def test_who_uses_keda(block: Any, status: Any, wanted: bool) -> None:
    assert wants_keda({"spec": {"autoscaling": block}, "status": status}) is wanted


def test_one_that_keda_made_of_ours_tells_of_a_scaled_object_that_nobody_else_knows_of() -> None:
    owner = {"kind": "ScaledObject", "name": DEPLOYMENT, "uid": "u", "controller": True}
    made = autoscaler(f"keda-hpa-{DEPLOYMENT}", DEPLOYMENT, labels=OURS, ownerReferences=[owner])
    theirs = autoscaler(f"keda-hpa-{DEPLOYMENT}", DEPLOYMENT, ownerReferences=[owner])
    by_hand = autoscaler("by-hand", DEPLOYMENT)
    assert wants_keda({}, [by_hand, trim_autoscaler(made)])
    assert not wants_keda({}, [by_hand, trim_autoscaler(theirs)])


async def test_one_that_keda_made_of_ours_has_keda_watched_until_it_goes_whoever_comes_first() -> None:
    owner = {"kind": "ScaledObject", "name": DEPLOYMENT, "uid": "s", "controller": True}
    made = autoscaler(
        f"keda-hpa-{DEPLOYMENT}", DEPLOYMENT, labels=OURS, ownerReferences=[owner], resourceVersion="2"
    )
    model = {"metadata": {"name": "iris", "namespace": "shop", "uid": "model-uid", "resourceVersion": "1"}}
    for model_first in (True, False):
        server, woken = Server(), []
        caches = Caches(server, (), woken.append, lambda key: None, keda=True)
        stores = [(caches.models, model), (caches.store(HPA, "shop"), made)]
        for store, raw in stores if model_first else reversed(stores):
            store.note_written(raw)
        assert not caches.is_read(IRIS), "what KEDA has of it is not known yet"
        await eventually(lambda read=caches.is_read: read(IRIS), "it is known")
        assert set(server.listed) == {"scaledobjects", "triggerauthentications"}
        caches.store(HPA, "shop").note_deleted("shop", f"keda-hpa-{DEPLOYMENT}", "u")
        await eventually(lambda server=server: server.watching == 0, "nothing is watched any more")
        await caches.stop()

"""Whose a request is, which pods can take it, and how it is held: as the watches say."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ekiben.activator.models import Limits, Models, limits_of, trim_model
from ekiben.kube.client import Client
from ekiben.kube.store import Key


def model(namespace: str, name: str, stable: str | None = "r1", **autoscaling: Any) -> dict[str, Any]:
    """Return a ModelDeployment that may sleep."""
    return {
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": f"{namespace}-{name}",
            "resourceVersion": "1",
        },
        "spec": {"autoscaling": {"minReplicas": 0, **autoscaling}},
        "status": {"stable": {"revision": stable}} if stable else {},
    }


def pod(
    name: str, ip: str | None, *, ready: bool = True, revision: str = "r1", **meta: Any
) -> dict[str, Any]:
    """Return a pod of shop/iris."""
    labels = {"ekiben.dev/model": "iris", "ekiben.dev/revision": revision}
    about = {"namespace": "shop", "name": name, "uid": name, "resourceVersion": "1", "labels": labels, **meta}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": about, "status": {"podIP": ip, "conditions": conditions}}


def models(*raws: dict[str, Any], pods: tuple[dict[str, Any], ...] = ()) -> Models:
    """Return what was listed."""
    made = Models(cast(Client, None))
    for raw in raws:
        made._models[""].store.note_written(raw)
    for raw in pods:
        made._pods[""].store.note_written(raw)
    return made


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("iris.shop:3000", ("shop", "iris")),
        ("iris.shop", ("shop", "iris")),
        ("iris.shop.svc.cluster.local:3000", ("shop", "iris")),
        ("rose:3000", ("shop", "rose")),
        ("iris:3000", None),
        ("lily.shop", None),
        ("iris.example.com", None),
        ("10.0.0.7:3000", None),
        ("", None),
    ],
)
def test_a_service_is_known_by_its_name(host: str, key: Key | None) -> None:
    known = models(model("shop", "iris"), model("lab", "iris"), model("shop", "rose"))
    assert known.find({}, host) == key


def test_what_the_route_says_comes_before_the_host() -> None:
    known = models(model("shop", "iris"), model("lab", "iris"))
    assert known.find({"Ekiben-Model": "lab/iris"}, "iris.shop") == ("lab", "iris")
    assert known.find({"Ekiben-Model": "lab/rose"}, "iris.shop") is None


def test_a_bare_name_is_known_again_once_it_is_the_only_one() -> None:
    known = models(model("shop", "iris"), model("lab", "iris"))
    known._models[""].store.note_deleted("lab", "iris", "lab-iris")
    assert known.find({}, "iris") == ("shop", "iris")


def test_only_ready_pods_of_the_revision_that_serves_take_requests() -> None:
    pods = (
        pod("a", "10.0.0.1"),
        pod("b", "10.0.0.2", ready=False),
        pod("c", "10.0.0.3", revision="r2"),
        pod("d", "10.0.0.4", deletionTimestamp="2026-01-01T00:00:00Z"),
        pod("e", None),
    )
    assert models(model("shop", "iris"), pods=pods).ready(("shop", "iris")) == ["10.0.0.1"]
    assert models(model("shop", "iris", stable=None), pods=pods).ready(("shop", "iris")) == []
    assert models(pods=pods).ready(("shop", "iris")) == []


def test_bounds_are_the_specs_and_what_is_none_is_the_default() -> None:
    known = models(
        model("shop", "iris", activation={"maxHeld": 7, "wakeTimeout": "2m"}),
        model("shop", "rose", activation={"wakeTimeout": "soon"}),
        model("shop", "lily"),
    )
    assert known.limits(("shop", "iris")) == Limits(7, 120.0)
    assert known.limits(("shop", "rose")) == known.limits(("shop", "lily")) == Limits(1000, 60.0)


@pytest.mark.parametrize(
    ("born_with", "limits"),
    [
        ({"maxHeld": 1000, "wakeTimeout": "2m"}, Limits(1000, 120.0)),
        ({"wakeTimeout": "soon"}, Limits(1000, 60.0)),
        (None, Limits(7, 1.0)),
    ],
)
def test_bounds_are_those_of_the_revision_that_serves_where_the_status_says_which(
    born_with: dict[str, Any] | None, limits: Limits
) -> None:
    raw = model("shop", "iris", activation={"maxHeld": 7, "wakeTimeout": "1s"})
    raw["status"]["sleep"] = {"state": "Asleep", "activation": born_with}
    assert limits_of(trim_model(raw)) == limits

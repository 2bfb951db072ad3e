"""What `plan` says of a change, and how it reads the server's refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ekiben.cli.facts import Facts, facts_of
from ekiben.cli.history import records_of
from ekiben.cli.plan import as_data, plan_for, plan_lines, room_question
from ekiben.cli.planning import applier, findings, is_finding
from ekiben.cli.resources import amount
from ekiben.kube.errors import ApiError
from unit.cli import world
from unit.cli.world import NOW, V1, V2, V3, golden, in_flight, rolled_back, serving

RECORDS = records_of([world.record("v1", 1), world.record("v2", 2)])
GATEWAY = {"parentRefs": [{"name": "models"}]}


def stored(tag: str, **more: Any) -> Facts:
    """Return the object as the server would store it."""
    raw = {"metadata": {"name": "iris", "namespace": "shop"}, "spec": world.spec(tag, **more)}
    return facts_of(raw)


def test_gates_and_warm_up_are_planned() -> None:
    gates = [
        {"name": "ticket", "url": "http://gate.svc", "when": "BeforeRollout"},
        {
            "name": "bench",
            "url": "http://gate.svc",
            "when": "BeforeStep",
            "maxWait": "1h",
            "onTimeout": "fail",
        },
    ]
    rollout = {"gates": gates, "warmup": {"requests": 30, "path": "/predict"}}
    lines = plan_lines(plan_for(stored("v3", rollout=rollout), serving(), RECORDS, NOW))
    assert "  note: gate ticket is asked before the first step, for at most 24h (then: pause)" in lines
    assert "  note: gate bench is asked before each step with a weight, for at most 1h (then: fail)" in lines
    assert "  note: each canary pod is warmed up first: 30 calls of POST /predict" in lines


def test_a_new_revision_is_planned_with_its_steps_pods_and_resources() -> None:
    big = serving(stable={**world.side("v2"), "replicas": 8, "readyReplicas": 8})
    new = stored("v3", traffic=GATEWAY, resources={"requests": {"cpu": "1500m", "memory": "3Gi"}})
    made = plan_for(new, big, RECORDS, NOW)
    golden("plan-new", plan_lines(made))
    assert [step.pods for step in made.steps] == [2, 2, 4, 8]
    assert made.peak_pods == 16
    assert made.peak_requests == {"cpu": 8 * 1.5 + 8 * 0.5, "memory": 8 * 3 * 2**30 + 8 * 2**29}
    assert made.least_seconds == 70
    data = json.loads(json.dumps(as_data(made)))
    assert data["peak"] == {"pods": 16, "requests": {"cpu": "16", "memory": "28Gi"}}


def test_blue_green_is_planned_with_all_its_pods_from_the_start() -> None:
    block = {"autoPromotionDelay": "90s", "autoPromotion": False}
    new = stored("v3", traffic=GATEWAY, rollout={"strategy": "BlueGreen", "blueGreen": block})
    made = plan_for(new, serving(), RECORDS, NOW)
    size = made.stable_pods
    assert [(step.kind, step.pods) for step in made.steps] == [
        ("analysis", size),
        ("pause", size),
        ("weight", size),
    ]
    assert (made.peak_pods, made.least_seconds) == (2 * size, 90)
    golden("plan-blue-green", plan_lines(made))


def test_recreate_is_planned_with_one_revision_at_a_time_and_says_that_serving_stops() -> None:
    big = serving(stable={**world.side("v2"), "replicas": 4, "readyReplicas": 4})
    gpus = {"limits": {"nvidia.com/gpu": 2}}
    new = stored("v3", rollout={"strategy": "Recreate"}, replicas=3, resources=gpus)
    made = plan_for(new, big, RECORDS, NOW)
    assert (made.steps, made.peak_pods) == ((), 4)
    assert made.peak_requests is not None
    assert made.peak_requests["nvidia.com/gpu"] == 6
    assert any("serving stops: 4 pods" in note for note in made.notes)
    asked = room_question(new, big, NOW)
    assert asked is not None
    assert (asked.pods, asked.leaves, asked.nodes) == (3, big.stable, True)


def test_room_is_asked_for_beside_stable_and_not_where_nothing_begins() -> None:
    big = serving(stable={**world.side("v2"), "replicas": 4, "readyReplicas": 4})
    asked = room_question(stored("v3", traffic=GATEWAY), big, NOW)
    assert asked is not None
    assert (asked.pods, asked.leaves) == (4, "")
    assert room_question(stored("v2"), big, NOW) is None
    assert room_question(stored("v3", rollout={"preflight": {"enabled": False}}), big, NOW) is None


def test_a_first_revision_is_planned_with_its_pods() -> None:
    golden("plan-first", plan_lines(plan_for(stored("v1"), None, {}, NOW)))


@pytest.mark.parametrize(
    ("live", "new", "verdict", "says"),
    [
        (serving(), stored("v2", replicas=5), "NoRevision", f"{V2} goes on serving, no pod is replaced"),
        (in_flight(), stored("v1"), "Reverted", f"{V2} is taken back: all traffic to {V1}"),
        (in_flight(), stored("v3"), "NewRevision", f"{V2}, which is in flight, is superseded; {V3}"),
        (in_flight(), stored("v2"), "NoRevision", f"rollout {V2}.2 goes on"),
        (in_flight(), stored("v2", rollout={"canary": {"steps": [{"weight": 9}]}}), "Edited", "edited steps"),
        (
            rolled_back(),
            stored("v2", replicas=9),
            "FailedBefore",
            "is not tried again until kubectl ekiben retry",
        ),
        (rolled_back(), stored("v2", rollout={"retry": f"{V2}.2"}), "NewRevision", f"{V2} is rolled out"),
        (serving(), stored("v3", rollout={"paused": True}), "Waits", "rollout.paused is true"),
        (None, stored("v1", rollout={"initial": "Held"}), "FirstRevision", "held until promote"),
    ],
)
def test_a_change_is_told_by_what_it_sets_going(
    live: Facts | None, new: Facts, verdict: str, says: str
) -> None:
    made = plan_for(new, live, RECORDS, NOW)
    assert (made.verdict, says in made.says) == (verdict, True), made.says
    assert bool(made.peak_pods) == (verdict in ("NewRevision", "Waits", "FirstRevision"))


def test_a_surge_limit_that_would_stop_it_is_told_before() -> None:
    new = stored("v3", rollout={"maxSurge": "50%", "canary": {"steps": [{"weight": 10}]}})
    notes = plan_for(new, serving(), RECORDS, NOW).notes
    assert "the promotion needs 2 canary pods, and rollout.maxSurge 50% allows 1" in "; ".join(notes)


def test_a_plan_names_the_fields_that_change() -> None:
    made = plan_for(stored("v2", replicas=5, env=[{"name": "A"}]), serving(), RECORDS, NOW)
    assert made.changed == ("spec.env", "spec.replicas")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("cpu", 2.5, "2.5"),
        ("memory", 3 * 2**30, "3Gi"),
        ("memory", 1.5 * 2**20, "1.5Mi"),
        ("nvidia.com/gpu", 4, "4"),
    ],
)
def test_amounts_are_written_as_people_do(name: str, value: float, text: str) -> None:
    assert amount(name, value) == text


def test_the_servers_findings_are_parted() -> None:
    said = (
        'ModelDeployment.ekiben.dev "iris" is invalid: [spec.replicas: Invalid value: 0: too small, or none,'
        " spec.bento.image: Invalid value: must be an image]"
    )
    assert findings(ApiError(422, "Invalid", said)) == [
        "spec.replicas: Invalid value: 0: too small, or none",
        "spec.bento.image: Invalid value: must be an image",
    ]
    untyped = "failed to create typed patch object (shop/iris; ekiben.dev/v1alpha1, Kind=ModelDeployment): "
    strange = ApiError(500, "Unknown", f"{untyped}.spec.x: field not declared in schema")
    assert is_finding(strange)
    assert findings(strange) == ["spec.x: field not declared in schema"]
    assert findings(ApiError(400, "BadRequest", 'unknown field "spec.x"')) == ['unknown field "spec.x"']


def test_a_lack_of_rights_is_no_finding_about_the_manifest() -> None:
    assert not is_finding(ApiError(403, "Forbidden", "modeldeployments is forbidden: User can't patch"))
    assert is_finding(ApiError(403, "Forbidden", "ValidatingAdmissionPolicy 'ekiben' denied request: no"))


def test_the_dry_run_is_made_as_whoever_applies_the_model() -> None:
    entries = [
        {"manager": "ekiben-cli", "operation": "Apply"},
        {"manager": "argocd-controller", "operation": "Apply"},
    ]
    assert applier({"metadata": {"managedFields": entries}}) == "argocd-controller"
    assert applier({"metadata": {"managedFields": [{"manager": "x", "operation": "Update"}]}}) == "kubectl"


def test_stable_that_shrinks_bounds_the_pods_of_both_together() -> None:
    canary = {"shrinkStable": True, "steps": [{"weight": 50}]}
    traffic = {"parentRefs": [{"name": "models"}]}
    new = stored("v3", traffic=traffic, rollout={"maxSurge": "50%", "canary": canary})
    made = plan_for(new, serving(), RECORDS, NOW)
    assert made.peak_pods == made.stable_pods + 1
    assert all(step.all_pods <= made.peak_pods for step in made.steps)
    assert not any("SurgeLimit" in note for note in made.notes)
    assert f"both together have at most {made.peak_pods}" in made.notes[0]

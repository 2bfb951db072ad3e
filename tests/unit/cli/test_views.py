"""What `get`, `why` and `history` draw, word for word, in the states that a user meets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ekiben.cli import history as past
from ekiben.cli.cluster import default_namespace
from ekiben.cli.exits import CommandError, Exit
from ekiben.cli.facts import Facts
from ekiben.cli.outcome import ending_of
from ekiben.cli.text import PLAIN, Paint, span
from ekiben.cli.tree import as_data, listing, tree
from ekiben.cli.why import REMEDIES, Finding, Surroundings, explain, why
from ekiben.core.conditions import REASONS
from unit.cli import world
from unit.cli.world import NOW, V1, V2, Json, golden, in_flight, pod, pods, rolled_back, serving

STUCK = {
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        }
    ],
    "containerStatuses": [],
}
CRASHING = {
    "containerStatuses": [
        {
            "name": "bento",
            "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        }
    ]
}
UNHEALTHY: list[Json] = [
    {"type": "Warning", "reason": "BackOff", "note": "back-off", "deprecatedLastTimestamp": world.ago(1)},
    {
        "type": "Warning",
        "reason": "Unhealthy",
        "note": "Readiness probe failed: HTTP probe failed with statuscode: 500",
        "deprecatedLastTimestamp": world.ago(40),
    },
    {
        "type": "Warning",
        "reason": "Unhealthy",
        "note": "Readiness probe failed: HTTP probe failed with statuscode: 503",
        "series": {"count": 9, "lastObservedTime": world.ago(2)},
    },
]


def test_a_rollout_in_flight_is_drawn_with_its_pods_steps_and_checks() -> None:
    crashing = [*pods()[:2], pod("v2", 1, ready=False, seconds=25, **CRASHING)]
    golden("tree-in-flight", tree(in_flight(), crashing, NOW))
    golden("tree-wide", tree(in_flight(), pods(), NOW, wide=True))


def test_latency_is_drawn_as_bounds_where_it_is_shown() -> None:
    latency = {"p50": "<= 50ms", "p95": "<= 250ms", "p99": "> 180s"}
    shown = {"rollout": world.rollout("v2", "Holding", 1, totals={"canary": {"latency": latency}})}
    lines = tree(in_flight(**shown), pods(), NOW)
    assert lines[-2:] == ["LATENCY  P50      P95       P99", "canary   <= 50ms  <= 250ms  > 180s"]


def test_why_names_the_gate_and_what_to_do_about_it() -> None:
    said = "step 1 of 3: 20% to v2, gate ticket is shut (409: 'ticket missing'); the rollout pauses at noon"
    facts = in_flight(reason="GateShut", message=said)
    (found,) = explain(facts, Surroundings())
    assert (found.reason, found.object, found.says) == ("GateShut", "spec.rollout.gates", said)
    assert found.remedy == "open it, or go on all the same: kubectl ekiben promote iris"


def test_why_names_what_a_pod_answered_to_its_warm_up() -> None:
    said = "0 of 1 canary pods are warmed up; pod iris-v2-1: answers 500 to POST /predict"
    (found,) = explain(in_flight(reason="WarmingUp", message=said), Surroundings(pods=tuple(pods())))
    assert (found.reason, found.says) == ("WarmingUp", said)
    assert found.remedy.startswith("see that rollout.warmup is what the pods answer")


def test_a_model_at_rest_is_drawn_without_steps_and_its_old_revision_with_the_time_it_has_left() -> None:
    retiring = [{"revision": V1, "since": world.ago(10), "until": world.ago(-20)}]
    facts = serving(retiring=retiring)
    golden("tree-at-rest", tree(facts, [pod("v2", 1), pod("v2", 2), pod("v1", 1)], NOW))


def test_a_bake_is_drawn_with_what_it_can_go_back_to_and_its_checks() -> None:
    facts = world.baking()
    golden("tree-baking", tree(facts, [pod("v2", 1), pod("v2", 2), pod("v1", 1)], NOW))
    golden("why-baking", why(facts, explain(facts, Surroundings())))


def test_a_model_that_no_operator_has_seen_says_so() -> None:
    facts = world.model(world.spec("v1"), {"observedGeneration": None})
    golden("tree-unseen", tree(facts, [], NOW))
    golden("why-unseen", why(facts, explain(facts, Surroundings())))


def test_colours_change_no_letter_and_no_column() -> None:
    drawn = tree(in_flight(), pods(), NOW, Paint(coloured=True))
    assert any("\x1b[" in line for line in drawn)
    plain = [
        "".join(part.split("m", 1)[1] if number else part for number, part in enumerate(line.split("\x1b[")))
        for line in drawn
    ]
    assert [line.rstrip() for line in plain] == tree(in_flight(), pods(), NOW, PLAIN)


def test_the_list_has_the_columns_of_kubectl() -> None:
    golden("list", listing([in_flight(), serving(), rolled_back()], NOW, namespaces=True, wide=True))


def test_the_picture_for_programs_holds_every_pod() -> None:
    data = json.loads(json.dumps(as_data(in_flight(), pods(), NOW)))
    assert [(item["role"], item["weight"], len(item["pods"])) for item in data["revisions"]] == [
        ("stable", 80, 2),
        ("canary", 20, 1),
    ]
    assert data["rollout"]["checks"][0]["samples"] == 12


def test_the_history_knows_images_of_what_is_kept_and_says_what_is_not() -> None:
    records = past.records_of([world.record("v2", 2, "failed"), world.record("v3", 9)])
    golden("history", past.history(past.entries(rolled_back(), records), NOW))
    started = past.entries(in_flight(), records)
    assert [(item.outcome, item.role) for item in started[:2]] == [
        ("InFlight", "canary"),
        ("Promoted", "stable"),
    ]


@pytest.mark.parametrize("word", [V2, f"{V2}.2", "2", "canary"])
def test_a_revision_can_be_named_in_many_ways(word: str) -> None:
    records = past.records_of([world.record("v1", 1), world.record("v2", 2)])
    assert past.chosen(word, in_flight(), records).revision == V2


def test_a_revision_that_is_not_kept_is_named_with_those_that_are() -> None:
    records = past.records_of([world.record("v1", 1)])
    with pytest.raises(CommandError, match=f"no revision 7: it keeps {V1}") as refused:
        past.chosen("7", in_flight(), records)
    assert refused.value.code is Exit.NOT_FOUND


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (serving(), Exit.OK),
        (in_flight(), None),
        (rolled_back(), Exit.ROLLED_BACK),
        (serving(conditions=world.settled("Aborted")), Exit.ABORTED),
        (serving(conditions=world.settled("InvalidSpec")), Exit.INVALID),
        (serving(conditions=world.settled("NotAllowed")), Exit.INVALID),
        (in_flight(conditions=[world.condition("Stalled", "True", "ChildConflict", "x")]), Exit.STALLED),
        (serving(observedGeneration=2), None),
        (serving(conditions=world.settled("Promoted")[1:]), None),
    ],
)
def test_an_end_is_told_apart_by_its_exit_status(facts: Facts, code: Exit | None) -> None:
    ended = ending_of(facts)
    assert (ended.code if ended else None) == code


def test_why_names_the_unschedulable_pod_and_what_it_lacks() -> None:
    facts = in_flight("Preparing", 0, "Unschedulable", "pod x can't be scheduled")
    around = Surroundings(pods=(pod("v1", 1), pod("v2", 1, ready=False, **STUCK)))
    golden("why-unschedulable", why(facts, explain(facts, around)))


def test_why_names_the_probe_that_fails_with_its_last_answer() -> None:
    facts = in_flight("Preparing", 0, "Starting", "0 of 1 canary pods are ready")
    waiting = pod("v2", 1, ready=False, seconds=90)
    around = Surroundings(pods=(waiting,), events={waiting["metadata"]["name"]: UNHEALTHY})
    golden("why-probe", why(facts, explain(facts, around)))


def test_why_names_the_samples_that_are_missing() -> None:
    golden("why-samples", why(in_flight(), explain(in_flight(), Surroundings())))


@pytest.mark.parametrize(
    ("stage", "remedy"), [("Preflight", "make room, or allow"), ("Holding", "wait for the pods, or go back")]
)
def test_why_tells_missing_room_from_pods_that_are_on_their_way(stage: str, remedy: str) -> None:
    facts = in_flight(stage, 1, "InsufficientCapacity", "1 of the 3 pods that its autoscaler wants are ready")
    (found,) = explain(facts, Surroundings())
    assert found.remedy.startswith(remedy)


def test_why_names_the_hand_that_a_pause_waits_for_and_a_command_that_was_ignored() -> None:
    ignored = {"command": "resume", "value": f"{V1}.1/2", "result": "Ignored", "message": "not this rollout"}
    said = f"paused at step 2; set rollout.resume to {V2}.2/2 to go on"
    facts = in_flight("Paused", 2, "PauseStep", said, commands=[ignored])
    golden("why-paused", why(facts, explain(facts, Surroundings())))


def test_why_names_the_gateway_that_does_not_accept_the_route() -> None:
    not_yet = world.condition("TrafficApplied", "False", "RouteNotAccepted", "not accepted")
    facts = serving(conditions=[*world.settled("Promoted")[:3], not_yet])
    condition = {
        "type": "Accepted",
        "status": "False",
        "reason": "NotAllowedByListeners",
        "message": "no",
        "observedGeneration": 4,
    }
    late = {"type": "ResolvedRefs", "status": "True", "observedGeneration": 3}
    parents = [{"parentRef": {"name": "models", "namespace": "infra"}, "conditions": [condition, late]}]
    route = {
        "metadata": {"name": "iris", "namespace": "shop", "generation": 4},
        "status": {"parents": parents},
    }
    golden("why-route", why(facts, explain(facts, Surroundings(route=route))))


def test_why_names_the_quota_of_the_deployment() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus, requested: 1"}
    deployment = {"metadata": {"name": f"iris-{V2}"}, "status": {"conditions": [failure]}}
    facts = in_flight("Preparing", 0, "Quota", "exceeded quota")
    (found,) = explain(facts, Surroundings(deployments=(deployment,)))
    assert (found.object, found.says) == (f"Deployment iris-{V2}", "exceeded quota: gpus, requested: 1")


def test_why_names_the_object_that_has_a_childs_name() -> None:
    said = "Service iris exists and is not ours: delete or rename it"
    facts = serving(conditions=[world.condition("Stalled", "True", "ChildConflict", said)])
    (found,) = explain(facts, Surroundings())
    assert found == Finding("ChildConflict", "ModelDeployment iris", said)


def test_why_names_the_pause_that_keeps_a_revision_from_beginning() -> None:
    facts = serving(message="a new revision waits: paused by rollout.paused; set it to false to go on")
    raw = {**facts.raw, "spec": world.spec("v3", rollout={"paused": True})}
    (found,) = explain(world.facts_of(raw), Surroundings())
    assert (found.reason, found.remedy) == ("Paused", "kubectl ekiben resume iris")


def test_why_says_that_nothing_is_waited_for() -> None:
    assert explain(serving(), Surroundings()) == []
    assert why(serving(), []) == [f"iris waits for nothing: {V2} serves with 2 of 2 pods"]


def test_every_remedy_is_for_a_reason_that_exists() -> None:
    of_pods = {"CrashLoopBackOff", "Restarted", "NotReady"}
    assert set(REMEDIES) - of_pods <= {reason.reason for reason in REASONS}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0s"), (59, "59s"), (61, "1m1s"), (600, "10m"), (3660, "1h1m"), (90000, "1d1h"), (-5, "0s")],
)
def test_a_length_of_time_is_said_in_its_largest_unit(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_the_namespace_is_that_of_the_context(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("current-context: one\ncontexts: [{name: two, context: {namespace: b}}]")
    (tmp_path / "b").write_text("current-context: two\ncontexts: [{name: one, context: {namespace: shop}}]")
    both = f"{tmp_path / 'a'}:{tmp_path / 'b'}"
    assert default_namespace(both, None) == "shop"
    assert default_namespace(both, "two") == "b"
    assert default_namespace(str(tmp_path / "missing"), None) == "default"

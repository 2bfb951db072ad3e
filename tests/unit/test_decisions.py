"""Every decision says who or what made it, from which revision to which: status, Events, log and metrics."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

import ekiben.core
from ekiben import logs, metrics
from ekiben.api.status import Outcome, RolloutStatus, Stage, Status
from ekiben.core.conditions import REASONS
from ekiben.core.deciding import DECISIONS
from ekiben.core.plan import Decision, Event, Plan
from ekiben.core.reconcile import decide
from ekiben.core.snapshot import Snapshot
from ekiben.core.telling import EVENTS, OTHER, OUTCOME_REASONS, bounded
from ekiben.kube.store import Store
from ekiben.trims import trim_model
from ekiben.writers import writers_of
from unit.sim import scenarios
from unit.sim.scenario import SCENARIOS, canary_spec, run, serve
from unit.sim.world import World

assert scenarios.__all__
CORE = Path(ekiben.core.__file__).parent
COMMANDS = ("promote", "abort", "resume", "retry")
WRITERS = {"spec": "kubectl-apply", "rollout": "helm", **dict.fromkeys(COMMANDS, "ekiben-cli")}
FIELDS = {"decision", "namespace", "name", "rollout", "from", "to", "by", "reason", "numbers"}


def entry(manager: str, spec: Any, time: str = "2026-01-01T00:00:00Z", **more: Any) -> dict[str, Any]:
    return {"manager": manager, "time": time, "fieldsV1": {"f:spec": spec}, **more}


class TestWriters:
    def test_who_wrote_last_stands_and_commands_are_told_apart(self) -> None:
        found = writers_of(
            [
                entry("helm", {"f:bento": {"f:image": {}}, "f:rollout": {"f:canary": {}}}),
                entry("kubectl", {"f:bento": {"f:service": {}}}, "2026-01-02T00:00:00Z"),
                entry("ekiben-cli", {"f:rollout": {"f:abort": {}}}, "2026-01-03T00:00:00Z"),
                entry("ekiben", {"f:replicas": {}}, "2026-01-04T00:00:00Z", subresource="scale"),
            ]
        )
        assert found == {"spec": "kubectl", "rollout": "helm", "abort": "ekiben-cli"}

    @pytest.mark.parametrize(
        "strange",
        [
            None,
            {},
            ["x"],
            [{}],
            [{"fieldsV1": []}],
            [{"fieldsV1": {"f:spec": None}}],
            [entry("", {"f:rollout": None})],
        ],
    )
    def test_strange_content_breaks_nothing(self, strange: Any) -> None:
        assert set(writers_of(strange).values()) <= {""}

    def test_a_long_name_is_cut_and_the_rest_of_managed_fields_is_not_kept(self) -> None:
        raw = {
            "metadata": {"name": "iris", "managedFields": [entry("x" * 500, {"f:bento": {}})]},
            "spec": {},
        }
        kept = Store(trim=trim_model).prepare(raw)
        assert kept is not None
        assert kept.content["metadata"] == {"name": "iris", "writers": {"spec": "x" * 128}}
        assert "managedFields" not in raw["metadata"]

    def test_a_trim_that_fails_keeps_no_managed_fields(self) -> None:
        def fails(raw: Any) -> Any:
            raise ValueError

        kept = Store(trim=fails).prepare({"metadata": {"name": "iris", "managedFields": [{}]}})
        assert kept is not None
        assert kept.content["metadata"] == {"name": "iris"}


class Ledger:
    """A decide that knows whose hand it is, and keeps what was decided and told."""

    def __init__(self) -> None:
        self.made: list[Decision] = []
        self.events: list[Event] = []
        self.missed: list[tuple[Stage | None, Stage | None]] = []

    def __call__(self, snapshot: Snapshot) -> Plan:
        plan = decide(replace(snapshot, model=replace(snapshot.model, writers=WRITERS)))
        self.made += [plan.decision] if plan.decision else []
        self.events += plan.events
        before, after = snapshot.status.rollout, plan.status.rollout if plan.status else None
        moved = after is not None and (before is None or before.stage is not after.stage)
        if moved and plan.decision is None:
            self.missed.append((before and before.stage, after and after.stage))
        return plan

    def told(self) -> list[tuple[str, str]]:
        return [(item.decision, item.by) for item in self.made if item.decision != "Moved"]


def play(**parts: Any) -> tuple[World, Ledger]:
    ledger = Ledger()
    world = World(canary_spec(**parts), decide=ledger)
    serve(world)
    return world, ledger


def test_a_promotion_names_the_change_and_the_checks_with_their_numbers() -> None:
    world, ledger = play()
    first = world.status.stable
    world.release("v2")
    world.until_settled()
    assert ledger.told() == [
        ("Started", "spec by kubectl-apply"),
        ("Ended", "operator"),
        ("Started", "spec by kubectl-apply"),
        ("Step", "operator"),
        ("Step", "checks"),
        ("Promoting", "checks"),
        ("Ended", "operator"),
    ]
    step = next(item for item in ledger.made if item.by == "checks")
    assert first is not None
    assert (step.old, step.rollout.partition(".")[0]) == (first.revision, step.new)
    assert [(number.metric, number.verdict) for number in step.numbers] == [("error-rate", "Pass")]
    (kept, _) = world.status.history
    assert (kept.from_, kept.by, kept.started_by) == (first.revision, "checks", "spec by kubectl-apply")
    assert kept.started_at is not None
    assert kept.started_at < kept.at
    started = next(item for item in ledger.events if item.reason == "RolloutStarted")
    assert started.note.endswith(f"by spec by kubectl-apply; from {first.revision} to {kept.revision}")


def test_a_failed_check_is_named_with_its_numbers_and_where_it_goes_back_to() -> None:
    world, ledger = play()
    world.behave("v2", errors=0.5)
    world.release("v2")
    world.until_settled()
    aborting = next(item for item in ledger.made if item.decision == "Aborting")
    assert (aborting.by, aborting.reason) == ("check error-rate", "AnalysisFailed")
    assert aborting.numbers[0].verdict == "Fail"
    assert aborting.numbers[0].samples > 0
    assert world.status.history[0].by == "check error-rate"
    note = next(item.note for item in ledger.events if item.reason == "RolledBack")
    assert world.status.stable is not None
    assert note.endswith(f"by check error-rate; back to {world.status.stable.revision}")


def test_pods_that_die_are_the_operators_own_verdict() -> None:
    world, ledger = play()
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.restart_pods("v2")
    world.until_settled()
    aborting = next(item for item in ledger.made if item.decision == "Aborting")
    assert (aborting.by, aborting.reason) == ("operator", "Restarted")


@pytest.mark.parametrize(
    ("command", "outcome", "decision"),
    [("abort", Outcome.ABORTED, "Aborting"), ("promote", Outcome.PROMOTED, "Promoting")],
)
def test_a_command_names_the_hand_that_wrote_it(command: str, outcome: Outcome, decision: str) -> None:
    world, ledger = play()
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    world.command(command)
    world.until_settled()
    assert (decision, f"rollout.{command} by ekiben-cli") in ledger.told()
    last = world.status.history[0]
    assert (last.outcome, last.by) == (outcome, f"rollout.{command} by ekiben-cli")


def test_resume_retry_supersede_and_edits_name_their_hands() -> None:
    world, ledger = play(rollout={"canary": {"steps": [{"pause": {}}, {"weight": 50, "hold": "20s"}]}})
    world.release("v2")
    world.until_stage(Stage.PAUSED)
    world.resume()
    world.until_stage(Stage.HOLDING, 2)
    world.edit("rollout.canary.steps", [{"weight": 40, "hold": "20s"}])
    world.run(2)
    world.release("v3")
    world.run(2)
    world.until_stage(Stage.HOLDING)
    world.command("abort")
    world.until_settled()
    failed = world.status.failed_revisions[0]
    world.edit("rollout.retry", failed.rollout)
    world.until_settled()
    told = ledger.told()
    for wanted in (
        ("Paused", "operator"),
        ("Resumed", "rollout.resume by ekiben-cli"),
        ("Edited", "spec by helm"),
        ("Aborting", "spec by kubectl-apply"),
        ("Started", "rollout.retry by ekiben-cli"),
    ):
        assert wanted in told, told


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_no_transition_goes_unrecorded_and_every_word_is_in_the_tables(name: str) -> None:
    ledger = Ledger()
    done = run(SCENARIOS[name], decide=ledger)
    assert not done.problems
    assert ledger.missed == []
    assert {item.decision for item in ledger.made} <= set(DECISIONS)
    assert all(item.by for item in ledger.made), [item for item in ledger.made if not item.by]
    assert {item.reason for item in ledger.events} <= set(EVENTS)
    ended = {item.reason for item in done.world.status.failed_revisions}
    assert ended <= set(OUTCOME_REASONS)


def test_every_reason_in_the_code_is_in_the_tables() -> None:
    code = "\n".join(path.read_text() for path in CORE.rglob("*.py"))
    assert set(re.findall(r'\bevent\(\s*"(?:Normal|Warning)",\s*"(\w+)"', code)) <= set(EVENTS)
    assert set(re.findall(r'\bFailure\(\s*"(\w+)"', code)) <= set(OUTCOME_REASONS)
    assert len({(item.condition, item.reason) for item in REASONS}) == len(REASONS)


def test_a_history_that_an_older_version_wrote_is_read() -> None:
    old = {
        "rollout": "kaaaaaaaaa.1",
        "revision": "kaaaaaaaaa",
        "outcome": "Promoted",
        "at": "2026-01-01T00:00:00Z",
    }
    (kept,) = Status.model_validate({"history": [old]}).history
    assert (kept.from_, kept.started_at, kept.by) == (None, None, None)
    assert kept.model_dump(mode="json", by_alias=True, exclude_none=True) == {**old, "message": ""}


def test_a_decision_is_one_json_line_with_these_fields(caplog: pytest.LogCaptureFixture) -> None:
    _, ledger = play()
    with caplog.at_level(logging.INFO, logger="ekiben.decisions"), logs.about(("shop", "iris")):
        for item in ledger.made:
            logs.decision(item)
        lines = [json.loads(logs.JsonFormatter().format(record)) for record in caplog.records]
    assert len(lines) == len(ledger.made) > 0
    for line in lines:
        assert line.keys() == FIELDS | {"time", "level", "logger", "message"}
        assert (line["namespace"], line["name"], line["logger"]) == ("shop", "iris", "ekiben.decisions")
    described = (CORE.parents[2] / "docs/decisions.md").read_text()
    assert {word for word in FIELDS if f"| `{word}` |" not in described} == set()


def rollout(stage: Stage, outcome: Outcome | None, reason: str, name: str = "kaaaaaaaaa.1") -> Status:
    times = {"startedAt": "2026-01-01T00:00:00Z", "stageStartedAt": "2026-01-01T00:10:00Z"}
    wire = {"id": name, "revision": "kaaaaaaaaa", "stage": stage, "outcome": outcome, "reason": reason}
    return Status(rollout=RolloutStatus.model_validate(wire | times))


def test_outcomes_are_counted_once_by_a_bounded_reason_and_their_time_with_them() -> None:
    def count(outcome: str, reason: str) -> float:
        return metrics.ROLLOUTS.labels(outcome, reason)._value.get()

    before = count("RolledBack", "AnalysisFailed"), count("RolledBack", OTHER)
    aborting = rollout(Stage.ABORTING, Outcome.ROLLED_BACK, "AnalysisFailed")
    over = rollout(Stage.OVER, Outcome.ROLLED_BACK, "AnalysisFailed")
    metrics.count_outcome(rollout(Stage.HOLDING, None, ""), aborting)
    metrics.count_outcome(aborting, over)
    metrics.count_outcome(over, over)
    strange = rollout(Stage.OVER, Outcome.ROLLED_BACK, "kxyz-7 failed at 12:00", "kaaaaaaaaa.2")
    metrics.count_outcome(over, strange)
    assert (count("RolledBack", "AnalysisFailed"), count("RolledBack", OTHER)) == (
        before[0] + 1,
        before[1] + 1,
    )
    assert bounded("kxyz-7 failed at 12:00") == OTHER


def test_no_metric_is_labelled_by_an_objects_name() -> None:
    page = generate_latest().decode()
    labels = set(re.findall(r'[{,](\w+)="', "\n".join(re.findall(r"^ekiben_.*$", page, re.MULTILINE))))
    assert labels <= {
        "action", "code", "kind", "le", "outcome", "phase", "reason", "resource", "result", "stage", "type",
        "verb", "version",
    }  # fmt: skip

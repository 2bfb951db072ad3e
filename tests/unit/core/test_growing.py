"""What is slow while an autoscaler still brings pods is not held against a revision; all else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ekiben.api.measured import CheckResult, Counters, SetAside, Totals
from ekiben.api.status import RevisionStatus, RolloutStatus, Stage, Status
from ekiben.api.v1alpha1 import parse_spec
from ekiben.core import growing, names, verdicts
from ekiben.core.failures import verdict
from ekiben.core.revision import revision_of
from ekiben.core.snapshot import Model, Observation, Pod, Ref, Scrape, Snapshot
from ekiben.core.starting import plan_of
from ekiben.core.status import report
from ekiben.core.view import View

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SLOW = {"metric": "slow-requests", "over": "300ms", "max": "5%"}
ERRORS = {"metric": "error-rate", "max": "1%"}
SPEC: dict[str, Any] = {
    "bento": {"image": "registry.example.com/iris:2", "service": "Iris"},
    "autoscaling": {"minReplicas": 1, "maxReplicas": 8, "metrics": [{"cpu": "70%"}]},
    "traffic": {"parentRefs": [{"name": "models"}]},
    "rollout": {"canary": {"steps": [{"weight": 50, "hold": "5m"}, {"weight": 80, "hold": "5m"}]}},
    "analysis": {"checks": [SLOW, ERRORS]},
}
HPA, SCALED_OBJECT = "HorizontalPodAutoscaler", "ScaledObject"
BAD = {"requests": 1000, "slow": {"300ms": 500}}
GOOD = {"requests": 1000, "slow": {"300ms": 5}}


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def pods(revision: str, count: int, ready: int, since: float = 600.0, **more: Any) -> tuple[Pod, ...]:
    return tuple(
        Pod(
            f"{revision}-{number}",
            f"{revision}-{number}",
            revision,
            ip="10.0.0.1",
            ready=number < ready,
            ready_changed_at=ago(since) if number < ready else None,
            started_at=ago(since + 5) if number < ready else None,
            **more,
        )
        for number in range(count)
    )


def look(
    canary: dict[str, Any] = BAD,
    *,
    wants: int = 3,
    ready: int = 1,
    since: float = 600.0,
    scaler: str | None = HPA,
    most: int = 8,
    stage: Stage = Stage.HOLDING,
    began: float = 600.0,
    spec: dict[str, Any] = SPEC,
    **rollout: Any,
) -> View:
    """Return a view of a canary at half of the requests that has counted so much since its step began."""
    wanted = parse_spec(spec)
    new, old = revision_of(wanted), revision_of(parse_spec(spec | {"bento": {"image": "iris:1"}}))
    new_child, old_child = (names.revision_child("iris", item.revision) for item in (new, old))
    bare = View(Snapshot(Model("ns", "iris", "uid", 1, "1"), wanted, Status(), NOW), wanted, Status(), new)
    flight = RolloutStatus(
        id=f"{new.revision}.1",
        revision=new.revision,
        provider="Gateway",
        stage=stage,
        stage_started_at=ago(began),
        step_started_at=ago(began),
        **{"step": 1, "plan": plan_of(bare), **rollout},
    )
    stable = RevisionStatus(revision=old.revision, served_at=ago(9000))
    status = Status(stable=stable, rollout=flight)
    live = {
        Ref("Deployment", new_child): {"metadata": {"name": new_child}, "spec": {"replicas": wants}},
        Ref("Deployment", old_child): {"metadata": {"name": old_child}, "spec": {"replicas": 2}},
    }
    if scaler is not None:
        size = "maxReplicas" if scaler == HPA else "maxReplicaCount"
        live[Ref(scaler, new_child)] = {"metadata": {"name": new_child}, "spec": {size: most}}
    seen = Snapshot(
        model=Model("ns", "iris", "uid", 1, "1"),
        spec=wanted,
        status=status,
        now=NOW,
        wanted=new,
        live=live,
        records={new.revision: new, old.revision: old},
        pods=(*pods(new.revision, wants, ready, since), *pods(old.revision, 2, 2)),
    )
    view = View(seen, wanted, status, new)
    counters = {new.revision: Counters(**canary), old.revision: Counters(**GOOD)}
    scrapes = {new.revision: Scrape(pods_read=ready), old.revision: Scrape(pods_read=2)}
    observed = Observation(view.window, NOW, counters, {}, scrapes)
    return View(replace(seen, observation=observed), wanted, status, new)


def excused(view: View) -> bool | None:
    """Tell whether what is slow is excused."""
    return verdicts.judged(view)[0].excused


def later(view: View) -> View:
    """Return the view of an operator that has just started and knows what the status says."""
    status = report(view, None)
    snapshot = replace(view.snapshot, status=Status.model_validate(status.to_wire()), observation=None)
    return View(snapshot, view.spec, snapshot.status, view.wanted)


@pytest.mark.parametrize("scaler", [HPA, SCALED_OBJECT])
def test_a_slow_canary_waits_for_the_pods_that_its_autoscaler_wants(scaler: str) -> None:
    view = look(scaler=scaler)
    result = verdicts.judged(view)[0]
    assert (result.verdict, result.excused) == ("Waiting", True)
    assert result.message.endswith("1 of the 3 pods that its autoscaler wants are ready")
    assert verdicts.reason_of(view, result) == "InsufficientCapacity"
    assert verdict(view) is None


def test_where_nobody_of_ours_scales_it_nothing_is_excused() -> None:
    failure = verdict(look(scaler=None))
    assert failure is not None
    assert failure.reason == "AnalysisFailed"


def test_errors_and_dead_pods_count_all_the_same() -> None:
    failure = verdict(look({**BAD, "errors": 100}))
    assert failure is not None
    assert failure.message.startswith("error-rate")
    view = look()
    dead = tuple(replace(pod, restarts=3, ready=False) for pod in view.snapshot.pods)
    crashed = verdict(View(replace(view.snapshot, pods=dead), view.spec, view.status, view.wanted))
    assert crashed is not None
    assert crashed.reason == "CrashLoop"


def test_a_check_that_passes_with_too_few_pods_passes() -> None:
    assert verdicts.judged(look(GOOD))[0].verdict == "Pass"


def test_a_check_that_only_waits_for_requests_is_not_excused() -> None:
    few = verdicts.judged(look({"requests": 10, "slow": {"300ms": 0}}))[0]
    assert (few.verdict, few.excused) == ("Waiting", None)


def test_pods_of_the_next_weight_are_no_sign_of_load() -> None:
    # At 80 % it needs two pods; a third is the load's.
    assert growing.growth(look(wants=2, stage=Stage.SHIFTING, step=2)) is None
    assert growing.growth(look(wants=3, stage=Stage.SHIFTING, step=2)) is not None
    assert growing.growth(look(wants=2, stage=Stage.SHIFTING, step=2, growing_since=ago(9))) is not None


def test_until_the_new_pods_have_been_there_for_a_while_it_is_not_judged() -> None:
    grows = {"wants": 3, "ready": 3, "growing_since": ago(60)}
    fresh = growing.growth(look(**grows, since=10.0))
    assert fresh is not None
    assert (fresh.phase, fresh.seconds) == ("Settling", 20.0)
    over = growing.growth(look(**grows, since=30.0))
    assert over is not None
    assert over.phase == "Over"
    # A clock of the node that is ahead keeps nobody waiting.
    ahead = growing.growth(look(**grows, since=-3600.0))
    assert ahead is not None
    assert ahead.phase == "Over"


def test_pods_that_were_not_read_yet_are_waited_for() -> None:
    view = look(wants=3, ready=3, growing_since=ago(60))
    assert view.snapshot.observation is not None
    scrapes = {view.wanted.revision: Scrape(pods_read=1)}
    seen = replace(view.snapshot, observation=replace(view.snapshot.observation, scrapes=scrapes))
    grown = growing.growth(View(seen, view.spec, view.status, view.wanted))
    assert grown is not None
    assert grown.phase == "Settling"


def test_what_was_counted_until_then_is_set_aside_and_a_restart_decides_the_same() -> None:
    view = look({**BAD, "errors": 3}, wants=3, ready=3, growing_since=ago(60))
    assert verdict(view) is None
    again = later(view)
    rollout = again.status.rollout
    assert rollout is not None
    assert rollout.growing_since is None
    assert rollout.set_aside is not None
    assert (rollout.set_aside.times, rollout.set_aside.canary.requests) == (1, 1000)
    slow, errors = verdicts.judged(again)
    assert (slow.verdict, slow.samples, slow.excused) == ("Waiting", 0, None)
    assert (errors.verdict, errors.samples) == ("Pass", 1000)


def test_pods_that_came_while_no_operator_ran_are_found_by_their_age() -> None:
    came = {"wants": 3, "ready": 3, "began": 200.0}
    fresh = growing.growth(look(**came, since=10.0))
    assert fresh is not None
    assert (fresh.phase, fresh.seconds) == ("Settling", 20.0)
    view = look(**came, since=100.0)
    assert verdict(view) is None
    again = later(view)
    assert again.status.rollout is not None
    assert again.status.rollout.set_aside is not None
    assert again.status.rollout.set_aside.times == 1
    assert growing.growth(look(**came, since=100.0, set_aside=again.status.rollout.set_aside)) is None
    assert growing.growth(look(**came, since=300.0)) is None, "they were there when the counts began"
    assert growing.growth(look(**came, since=100.0, scaler=None)) is None
    assert growing.growth(look(**came, since=100.0, stage=Stage.SHIFTING, step=2)) is None


def test_pods_that_were_asked_for_are_waited_for_while_another_engine_takes_over() -> None:
    coming = growing.growth(look(scaler=None, growing_since=ago(10)))
    assert coming is not None
    assert coming.phase == "Growing"
    there = growing.growth(look(scaler=None, ready=3, since=10.0, growing_since=ago(60)))
    assert there is not None
    assert there.phase == "Settling"


def test_it_says_in_the_status_that_pods_are_missing_before_it_is_judged_by_that() -> None:
    again = later(look(began=60.0))
    assert again.status.rollout is not None
    assert again.status.rollout.growing_since == NOW
    assert verdict(again) is None


def test_behind_it_a_canary_that_is_slow_by_itself_fails() -> None:
    view = look({"requests": 2000, "slow": {"300ms": 800}}, wants=3, ready=3, most=3)
    aside = SetAside(window=view.window, times=1, canary=Counters(**BAD), stable=Counters())
    failure = verdict(look({"requests": 2000, "slow": {"300ms": 800}}, ready=3, most=3, set_aside=aside))
    assert failure is not None
    assert failure.message.startswith("slow-requests over 300ms 30% of 1000 requests")


def test_what_another_window_has_set_aside_says_nothing() -> None:
    aside = SetAside(window="another", times=9, canary=Counters(**BAD))
    view = look(ready=3, most=3, set_aside=aside)
    assert growing.judged_counts(view, Totals(canary=Counters(**BAD))).canary.requests == 1000
    assert growing.tries(view) == 2


def test_an_autoscaler_has_its_time_to_ask_for_more_pods() -> None:
    first = look(wants=1, ready=1)
    assert excused(first)
    assert verdicts.reason_of(first, verdicts.judged(first)[0]) == "Analysing"
    known = verdicts.judged(first)[0]
    assert known.since == NOW

    def after(seconds: float, **more: Any) -> bool | None:
        checks = (known.model_copy(update={"since": ago(seconds)}),)
        return excused(look(wants=1, ready=1, checks=checks, **more))

    assert after(74)
    assert not after(75)
    assert not after(1, most=1), "it may have no more"
    assert not after(1, scaler=None)


def test_an_autoscaler_has_its_time_once_as_long_as_the_limit_stays_broken() -> None:
    uncertain = {"requests": 1000, "slow": {"300ms": 55}}
    known = verdicts.judged(look(uncertain, wants=1, ready=1))[0]
    assert (known.verdict, known.excused) == ("Waiting", True)
    answered = verdicts.judged(
        look(uncertain, wants=1, ready=1, checks=(known.model_copy(update={"since": ago(75)}),))
    )[0]
    assert (answered.verdict, answered.excused, answered.since) == ("Waiting", False, NOW)
    stored = CheckResult.model_validate(answered.model_dump(mode="json", by_alias=True, exclude_none=True))
    again = look(uncertain, wants=1, ready=1, checks=(stored,))
    assert excused(again) is False
    assert verdicts.reason_of(again, verdicts.judged(again)[0]) == "OverLimit"
    assert verdicts.judged(look(wants=1, ready=1, checks=(stored,)))[0].verdict == "Fail"
    assert excused(look(GOOD, wants=1, ready=1, checks=(stored,))) is None
    assert excused(look(uncertain, checks=(stored,))), "it wants more pods after all"


def test_an_autoscaler_with_a_longer_window_has_longer() -> None:
    view = look(wants=1, ready=1)
    known = verdicts.judged(view)[0].model_copy(update={"since": ago(100)})
    view = look(wants=1, ready=1, checks=(known,))
    name = names.revision_child("iris", view.wanted.revision)
    up = {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 120}}}
    for kind, spec in ((HPA, up), (SCALED_OBJECT, {"advanced": {"horizontalPodAutoscalerConfig": up}})):
        live = {ref: raw for ref, raw in view.live.items() if ref.kind == "Deployment"}
        live[Ref(kind, name)] = {"metadata": {"name": name}, "spec": {"maxReplicas": 8, **spec}}
        patient = View(replace(view.snapshot, live=live), view.spec, view.status, view.wanted)
        assert excused(patient), kind


def test_when_nobody_waits_any_more_it_is_inconclusive_whose_fault_it_is() -> None:
    late = look(began=3600.0)
    result = verdicts.judged(late)[0]
    assert (result.verdict, verdicts.deeds(late)[0][1]) == ("Inconclusive", "pause")
    assert verdict(late) is None
    answered = look(began=3600.0, wants=1, ready=1, since=4000.0)
    assert verdicts.judged(answered)[0].verdict == "Fail"


def test_the_beginnings_of_a_step_share_the_error_that_it_has() -> None:
    parts = []
    for times in range(40):
        view = look(ready=3)
        aside = SetAside(window=view.window, times=times)
        parts.append(1 / growing.tries(look(ready=3, set_aside=aside)))
    assert parts[0] == 1 / 2
    assert sum(parts) <= 1 + 1e-4
    assert growing.tries(look(scaler=None)) == 1


def test_requests_under_way_are_judged_like_durations() -> None:
    busy = {"metric": "concurrency", "max": "2"}
    spec = SPEC | {"analysis": {"checks": [busy, SLOW]}}
    load = {"load": {"busyMs": 90_000, "watchedMs": 10_000}}
    result = verdicts.judged(look({**BAD, **load}, spec=spec))[0]
    assert (result.verdict, result.excused) == ("Waiting", True)
    known = Counters(**{**BAD, **load})
    view = look(spec=spec, ready=3)
    aside = SetAside(window=view.window, times=1, canary=known)
    counted = Totals(
        window=view.window, canary=Counters(**BAD, load={"busyMs": 100_000, "watchedMs": 20_000})
    )
    left = growing.judged_counts(look(spec=spec, ready=3, set_aside=aside), counted).canary.load
    assert left is not None
    assert (left.busy_ms, left.watched_ms) == (10_000, 10_000)


def test_without_a_check_of_durations_nothing_is_noted() -> None:
    spec = SPEC | {"analysis": {"checks": [ERRORS]}}
    again = later(look(spec=spec))
    assert again.status.rollout is not None
    assert again.status.rollout.growing_since is None

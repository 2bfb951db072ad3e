"""What checks say about counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ekiben.api.judging import Check
from ekiben.api.measured import CheckResult, Counters, Totals
from ekiben.core.analysis import (
    DEFAULT_CHECKS,
    Terms,
    bounds_of,
    dated,
    effective_checks,
    judge,
)

ERRORS = Check(metric="error-rate", max="1%")
SLOW = Check(metric="slow-requests", over="300ms", max="5%")
NO_WORSE = Check(metric="error-rate", max_ratio_to_stable="1.5")
BOTH = Check(metric="error-rate", max="10%", max_ratio_to_stable="1.5")
LITTLE_MORE = Check(metric="error-rate", max_increase_over_stable="1%")
BUSY = Check(metric="throughput", min="2.5")


def counted(requests: int, errors: int = 0, **more: object) -> Counters:
    """Counters of one side."""
    return Counters.model_validate({"requests": requests, "errors": errors} | more)


def look(
    check: Check,
    canary: Counters,
    stable: Counters | None = None,
    *,
    min_samples: int = 50,
    waited_out: bool = False,
) -> CheckResult:
    """Judge by one check."""
    totals = Totals(window="iris.1/1", canary=canary, stable=stable or counted(0))
    (result,) = judge((check,), totals, Terms(min_samples, waited_out))
    return result


VERDICTS = {
    "a clean canary with enough requests passes": (ERRORS, counted(50), None, "Pass"),
    "a canary within its limit passes": (ERRORS, counted(200, 2), None, "Pass"),
    "a canary exactly at its limit passes": (ERRORS, counted(100, 1), None, "Pass"),
    "a clean canary waits for its last request": (ERRORS, counted(49), None, "Waiting"),
    "no request at all is waited for": (ERRORS, counted(0), None, "Waiting"),
    "one error of one request is no proof": (ERRORS, counted(1, 1), None, "Waiting"),
    "five errors of five need no fifty requests": (ERRORS, counted(5, 5), None, "Fail"),
    "five errors of eighty-two exclude one percent": (ERRORS, counted(82, 5), None, "Fail"),
    "a little over the limit is waited for": (ERRORS, counted(100, 2), None, "Waiting"),
    "one error breaks a limit of zero": (Check(metric="error-rate", max="0%"), counted(1, 1), None, "Fail"),
    "a limit of a hundred percent never fails": (
        Check(metric="error-rate", max="100%"),
        counted(60, 60),
        None,
        "Pass",
    ),
    "sheds count as errors unless they are excluded": (
        ERRORS,
        counted(60, 6, sheds=6, sheds5xx=6),
        None,
        "Fail",
    ),
    "excluded sheds are no errors": (
        Check(metric="error-rate", max="1%", exclude_sheds=True),
        counted(60, 6, sheds=6, sheds5xx=6),
        None,
        "Pass",
    ),
    "excluded sheds are no requests either": (
        Check(metric="error-rate", max="1%", exclude_sheds=True),
        counted(55, 6, sheds=6, sheds5xx=6),
        None,
        "Waiting",
    ),
    "429 and 503 are sheds": (Check(metric="shed-rate", max="1%"), counted(60, sheds=6), None, "Fail"),
    "slow requests over their limit fail": (SLOW, counted(60, slow={"300ms": 20}), None, "Fail"),
    "slow requests within their limit pass": (SLOW, counted(60, slow={"300ms": 3}), None, "Pass"),
    "a bound that is no bucket is an error": (SLOW, counted(60, slow={"1s": 3}), None, "Error"),
    "a bound is not missed before there is a request": (SLOW, counted(0), None, "Waiting"),
    "slow requests without a bound are an error": (
        Check(metric="slow-requests", max="5%"),
        counted(60),
        None,
        "Error",
    ),
    "a check without a limit is an error": (Check(metric="error-rate"), counted(60), None, "Error"),
    "as good as stable passes": (NO_WORSE, counted(100, 5), counted(1000, 50), "Pass"),
    "exactly the ratio passes": (NO_WORSE, counted(100, 3), counted(1000, 20), "Pass"),
    "ten times worse than stable fails": (NO_WORSE, counted(100, 20), counted(1000, 20), "Fail"),
    "worse than stable fails before there are enough requests": (
        NO_WORSE,
        counted(20, 12),
        counted(400, 4),
        "Fail",
    ),
    "a little worse than stable is waited for": (NO_WORSE, counted(100, 4), counted(1000, 20), "Waiting"),
    "a ratio waits for stable's requests": (NO_WORSE, counted(100), counted(49), "Waiting"),
    "a ratio without any stable request can't fail": (NO_WORSE, counted(100, 100), counted(0), "Waiting"),
    "exactly a ratio that floats can't hold passes": (
        Check(metric="error-rate", max_ratio_to_stable="1.15"),
        counted(100, 23),
        counted(100, 20),
        "Pass",
    ),
    "neither side having errors passes": (NO_WORSE, counted(100), counted(1000), "Pass"),
    "a ratio of zero fails at the first error": (
        Check(metric="error-rate", max_ratio_to_stable="0"),
        counted(10, 1),
        counted(10, 5),
        "Fail",
    ),
    "a ratio of zero without any stable request can't fail either": (
        Check(metric="error-rate", max_ratio_to_stable="0"),
        counted(100, 1),
        counted(0),
        "Waiting",
    ),
    "stable without the bucket is an error for a ratio": (
        Check(metric="slow-requests", over="300ms", max_ratio_to_stable="1.5"),
        counted(60, slow={"300ms": 1}),
        counted(60),
        "Error",
    ),
    "stable without the bucket does not save a canary over its limit": (
        Check(metric="slow-requests", over="300ms", max="5%", max_ratio_to_stable="1.5"),
        counted(60, slow={"300ms": 40}),
        counted(60),
        "Fail",
    ),
    "within the limit but worse than stable fails": (BOTH, counted(1000, 60), counted(10000, 50), "Fail"),
    "no worse than stable but over the limit fails": (BOTH, counted(100, 40), counted(1000, 400), "Fail"),
    "as bad as stable is no increase": (LITTLE_MORE, counted(100, 20), counted(1000, 200), "Pass"),
    "exactly the increase passes": (LITTLE_MORE, counted(100, 3), counted(1000, 20), "Pass"),
    "a little above the increase is waited for": (LITTLE_MORE, counted(100, 4), counted(1000, 20), "Waiting"),
    "far above the increase fails": (LITTLE_MORE, counted(100, 12), counted(1000, 20), "Fail"),
    "five errors of five exceed an increase, too": (LITTLE_MORE, counted(5, 5), counted(1000), "Fail"),
    "an increase waits for stable's requests": (LITTLE_MORE, counted(100), counted(49), "Waiting"),
    "an increase without any stable request can't fail": (
        LITTLE_MORE,
        counted(99, 99),
        counted(0),
        "Waiting",
    ),
    "the stricter of two comparisons decides": (
        Check(metric="error-rate", max_ratio_to_stable="9", max_increase_over_stable="1%"),
        counted(100, 12),
        counted(1000, 20),
        "Fail",
    ),
    "a check of its own confidence needs more to fail": (
        Check(metric="error-rate", max="1%", confidence="99.9%"),
        counted(82, 5),
        None,
        "Waiting",
    ),
    "a check of its own confidence may need less": (
        Check(metric="error-rate", max="1%", confidence="80%"),
        counted(80, 4),
        None,
        "Fail",
    ),
    "both limits held pass": (BOTH, counted(1000, 10), counted(1000, 10), "Pass"),
}


@pytest.mark.parametrize(("check", "canary", "stable", "verdict"), VERDICTS.values(), ids=VERDICTS)
def test_a_check_says(check: Check, canary: Counters, stable: Counters | None, verdict: str) -> None:
    assert look(check, canary, stable).verdict == verdict


WAITED_OUT = {
    "over the limit without proof is inconclusive": (ERRORS, counted(100, 2), None, "Inconclusive"),
    "over the limit with proof fails": (ERRORS, counted(82, 5), None, "Fail"),
    "within the limit passes": (ERRORS, counted(100, 1), None, "Pass"),
    "too few requests still wait": (ERRORS, counted(49, 1), None, "Waiting"),
    "a little worse than stable is inconclusive": (
        NO_WORSE,
        counted(100, 4),
        counted(1000, 20),
        "Inconclusive",
    ),
    "too few requests of stable still wait": (NO_WORSE, counted(100, 4), counted(49), "Waiting"),
    "over the limit is inconclusive whatever stable lacks": (
        BOTH,
        counted(100, 12),
        counted(10),
        "Inconclusive",
    ),
}


@pytest.mark.parametrize(("check", "canary", "stable", "verdict"), WAITED_OUT.values(), ids=WAITED_OUT)
def test_when_max_wait_is_over(check: Check, canary: Counters, stable: Counters | None, verdict: str) -> None:
    assert look(check, canary, stable, waited_out=True).verdict == verdict


MESSAGES = {
    "a failure gives its numbers": (
        ERRORS,
        counted(82, 5),
        None,
        ("6.1%", "1%", 82, "error-rate 6.1% of 82 requests, limit 1%"),
    ),
    "waiting says how many are missing": (
        ERRORS,
        counted(31),
        None,
        ("0%", "1%", 31, "error-rate 0% of 31 requests, limit 1%: 31 of 50 requests seen"),
    ),
    "no request has no value": (
        ERRORS,
        counted(0),
        None,
        (None, "1%", 0, "error-rate 0% of 0 requests, limit 1%: 0 of 50 requests seen"),
    ),
    "over the limit says that it is not certain": (
        ERRORS,
        counted(100, 2),
        None,
        ("2%", "1%", 100, "error-rate 2% of 100 requests, limit 1%: over the limit, but not yet for certain"),
    ),
    "a value just over its limit is not rounded onto it": (
        ERRORS,
        counted(100000, 1003),
        None,
        (
            "1.003%",
            "1%",
            100000,
            "error-rate 1.003% of 100000 requests, limit 1%: over the limit, but not yet for certain",
        ),
    ),
    "a ratio gives both sides and the samples of the scarcer": (
        NO_WORSE,
        counted(80, 1),
        counted(41, 1),
        (
            "1.25%",
            "1.5 x stable",
            41,
            "error-rate 1.25% of 80 requests, stable 2.44% of 41, limit 1.5 x stable: "
            "41 of 50 requests seen on stable",
        ),
    ),
    "an increase is named with stable's share": (
        LITTLE_MORE,
        counted(100, 4),
        counted(1000, 20),
        (
            "4%",
            "stable + 1%",
            100,
            "error-rate 4% of 100 requests, stable 2% of 1000, limit stable + 1%: "
            "over the limit, but not yet for certain",
        ),
    ),
    "both limits are named": (
        BOTH,
        counted(1000, 10),
        counted(1000, 10),
        (
            "1%",
            "10%, 1.5 x stable",
            1000,
            "error-rate 1% of 1000 requests, stable 1% of 1000, limit 10%, 1.5 x stable",
        ),
    ),
    "slow requests name their bound": (
        SLOW,
        counted(60, slow={"300ms": 3}),
        None,
        ("5%", "5%", 60, "slow-requests over 300ms 5% of 60 requests, limit 5%"),
    ),
}


@pytest.mark.parametrize(("check", "canary", "stable", "said"), MESSAGES.values(), ids=MESSAGES)
def test_a_result_is_a_sentence_with_its_numbers(
    check: Check, canary: Counters, stable: Counters | None, said: tuple[str | None, str, int, str]
) -> None:
    result = look(check, canary, stable)
    assert (result.value, result.limit, result.samples, result.message) == said


def test_a_bound_that_cannot_be_counted_says_why_and_what_to_do() -> None:
    message = look(SLOW, counted(60)).message
    assert message.startswith("slow-requests over 300ms can't be counted on the canary")
    assert "born before this check" in message
    assert "roll out a new revision" in message


def test_every_check_gets_its_own_result_in_order() -> None:
    totals = Totals(canary=counted(60, 30, slow={"300ms": 0}))
    results = judge((ERRORS, SLOW), totals, Terms(50, False))
    assert [(r.metric, r.verdict) for r in results] == [("error-rate", "Fail"), ("slow-requests", "Pass")]


def test_without_checks_the_error_rate_is_held_to_one_percent() -> None:
    assert effective_checks(()) == DEFAULT_CHECKS == (ERRORS,)
    assert effective_checks((SLOW,)) == (SLOW,)


def test_bounds_are_named_as_they_are_written() -> None:
    other = Check(metric="slow-requests", over="1m30s", max="1%")
    assert bounds_of((ERRORS, SLOW, other)) == {"300ms": pytest.approx(0.3), "1m30s": 90.0}


BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def throughput(requests: int, after: float | None, *, waited_out: bool = False) -> CheckResult:
    """Judge a throughput so many seconds after the counting began."""
    measured = None if after is None else BEGAN + timedelta(seconds=after)
    totals = Totals(canary=counted(requests), measured_at=measured)
    (result,) = judge((BUSY,), totals, Terms(50, waited_out, since=BEGAN))
    return result


def test_a_throughput_is_all_requests_over_all_the_time() -> None:
    enough, little = throughput(25, 10.0), throughput(24, 10.0)
    assert (enough.verdict, enough.value, enough.limit) == ("Pass", "2.5/s", "at least 2.5/s")
    assert little.verdict == "Waiting"
    assert little.message == "throughput 2.4/s over 10s, limit at least 2.5/s: below the limit so far"


def test_a_throughput_never_fails_a_canary() -> None:
    late = throughput(0, 3600.0, waited_out=True)
    assert late.verdict == "Inconclusive"
    assert late.message.endswith("still below the limit when maxWait was over")
    assert throughput(0, 3600.0).verdict == throughput(10, None).verdict == "Waiting"


BATCH = Check(metric="mean-batch-size", min="2", max="8", max_ratio_to_stable="1.5")
UNDER_WAY = Check(metric="concurrency", max="4")


def load(**parts: int) -> Counters:
    """Counters of one side with a load."""
    return counted(100, load=parts)


MEANS = {
    "batches within every limit": (BATCH, load(batches=10, batched=40), load(batches=9, batched=36), "Pass"),
    "batches that are too small": (
        BATCH, load(batches=10, batched=19), load(batches=9, batched=36), "below the limit"
    ),
    "batches that are too large": (
        BATCH, load(batches=10, batched=81), load(batches=9, batched=81), "above the limit"
    ),
    "batches larger than stable's": (
        BATCH, load(batches=10, batched=70), load(batches=9, batched=36), "above the limit"
    ),
    "no batch at all": (BATCH, counted(100), load(batches=9, batched=36), "no batch seen"),
    "no batch on stable": (BATCH, load(batches=10, batched=40), counted(5), "no batch seen on stable"),
    "requests under way, per pod": (UNDER_WAY, load(busy_ms=39_000, watched_ms=10_000), None, "Pass"),
    "too many under way": (
        UNDER_WAY, load(busy_ms=41_000, watched_ms=10_000), None, "above the limit"
    ),
    "nobody has watched yet": (UNDER_WAY, load(batches=1), None, "nothing measured"),
}  # fmt: skip


@pytest.mark.parametrize(("check", "canary", "stable", "said"), MEANS.values(), ids=MEANS)
def test_a_mean_is_compared_as_it_is_and_never_fails(
    check: Check, canary: Counters, stable: Counters | None, said: str
) -> None:
    early, late = look(check, canary, stable), look(check, canary, stable, waited_out=True)
    if said == "Pass":
        assert (early.verdict, late.verdict) == ("Pass", "Pass")
    else:
        assert (early.verdict, late.verdict) == ("Waiting", "Inconclusive")
        assert early.message.endswith(f": {said} so far")
        assert late.message.endswith(f": still {said} when maxWait was over")


def test_a_mean_says_what_it_rests_on() -> None:
    found = look(BATCH, load(batches=10, batched=45), load(batches=8, batched=36))
    assert (found.value, found.samples) == ("4.5", 10)
    assert found.message == (
        "mean-batch-size 4.5 over 10 batches, stable 4.5 over 8 batches,"
        " limit at least 2, at most 8, at most 1.5 x stable"
    )


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (Check(metric="concurrency"), "has no limit: set min, max or maxRatioToStable"),
        (Check(metric="concurrency", max="5%"), "is no share: max can't be 5%"),
        (Check(metric="error-rate", max="5"), "is a share: max must be a percentage such as 1%, not 5"),
    ],
)
def test_a_limit_that_does_not_fit_is_an_error_and_no_crash(check: Check, words: str) -> None:
    found = look(check, counted(100))
    assert (found.verdict, found.message) == ("Error", f"{check.metric} {words}")


def test_a_confidence_of_the_analysis_is_for_every_check_without_its_own() -> None:
    own = Check(metric="error-rate", max="1%", confidence="95%")
    results = judge((ERRORS, own), Totals(canary=counted(82, 5)), Terms(50, False, confidence=0.999))
    assert [result.verdict for result in results] == ["Waiting", "Fail"]


def test_the_windows_of_a_rollout_share_the_error_that_its_confidence_allows() -> None:
    def verdicts(errors: int, windows: int) -> list[str]:
        own = Check(metric="error-rate", max="1%", confidence="95%")
        terms = Terms(50, False, windows=windows)
        return [result.verdict for result in judge((ERRORS, own), Totals(canary=counted(82, errors)), terms)]

    assert verdicts(5, windows=1) == ["Fail", "Fail"]
    assert verdicts(5, windows=3) == ["Waiting", "Waiting"]
    assert verdicts(6, windows=3) == ["Fail", "Fail"]


def test_a_dry_run_says_what_it_would_have_said_and_that_it_is_one() -> None:
    dry = Check(metric="error-rate", max="1%", dry_run=True)
    wet, told = judge((ERRORS, dry), Totals(canary=counted(82, 5)), Terms(50, False))
    assert (wet.dry_run, told.dry_run) == (None, True)
    assert (told.verdict, told.message) == (wet.verdict, wet.message)


def test_a_result_is_as_old_as_its_verdict() -> None:
    passing = CheckResult(metric="error-rate", verdict="Pass")
    failing = CheckResult(metric="error-rate", verdict="Fail")
    (first,) = dated((passing,), (), BEGAN)
    later = BEGAN + timedelta(seconds=15)
    (second,) = dated((passing,), (first,), later)
    (third,) = dated((failing,), (second,), later)
    assert [item.since for item in (first, second, third)] == [BEGAN, BEGAN, later]

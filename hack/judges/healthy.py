"""Rollouts of canaries that are as good as they must be: how many of them are blamed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ekiben.api.fields import fraction, seconds
from ekiben.api.judging import Analysis, Check
from ekiben.core.analysis import Terms, judge
from ekiben.core.starting import DEFAULT_STEPS
from judges.figures import Found, Row, limit_of, percent
from judges.streams import Shares, Traffic, looks

HEADER = (
    "check", "requests", "stable", "canary", "rolled back", "99 % lower bound", "allowed", "paused", "holds",
)  # fmt: skip
RULES = Analysis()
INTERVAL = seconds(RULES.interval)


@dataclass(frozen=True)
class Story:
    """A canary that keeps its limit, if only just: the hardest not to blame."""

    check: Check
    traffic: Traffic
    shares: Shares


MAX = Check(metric="error-rate", max="1%")
AS_STABLE = Check(metric="error-rate", max_ratio_to_stable="1")
TWICE = Check(metric="error-rate", max_ratio_to_stable="2")
ONE_MORE = Check(metric="error-rate", max_increase_over_stable="1%")
FIVE_MORE = Check(metric="error-rate", max_increase_over_stable="5%")
STEADY, FEW = Traffic(300), Traffic(30)
BURSTS, INSIDE = Traffic(300, "bursts"), Traffic(300, "stable's bursts")

STORIES = (
    Story(MAX, STEADY, Shares(0.01, 0.01)),
    Story(AS_STABLE, STEADY, Shares(0.01, 0.01)),
    Story(AS_STABLE, BURSTS, Shares(0.01, 0.01)),
    Story(AS_STABLE, INSIDE, Shares(0.01, 0.01)),
    Story(AS_STABLE, FEW, Shares(0.05, 0.05)),
    Story(TWICE, STEADY, Shares(0.01, 0.02)),
    Story(ONE_MORE, INSIDE, Shares(0.01, 0.02)),
    Story(FIVE_MORE, BURSTS, Shares(0.2, 0.25)),
)


def play(story: Story, chance: np.random.Generator) -> str:
    """Play one rollout with the default steps and analysis, looked at in every interval; tell how it ends.

    Somebody resumes whatever is paused.
    """
    end = "promoted"
    for step in DEFAULT_STEPS:
        held = round(seconds(step.hold or "") / INTERVAL)
        last = held + round(seconds(RULES.max_wait) / INTERVAL)
        stream = looks(story.traffic, story.shares, (step.weight or 0) / 100, chance)
        for number, totals in enumerate(islice(stream, last), start=1):
            terms = Terms(RULES.min_samples, number == last, windows=len(DEFAULT_STEPS))
            (result,) = judge((story.check,), totals, terms)
            if result.verdict == "Fail":
                return "rolled back"
            if result.verdict == "Pass" and number >= held:
                break
        else:
            end = "paused"
    return end


def measure(story: Story, rollouts: int, seed: int) -> Row:
    """Play many rollouts of one story."""
    chance = np.random.default_rng(seed)
    ends = Counter(play(story, chance) for _ in range(rollouts))
    allowed = 1 - fraction(RULES.confidence)
    blamed = Found(ends["rolled back"], rollouts)
    cells = (
        limit_of(story.check),
        f"{story.traffic.per_look / INTERVAL:g}/s, {story.traffic.kind}",
        percent(story.shares.stable),
        percent(story.shares.canary),
        percent(blamed.share),
        percent(blamed.lower),
        percent(allowed),
        percent(ends["paused"] / rollouts),
    )
    return Row(cells, blamed.lower <= allowed)

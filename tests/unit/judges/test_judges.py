"""The proof in small, with fixed seeds, and that it could fail."""

from __future__ import annotations

import numpy as np
import pytest

from ekiben.api.judging import Check
from judges import healthy, worse
from judges.figures import Found, Row, table
from judges.healthy import Story
from judges.page import between
from judges.streams import Shares, Traffic, looks

ROLLOUTS, STREAMS = 100, 200


@pytest.mark.parametrize("story", [healthy.STORIES[0], healthy.STORIES[3], healthy.STORIES[6]])
def test_canaries_that_keep_their_limit_are_seldom_rolled_back(story: Story) -> None:
    assert healthy.measure(story, ROLLOUTS, seed=1).holds


def test_a_canary_that_does_not_keep_it_is_no_row_that_holds() -> None:
    bad = Story(Check(metric="error-rate", max="1%"), Traffic(300), Shares(0.01, 0.03))
    row = healthy.measure(bad, 20, seed=1)
    assert not row.holds
    assert row.cells[4] == "100 %"


@pytest.mark.parametrize("case", [worse.CASES[0], worse.CASES[2]])
def test_four_in_five_bad_canaries_are_found_within_two_and_a_half_times_the_fixed_size(
    case: worse.Case,
) -> None:
    row = worse.measure(case, STREAMS, seed=1)
    fixed, found = (float(row.cells[place].removesuffix(" %")) for place in (5, 6))
    # The size to compare with is right only if its own test finds about as many as it is made for.
    assert 75 <= fixed <= 85
    assert found >= 80


def test_bursts_bring_as_many_requests_as_a_steady_stream_does() -> None:
    for kind in ("steady", "bursts"):
        stream = looks(Traffic(100, kind), Shares(0.1, 0.2), 0.25, np.random.default_rng(1))
        for _ in range(4000):
            seen = next(stream)
        assert seen.canary.requests == pytest.approx(100_000, rel=0.1)
        assert seen.stable.requests == pytest.approx(300_000, rel=0.1)
        assert seen.canary.errors == pytest.approx(0.2 * seen.canary.requests, rel=0.05)


def test_the_bound_is_wilsons() -> None:
    assert Found(50, 1000).lower == pytest.approx(0.0363, abs=0.0002)
    assert Found(0, 10).lower == pytest.approx(0.0, abs=1e-9)


def test_a_table_is_put_between_its_marks_and_nowhere_else() -> None:
    page = "a\n<!-- run -->\nold\n<!-- /run -->\nb\n"
    body = table(("x", "holds"), [Row(("1",), True), Row(("2",), False)])
    text = between(page, "run", body)
    assert text.startswith("a\n<!-- run -->\n\n| x | holds |\n")
    assert "| 2 | **no** |" in text
    assert text.endswith("<!-- /run -->\nb\n")
    assert between(text, "run", body) == text
    with pytest.raises(ValueError, match="no marks named other"):
        between(page, "other", body)

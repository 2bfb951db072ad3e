"""The process that writes children by hand: what it counts, and what is said where it can't go on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench.figures import BenchError
from scale.writer import Order, Writer, Written


def test_what_a_request_cost_is_told_in_ms() -> None:
    assert Written(requests=500, cpu=0.25).request_ms == 0.5


def test_a_writer_that_ends_is_a_bench_that_ends(tmp_path: Path) -> None:
    nowhere = Order(str(tmp_path / "none"), "by-hand", "sample-model", (), ("model-0000",))
    with pytest.raises(BenchError, match="has ended"):
        asyncio.run(Writer(nowhere).start())

"""`python -m judges`: play rollouts of healthy and bad canaries by chance, and show how they are judged."""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime

from judges import healthy, worse
from judges.figures import table
from judges.page import PAGE, write

ROLLOUTS, STREAMS = 10_000, 3_000


def main() -> int:
    """Print both tables; 1 where a row does not hold."""
    parser = argparse.ArgumentParser(prog="python -m judges", description=__doc__)
    parser.add_argument("--rollouts", type=int, default=ROLLOUTS, help="healthy rollouts of each kind")
    parser.add_argument("--streams", type=int, default=STREAMS, help="bad canaries of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--page", action="store_true", help=f"write the tables into {PAGE.name}")
    asked = parser.parse_args()
    began = datetime.now(UTC)
    with ProcessPoolExecutor() as pool:
        good = [
            pool.submit(healthy.measure, story, asked.rollouts, asked.seed + number)
            for number, story in enumerate(healthy.STORIES)
        ]
        bad = [
            pool.submit(worse.measure, case, asked.streams, asked.seed + number)
            for number, case in enumerate(worse.CASES)
        ]
        rows, found = [item.result() for item in good], [item.result() for item in bad]
    took = (datetime.now(UTC) - began).total_seconds()
    said = (
        f"`python -m judges --rollouts {asked.rollouts} --streams {asked.streams} --seed {asked.seed}` on"
        f" {began:%Y-%m-%d}, {os.cpu_count()} CPUs, {took:,.0f} s."
    )
    tables = table(healthy.HEADER, rows), table(worse.HEADER, found)
    print(f"Healthy canaries\n\n{tables[0]}\nBad canaries\n\n{tables[1]}\n{said}")
    if asked.page:
        write(*tables, said)
    return 0 if all(row.holds for row in (*rows, *found)) else 1


if __name__ == "__main__":
    sys.exit(main())

"""`python -m ekiben` with two windows for the chaos: its clock can be stepped, and it tells of its tasks.

CHAOS_CLOCK names a file that holds the seconds by which the wall clock is off; what the operator decides and
samples by is read through it. On SIGUSR1 the names of all tasks and the number of living objects go to
CHAOS_TASKS, as JSON. Nothing else differs.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from ekiben import __main__, controller
from ekiben.samples import pods

CLOCK, TASKS = Path(os.environ["CHAOS_CLOCK"]), Path(os.environ["CHAOS_TASKS"])


class Stepped(datetime):
    """A wall clock that is off by what the file says."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Stepped:
        try:
            off = float(CLOCK.read_text() or 0)
        except (OSError, ValueError):
            off = 0.0
        return super().now(tz) + timedelta(seconds=off)


def _tell_tasks() -> None:
    fresh = TASKS.with_suffix(".new")
    gc.collect()
    tasks, objects = sorted(task.get_name() for task in asyncio.all_tasks()), len(gc.get_objects())
    fresh.write_text(json.dumps({"tasks": tasks, "objects": objects}))
    fresh.rename(TASKS)


async def _run(settings: object) -> int:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _tell_tasks)
    return await _really_run(settings)  # type: ignore[arg-type]


_really_run = __main__._run
if __name__ == "__main__":
    __main__._run = _run
    controller.datetime = pods.datetime = Stepped  # type: ignore[attr-defined]
    sys.exit(__main__.main([]))

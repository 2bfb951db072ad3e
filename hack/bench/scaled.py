"""What autoscaled models cost at rest, on a control plane of its own: `python -m scale.scaled`, as a row."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from bench.figures import BenchError, Result
from bench.setting import Bench
from rig.site import ROOT
from scale.scaled import read

QUICK = ("--models", "50", "--seconds", "15")


async def measure(bench: Bench) -> list[Result]:
    """Measure the operator at rest with 10 and with 1,000 autoscaled models, and the adapter with those."""
    with tempfile.TemporaryDirectory(prefix="ekiben-bench-") as folder:
        path = Path(folder) / "run.json"
        command = [sys.executable, "-m", "scale.scaled", "--json", str(path)]
        # Its words go to stderr as ours do; its own table is ours too.
        process = await asyncio.create_subprocess_exec(
            *command, *(QUICK if bench.quick else ()), cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
        )
        code = await process.wait()
        # 1 is a limit that was missed, or a run that ended early: then there is no file.
        if not path.exists():
            raise BenchError(f"python -m scale.scaled ended with code {code}: its words are above")
        return read(path)

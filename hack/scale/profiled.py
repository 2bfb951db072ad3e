"""`python -m scale.profiled FILE`: run the operator, and write to FILE where its CPU time went.

The kernel interrupts it every few ms of its own CPU time, and the stack of that moment is counted. cProfile
counts seconds of the wall, which on a machine that others use too say little, and takes half of them itself.
"""

from __future__ import annotations

import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

EVERY_SECONDS = 0.002
SHOWN = 150

Place = tuple[str, int, str]


class Sampler:
    """Counts which functions were at work, themselves and with what they called."""

    def __init__(self) -> None:
        self.taken = 0
        self.itself: Counter[Place] = Counter()
        self.within: Counter[Place] = Counter()

    def sample(self, _: int, frame: FrameType | None) -> None:
        """Count the stack of this moment."""
        stack = []
        while frame is not None:
            code = frame.f_code
            stack.append((code.co_filename, code.co_firstlineno, code.co_qualname))
            frame = frame.f_back
        self.taken += 1
        self.itself.update(stack[:1])
        self.within.update(set(stack))

    def told(self) -> str:
        """Return the functions with most samples, as shares of all of them."""
        parts = [f"{self.taken} samples\n"]
        for title, counts in (("itself", self.itself), ("with what it called", self.within)):
            parts.append(f"\n{title}\n")
            for (file, line, name), count in counts.most_common(SHOWN):
                parts.append(f"{100 * count / max(self.taken, 1):6.2f} %  {name}  {_short(file)}:{line}\n")
        return "".join(parts)


def _short(file: str) -> str:
    return "/".join(Path(file).parts[-3:])


if __name__ == "__main__":
    sampler = Sampler()
    to, sys.argv = Path(sys.argv[1]), ["ekiben"]
    signal.signal(signal.SIGPROF, sampler.sample)
    signal.setitimer(signal.ITIMER_PROF, EVERY_SECONDS, EVERY_SECONDS)
    try:
        runpy.run_module("ekiben", run_name="__main__", alter_sys=True)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        to.write_text(sampler.told())

"""`python -m scale.profiled FILE`: run the operator, and leave there where its CPU seconds went.

`python -m cProfile` counts seconds of the wall: on a machine that others use too, those say little.
"""

from __future__ import annotations

import cProfile
import runpy
import sys
import time

if __name__ == "__main__":
    profile = cProfile.Profile(time.process_time)
    file, sys.argv = sys.argv[1], ["ekiben"]
    try:
        profile.runcall(runpy.run_module, "ekiben", run_name="__main__", alter_sys=True)
    finally:
        profile.dump_stats(file)

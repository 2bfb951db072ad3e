"""Measure what a newcomer waits for: from `up` to a working gateway and metrics API, and to `kubectl top`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from localcluster import cluster
from localcluster.client import Kubectl
from localcluster.errors import LocalClusterError

NAME = "measure"
READY_LIMIT, TOP_LIMIT = 15.0, 35.0
_GIVE_UP = 120.0


@dataclass(frozen=True)
class Cycle:
    """One up and down, in seconds; `ready` and `top` both count from the start of up."""

    ready: float
    top: float
    down: float

    def holds(self) -> bool:
        """Say whether the cycle kept the limits."""
        return self.ready <= READY_LIMIT and self.top <= TOP_LIMIT


def measure() -> Cycle:
    """Bring a cluster of its own up and take it down again; tools and images must be built by then."""
    cluster.down(NAME)
    began = time.monotonic()
    try:
        state = cluster.up(NAME)
        ready = time.monotonic() - began
        kubectl = Kubectl(Path(state.kubeconfig))
        while not _top_works(kubectl):
            if time.monotonic() - began > _GIVE_UP:
                raise LocalClusterError(f"`kubectl top nodes` did not work within {_GIVE_UP:g} s.")
            time.sleep(0.25)
        top = time.monotonic() - began
    finally:
        ending = time.monotonic()
        cluster.down(NAME)
    return Cycle(ready=ready, top=top, down=time.monotonic() - ending)


def _top_works(kubectl: Kubectl) -> bool:
    try:
        return NAME in kubectl.run("top", "nodes", "--no-headers")
    except LocalClusterError:
        return False

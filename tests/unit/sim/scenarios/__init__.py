"""The stories; importing this package registers them all."""

from unit.sim.scenarios import (
    changing,
    configuring,
    faults,
    hands,
    jobs,
    judging,
    preflight,
    recreate,
    routing,
    sources,
    starting,
    strategies,
)

__all__ = [
    "changing",
    "configuring",
    "faults",
    "hands",
    "jobs",
    "judging",
    "preflight",
    "recreate",
    "routing",
    "sources",
    "starting",
    "strategies",
]

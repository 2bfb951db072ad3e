"""The stories; importing this package registers them all."""

from unit.sim.scenarios import (
    baking,
    changing,
    configuring,
    delays,
    faults,
    hands,
    jobs,
    judging,
    preflight,
    recreate,
    routing,
    shrinking,
    sources,
    starting,
    strategies,
    templates,
)

__all__ = [
    "baking",
    "changing",
    "configuring",
    "delays",
    "faults",
    "hands",
    "jobs",
    "judging",
    "preflight",
    "recreate",
    "routing",
    "shrinking",
    "sources",
    "starting",
    "strategies",
    "templates",
]

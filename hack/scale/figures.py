"""What is measured at fleet size, and what each figure must reach."""

from __future__ import annotations

from bench.figures import Figure

CREATE_WALL = Figure("create", "create all -> all Ready", "s", 1.3, by_ratio=True)
CREATE_CPU = Figure("create", "operator CPU per object created", "ms", 14)
CREATE_WRITES = Figure("create", "API writes per object created", "requests", 14)
CREATE_READS = Figure("create", "look-ups per child created", "requests", 1)
ROLL_WALL = Figure("roll", "roll all -> all promoted", "s", 1.5, by_ratio=True)
ROLL_CPU = Figure("roll", "operator CPU per rollout", "ms", 40)
ROLL_WRITES = Figure("roll", "API writes per rollout", "requests", 24)
ROLL_READS = Figure("roll", "API reads per rollout beyond a look-up per child", "requests", 0)
IDLE = Figure("idle", "API requests per idle minute", "requests", 0)
SINGLE_P50 = Figure("single", "one rollout: apply -> canary pod created, p50", "ms", 2, by_ratio=True)
SINGLE_MAX = Figure("single", "one rollout: apply -> canary pod created, max", "ms", 3, by_ratio=True)
MEMORY = Figure("memory", "peak memory of the operator", "MiB", 180)
RESTART_WRITES = Figure("restart", "restart: API writes", "requests", 0)
RESTART_READS = Figure("restart", "restart: API reads beyond the LISTs", "requests", 0)
RESTART_CPU = Figure("restart", "restart: operator CPU per object", "ms", 2)
RESTART_IDLE = Figure("restart", "restart: start -> idle", "s", 5)
RESTART_FIRST = Figure("restart", "restart: start -> first decision", "s", 10)

FIGURES = (
    CREATE_WALL,
    CREATE_CPU,
    CREATE_WRITES,
    CREATE_READS,
    ROLL_WALL,
    ROLL_CPU,
    ROLL_WRITES,
    ROLL_READS,
    IDLE,
    SINGLE_P50,
    SINGLE_MAX,
    MEMORY,
    RESTART_WRITES,
    RESTART_READS,
    RESTART_CPU,
    RESTART_IDLE,
    RESTART_FIRST,
)
# The limit on memory is for 1,000 models, or for 5,000.
MEMORY_LIMITS = {5000: 450.0}

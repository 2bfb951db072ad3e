"""Several worlds on one clock under one operator that lets only so many rollouts run at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ekiben.api.status import Stage
from ekiben.core.plan import Plan
from ekiben.core.reconcile import decide
from ekiben.core.snapshot import Snapshot
from ekiben.fleet import Fleet, is_running
from ekiben.kube.store import Key
from unit.sim.clock import Clock
from unit.sim.operator import Fault, Pass
from unit.sim.world import World, service_spec

STEPS = [{"weight": 50, "hold": "20s"}]


class Line:
    """The worlds by key, and the fleet between them, as the controller joins them.

    `over` are the moments at which more ran than may; `began` names whose rollouts began, in order.
    """

    def __init__(
        self,
        keys: list[Key],
        per_operator: int = 0,
        per_namespace: int = 0,
        *,
        seed: int = 0,
        rollout: Mapping[str, Any] | None = None,
        faults: Mapping[Key, Fault] | None = None,
    ) -> None:
        self.clock = Clock(seed)
        self.limits = (per_operator, per_namespace)
        self.worlds: dict[Key, World] = {}
        self.over: list[str] = []
        self.began: list[str] = []
        self._raws: dict[Key, Any] = {}
        self._start()
        spec = service_spec(replicas=1, rollout={"canary": {"steps": STEPS}, **(rollout or {})})
        for key in keys:
            world = World(
                spec,
                clock=self.clock,
                fault=(faults or {}).get(key),
                decide=partial(self._decide, key),
            )
            world.operator.on_acted = partial(self._acted, key)
            world.server.model_watchers.append(partial(self._changed, key))
            self.worlds[key] = world

    def __getitem__(self, name: str) -> World:
        return next(world for key, world in self.worlds.items() if key[1] == name)

    def _start(self) -> None:
        self.fleet = Fleet(*self.limits, wake=lambda key: self.worlds[key].operator.wake())

    def restart(self) -> None:
        """Let another process take over, which knows nothing but what the models say."""
        self._start()
        for raw in self._raws.values():
            self.fleet.changed(None, raw)
        for world in self.worlds.values():
            world.operator.wake()

    def _decide(self, key: Key, seen: Snapshot) -> Plan:
        raw = self._named(key)
        if key not in self._raws:
            self._raws[key] = raw
            self.fleet.changed(None, raw)
        line = self.fleet.line(key, raw)
        plan = decide(replace(seen, line=line))
        self.fleet.decided(key, line, plan.status)
        return plan

    def _acted(self, key: Key, done: Pass) -> None:
        self.fleet.settled(key)

    def _named(self, key: Key) -> Any:
        raw = self.worlds[key].server.model
        return {**raw, "metadata": {**raw["metadata"], "namespace": key[0], "name": key[1]}}

    def _changed(self, key: Key) -> None:
        before, raw = self._raws.get(key), self._named(key)
        self._raws[key] = raw
        self.fleet.changed(before, raw)
        was = self.running(before) if before else False
        if self.running(raw) and not was:
            self.began.append(key[1])
        self._check(key)

    @staticmethod
    def running(raw: Any) -> bool:
        """Tell whether a stored model has a rollout in flight that takes a slot."""
        status = raw.get("status") or {}
        rollout, stable = status.get("rollout") or {}, status.get("stable") or {}
        first = rollout.get("stage") == "Preparing" and rollout.get("revision") == stable.get("revision")
        return rollout.get("stage") not in (None, "Queued", "Over") and bool(stable) and not first

    def _check(self, key: Key) -> None:
        running = [other for other, raw in self._raws.items() if self.running(raw)]
        most, each = self.limits
        near = [other for other in running if other[0] == key[0]]
        if (most and len(running) > most) or (each and len(near) > each):
            self.over.append(f"+{self.clock.now:.2f}s {sorted(running)}")

    def serve(self) -> None:
        """Let every first revision come up, and requests come in."""
        self.settle()
        for world in self.worlds.values():
            world.traffic.rate = 20.0

    def release(self, *names: str, tag: str = "v2") -> None:
        """Release a version of these models at once; without names of all."""
        for name in names or tuple(key[1] for key in self.worlds):
            self[name].release(tag)

    def until(self, done: Any, within: float = 7200.0) -> None:
        """Let time pass until something is so."""
        assert self.clock.run_until(self.clock.now + within, done), self.describe()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run_until(self.clock.now + seconds)

    def settle(self) -> None:
        """Let time pass until every change has ended."""
        self.until(lambda: all(world.is_settled() for world in self.worlds.values()))

    def queued(self) -> list[str]:
        """Name the models in the line."""
        return [
            key[1]
            for key, world in self.worlds.items()
            if world.rollout is not None and world.rollout.stage is Stage.QUEUED
        ]

    def in_flight(self) -> list[str]:
        """Name the models whose rollout takes a slot."""
        return [key[1] for key, world in self.worlds.items() if is_running(world.status)]

    def describe(self) -> str:
        """Return where everybody is."""
        return "\n".join(f"{key[1]}: {world.describe()}" for key, world in self.worlds.items())

"""A run as prose: one line for each thing that happened, with its time, its reason and the state after it."""

from __future__ import annotations

import re

from ekiben.core import names
from unit.sim.operator import MODEL as MODEL_REF
from unit.sim.operator import Pass
from unit.sim.traffic import Weights
from unit.sim.world import MODEL, World

ABBREVIATIONS = {
    "ControllerRevision": "record",
    "HorizontalPodAutoscaler": "HPA",
    "PodDisruptionBudget": "PDB",
    "TriggerAuthentication": "auth",
}


class Trace:
    """Listens to a world and writes down what a person would want to read."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lines: list[str] = []
        self._last_reason = ""
        world.on_say = self._line
        world.operator.on_note = self._line
        world.operator.on_acted = self._acted
        world.traffic.on_weights = self._weights

    def text(self) -> str:
        """Return the whole trace, with what the run ended with."""
        return "\n".join([*self.lines, *self._summary()]) + "\n"

    def _acted(self, done: Pass) -> None:
        note, deeds = "; ".join(done.plan.notes), self._deeds(done)
        if not note and done.plan.status:
            note = done.plan.status.message
        reason = re.sub(r"[0-9.]+|: .*", "", note)
        if done.plan.requeue_after != 0.0 and not deeds and reason == self._last_reason:
            return
        if not any(write.changed for write in done.writes):
            return
        self._last_reason = reason
        self._line(" | ".join(filter(None, [note, deeds, self._state()])))

    def _deeds(self, done: Pass) -> str:
        """Say what a pass has done to the children."""
        verbs: dict[str, list[str]] = {}
        for write in done.writes:
            if write.ref != MODEL_REF and write.changed:
                name = write.ref.name.removeprefix(f"{MODEL}-")
                verbs.setdefault(write.verb, []).append(
                    f"{ABBREVIATIONS.get(write.ref.kind, write.ref.kind)} {name}"
                )
        sizes = [
            f"{item.deployment.removeprefix(f'{MODEL}-')} to {item.replicas}" for item in done.plan.scales
        ]
        if "scale" in verbs:
            verbs["scale"] = sizes
        return "; ".join(f"{verb} {', '.join(names)}" for verb, names in verbs.items())

    def _weights(self, weights: Weights) -> None:
        shares = "/".join(str(weight) for weight in weights.values())
        self._line(f"the gateway answers {shares}")

    def _line(self, text: str) -> None:
        self.lines.append(f"{stamp(self.world.clock.now):>8}  {self.world.named(text)}")

    def _state(self) -> str:
        world = self.world
        tags = sorted({world.tag_of(pod) for pod in world.nodes.pods.values() if not pod.deleting})
        pods = " ".join(f"{tag} {world.pods(tag)[0]}/{world.pods(tag)[1]}" for tag in tags) or "no pods"
        if world.traffic.through_gateway:
            return f"route {world.weights()} | {pods}"
        return f"{MODEL} -> {world.selects(names.stable_service(MODEL))} | {pods}"

    def _summary(self) -> list[str]:
        world, status = self.world, self.world.status
        writes = sum(write.changed for write in world.operator.writes)
        lines = [
            "",
            f"phase {status.phase}: {world.named(status.message)}",
            *(f"{item.type} {item.status} {item.reason}" for item in status.conditions),
            *(f"failed {world.tag(item.revision)}: {item.reason}" for item in status.failed_revisions),
            f"{round(world.traffic.sent)} requests, {round(world.traffic.lost)} lost, {writes} writes",
        ]
        return [line.rstrip() for line in lines]


def stamp(seconds: float) -> str:
    """Write a time since the start as `+12s` or `+1m05s`."""
    whole = round(seconds)
    return f"+{whole}s" if whole < 60 else f"+{whole // 60}m{whole % 60:02d}s"

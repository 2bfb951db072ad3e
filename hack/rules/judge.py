"""What must hold over the whole history of one namespace, whatever struck: one function for each rule.

`judge` plays a history version by version; each rule sees one change and the world right before it.

Two operators at once, with no lease between them, keep all rules but `each_weight_raised_once`: docs/chaos.md
says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ekiben.api.status import RolloutStatus, Stage, Status
from ekiben.core import names
from ekiben.core.view import recreates
from ekiben.observe_pods import observe_pod
from rules.history import SCALER_KINDS, Entry, Manifest
from rules.ways import allowed_weight, ways_from

MODEL, DEPLOYMENT, SERVICE, ROUTE = "ModelDeployment", "Deployment", "Service", "HTTPRoute"
POD = "Pod"
BAD = "bad"
# What comes and goes as it is needed.
MADE_AGAIN = frozenset({MODEL, POD, *(kind.kind for kind in SCALER_KINDS)})


@dataclass(slots=True)
class World:
    """What was stored right before the change that a rule sees; `number` is the last rollout's."""

    objects: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    raised: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def status(self, model: str) -> Status:
        """Return a model's status."""
        found = self.objects.get((MODEL, model), {})
        return Status.model_validate(found.get("status") or {})

    def ready(self, model: str, revision: str) -> int:
        """Count a revision's pods that can serve."""
        seen = (observe_pod(item, model) for (kind, _), item in self.objects.items() if kind == POD)
        return sum(pod.ready and not pod.deleting for pod in seen if pod and pod.revision == revision)


Rule = Callable[[World, Manifest | None, Entry], Iterator[str]]


def judge(entries: Sequence[Entry], *, alone: bool = True) -> list[str]:
    """Return every breach of a rule, with the version that made it; `alone` tells that one operator wrote."""
    world, found = World(), []
    doubts = list(doubtful(entries))
    for entry in entries:
        before = world.objects.get((entry.kind, entry.name))
        if before is not None and before["metadata"]["uid"] != entry.item["metadata"]["uid"]:
            before = None
        sure = not entry.after_gap and not any(low < entry.version < high for low, high in doubts)
        for rule in _rules_of(entry.kind, alone) if sure else ():
            found += [f"at {entry.version}: {breach}" for breach in rule(world, before, entry)]
        world.objects[entry.kind, entry.name] = entry.item
    return found


def _rules_of(kind: str, alone: bool) -> tuple[Rule, ...]:
    return (*RULES.get(kind, ()), *(RULES_OF_ONE.get(kind, ()) if alone else ()))


def doubtful(entries: Sequence[Entry]) -> Iterator[tuple[int, int]]:
    """Yield between which versions a model's status is not known for sure."""
    last: dict[str, int] = {}
    for entry in entries:
        if entry.kind == MODEL:
            if entry.after_gap and entry.name in last:
                yield last[entry.name], entry.version
            last[entry.name] = entry.version


def in_flight(status: Status) -> RolloutStatus | None:
    """Return the rollout in flight."""
    rollout = status.rollout
    return rollout if rollout is not None and rollout.stage is not Stage.OVER else None


def one_transition_that_is_allowed(world: World, before: Manifest | None, entry: Entry) -> Iterator[str]:
    """A status write makes at most one transition, and only one that the theory knows."""
    if before is None or not before.get("status"):
        return
    old, new = in_flight(world.status(entry.name)), in_flight(status_of(entry))
    stages = (old.stage if old else None, new.stage if new else None)
    if stages[0] is not stages[1] and stages[1] not in ways_from(old, new):
        yield f"{entry.name} went from {stages[0]} to {stages[1]} in one write"
    if old and new and old.id == new.id and old.plan == new.plan and new.step > old.step + 1:
        yield f"{entry.name} went from step {old.step} to step {new.step} in one write"


def rollout_numbers_grow(world: World, before: Manifest | None, entry: Entry) -> Iterator[str]:
    """A rollout's number is never used twice."""
    rollout = status_of(entry).rollout
    if rollout is None or rollout.id == world.ids.get(entry.name):
        return
    number = int(rollout.id.rpartition(".")[2])
    if number <= world.numbers.get(entry.name, 0):
        yield f"{entry.name}: rollout {rollout.id} after {world.ids[entry.name]}"
    world.ids[entry.name], world.numbers[entry.name] = rollout.id, number


def each_outcome_once(world: World, before: Manifest | None, entry: Entry) -> Iterator[str]:
    """A rollout ends once."""
    ended = [item.rollout for item in status_of(entry).history]
    if len(ended) != len(set(ended)):
        yield f"{entry.name}: one rollout ended twice: {ended}"


def nothing_failed_serves(world: World, before: Manifest | None, entry: Entry) -> Iterator[str]:
    """Neither a revision that failed nor an image that is bad ever becomes stable."""
    status = status_of(entry)
    stable = status.stable
    if stable is None:
        return
    if stable.revision in {item.revision for item in status.failed_revisions}:
        yield f"{entry.name}: stable {stable.revision} has failed"
    if stable.image and stable.image.rpartition(":")[2].startswith(BAD):
        yield f"{entry.name}: {stable.image} is stable"


def stable_keeps_its_size(world: World, before: Manifest | None, entry: Entry) -> Iterator[str]:
    """Stable's pods never become fewer while a rollout is in flight, but for a Recreate's."""
    model = model_of(entry)
    status = world.status(model)
    rollout = in_flight(status)
    if before is None or rollout is None or status.stable is None or recreates(rollout):
        return
    old, new = before["spec"].get("replicas", 1), entry.item["spec"].get("replicas", 1)
    if new < old and entry.name == names.revision_child(model, status.stable.revision):
        yield f"stable {entry.name} shrank from {old} to {new}"


def selector_written_ahead(world: World, before: Manifest | None, entry: Entry) -> Iterator[str]:
    """Service NAME selects stable, as the status said before."""
    model = model_of(entry)
    if entry.name != names.stable_service(model):
        return
    revision = (entry.item["spec"].get("selector") or {}).get(names.REVISION)
    stable = world.status(model).stable
    if revision is not None and stable is not None and revision != stable.revision:
        yield f"{entry.name} selects {revision} while {stable.revision} is stable"


def weight_written_ahead(world: World, before: Manifest | None, entry: Entry) -> Iterator[str]:
    """A weight rises only as far as the status said before."""
    rollout = in_flight(world.status(model_of(entry)))
    weight = _raised_to(before, entry)
    if weight is not None and weight > (allowed := allowed_weight(rollout)):
        yield f"{entry.name}: {weight}% where the status allows {allowed}%"


def weight_has_its_pods(world: World, before: Manifest | None, entry: Entry) -> Iterator[str]:
    """A weight rises only as far as the canary's ready pods can carry it, of the pods that stable has."""
    model = model_of(entry)
    status, weight = world.status(model), _raised_to(before, entry)
    rollout, stable = in_flight(status), status.stable
    if weight is None or rollout is None or stable is None:
        return
    serving = world.objects.get((DEPLOYMENT, names.revision_child(model, stable.revision)))
    full = max(serving["spec"].get("replicas", 1) if serving else 1, 1)
    ready = world.ready(model, rollout.revision)
    if weight > 100 * ready // full:
        yield f"{entry.name}: {weight}% for {ready} ready pods, stable has {full}"


def each_weight_raised_once(world: World, before: Manifest | None, entry: Entry) -> Iterator[str]:
    """A weight is raised to each value once in a rollout."""
    weight = _raised_to(before, entry)
    if weight is None:
        return
    rollout = in_flight(world.status(model_of(entry)))
    raised = world.raised.setdefault((entry.name, rollout.id if rollout else ""), [])
    if weight in raised:
        yield f"{entry.name}: raised to {weight}% again, after {raised}"
    raised.append(weight)


def _raised_to(before: Manifest | None, entry: Entry) -> int | None:
    """Return the canary's weight where this version of a route raised it."""
    model = model_of(entry)
    if before is None:
        return None
    weight = canary_weight(model, entry.item)
    return weight if weight > canary_weight(model, before) else None


def status_of(entry: Entry) -> Status:
    """Return the status that a version of a model has."""
    return Status.model_validate(entry.item.get("status") or {})


def model_of(entry: Entry) -> str:
    """Name the model of a child."""
    labels: dict[str, Any] = entry.item["metadata"].get("labels") or {}
    return str(labels.get(names.MODEL, ""))


def canary_weight(model: str, route: Manifest) -> int:
    """Return the percent that a route gives to the canary's Service."""
    backends = [backend for rule in route["spec"]["rules"] for backend in rule["backendRefs"]]
    return sum(item["weight"] for item in backends if item["name"] == names.canary_service(model))


RULES: dict[str, tuple[Rule, ...]] = {
    MODEL: (
        one_transition_that_is_allowed,
        rollout_numbers_grow,
        each_outcome_once,
        nothing_failed_serves,
    ),
    DEPLOYMENT: (stable_keeps_its_size,),
    SERVICE: (selector_written_ahead,),
    ROUTE: (weight_written_ahead, weight_has_its_pods),
}
# What holds besides where never more than one operator writes.
RULES_OF_ONE: dict[str, tuple[Rule, ...]] = {ROUTE: (each_weight_raised_once,)}


def made_once(entries: Sequence[Entry], deleted: dict[tuple[str, str], int]) -> list[str]:
    """Say which objects were made more often than once and once more for each time that we deleted them."""
    found: dict[tuple[str, str], set[str]] = {}
    for entry in entries:
        if entry.kind not in MADE_AGAIN:
            found.setdefault((entry.kind, entry.name), set()).add(entry.item["metadata"]["uid"])
    return [
        f"{kind} {name} was made {len(uids)} times"
        for (kind, name), uids in found.items()
        if len(uids) > 1 + deleted.get((kind, name), 0)
    ]


def told_once(events: Sequence[Manifest]) -> list[str]:
    """Say which Events tell the same thing of the same object twice."""
    seen: dict[tuple[str, str, str], int] = {}
    for event in events:
        key = (event["regarding"].get("uid", ""), event.get("reason", ""), event.get("note", ""))
        seen[key] = seen.get(key, 0) + int((event.get("series") or {}).get("count", 1))
    return [f"told {count} times: {reason}: {note}" for (_, reason, note), count in seen.items() if count > 1]

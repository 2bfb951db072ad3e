"""Scale to zero: when a model goes to sleep, who has its requests meanwhile, and what wakes it.

Theory of operation
-------------------
    awake -> Idling -> Asleep -> Waking -> awake          (awake: `status.sleep` is absent)
              └────────────────────────────▲

From Idling on, until it is awake again, stable's Service has a slice with the activator's addresses beside
those of its pods. The activator passes requests on to pods that are ready, and holds them while there are
none; it says for which models it holds any, which is what wakes them. So the slice comes first, and the pods
go once it has had time to reach every node and a second look at them has found no request; they come first
on the way back, and the slice goes once one of them has been ready for as long: Kubernetes may tell of it
later than we take the slice away. Nothing is in the path of a model that is awake.

Idle is what the pods themselves say: the time of their last request, read once when it may be long enough
ago. Pods that can't be read are not idle. A model sleeps only while nothing else goes on: a rollout wakes it,
and begins once it serves. While it is asleep it has no autoscaler: none could fight over zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from ekiben.api.sizing import Sleep
from ekiben.api.sleeping import Activation
from ekiben.api.status import Status
from ekiben.api.v1alpha1 import Spec
from ekiben.core import names
from ekiben.core.asking import Question
from ekiben.core.blocks import recorded_block
from ekiben.core.gates import Wait, blocked
from ekiben.core.idleness import LastRequest, Seen, first_due, is_idle, newest, next_due, pods_of
from ekiben.core.moves import Move, event
from ekiben.core.plan import Child
from ekiben.core.render.activator import build_activator_slice
from ekiben.core.scalers import foreign_scaler
from ekiben.core.snapshot import Ref
from ekiben.core.view import STABLE_DOWN_AFTER, Side, View

# How long the activator has been in the path before pods go, and stays there once they have come: a change of
# endpoints reaches every node and gateway by then, and pods that end still answer for a while.
SETTLE = timedelta(seconds=10)
# So long a model may be asleep without an activator: one that restarts is back by then.
UNHELD_FOR = timedelta(seconds=60)
# The clock of a pod writes the time in floating point.
_SAME = timedelta(milliseconds=10)


def may_sleep(spec: Spec) -> bool:
    """Tell whether a model may have no pods."""
    return spec.scaled is not None and spec.scaled.sleeps


def wake_seconds(spec: Spec) -> float:
    """Return how long a request may be held before a pod gets it; 0 for a model that never sleeps."""
    scaled = spec.scaled
    if scaled is None or not scaled.sleeps:
        return 0.0
    return (scaled.activation or Activation()).wake_seconds


def lacks_activator(view: View) -> bool:
    """Tell whether a model that may sleep can't, because nobody would hold its requests."""
    return may_sleep(view.spec) and not view.snapshot.cluster.activators


def next_move(view: View, *, is_due: bool) -> Move | None:
    """Return the step between awake and asleep that is due; `is_due` tells whether a rollout is."""
    sleep = view.status.sleep
    if sleep is None:
        return _fall_asleep(view) if _is_restful(view, is_due) else None
    if view.rollout is not None or view.stable is None:
        # We never write that; whoever did must not take pods away from a rollout.
        return Move(view.status.model_copy(update={"sleep": None}), "awake: a rollout is in flight")
    match sleep.state:
        case "Idling":
            return _go_on_idling(view, sleep, is_due)
        case "Asleep":
            why = _alarm(view, sleep, is_due)
            return _in_state(view, sleep, "Waking", f"waking: {why}", "Waking") if why else None
        case "Waking":
            return _wake_up(view, sleep, is_due)


def waking(view: View) -> Wait | None:
    """Say that a rollout waits until the model is awake."""
    if view.status.sleep is None:
        return None
    return Wait("Waking", f"{view.stable_revision} wakes up before the rollout begins")


def slices(view: View) -> Iterator[Child]:
    """Yield the slice that leads requests to the activator, while the model is not awake."""
    activators = view.snapshot.cluster.activators
    if view.status.sleep is None or activators is None:
        return
    ref = Ref("EndpointSlice", names.activator_slice(view.model.name))
    yield Child(ref, (activators,), partial(build_activator_slice, view.model, activators))


def open_questions(view: View) -> Iterable[Question]:
    """Ask pods for their last request once it may be long enough ago, and again before they go."""
    sleep, pods = view.status.sleep, pods_of(view)
    if sleep is not None:
        if sleep.state != "Idling" or view.now < sleep.since + SETTLE:
            return ()
        return (_second_look(view, sleep),)
    if not _is_restful(view):
        return ()
    known = newest(view)
    if known is None:
        return (LastRequest(pods=pods),) if view.now >= first_due(view) else ()
    question, answer = known
    if answer.problem or is_idle(view, answer) or view.now < next_due(view, answer):
        return (question,)
    # The old answer stays known until the new one is there.
    return question, replace(question, after=answer.at.isoformat())


def next_look(view: View) -> float | None:
    """Return the seconds until a model may be idle, or may go on to sleep."""
    sleep = view.status.sleep
    if sleep is not None:
        return _until(view, _patience(view, sleep))
    if not _is_restful(view):
        return None
    known = newest(view)
    if known is None:
        return _until(view, first_due(view))
    return None if known[1].problem else _until(view, next_due(view, known[1]))


def measured(view: View) -> Sleep | None:
    """Return the sleep as it is reported: since when nobody can hold requests, and how they are held."""
    sleep = view.status.sleep
    if sleep is None or view.stable is None:
        return None
    since = None if view.snapshot.cluster.activators else sleep.unheld_since or view.now
    return sleep.model_copy(update={"unheld_since": since, "activation": _own_activation(view)})


def _own_activation(view: View) -> Activation | None:
    """Return how stable's requests are held, where its block is its own: the activator reads no records.

    It is there before any request can be held, whatever the spec says by then.
    """
    block = recorded_block(view.record(view.stable_revision)) if view.stable_revision else None
    return (block.activation or Activation()).whole if block else None


def told(view: View) -> tuple[str, str] | None:
    """Return the reason and the sentence for how a model without ready pods sleeps or wakes."""
    sleep, stable = view.status.sleep, view.stable
    if sleep is None or stable is None or sleep.state == "Idling" or view.rollout is not None:
        return None
    if sleep.state == "Waking":
        if stable.ready:
            return None
        hindrance = blocked(view, stable)
        return "Waking", hindrance.message if hindrance else f"a pod of {stable.revision} is on its way"
    since = f"{sleep.since:%Y-%m-%dT%H:%M:%SZ}"
    if not view.snapshot.cluster.activators:
        return "ActivatorMissing", f"asleep since {since}, and no activator is there to hold requests"
    return "Asleep", f"asleep since {since}: the next request wakes it"


def _is_restful(view: View, is_due: bool = False) -> bool:
    """Tell whether nothing but requests could keep a model awake."""
    stable, cluster = view.stable, view.snapshot.cluster
    if is_due or stable is None or view.rollout or view.queued or view.status.retiring:
        return False
    served = view.status.stable is not None and view.status.stable.served_at is not None
    if not may_sleep(view.spec) or not served or not cluster.activators or cluster.demanded:
        return False
    staying = [pod for pod in stable.pods if not pod.deleting]
    all_serve = bool(staying) and all(pod.ready and pod.ip for pod in staying)
    if foreign_scaler(view, stable.revision):
        return False
    return all_serve and cluster.watches_fresh and not view.snapshot.foreign


def _fall_asleep(view: View) -> Move | None:
    known = newest(view)
    if known is None or known[1].problem or not is_idle(view, known[1]):
        return None
    last = known[1].value.last
    since = f"the last request came at {last:%Y-%m-%dT%H:%M:%SZ}" if last else "no request came"
    sleep = Sleep(state="Idling", since=view.now, last_request_at=last)
    return _with_sleep(view, sleep, f"going to sleep: {since}")


def _go_on_idling(view: View, sleep: Sleep, is_due: bool) -> Move | None:
    if not _is_restful(view, is_due):
        return _awake(view, "staying awake: something else is to be done")
    answer = view.snapshot.answers.get(_second_look(view, sleep))
    if answer is None or answer.problem:
        return None
    seen: Seen = answer.value
    if seen.busy or _is_later(seen.last, sleep.last_request_at):
        return _awake(view, "staying awake: a request came")
    if Ref("EndpointSlice", names.activator_slice(view.model.name)) not in view.live:
        return None
    return _in_state(view, sleep, "Asleep", "asleep: its pods go", "Asleep")


def _alarm(view: View, sleep: Sleep, is_due: bool) -> str:
    """Say why a model is to wake; empty while it may sleep on."""
    cluster = view.snapshot.cluster
    if cluster.demanded:
        return "a request waits"
    if not may_sleep(view.spec):
        return "autoscaling.minReplicas is not 0 any more"
    if is_due:
        return "a new revision is to be rolled out"
    if cluster.activators is None:
        return "no activator is installed"
    lost = sleep.unheld_since
    if not cluster.activators and lost and view.now >= lost + UNHELD_FOR:
        return "no activator has been there for 60s"
    return ""


def _wake_up(view: View, sleep: Sleep, is_due: bool) -> Move | None:
    if view.stable is not None and view.stable.ready:
        is_known = view.now >= _known_at(view.stable, sleep)
        return _awake(view, "awake: a pod is ready", "Woken") if is_known else None
    if is_due and view.now >= sleep.since + STABLE_DOWN_AFTER:
        return _awake(view, "no pod has got ready for 60s: the new revision need not wait for it")
    return None


def _known_at(stable: Side, sleep: Sleep) -> datetime:
    """Return when everybody has heard of a pod that is ready.

    One that was ready before may be about to go: nobody has told it yet that it is wanted again.
    """
    ready = [pod.ready_changed_at for pod in stable.pods if pod.ready and not pod.deleting]
    return max(min((at for at in ready if at), default=sleep.since), sleep.since) + SETTLE


def _awake(view: View, note: str, reason: str = "") -> Move:
    told = event("Normal", reason, "Wake", note) if reason else None
    return Move(view.status.model_copy(update={"sleep": None}), note, told)


def _in_state(view: View, sleep: Sleep, state: str, note: str, reason: str) -> Move:
    return _with_sleep(view, sleep.model_copy(update={"state": state, "since": view.now}), note, reason)


def _with_sleep(view: View, sleep: Sleep, note: str, reason: str = "") -> Move:
    status: Status = view.status.model_copy(update={"sleep": sleep})
    return Move(status, note, event("Normal", reason, "Sleep", note) if reason else None)


def _second_look(view: View, sleep: Sleep) -> LastRequest:
    return LastRequest(pods=pods_of(view), after=sleep.since.isoformat())


def _patience(view: View, sleep: Sleep) -> datetime | None:
    """Return when a state is worth another look that no event announces."""
    match sleep.state:
        case "Idling":
            return sleep.since + SETTLE
        case "Asleep":
            return sleep.unheld_since + UNHELD_FOR if sleep.unheld_since else None
        case _ if view.stable is not None and view.stable.ready:
            return _known_at(view.stable, sleep)
        case _:
            return sleep.since + STABLE_DOWN_AFTER


def _until(view: View, due: datetime | None) -> float | None:
    left = (due - view.now).total_seconds() if due else -1.0
    return left if left > 0 else None


def _is_later(now: datetime | None, before: datetime | None) -> bool:
    if now is None:
        return False
    return before is None or now > before + _SAME

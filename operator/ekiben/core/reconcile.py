"""One decision about one model: what is seen -> what to do. Start reading here.

invalid spec        -> say so, go no further, keep up what serves  refusing.py
a transition is due -> write it, and come back at once       rollout.py (starting, ending, gates, failures)
                       or the next state of sleep            sleeping.py
otherwise           -> children as the status says           children.py (scaling.py, traffic.py, render/)
                       the status as things are              status.py (saying.py, commands.py)
                       read metrics while somebody is judged sampling.py (analysis.py)
                       ask what no watch tells               questions.py (asking.py)
"""

from __future__ import annotations

from dataclasses import replace

from ekiben.api.status import Stage, Status
from ekiben.core import children, growing, keda_said, names, queueing, sleeping, unreadable
from ekiben.core import conditions as c
from ekiben.core.blocks import at_stables
from ekiben.core.configuring import wanted_of
from ekiben.core.copying import copies
from ekiben.core.deciding import decided, rebuilt
from ekiben.core.ending import next_retirement
from ekiben.core.gates import Wait
from ekiben.core.moves import Move
from ekiben.core.plan import Plan
from ekiben.core.questions import questions
from ekiben.core.recovery import recovered
from ekiben.core.refusing import held_view, refused
from ekiben.core.rollout import next_move, waits_for
from ekiben.core.sampling import is_judged, sampling
from ekiben.core.snapshot import InvalidSpec, Ref, Snapshot
from ekiben.core.sources import seconds_to_first_asking
from ekiben.core.status import is_worth_writing, report, says_the_same
from ekiben.core.view import STABLE_DOWN_AFTER, View


def decide(snapshot: Snapshot) -> Plan:
    """Decide what to do about one model now: pure, total and deterministic."""
    if snapshot.model.deleting:
        return Plan(notes=("the model is being deleted: its children go with it",))
    if isinstance(snapshot.spec, InvalidSpec):
        return _refuse(snapshot, snapshot.spec)
    spec = snapshot.spec
    status = recovered(snapshot)
    wanted = wanted_of(snapshot, spec, status)
    return _follow(at_stables(View(snapshot=snapshot, spec=spec, status=status, wanted=wanted)))


def _follow(view: View) -> Plan:
    """Make the one transition that is due, or hold what is; a rebuilt status is written before either."""
    if view.status is not view.snapshot.status and view.status.stable is not None:
        status = report(view, waits_for(view))
        return Plan(status=status, decision=rebuilt(view), requeue_after=0.0, notes=_rebuilt(view))
    move = next_move(view)
    return _transition(view, move) if move else _steady(view)


def _transition(view: View, move: Move) -> Plan:
    """Write the transition ahead; its effects are the next pass's."""
    after = at_stables(replace(view, status=move.status))
    return Plan(
        status=report(after, waits_for(after)),
        decision=decided(view, move),
        events=(move.event,) if move.event else (),
        sampling=sampling(after),
        questions=questions(after),
        requeue_after=0.0,
        rests_on=_torn_down(view),
        notes=(*_rebuilt(view), move.note),
    )


def _torn_down(view: View) -> tuple[Ref, ...]:
    """Return what shows that a rollout that is given up carries nothing more: then its pods go.

    A late watch would show it as it was before the last weight or selector, which another replica wrote.
    """
    route = Ref("HTTPRoute", names.route(view.model.name))
    service = Ref("Service", names.stable_service(view.model.name))
    rollout = view.rollout
    if rollout is None or rollout.stage not in (Stage.ABORTING, Stage.REINSTATING):
        return ()
    rests_on = [route] if view.uses_gateway else []
    rests_on += [service] if rollout.previous else []
    return tuple(ref for ref in rests_on if ref in view.live)


def _steady(view: View) -> Plan:
    """Hold the children to what the persisted status says, and report what is seen."""
    wait = waits_for(view)
    status = report(view, wait)
    scales = children.scales(view)
    write = is_worth_writing(view.snapshot.status, status, _age_of_figures(view, status))
    # Sizes that change with this very plan are told once they have: a write saved with each.
    if says_the_same(view.snapshot.status, status) and (scales or _is_answer_due(view, status)):
        write = False
    applies, settled = children.applies(view)
    return Plan(
        status=status if write else None,
        copies=copies(view, (*children.serving(view), *(item.revision for item in view.status.retiring))),
        applies=applies,
        scales=scales,
        deletes=children.deletes(view),
        sampling=sampling(view),
        questions=questions(view),
        requeue_after=_next_look(view, wait),
        settled=settled,
        notes=(*_rebuilt(view), *((wait.message,) if wait else ())),
    )


def _rebuilt(view: View) -> tuple[str, ...]:
    return () if view.status is view.snapshot.status else ("the status was lost: rebuilt from the children",)


def _is_answer_due(view: View, status: Status) -> bool:
    """Tell whether a first route's Gateways will answer in a moment: mere sizes are told together with that.

    Told apart, a creation would cost more writes than it may.
    """
    before = view.status.stable.ready_replicas if view.status.stable else 0
    after = status.stable.ready_replicas if status.stable else 0
    applied = next(item.status for item in status.conditions if item.type == c.TRAFFIC_APPLIED)
    return view.is_first and view.uses_gateway and applied == "False" and before == after


def _age_of_figures(view: View, status: Status) -> float | None:
    """Return the seconds between the look that was written last and the last one; None where nobody looks."""
    old, new = view.rollout, status.rollout
    if old is None or new is None or not is_judged(view):
        return None
    since = (old.totals.measured_at if old.totals else None) or old.stage_started_at
    measured = (new.totals.measured_at if new.totals else None) or since
    return abs((measured - since).total_seconds()) if measured and since else None


def _next_look(view: View, wait: Wait | None) -> float | None:
    """Return the seconds after which something is due that no event announces; None when nothing is."""
    due = [
        # Where a time is over and it still waits, no clock brings anything new.
        (wait.seconds or None) if wait else None,
        next_retirement(view),
        seconds_to_first_asking(view),
        queueing.next_look(view),
        sleeping.next_look(view),
        unreadable.next_look(view),
        keda_said.next_look(view),
        growing.next_look(view),
    ]
    if view.trial:
        since = view.status.stable.unready_since if view.status.stable else None
        if since:
            due.append((since + STABLE_DOWN_AFTER - view.now).total_seconds())
    later = [max(seconds, 0.2) for seconds in due if seconds is not None and seconds > -1]
    return min(later, default=None)


def _refuse(snapshot: Snapshot, invalid: InvalidSpec) -> Plan:
    """Say what is wrong with the spec; what serves goes on serving, and a rollout goes no further."""
    view = held_view(snapshot)
    plan = refused(snapshot, invalid, view, _follow(view) if view else Plan())
    age = _age_of_figures(view, plan.status) if view and plan.status else None
    worth = plan.status is not None and is_worth_writing(snapshot.status, plan.status, age)
    return plan if worth else replace(plan, status=None)

"""What the steps of a rollout add up to: the weight, the pods and the headers that hold at a step."""

from __future__ import annotations

from math import ceil

from ekiben.api.fields import fraction
from ekiben.api.rollout import Step
from ekiben.api.status import RolloutStatus
from ekiben.api.steps import HeaderMatch

DEFAULT_HOLD = "1m"

# What requests must carry, all of it: names in lower case with their values.
Headers = frozenset[tuple[str, str]]


def steps_of(rollout: RolloutStatus | None) -> tuple[Step, ...]:
    """Return the steps that a rollout keeps to."""
    return rollout.plan.steps if rollout and rollout.plan else ()


def weight_step(rollout: RolloutStatus, step: int) -> int:
    """Return the last step up to `step` that sets a weight, from 1; 0 when none does."""
    steps = steps_of(rollout)
    return max(
        (number for number, item in enumerate(steps[: max(step, 0)], start=1) if item.weight), default=0
    )


def gets_requests(rollout: RolloutStatus, step: int) -> bool:
    """Tell whether a step up to `step` has sent requests to the canary: by a weight, or by their headers."""
    steps = steps_of(rollout)
    by_header = any(item.headers for item in steps[: max(step, 0)])
    return by_header or step_weight(rollout, step) > 0


def current_step(rollout: RolloutStatus) -> Step | None:
    """Return the step that a rollout is at; None before the first."""
    steps = steps_of(rollout)
    return steps[rollout.step - 1] if 0 < rollout.step <= len(steps) else None


def judged_step(rollout: RolloutStatus, step: int) -> int:
    """Return the last step up to `step` that is judged on its own, from 1; 0 when none is."""
    steps = steps_of(rollout)
    numbered = enumerate(steps[: max(step, 0)], start=1)
    return max((number for number, item in numbered if item.weight or item.analysis), default=0)


def step_weight(rollout: RolloutStatus, step: int) -> int:
    """Return the weight that holds at a step, in percent."""
    number = weight_step(rollout, step)
    steps = steps_of(rollout)
    return (steps[number - 1].weight or 0) if number else 0


def hold_of(step: Step) -> str:
    """Return how long a step is held at least, where it is held at all."""
    return (step.analysis.hold if step.analysis else step.hold) or DEFAULT_HOLD


def kind_of(step: Step) -> str:
    """Name the kind of a step, as its field is called."""
    kinds = (name for name in type(step).model_fields if name != "hold" and getattr(step, name) is not None)
    return next(kinds, "pause")


def step_text(step: Step) -> str:
    """Say what a step sets, for people."""
    if step.weight is not None:
        return f"{step.weight}%"
    if step.headers is not None:
        return header_text(headers_of(step.headers))
    if step.replicas is not None:
        return f"{step.replicas} pods" if isinstance(step.replicas, int) else f"{step.replicas} of the pods"
    return kind_of(step)


def headers_of(matches: tuple[HeaderMatch, ...]) -> Headers:
    """Return what a request must carry to match."""
    return frozenset((item.name.lower(), item.value) for item in matches)


def header_text(headers: Headers) -> str:
    """Write headers as people do: `x-canary: always and x-team: ml`."""
    return " and ".join(f"{name}: {value}" for name, value in sorted(headers))


def header_rules(steps: tuple[Step, ...]) -> tuple[Headers, ...]:
    """Return what the rules of the route match by header, in the steps' order, each once."""
    return tuple(dict.fromkeys(headers_of(step.headers) for step in steps if step.headers))


def is_reached(headers: Headers, steps: tuple[Step, ...]) -> bool:
    """Tell whether one of these steps sends requests with these headers to the canary.

    A rule with more headers takes requests away from one with fewer: what the latter sends, it must send too.
    """
    return any(headers_of(step.headers) <= headers for step in steps if step.headers)


def pods_asked(steps: tuple[Step, ...], full_size: int) -> int:
    """Return the pods that the last of these steps with `replicas` asks for; 0 where none does."""
    asked = [step.replicas for step in steps if step.replicas is not None]
    if not asked:
        return 0
    last = asked[-1]
    return last if isinstance(last, int) else max(ceil(round(fraction(last) * full_size, 6)), 1)

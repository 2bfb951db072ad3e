"""The rules of `rollout`: its steps, and what belongs to which strategy."""

from __future__ import annotations

from ekiben.api.fields import cel, matches

# A new kind of step is one word more here, and its words in the sentence.
STEP_KINDS = ("weight", "pause", "analysis", "replicas", "headers")
STEP_ONE_KIND = cel(
    f"[{', '.join(f'has(self.{kind})' for kind in STEP_KINDS)}].exists_one(given, given)",
    "a step is exactly one of `weight`, with or without `hold`, `pause: {}`, `analysis: {}`, `replicas` and"
    " `headers`: write one item for each",
)
_HAS_ANOTHER_KIND = " || ".join(f"has(self.{kind})" for kind in STEP_KINDS[1:])
HOLD_NEEDS_WEIGHT = cel(
    f"!has(self.hold) || has(self.weight) || !({_HAS_ANOTHER_KIND})",
    "hold belongs to a step with weight: remove it, a pause lasts until rollout.resume, and an analysis has a"
    " hold of its own",
    ".hold",
)
HEADERS_DIFFER = cel(
    "self.all(a, self.exists_one(b, a.name.lowerAscii() == b.name.lowerAscii()))",
    "headers of one step must differ in their names, in which case does not matter: remove one,"
    " or write a step for each value",
)
FEW_HEADER_STEPS = cel(
    "self.filter(s, has(s.headers)).size() <= 8",
    "rollout.canary.steps may have at most 8 steps with headers, each of which is a rule of the HTTPRoute:"
    " remove some",
)
_WEIGHTS = "self.filter(s, has(s.weight)).map(s, s.weight)"
WEIGHTS_RISE = cel(
    f"{_WEIGHTS}.isSorted() && {_WEIGHTS}.all(w, self.exists_one(s, has(s.weight) && s.weight == w))",
    "the weights of rollout.canary.steps must rise from step to step: order them, each weight once",
)

STEPS_FOR_CANARY = cel(
    "!has(self.strategy) || self.strategy == 'Canary' || !has(self.canary) || !has(self.canary.steps)"
    " || self.canary.steps.size() == 0",
    "rollout.canary.steps belong to strategy Canary: remove them, or write strategy: Canary",
    ".canary.steps",
)
_SHRINKS = "has(self.canary) && has(self.canary.shrinkStable) && self.canary.shrinkStable"
SHRINKING_FOR_CANARY = cel(
    "!has(self.strategy) || self.strategy == 'Canary' || !has(self.canary)"
    f" || !({_SHRINKS} || has(self.canary.trafficRamp))",
    "rollout.canary.shrinkStable and trafficRamp belong to strategy Canary: remove them,"
    " or write strategy: Canary",
    ".canary",
)
BLOCK_FOR_BLUE_GREEN = cel(
    "!has(self.blueGreen) || has(self.strategy) && self.strategy == 'BlueGreen'",
    "rollout.blueGreen belongs to strategy BlueGreen: remove it, or write strategy: BlueGreen",
    ".blueGreen",
)
BLUE_GREEN_NEEDS_ROOM = cel(
    "!has(self.strategy) || self.strategy != 'BlueGreen' || !has(self.maxSurge)"
    f" || {matches('^100([.]0+)?%$', 'self.maxSurge')}",
    "strategy BlueGreen runs two revisions of the same size: remove rollout.maxSurge, or write 100%",
    ".maxSurge",
)

_RECREATES = "has(self.strategy) && self.strategy == 'Recreate'"
RECREATE_HAS_NO_SURGE = cel(
    f"!({_RECREATES}) || !has(self.maxSurge) || {matches('^100([.]0+)?%$', 'self.maxSurge')}",
    "strategy Recreate has no pods above stable's size: remove rollout.maxSurge",
    ".maxSurge",
)
FALLBACK_FROM_TWO = cel(
    f"!({_RECREATES}) || !has(self.preflight) || !has(self.preflight.fallback)",
    "strategy Recreate is what rollout.preflight.fallback falls back to: remove the fallback",
    ".preflight.fallback",
)

WARMUP_BESIDE_STABLE = cel(
    "!has(self.warmup) || !has(self.strategy) || self.strategy != 'Recreate'",
    "strategy Recreate has nothing that serves while pods are warmed up: remove rollout.warmup, or write"
    " strategy: Canary",
    ".warmup",
)
WARMUP_BODY_FOR_POST = cel(
    "!has(self.body) || self.body == '' || !has(self.method) || self.method == 'POST'",
    "rollout.warmup.body belongs to POST: remove it, or write method: POST",
    ".body",
)

"""The rules between the parts of a model: what one part of the spec asks of another."""

from __future__ import annotations

from ekiben.api.fields import cel, matches
from ekiben.api.rules.judging import DEFAULT_BOUNDS, default_bound

NAME_MAX_LENGTH = 40

NAME_FITS = cel(
    f"self.metadata.name.size() <= {NAME_MAX_LENGTH}"
    f" && {matches('^[a-z]([-a-z0-9]*[a-z0-9])?$', 'self.metadata.name')}",
    f"metadata.name must have at most {NAME_MAX_LENGTH} characters, which are lower-case letters, digits and"
    " dashes, begin with a letter and not end with a dash: names of Services are made from it",
    ".metadata.name",
)

RUNTIME_NEEDS_SERVICE = cel(
    "!has(self.runtime) || has(self.bento.service)",
    "bento.service is needed with runtime: name the class of the bento's entry service",
    ".bento.service",
)
BOUNDS_NEED_SERVICE = cel(
    "has(self.bento.service) || !has(self.analysis) || !has(self.analysis.checks)"
    f" || self.analysis.checks.all(c, !has(c.over) || {default_bound('c.over')})",
    "bento.service is needed with a check `over` a bound that is not one of BentoML's own"
    f" ({', '.join(DEFAULT_BOUNDS)}): name the class of the bento's entry service, or take one of these",
    ".bento.service",
)
_OWN_LIMITS = " && ".join(
    f"(!has(m.latency.{quantile}) || {default_bound(f'm.latency.{quantile}')})"
    for quantile in ("p50", "p95", "p99")
)
LATENCY_NEEDS_SERVICE = cel(
    "has(self.bento.service) || !has(self.autoscaling) || !has(self.autoscaling.metrics)"
    f" || self.autoscaling.metrics.all(m, !has(m.latency) || ({_OWN_LIMITS}))",
    "bento.service is needed with autoscaling by a latency that is not one of BentoML's own bounds"
    f" ({', '.join(DEFAULT_BOUNDS)}): name the class of the bento's entry service, or take one of these",
    ".bento.service",
)
STEPS_NEED_TRAFFIC = cel(
    "has(self.traffic) || !has(self.rollout) || !has(self.rollout.canary) || !has(self.rollout.canary.steps)"
    " || !self.rollout.canary.steps.exists(s, has(s.headers) || has(s.replicas))",
    "steps with headers or replicas need traffic: without a Gateway nothing reads headers, and the pods are"
    " the weight; add traffic.parentRefs, or write steps with weight",
    ".rollout.canary.steps",
)
SHRINKING_NEEDS_TRAFFIC = cel(
    "has(self.traffic) || !has(self.rollout) || !has(self.rollout.canary)"
    " || !(has(self.rollout.canary.shrinkStable) && self.rollout.canary.shrinkStable"
    " || has(self.rollout.canary.trafficRamp))",
    "rollout.canary.shrinkStable and trafficRamp need a Gateway, which moves traffic apart from pods: add"
    " traffic.parentRefs, or remove them",
    ".rollout.canary",
)
SHRINKING_OR_AUTOSCALING = cel(
    "!has(self.autoscaling) || !has(self.rollout) || !has(self.rollout.canary)"
    " || !has(self.rollout.canary.shrinkStable) || !self.rollout.canary.shrinkStable",
    "rollout.canary.shrinkStable does not go with autoscaling, which sizes stable by its load: write replicas"
    " instead of autoscaling, or remove shrinkStable",
    ".rollout.canary.shrinkStable",
)
_PREVIEW = "self.rollout.blueGreen.previewHostnames"
_HAS_NO_PREVIEW = f"!has(self.rollout) || !has(self.rollout.blueGreen) || !has({_PREVIEW})"
PREVIEW_NEEDS_TRAFFIC = cel(
    f"has(self.traffic) || {_HAS_NO_PREVIEW} || {_PREVIEW}.size() == 0",
    "rollout.blueGreen.previewHostnames need a Gateway: add traffic.parentRefs, or remove them; inside the"
    " cluster the new revision answers as Service NAME-canary",
    ".rollout.blueGreen.previewHostnames",
)
PREVIEW_DIFFERS = cel(
    f"!has(self.traffic) || !has(self.traffic.hostnames) || {_HAS_NO_PREVIEW}"
    f" || {_PREVIEW}.all(h, !(h in self.traffic.hostnames))",
    "rollout.blueGreen.previewHostnames must not repeat traffic.hostnames, where stable answers:"
    " choose others",
    ".rollout.blueGreen.previewHostnames",
)
BLUE_GREEN_HAS_NO_OTHER_SIDE = cel(
    "!has(self.rollout) || !has(self.rollout.strategy) || self.rollout.strategy != 'BlueGreen'"
    " || !has(self.analysis) || !has(self.analysis.checks) || self.analysis.checks.all(c,"
    " has(c.max) || has(c.min) || !(has(c.maxRatioToStable) || has(c.maxIncreaseOverStable)))",
    "with strategy BlueGreen the two versions never serve at the same time: give each of analysis.checks"
    " a max or min, for analysis.bake, or compare with stable by strategy Canary",
    ".analysis.checks",
)
BAKE_NEEDS_BOTH = cel(
    "!has(self.rollout) || !has(self.rollout.strategy) || self.rollout.strategy != 'Recreate'"
    " || !has(self.analysis) || !has(self.analysis.bake)"
    f" || {matches('^(0+(ms|s|m|h))+$', 'self.analysis.bake')}",
    "analysis.bake needs the old version's pods, which strategy Recreate takes away: remove it, or write"
    " strategy: BlueGreen",
    ".analysis.bake",
)
RECREATE_COMPARES_NOTHING = cel(
    "!has(self.rollout) || !has(self.rollout.strategy) || self.rollout.strategy != 'Recreate'"
    " || !has(self.analysis) || !has(self.analysis.checks)"
    " || self.analysis.checks.all(c, !has(c.maxRatioToStable) && !has(c.maxIncreaseOverStable))",
    "strategy Recreate has no stable beside the new revision to compare with: write max in the place of"
    " maxRatioToStable and maxIncreaseOverStable",
    ".analysis.checks",
)

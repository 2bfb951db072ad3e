"""The rules of scaling and of traffic."""

from __future__ import annotations

from ekiben.api.fields import cel

SCALING_METRICS = (
    *("cpu", "memory", "concurrency", "requestsPerSecond", "latency"),
    *("prometheus", "schedule", "trigger"),
)
METRIC_ONE_TARGET = cel(
    f"[{', '.join(f'has(self.{name})' for name in SCALING_METRICS)}].filter(x, x).size() == 1",
    f"autoscaling.metrics takes exactly one of {', '.join(SCALING_METRICS[:-1])} and {SCALING_METRICS[-1]}"
    " per item: write one item for each target",
)
_SCALED = "!(self.engine in ['external', 'none'])"
_BY_KEDA, _BY_ADAPTER = (
    "has(m.prometheus) || has(m.schedule) || has(m.trigger)",
    "has(m.concurrency) || has(m.requestsPerSecond) || has(m.latency)",
)
MAX_IS_GIVEN = cel(
    f"has(self.maxReplicas) || !({_SCALED})",
    "autoscaling.maxReplicas is needed: write the most pods that a revision may have",
)
ONE_ENGINE_FOR_ALL = cel(
    "self.engine != 'auto' || !has(self.metrics)"
    f" || !self.metrics.exists(m, {_BY_KEDA}) || !self.metrics.exists(m, {_BY_ADAPTER})",
    "autoscaling.metrics: prometheus, schedule and trigger need KEDA, which can't read concurrency,"
    " requestsPerSecond and latency: leave one kind out, or ask a Prometheus for the requests too",
    ".metrics",
)
KEDA_SERVES = cel(
    f"self.engine != 'keda' || !has(self.metrics) || !self.metrics.exists(m, {_BY_ADAPTER})",
    "autoscaling.engine keda can't read concurrency, requestsPerSecond and latency: write engine: hpa,"
    " or ask a Prometheus for the requests",
    ".metrics",
)
HPA_SERVES = cel(
    f"self.engine != 'hpa' || !has(self.metrics) || !self.metrics.exists(m, {_BY_KEDA})",
    "autoscaling.engine hpa can't read prometheus, schedule and trigger: write engine: keda, or remove them",
    ".metrics",
)
TRIGGER_IS_NO_METRIC = cel(
    "!(self.type in ['cpu', 'memory', 'prometheus', 'cron'])",
    "autoscaling.metrics: a trigger is for what has no field of its own: write cpu, memory, prometheus, or"
    " for cron schedule instead",
    ".type",
)
NAME_FOR_FORMULA = cel(
    "!has(self.name) || has(self.prometheus) || has(self.schedule) || has(self.trigger)",
    "autoscaling.metrics: name is what formula calls a prometheus, schedule or trigger, and KEDA computes"
    " with nothing else: leave it out",
    ".name",
)
NAMES_DIFFER = cel(
    "!has(self.metrics) || self.metrics.all(a, !has(a.name)"
    " || self.metrics.exists_one(b, has(b.name) && b.name == a.name))",
    "autoscaling.metrics must not have a name twice: write another",
    ".metrics",
)
# KEDA would scale by no other metric, and not say so: cpu and memory of one container included.
FORMULA_NAMES_ALL = cel(
    "!has(self.formula) || (has(self.metrics) && self.metrics.size() > 0"
    " && self.metrics.all(m, has(m.name)"
    " && self.formula.expression.matches('(^|[^A-Za-z0-9_])' + m.name + '([^A-Za-z0-9_]|$)')))",
    "autoscaling.formula takes the place of all metrics: give each of them a name, a prometheus, schedule or"
    " trigger, and have it in the expression; leave out what is not in it, cpu and memory too",
    ".formula",
)
ONE_QUANTILE = cel(
    "[has(self.p50), has(self.p95), has(self.p99)].filter(x, x).size() == 1",
    "autoscaling.metrics: latency takes exactly one of p50, p95 and p99: write one item for each",
)
LATENCY_NOT_ALONE = cel(
    f"!({_SCALED}) || !has(self.metrics) || !self.metrics.exists(m, has(m.latency))"
    " || self.metrics.exists(m, !has(m.latency))",
    "autoscaling.metrics: latency only adds pods, so another metric must say when they may go: write one"
    " beside it, such as concurrency",
    ".metrics",
)
WINDOWS_WITHIN_MAX = cel(
    "!has(self.maxReplicas) || !has(self.metrics)"
    " || self.metrics.all(m, !has(m.schedule) || m.schedule.replicas <= self.maxReplicas)",
    "autoscaling.metrics: a schedule must not ask for more replicas than maxReplicas: lower it or raise"
    " maxReplicas",
    ".metrics",
)
FALLBACK_WITHIN_MAX = cel(
    "!has(self.fallbackReplicas) || !has(self.maxReplicas) || self.fallbackReplicas <= self.maxReplicas",
    "autoscaling.fallbackReplicas must not be above maxReplicas: lower it or raise maxReplicas",
    ".fallbackReplicas",
)
ONE_TRIGGER_AUTHORIZATION = cel(
    "!(has(self.bearer) && has(self.basic))",
    "autoscaling.metrics: prometheus takes one of bearer and basic: remove the other",
)
WINDOW_ENDS = cel(
    "self.start != self.end",
    "autoscaling.metrics: a schedule must end at another time than it starts: write its end",
    ".end",
)
MIN_WITHIN_MAX = cel(
    "!has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
    "autoscaling.minReplicas must not be above maxReplicas: lower it or raise maxReplicas",
    ".minReplicas",
)
IDLE_NEEDS_ZERO = cel(
    "self.minReplicas == 0 || !(has(self.idleAfter) || has(self.activation))",
    "autoscaling.idleAfter and activation are for minReplicas: 0, where the pods go while nobody asks: set"
    " minReplicas to 0, or leave them out",
)
ZERO_NEEDS_ENGINE = cel(
    "self.minReplicas > 0 || !(self.engine in ['external', 'none'])",
    "autoscaling.minReplicas: 0 does not go with engine external or none, which leave the number of pods to"
    " others or to replicas: write another engine, or minReplicas: 1",
    ".minReplicas",
)
CANARY_NEEDS_ENGINE = cel(
    "!self.canary || !(self.engine in ['external', 'none'])",
    "autoscaling.canary does not go with engine external or none, where no revision has an autoscaler that"
    " could be judged: write another engine, or leave canary out",
    ".canary",
)

PARENTS_DIFFER = cel(
    "self.all(a, self.exists_one(b, a.name == b.name"
    " && (has(a.__namespace__) ? has(b.__namespace__) && a.__namespace__ == b.__namespace__"
    " : !has(b.__namespace__))"
    " && (!has(a.sectionName) || !has(b.sectionName) || a.sectionName == b.sectionName)))",
    "traffic.parentRefs must not name a Gateway twice, unless each time with another sectionName: remove one",
)

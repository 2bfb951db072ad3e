"""The rules of scaling and of traffic."""

from __future__ import annotations

from ekiben.api.fields import cel

METRIC_ONE_TARGET = cel(
    "[has(self.cpu), has(self.memory), has(self.concurrency), has(self.requestsPerSecond)]"
    ".filter(x, x).size() == 1",
    "autoscaling.metrics takes exactly one of cpu, memory, concurrency and requestsPerSecond per item: write"
    " one item for each target",
)
MIN_WITHIN_MAX = cel(
    "self.minReplicas <= self.maxReplicas",
    "autoscaling.minReplicas must not be above maxReplicas: lower it or raise maxReplicas",
    ".minReplicas",
)

PARENTS_DIFFER = cel(
    "self.all(a, self.exists_one(b, a.name == b.name"
    " && (has(a.__namespace__) ? has(b.__namespace__) && a.__namespace__ == b.__namespace__"
    " : !has(b.__namespace__))"
    " && (!has(a.sectionName) || !has(b.sectionName) || a.sectionName == b.sectionName)))",
    "traffic.parentRefs must not name a Gateway twice, unless each time with another sectionName: remove one",
)

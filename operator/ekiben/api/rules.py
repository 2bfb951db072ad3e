"""The rules between fields, in CEL: each sentence is what a user reads when `kubectl apply` refuses.

Rules about one string alone stand beside its pattern. There are no transition rules: whatever is valid may be
changed into whatever is valid, because the operator defines what every edit means.
"""

from __future__ import annotations

from ekiben.api.fields import DURATION_PATTERN, RATIO_PATTERN, cel, matches

NAME_MAX_LENGTH = 40
# BentoML's own latency buckets as durations; any other bound has to be configured, by the service's name.
DEFAULT_BOUNDS = (
    *("5ms", "10ms", "25ms", "50ms", "100ms", "250ms", "500ms"),
    *("1s", "2500ms", "5s", "10s", "30s", "60s", "120s", "180s"),
)
RESERVED_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by")
RESERVED_ENV = ("BENTOML_HOME", "BENTOML_HOST", "BENTOML_PORT", "PORT")
CONFIG_ENV = ("BENTOML_CONFIG_OVERRIDES", "BENTOML_CONFIG_OPTIONS")


def _one_of(value: str, words: tuple[str, ...]) -> str:
    return f"{value} in [{', '.join(repr(word) for word in words)}]"


def _default_bound(value: str) -> str:
    """Tell whether a duration is a default bound; one that can't be parsed has its own sentence elsewhere."""
    bounds = ", ".join(f"duration('{bound}')" for bound in DEFAULT_BOUNDS)
    return f"!{matches(DURATION_PATTERN, value)} || duration({value}) in [{bounds}]"


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
    f" || self.analysis.checks.all(c, !has(c.over) || {_default_bound('c.over')})",
    "bento.service is needed with a check `over` a bound that is not one of BentoML's own"
    f" ({', '.join(DEFAULT_BOUNDS)}): name the class of the bento's entry service, or take one of these",
    ".bento.service",
)

TRACKED_ONE_KIND = cel(
    "has(self.configMap) != has(self.secret)",
    "an item of bento.trackedConfig is either configMap or secret: write one item for each object",
)
TRACKED_DIFFER = cel(
    "self.all(a, self.exists_one(b, has(a.configMap) == has(b.configMap)"
    " && (!has(a.configMap) || a.configMap == b.configMap)"
    " && has(a.secret) == has(b.secret) && (!has(a.secret) || a.secret == b.secret)))",
    "bento.trackedConfig must not name an object twice: remove one of the two",
)

REQUESTS_WITHIN_LIMITS = cel(
    "!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits)"
    " || !isQuantity(string(self.requests[k])) || !isQuantity(string(self.limits[k]))"
    " || quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)",
    "resources.requests must not be above resources.limits: lower the request or raise the limit",
)

ENV_ONE_SOURCE = cel(
    "!has(self.value) || !has(self.valueFrom)",
    "env takes either value or valueFrom: remove one of the two",
)
ENV_NOT_CONFIG = cel(
    f"!({_one_of('self.name', CONFIG_ENV)})",
    f"env must not set {' or '.join(CONFIG_ENV)}: write it as runtime.overrides",
    ".name",
)
ENV_NOT_RESERVED = cel(
    f"!({_one_of('self.name', RESERVED_ENV)})",
    f"env must not set {', '.join(RESERVED_ENV[:-1])} or {RESERVED_ENV[-1]}, which Ekiben sets for probes,"
    " metrics and the read-only root: remove it",
    ".name",
)

LABELS_NOT_RESERVED = cel(
    "!has(self.labels) || self.labels.all(k, !k.startsWith('ekiben.dev/')"
    f" && !({_one_of('k', RESERVED_LABELS)}))",
    f"podTemplate.labels must not set ekiben.dev/* or {', '.join(RESERVED_LABELS)}, by which Ekiben finds its"
    " pods: choose other keys",
    ".labels",
)
CONTAINER_NOT_BENTO = cel(
    "self.name != 'bento'",
    "sidecars and initContainers must not be named bento, as the model's container is: choose another name",
    ".name",
)
CONTAINERS_DIFFER = cel(
    "!has(self.sidecars) || !has(self.initContainers)"
    " || self.sidecars.all(s, !self.initContainers.exists(i, i.name == s.name))",
    "podTemplate.sidecars and initContainers must not share a name: rename one of the two",
    ".sidecars",
)
VOLUME_NOT_TMP = cel(
    "self.name != 'tmp'",
    "volumes must not be named tmp, as Ekiben's own is: choose another name",
    ".name",
)
MOUNT_NOT_TMP = cel(
    f"!{matches('^/tmp(/|$)', 'self.mountPath')}",
    "volumeMounts must not be at /tmp or below, where Ekiben mounts a volume of its own: choose another path",
    ".mountPath",
)
MOUNTS_HAVE_VOLUMES = cel(
    "!has(self.volumeMounts) || self.volumeMounts.all(m,"
    " has(self.volumes) && self.volumes.exists(v, v.name == m.name))",
    "podTemplate.volumeMounts must each name a volume of podTemplate.volumes: add the volume",
    ".volumeMounts",
)

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

# A new kind of step is one word more here, and its words in the sentence.
STEP_KINDS = ("weight", "pause", "analysis", "replicas", "headers")
STEP_ONE_KIND = cel(
    f"[{', '.join(f'has(self.{kind})' for kind in STEP_KINDS)}].exists_one(given, given)",
    "a step is exactly one of `weight`, with or without `hold`, `pause: {}`, `analysis: {}`, `replicas` and"
    " `headers`:"
    " write one item for each",
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
STEPS_NEED_TRAFFIC = cel(
    "has(self.traffic) || !has(self.rollout) || !has(self.rollout.canary) || !has(self.rollout.canary.steps)"
    " || !self.rollout.canary.steps.exists(s, has(s.headers) || has(s.replicas))",
    "steps with headers or replicas need traffic: without a Gateway nothing reads headers, and the pods are"
    " the weight; add traffic.parentRefs, or write steps with weight",
    ".rollout.canary.steps",
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
BLOCK_FOR_BLUE_GREEN = cel(
    "!has(self.blueGreen) || has(self.strategy) && self.strategy == 'BlueGreen'",
    "rollout.blueGreen belongs to strategy BlueGreen: remove it, or write strategy: BlueGreen",
    ".blueGreen",
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
RECREATE_COMPARES_NOTHING = cel(
    "!has(self.rollout) || !has(self.rollout.strategy) || self.rollout.strategy != 'Recreate'"
    " || !has(self.analysis) || !has(self.analysis.checks)"
    " || self.analysis.checks.all(c, !has(c.maxRatioToStable) && !has(c.maxIncreaseOverStable))",
    "strategy Recreate has no stable beside the new revision to compare with: write max in the place of"
    " maxRatioToStable and maxIncreaseOverStable",
    ".analysis.checks",
)

SHARES = ("error-rate", "shed-rate", "slow-requests")
MEANS = ("mean-batch-size", "concurrency")
METRICS = (*SHARES, "throughput", *MEANS)


def _measures(metrics: tuple[str, ...], item: str = "self") -> str:
    """Tell whether a check is of one of these metrics, and not of another source."""
    return f"(has({item}.metric) && {_one_of(f'{item}.metric', metrics)})"


CHECK_ONE_SOURCE = cel(
    "[has(self.metric), has(self.prometheus), has(self.web), has(self.job)].filter(s, s).size() == 1",
    "a check takes exactly one of metric, prometheus, web and job: write one check for each",
)
NAME_FOR_SOURCES = cel(
    f"has(self.name) == !has(self.metric) && !(has(self.name) && {_one_of('self.name', METRICS)})",
    "a check of prometheus, web or job needs a name that is no metric's, and one of a metric has none: add,"
    " change or remove name",
)
SHARES_ALONE = cel(
    "has(self.metric) || !(has(self.maxRatioToStable) || has(self.maxIncreaseOverStable)"
    " || has(self.confidence))",
    "maxRatioToStable, maxIncreaseOverStable and confidence belong to metrics: for another source set max"
    " or min, and compare with stable in the query",
)
INTERVAL_FOR_CALLS = cel(
    "!has(self.interval) || has(self.prometheus) || has(self.web)",
    "interval belongs to prometheus and web: metrics are looked at by analysis.interval, and a job runs once"
    " in each step",
    ".interval",
)
NAMES_DIFFER = cel(
    "self.all(c, !has(c.name) || self.exists_one(d, has(d.name) && d.name == c.name))",
    "analysis.checks must have different names: rename one",
)
HEADER_ONE_VALUE = cel(
    "has(self.value) != has(self.secret)",
    "a header takes either value or secret: remove one of the two",
)
TLS_ONE_WAY = cel(
    "!has(self.caSecret) || !has(self.insecureSkipVerify) || !self.insecureSkipVerify",
    "tls takes either caSecret or insecureSkipVerify: remove one of the two",
)
ONE_AUTHORIZATION = cel(
    "!has(self.bearer) || !has(self.basic)",
    "a call takes either bearer or basic: remove one of the two",
)
BODY_FOR_POST = cel(
    "!has(self.body) || (has(self.method) && self.method == 'POST')",
    "body belongs to method: POST: add it, or remove body",
    ".body",
)


JOB_ENV_ONE_VALUE = cel(
    "has(self.value) != has(self.secret)",
    "env of a job takes either value or secret: remove one of the two",
)
JOB_HAS_NO_LIMIT = cel(
    "!has(self.job) || !(has(self.max) || has(self.min))",
    "a job's exit status is its verdict: remove max and min",
)
CHECK_HAS_LIMIT = cel(
    "has(self.job) || has(self.max)"
    " || has(self.maxRatioToStable) || has(self.maxIncreaseOverStable) || has(self.min)",
    "a check needs a limit: set max, maxRatioToStable or maxIncreaseOverStable, for throughput,"
    " prometheus and web min or max",
)
MIN_FOR_NUMBERS = cel(
    f"!has(self.min) || !({_measures(SHARES)})",
    f"min belongs to throughput, {' and '.join(MEANS)}, and to other sources: set max, maxRatioToStable or"
    " maxIncreaseOverStable for a share",
    ".min",
)
MIN_OF_METRICS = cel(
    f"!has(self.min) || !has(self.metric) || ({matches(RATIO_PATTERN, 'self.min')}"
    f" && !{matches('^0+([.]0+)?$', 'self.min')})",
    'min of a metric must be a number above zero in quotes, such as "5"',
    ".min",
)
THROUGHPUT_HAS_MIN = cel(
    f"!{_measures(('throughput',))}"
    " || !(has(self.max) || has(self.maxRatioToStable) || has(self.maxIncreaseOverStable)"
    " || has(self.confidence))",
    "throughput is no share: it takes min alone, without max, maxRatioToStable, maxIncreaseOverStable and"
    " confidence",
)
NUMBERS_ARE_PLAIN = cel(
    f"!{_measures(MEANS)} || !(has(self.maxIncreaseOverStable) || has(self.confidence))",
    f"{' and '.join(MEANS)} are no shares: they take max, min and maxRatioToStable, without"
    " maxIncreaseOverStable and confidence",
)
MAX_FITS = cel(
    f"!has(self.max) || self.max.endsWith('%') == {_measures((*SHARES, 'throughput'))}",
    f'max is a percentage such as 1% for a share, and a number in quotes such as "5" for {MEANS[0]},'
    f" {MEANS[1]} and other sources: write that",
    ".max",
)
NO_DATA_FOR_SHARES = cel(
    f"!has(self.onNoData) || has(self.prometheus) || {_measures(SHARES)}",
    "onNoData belongs to shares and prometheus: without requests a throughput is simply 0, and a web answer"
    " without a number is an error, so remove it",
    ".onNoData",
)
BOUNDS_ARE_DEFAULT = cel(
    f"self.all(c, !has(c.over) || {_default_bound('c.over')})",
    "`over` in a ModelAnalysis must be one of BentoML's own bounds"
    f" ({', '.join(DEFAULT_BOUNDS)}), which every pod exports: take one of these, or write the"
    " check in the model",
)
ONE_CHECK_DECIDES = cel(
    f"self.size() == 0 || self.exists(c, (!has(c.metric) || {_measures(SHARES, 'c')})"
    " && (!has(c.dryRun) || !c.dryRun))",
    "one of analysis.checks must decide by a share or another source: remove dryRun from one,"
    " or add {metric: error-rate, max: 1%}",
)
PATHS_LEAVE_SOME = cel(
    "!self.exists(p, p == '/')",
    "analysis.excludePaths must not have /, below which everything is: name the paths that don't count",
)
OVER_FOR_SLOW_REQUESTS = cel(
    f"has(self.over) == {_measures(('slow-requests',))}",
    "over belongs to slow-requests, which needs it: add it there, remove it from any other metric",
    ".over",
)
SHEDS_FOR_ERROR_RATE = cel(
    f"!has(self.excludeSheds) || {_measures(('error-rate',))}",
    "excludeSheds belongs to error-rate: remove it from any other metric",
    ".excludeSheds",
)

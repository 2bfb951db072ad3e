"""The rules of `analysis`: checks, their sources and limits, and the calls that are made for them."""

from __future__ import annotations

from ekiben.api.fields import DURATION_PATTERN, RATIO_PATTERN, cel, matches, one_of

# BentoML's own latency buckets as durations; any other bound has to be configured, by the service's name.
DEFAULT_BOUNDS = (
    *("5ms", "10ms", "25ms", "50ms", "100ms", "250ms", "500ms"),
    *("1s", "2500ms", "5s", "10s", "30s", "60s", "120s", "180s"),
)


def default_bound(value: str) -> str:
    """Tell whether a duration is a default bound; one that can't be parsed has its own sentence elsewhere."""
    bounds = ", ".join(f"duration('{bound}')" for bound in DEFAULT_BOUNDS)
    return f"!{matches(DURATION_PATTERN, value)} || duration({value}) in [{bounds}]"


SHARES = ("error-rate", "shed-rate", "slow-requests")
MEANS = ("mean-batch-size", "concurrency")
METRICS = (*SHARES, "throughput", *MEANS)


def _measures(metrics: tuple[str, ...], item: str = "self") -> str:
    """Tell whether a check is of one of these metrics, and not of another source."""
    return f"(has({item}.metric) && {one_of(f'{item}.metric', metrics)})"


CHECK_ONE_SOURCE = cel(
    "[has(self.metric), has(self.prometheus), has(self.web), has(self.job)].filter(s, s).size() == 1",
    "a check takes exactly one of metric, prometheus, web and job: write one check for each",
)
NAME_FOR_SOURCES = cel(
    f"has(self.name) == !has(self.metric) && !(has(self.name) && {one_of('self.name', METRICS)})",
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
    f"self.all(c, !has(c.over) || {default_bound('c.over')})",
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

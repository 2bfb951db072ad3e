"""The fields of the API that say how a canary is judged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from ekiben.api.fields import (
    DURATION,
    ApiModel,
    Confidence,
    Duration,
    Limit,
    Name,
    Number,
    Percent,
    PositiveDuration,
    Ratio,
    Subdomain,
    UrlPath,
    at_least,
    checked,
    keyed_by,
    rules,
)
from ekiben.api.rules import judging as say
from ekiben.api.sources import Job, Prometheus, Web

OnNoData = Literal["pause", "pass", "fail"]


class Check(ApiModel):
    """One judgement of the canary; at least one limit is set."""

    model_config = rules(
        say.CHECK_ONE_SOURCE,
        say.NAME_FOR_SOURCES,
        say.CHECK_HAS_LIMIT,
        say.JOB_HAS_NO_LIMIT,
        say.OVER_FOR_SLOW_REQUESTS,
        say.SHEDS_FOR_ERROR_RATE,
        say.MIN_FOR_NUMBERS,
        say.MIN_OF_METRICS,
        say.THROUGHPUT_HAS_MIN,
        say.NUMBERS_ARE_PLAIN,
        say.MAX_FITS,
        say.SHARES_ALONE,
        say.INTERVAL_FOR_CALLS,
        say.NO_DATA_FOR_SHARES,
    )

    metric: Annotated[
        Literal["error-rate", "shed-rate", "slow-requests", "throughput", "mean-batch-size", "concurrency"]
        | None,
        Field(
            description="Of the pods: share of requests answered 5xx, answered 429 or 503, or slower than"
            " `over`; or requests a second, inputs in a batch, requests under way in a pod."
        ),
    ] = None
    name: Annotated[Name | None, Field(description="What to call a check of another source.")] = None
    prometheus: Annotated[Prometheus | None, Field(description="The number that a query gives.")] = None
    web: Annotated[Web | None, Field(description="A number in the answer of a server.")] = None
    job: Annotated[Job | None, Field(description="The exit status of a Job.")] = None
    over: Annotated[
        PositiveDuration | None, Field(description="slow-requests only: a request that took longer is slow.")
    ] = None
    max: Annotated[
        Limit | None,
        Field(
            description="Largest share of the canary's requests; for mean-batch-size and concurrency the"
            " largest mean, for another source the largest number."
        ),
    ] = None
    max_ratio_to_stable: Annotated[
        Ratio | None, Field(description="Largest share or mean relative to stable's over the same time.")
    ] = None
    max_increase_over_stable: Annotated[
        Percent | None,
        Field(description="Most that the share may be above stable's over the same time, in points."),
    ] = None
    min: Annotated[
        Number | None,
        Field(
            description="throughput: fewest requests a second to the whole canary; for mean-batch-size and"
            " concurrency the smallest mean, for another source the smallest number."
        ),
    ] = None
    exclude_sheds: Annotated[
        bool | None, Field(description="error-rate only: don't count 503. Default: false.")
    ] = None
    confidence: Annotated[
        Confidence | None,
        Field(description="How certain this check must be to fail a canary. Default: analysis.confidence."),
    ] = None
    interval: Annotated[
        Annotated[str, DURATION, at_least("1s", example="1m")] | None,
        Field(description="prometheus and web: time between two askings. Default: analysis.interval."),
    ] = None
    on_no_data: Annotated[
        OnNoData | None,
        Field(
            description="What happens when this check lacks requests, or its query finds no series."
            " Default: analysis.onNoData."
        ),
    ] = None
    dry_run: Annotated[
        bool | None, Field(description="True: judged and told, but decides nothing. Default: false.")
    ] = None

    @property
    def title(self) -> str:
        """What results call it: its metric, or its name."""
        return self.metric or self.name or "check"


class TemplateArgument(ApiModel):
    """What an argument of a ModelAnalysis is for this model."""

    name: Annotated[Name, Field(description="Its name.")]
    value: Annotated[str, StringConstraints(max_length=256), Field(description="What it is.")]


class TemplateUse(ApiModel):
    """A ModelAnalysis of the model's namespace whose checks count too."""

    name: Annotated[Subdomain, Field(description="Its name.")]
    args: Annotated[
        tuple[TemplateArgument, ...],
        Field(max_length=16, description="Its arguments.", json_schema_extra=keyed_by("name")),
    ] = ()


class Analysis(ApiModel):
    """How the canary is judged on the requests it really served."""

    interval: Annotated[
        str, DURATION, at_least("1s", example="15s"), Field(description="Time between two looks.")
    ] = "15s"
    initial_delay: Annotated[
        Duration, Field(description="Time after a weight is reached that is not judged.")
    ] = "0s"
    min_samples: Annotated[int, Field(ge=1, le=10_000_000, description="Requests that a pass needs.")] = 50
    max_wait: Annotated[Duration, Field(description="Longest wait for samples beyond `hold`.")] = "30m"
    on_no_data: Annotated[OnNoData, Field(description="What happens when `maxWait` is over.")] = "pause"
    on_inconclusive: Annotated[
        Literal["pause", "pass", "fail"],
        Field(
            description="What happens when `maxWait` is over and a check is over its limit,"
            " but not for certain."
        ),
    ] = "pause"
    confidence: Annotated[
        Confidence,
        Field(
            description="How certain a check must be to fail a canary: with 95% it is wrong about at most one"
            " of twenty canaries that keep its limit, over the whole rollout."
        ),
    ] = "95%"
    failure_limit: Annotated[
        int, Field(ge=0, le=100, description="Failed looks that are forgiven per step.")
    ] = 0
    consecutive_error_limit: Annotated[
        int,
        Field(
            ge=0,
            le=1000,
            description="Looks in a row that a check may be unable to judge before that fails the canary;"
            " 0: it waits for ever.",
        ),
    ] = 0
    exclude_paths: Annotated[
        tuple[UrlPath, ...],
        Field(
            max_length=20,
            description="Requests to these paths, and to what is below them, count for nothing that is"
            " judged.",
            json_schema_extra=checked(say.PATHS_LEAVE_SOME),
        ),
    ] = ()
    show_latency: Annotated[
        bool,
        Field(
            description="True: p50, p95 and p99 of both sides are shown, as bounds of buckets; nothing is"
            " judged by them."
        ),
    ] = False
    bake: Annotated[
        Duration,
        Field(
            description="How long a promoted revision is judged while the old one keeps its pods: everything"
            " goes back to the old one by itself if it fails."
        ),
    ] = "0s"
    templates: Annotated[
        tuple[TemplateUse, ...],
        Field(
            max_length=5,
            description="Checks that ModelAnalysis objects hold, beside those below; as they are when a"
            " rollout starts.",
            json_schema_extra=keyed_by("name"),
        ),
    ] = ()
    checks: Annotated[
        tuple[Check, ...],
        Field(
            max_length=10,
            description="What the canary must fulfil. Default: error-rate max 1%, unless templates say more.",
            json_schema_extra=checked(say.ONE_CHECK_DECIDES, say.NAMES_DIFFER),
        ),
    ] = ()

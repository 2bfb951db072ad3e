"""What the status says of a rollout's evidence: requests as counted, and what each check makes of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from ekiben.api.fields import ApiModel
from ekiben.api.written import Time

Verdict = Literal["Pass", "Fail", "Waiting", "Inconclusive", "Error"]


class Load(ApiModel):
    """What the pods of one revision had to do; counted only where a check asks."""

    batches: Annotated[int, Field(description="Batches that adaptive batching made.")] = 0
    batched: Annotated[int, Field(description="Inputs in these batches.")] = 0
    busy_ms: Annotated[int, Field(description="How long all finished requests took together, in ms.")] = 0
    watched_ms: Annotated[
        int, Field(description="How long the pods were watched for that, all together, in ms.")
    ] = 0


class Latency(ApiModel):
    """Bounds of the buckets that quantiles fall into, for people; counted since the operator started."""

    p50: Annotated[str, Field(description="Half of the requests took no longer.")]
    p95: Annotated[str, Field(description="95 of 100 requests took no longer.")]
    p99: Annotated[str, Field(description="99 of 100 requests took no longer.")]


class Counters(ApiModel):
    """Requests of one revision within the window of a step, probes excluded."""

    requests: Annotated[int, Field(description="All answers.")] = 0
    errors: Annotated[int, Field(description="Answers 5xx.")] = 0
    sheds: Annotated[int, Field(description="Answers 429 and 503.")] = 0
    sheds_5xx: Annotated[int, Field(alias="sheds5xx", description="Answers 503, counted in errors too.")] = 0
    slow: Annotated[
        dict[str, int],
        WithJsonSchema({"type": "object", "additionalProperties": {"type": "integer"}}),
        Field(default_factory=dict, description="Requests slower than each bound."),
    ]
    load: Annotated[
        Load | None, Field(description="For mean-batch-size and concurrency, where a check asks.")
    ] = None
    latency: Annotated[Latency | None, Field(description="With `analysis.showLatency`.")] = None


class Totals(ApiModel):
    """Both sides' counters since the step's weight was observed."""

    window: Annotated[str, Field(description="What they belong to: rollout id and step.")] = ""
    measured_at: Annotated[Time | None, Field(description="When the pods were last read.")] = None
    stable: Annotated[Counters, Field(default_factory=Counters, description="Stable's counters.")]
    canary: Annotated[Counters, Field(default_factory=Counters, description="The canary's counters.")]
    resets: Annotated[int, Field(description="Canary counters that fell back.")] = 0


class SetAside(ApiModel):
    """What a window had counted before the pods were there that its autoscaler wanted."""

    window: Annotated[str, Field(description="The window, as in `totals`.")] = ""
    times: Annotated[int, Field(ge=0, le=1000, description="How often that happened in this window.")] = 0
    stable: Annotated[Counters, Field(default_factory=Counters, description="Stable's counters.")]
    canary: Annotated[Counters, Field(default_factory=Counters, description="The canary's counters.")]


class CheckResult(ApiModel):
    """What one check says, with the numbers it rests on."""

    metric: Annotated[str, Field(description="The check's metric, with its bound.")]
    verdict: Annotated[
        Verdict,
        Field(
            description="What it says; Waiting: more requests are needed, Error: it can't be judged,"
            " Inconclusive: over the limit, but not for certain, when `maxWait` was over."
        ),
    ]
    since: Annotated[Time | None, Field(description="Since when it says so, look after look.")] = None
    dry_run: Annotated[bool | None, Field(description="True: it is told, and decides nothing.")] = None
    excused: Annotated[
        bool | None,
        Field(
            description="True: it is not held against the revision that pods are missing. False: not"
            " any more, its autoscaler has had the time to ask for them."
        ),
    ] = None
    value: Annotated[str | None, Field(description="What was measured.")] = None
    limit: Annotated[str | None, Field(description="What is allowed.")] = None
    samples: Annotated[int, Field(description="Requests that the value rests on.")] = 0
    message: Annotated[str, Field(description="The same as a sentence.")] = ""

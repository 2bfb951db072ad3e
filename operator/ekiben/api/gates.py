"""The field of the API that says whom a rollout asks before it goes on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from ekiben.api.fields import DURATION, Name, PositiveDuration, Worded, at_least, rules
from ekiben.api.rules import judging as say
from ekiben.api.sources import URL_PATTERN, Call

OnTimeout = Literal["pause", "pass", "fail"]


class RolloutGate(Call):
    """Somebody who says over HTTP whether a rollout may go on: 2xx opens it, nothing else does."""

    model_config = rules(say.ONE_AUTHORIZATION)

    name: Annotated[Name, Field(description="Its name, for people.")]
    url: Annotated[
        str,
        StringConstraints(pattern=URL_PATTERN, max_length=1024),
        Worded("must be a URL such as https://change.shop.svc/approve, without password and fragment"),
        Field(description="Where it is asked, by POST; the chart value `calls.hosts` must list its host."),
    ]
    when: Annotated[
        Literal["BeforeRollout", "BeforeStep", "BeforePromotion"],
        Field(
            description="When it is asked: before the first step, before each step that raises the weight,"
            " before everything goes over."
        ),
    ]
    interval: Annotated[
        Annotated[str, DURATION, at_least("1s", example="30s")] | None,
        Field(description="Time from one answer to the next asking. Default: 30s."),
    ] = None
    max_wait: Annotated[
        PositiveDuration | None, Field(description="Longest time that it may stay shut. Default: 24h.")
    ] = None
    on_timeout: Annotated[
        OnTimeout | None,
        Field(
            description="What happens then: pause (until it opens, or a hand goes on), pass, or fail (back to"
            " stable). Default: pause."
        ),
    ] = None

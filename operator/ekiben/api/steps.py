"""What single steps of a rollout are made of: header matches, and counts of pods."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema

from ekiben.api.fields import DURATION, ApiModel, Worded, at_least, cel, fraction, matches

COUNT_SENTENCE = "must be a number of pods from 1 to 10000, or a percentage of stable's size such as 50%"
_SHARE = "^(100|[1-9][0-9]?)%$"


def _count(value: int | str) -> int | str:
    if isinstance(value, int):
        fits = 1 <= value <= 10000
    else:
        fits = value.endswith("%") and value[:-1].isascii() and value[:-1].isdigit()
        fits = fits and len(value) <= 4 and 0 < fraction(value) <= 1
    if not fits:
        raise ValueError(COUNT_SENTENCE)
    return value


# `3` or `50%`: what Kubernetes calls int-or-string, as in a Deployment's maxSurge.
PodCount = Annotated[
    int | str,
    AfterValidator(_count),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "maxLength": 4,
            "x-kubernetes-validations": [
                cel(
                    f"type(self) == int ? self >= 1 && self <= 10000 : {matches(_SHARE, 'string(self)')}",
                    COUNT_SENTENCE,
                )
            ],
        }
    ),
]


class HeaderMatch(ApiModel):
    """A request header and the value that it must have, exactly: Gateway API's HTTPHeaderMatch, Exact."""

    name: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_|~-]+$", min_length=1, max_length=64),
        Worded("must be a header's name such as x-canary"),
        Field(description="The header's name; its case does not matter."),
    ]
    # No quotes, backticks and backslashes: gateways build expressions of their own from it.
    value: Annotated[
        str,
        StringConstraints(
            pattern=r"^[!#-\[\]-_a-~]([ !#-\[\]-_a-~]*[!#-\[\]-_a-~])?$", min_length=1, max_length=256
        ),
        Worded(
            "must be a header's value such as always: printable ASCII without quotes, backticks and"
            " backslashes, and no space at either end"
        ),
        Field(description="The value that it must have, exactly."),
    ]


class TrafficRamp(ApiModel):
    """Steps by which traffic goes back to stable: cold pods would not stand all of it at once."""

    step: Annotated[int, Field(ge=1, le=100, description="Percent that goes back at a time.")]
    every: Annotated[
        str,
        DURATION,
        at_least("1s", example="10s"),
        Field(description="The time between two steps; the first one is taken at once."),
    ]

"""The fields of the API that say on what KEDA scales: a query, a schedule, any of its triggers, a formula."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from ekiben.api.fields import ApiModel, Subdomain, Worded, cel, checked, matches, rules
from ekiben.api.freeze import zone
from ekiben.api.rules import serving as say
from ekiben.api.sources import ADDRESS_PATTERN, DataKey

# What stands in double braces in a query is replaced; each revision is asked about for itself.
QUERY_WORDS = ("revision", "model.name", "model.namespace")
_KNOWN = "|".join(name.replace(".", "[.]") for name in QUERY_WORDS)
_QUERY_PATTERN = rf"^([^{{]|[{{][^{{]|[{{][{{]({_KNOWN})[}}][}}])*[{{]?$"
_CRON_PATTERN = r"^[0-9A-Za-z*,/-]+( [0-9A-Za-z*,/-]+){4}$"
CRON_SENTENCE = "must be a cron schedule of five fields, such as 0 8 * * 1-5, where Sunday is 0"

# In the chart value keda.triggers: every type.
EVERY_TRIGGER = "*"
# For KEDA's own sources the autoscaler knows no other two.
MetricType = Annotated[
    Literal["AverageValue", "Value"] | None,
    Field(description="AverageValue: so much for each pod; Value: so much in all. Default: AverageValue."),
]

ScalingQuery = Annotated[
    str,
    StringConstraints(pattern=_QUERY_PATTERN, min_length=1, max_length=2048),
    Worded(
        "must be a query in PromQL; what stands in {{ }} must be one of"
        f" {', '.join(QUERY_WORDS)}, without spaces",
        also=matches(r"[^\s]"),
    ),
]
ScalingAddress = Annotated[
    str,
    StringConstraints(pattern=ADDRESS_PATTERN, min_length=1, max_length=512),
    Worded("must be an address such as http://prometheus.monitoring.svc:9090, without query"),
]
Threshold = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,12}(\.[0-9]{1,3})?$", max_length=20),
    Worded(
        'must be a number per pod, above zero, in quotes, such as "8" or "0.5"',
        also=f"!{matches('^0+([.]0+)?$')}",
    ),
]
Cron = Annotated[
    str,
    StringConstraints(pattern=_CRON_PATTERN, max_length=100),
    # KEDA's parser knows neither the last day of a month nor a second name for Sunday.
    Worded(CRON_SENTENCE, also=f"!{matches('(^|[ ,])L|7[^ ]*$')}"),
]
Zone = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$", max_length=64),
    Worded("must be an IANA time zone, such as Europe/Berlin"),
    AfterValidator(zone),
]
TriggerType = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63),
    Worded("must be the type of one of KEDA's triggers, such as rabbitmq or aws-sqs-queue"),
]
TriggerValue = Annotated[
    str,
    StringConstraints(pattern=_QUERY_PATTERN, max_length=2048),
    Worded(f"must hold in {{{{ }}}} only one of {', '.join(QUERY_WORDS)}, without spaces"),
]
_KEYS = cel(
    f"self.all(k, {matches('^[A-Za-z][A-Za-z0-9_.-]{0,62}$', 'k')})",
    "must have keys as KEDA's trigger has them, such as queueName",
)
# KEDA computes a formula for as long, and with as much memory, as it takes: one loop in another, or a text
# that is repeated, and no model of the cluster is scaled. So it may call what has no loop and makes no text.
FUNCTIONS = ("abs", "ceil", "float", "floor", "int", "max", "mean", "median", "min", "round")
_WORD, _SPACE, _SIGN = "[A-Za-z_][A-Za-z0-9_]*", r"[ \t\r\n]", r"[+*/%^).,<>=!&|?:\[\]-]"
_CALLED = "|".join((*FUNCTIONS, "and", "or", "not", "in"))
_EXPRESSION_PATTERN = (
    rf"^(({_WORD}{_SPACE}+)*(({_CALLED}){_SPACE}*[(]|{_WORD}({_SPACE}*{_SIGN}|{_SPACE}+[0-9]))"
    rf"|{_SPACE}|[0-9(]|{_SIGN})*({_WORD}{_SPACE}+)*({_WORD})?$"
)
EXPRESSION_SENTENCE = (
    f"must be made of numbers, names, operators, brackets, and of functions {', '.join(FUNCTIONS[:-1])} and"
    f" {FUNCTIONS[-1]} alone, without text and comments"
)
_COMMENTS = ("//", "/*")


def _uncommented(value: str) -> str:
    """Refuse what KEDA passes over: the name of a function could be on its other side."""
    if any(comment in value for comment in _COMMENTS):
        raise ValueError(EXPRESSION_SENTENCE)
    return value


# A rule of the block wants the names of all metrics in it; KEDA compiles it.
Expression = Annotated[
    str,
    StringConstraints(pattern=_EXPRESSION_PATTERN, min_length=1, max_length=1024),
    Worded(
        EXPRESSION_SENTENCE,
        also=" && ".join(f"!self.contains('{comment}')" for comment in _COMMENTS),
    ),
    AfterValidator(_uncommented),
]
FormulaTarget = Annotated[
    str,
    # Of any other number KEDA makes a target, and no fallback.
    StringConstraints(pattern=r"^[1-9][0-9]{0,8}$", max_length=9),
    Worded(
        'must be a whole number above zero, in quotes, such as "10", for KEDA falls back by no other:'
        " multiply in the expression instead"
    ),
]


class TriggerSecret(ApiModel):
    """One value of a Secret in the model's namespace, which KEDA reads."""

    name: Annotated[Subdomain, Field(description="Name of the Secret.")]
    key: Annotated[DataKey, Field(description="Key in it.")]


class TriggerBasic(ApiModel):
    """User and password of HTTP basic authentication."""

    username: Annotated[TriggerSecret, Field(description="The user.")]
    password: Annotated[TriggerSecret, Field(description="The password.")]


class ScalingPrometheus(ApiModel):
    """A number of a Prometheus, shared out among the pods; KEDA asks for it."""

    model_config = rules(say.ONE_TRIGGER_AUTHORIZATION)

    address: Annotated[ScalingAddress, Field(description="Where it is.")]
    query: Annotated[
        ScalingQuery,
        Field(
            description="PromQL that gives one number. `{{revision}}` stands for the revision that is scaled:"
            " without it the answer is the same for all of them, and a canary is sized by its weight alone."
        ),
    ]
    threshold: Annotated[Threshold, Field(description="How much of it one pod can take.")]
    bearer: Annotated[TriggerSecret | None, Field(description="Token of `Authorization: Bearer`.")] = None
    basic: Annotated[TriggerBasic | None, Field(description="User and password.")] = None


class Schedule(ApiModel):
    """A window of time, again and again, with at least so many pods; KEDA keeps the clock."""

    model_config = rules(say.WINDOW_ENDS)

    start: Annotated[Cron, Field(description="When it begins, as cron says it.")]
    end: Annotated[Cron, Field(description="When it ends, as cron says it.")]
    time_zone: Annotated[Zone | None, Field(description="Where that clock hangs. Default: UTC.")] = None
    replicas: Annotated[int, Field(ge=1, le=10000, description="Fewest pods of stable in it.")]


class AuthenticationRef(ApiModel):
    """What tells KEDA how to authenticate."""

    name: Annotated[
        Subdomain, Field(description="Name of a TriggerAuthentication of yours in the model's namespace.")
    ]


class Trigger(ApiModel):
    """Any other source of KEDA, passed on to it as it is written here."""

    model_config = rules(say.TRIGGER_IS_NO_METRIC)

    type: Annotated[
        TriggerType,
        Field(description="Which one, as KEDA names it; the chart value `keda.triggers` must list it."),
    ]
    metadata: Annotated[
        dict[str, TriggerValue],
        Field(
            max_length=32,
            description="What KEDA's documentation says of this type, each value as text. `{{revision}}`,"
            " `{{model.name}}` and `{{model.namespace}}` are filled in; without `{{revision}}` the answer is"
            " the same for every revision, and a canary is sized by its weight alone. Nothing secret.",
            json_schema_extra=checked(_KEYS),
        ),
    ]
    authentication_ref: Annotated[
        AuthenticationRef | None, Field(description="How KEDA authenticates, where it must.")
    ] = None
    metric_type: MetricType = None


class Formula(ApiModel):
    """One number out of several metrics; KEDA computes it, and it takes their place."""

    expression: Annotated[
        Expression,
        Field(
            description="The number, in KEDA's language of formulas, over the names of all metrics, such as"
            " `max([queue, work * 2])`."
        ),
    ]
    target: Annotated[FormulaTarget, Field(description="How much of it one pod can take.")]
    metric_type: MetricType = None

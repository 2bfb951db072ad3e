"""The fields of the API that say where else than from the pods a judgement comes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from ekiben.api.fields import (
    DURATION,
    ApiModel,
    PositiveDuration,
    Subdomain,
    Worded,
    at_least,
    keyed_by,
    matches,
    rules,
)
from ekiben.api.pod import EnvName, Image, Resources
from ekiben.api.rules import judging as say

# What stands in double braces is replaced by the operator; there is nothing else to it, and no expression.
PLACEHOLDERS = ("canary.revision", "canary.service", "stable.revision", "model.name", "model.namespace")
_KNOWN = "|".join(name.replace(".", "[.]") for name in PLACEHOLDERS)
_PLACEHOLDER = f"({_KNOWN}|args[.][a-z0-9]([-a-z0-9]*[a-z0-9])?)"
FILLED_PATTERN = rf"^([^{{]|[{{][^{{]|[{{][{{]{_PLACEHOLDER}[}}][}}])*[{{]?$"
_PLACEHOLDERS_SENTENCE = (
    f"what stands in {{{{ }}}} must be one of {', '.join(PLACEHOLDERS)} and args.NAME, without spaces"
)
ADDRESS_PATTERN = r"^https?://[^\s/@?#]+(/[^\s?#]*)?$"
URL_PATTERN = r"^https?://[^\s/@?#]+([/?][^\s#]*)?$"
HEADER_NAME_PATTERN = r"^[-!$%&'*+.^_`|~0-9A-Za-z]+$"
OUR_HEADERS = ("host", "content-length", "transfer-encoding", "connection", "expect", "upgrade")
# A path of RFC 9535 to one value: a singular query. Filters and descents may cost any amount of time.
JSON_PATH_PATTERN = (
    r"^[$]([.][A-Za-z_][A-Za-z0-9_]*|\[(0|-?[1-9][0-9]{0,5})\]|\['[^'\\]+'\]|\[\"[^\"\\]+\"\])*$"
)


def _filled(pattern: str, longest: int, message: str) -> tuple[StringConstraints, Worded]:
    """Constrain a string that may hold placeholders, by a pattern of its own too."""
    constraints = StringConstraints(pattern=FILLED_PATTERN, min_length=1, max_length=longest)
    return constraints, Worded(f"{message}; {_PLACEHOLDERS_SENTENCE}", also=matches(pattern))


_QUERY = _filled(r"[^\s]", 2048, "must be a query in PromQL")
_ADDRESS = _filled(
    ADDRESS_PATTERN, 512, "must be an address such as http://prometheus.monitoring.svc:9090, without query"
)
_URL = _filled(
    URL_PATTERN,
    1024,
    "must be a URL such as https://judge.shop.svc/score, without password and fragment",
)
_BODY = _filled(r"[^\s]", 4096, "must be a body to send")
Query = Annotated[str, _QUERY[0], _QUERY[1]]
Address = Annotated[str, _ADDRESS[0], _ADDRESS[1]]
Url = Annotated[str, _URL[0], _URL[1]]
Body = Annotated[str, _BODY[0], _BODY[1]]
_WORD = StringConstraints(pattern=FILLED_PATTERN, max_length=1024)
Word = Annotated[str, _WORD, Worded(f"must be a text; {_PLACEHOLDERS_SENTENCE}")]
DataKey = Annotated[
    str,
    StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", min_length=1, max_length=253),
    Worded("must be a key of a Secret: letters, digits, dashes, dots and underscores"),
]

HeaderValue = Annotated[
    str,
    StringConstraints(pattern=r"^[\x20-\x7e]*$", max_length=1024),
    Worded("must be one line of printable ASCII"),
]
Timeout = Annotated[
    str,
    DURATION,
    Worded(
        "must be a duration from 100ms to 60s, such as 5s",
        also="duration(self) >= duration('100ms') && duration(self) <= duration('60s')",
    ),
]
JsonPath = Annotated[
    str,
    StringConstraints(pattern=JSON_PATH_PATTERN, min_length=1, max_length=256),
    Worded(
        "must be a path to one value, such as $.data.accuracy or $['results'][0]: names and positions, no"
        " wildcard, filter, slice or `..`"
    ),
]


class SecretKeyRef(ApiModel):
    """One value of a Secret in the model's namespace; the chart value `secrets.namespaces` must list it."""

    name: Annotated[Subdomain, Field(description="Name of the Secret.")]
    key: Annotated[DataKey, Field(description="Key in it.")]


class Header(ApiModel):
    """One header, written here or read from a Secret."""

    model_config = rules(say.HEADER_ONE_VALUE)

    name: Annotated[
        str,
        StringConstraints(pattern=HEADER_NAME_PATTERN, min_length=1, max_length=128),
        Worded(
            f"must be the name of a header, and none of {', '.join(OUR_HEADERS)}",
            also=f"!(self.lowerAscii() in {list(OUR_HEADERS)!r})",
        ),
        Field(description="Its name."),
    ]
    value: Annotated[HeaderValue | None, Field(description="Its value.")] = None
    secret: Annotated[SecretKeyRef | None, Field(description="Where its value is.")] = None


class Basic(ApiModel):
    """User and password of HTTP basic authentication."""

    username: Annotated[SecretKeyRef, Field(description="The user.")]
    password: Annotated[SecretKeyRef, Field(description="The password.")]


class Tls(ApiModel):
    """How the server's certificate is checked; the system's authorities are trusted by themselves."""

    model_config = rules(say.TLS_ONE_WAY)

    ca_secret: Annotated[
        SecretKeyRef | None, Field(description="PEM bundle of the authorities to trust instead.")
    ] = None
    insecure_skip_verify: Annotated[
        bool | None, Field(description="True: don't check it at all. Default: false.")
    ] = None


class Call(ApiModel):
    """What is the same for every call over HTTP."""

    headers: Annotated[
        tuple[Header, ...] | None,
        Field(max_length=16, description="Headers to send.", json_schema_extra=keyed_by("name")),
    ] = None
    bearer: Annotated[SecretKeyRef | None, Field(description="Token of `Authorization: Bearer`.")] = None
    basic: Annotated[Basic | None, Field(description="User and password.")] = None
    tls: Annotated[Tls | None, Field(description="How an https server is checked.")] = None
    timeout: Annotated[Timeout | None, Field(description="How long an answer may take. Default: 10s.")] = None


class Range(ApiModel):
    """The last while instead of this instant: the worst point of it is judged."""

    over: Annotated[PositiveDuration, Field(description="How far back; never to before the step began.")]
    step: Annotated[
        str, DURATION, at_least("1s", example="15s"), Field(description="Time between two points.")
    ]


class Prometheus(Call):
    """One number of a Prometheus, or of whatever answers its API."""

    model_config = rules(say.ONE_AUTHORIZATION)

    address: Annotated[Address, Field(description="Where it is; `/api/v1/query` is added.")]
    query: Annotated[Query, Field(description="PromQL that gives one number: a scalar or one series.")]
    range: Annotated[Range | None, Field(description="Ask for a range, and judge its worst point.")] = None


class Web(Call):
    """One number of any server that answers with JSON."""

    model_config = rules(say.ONE_AUTHORIZATION, say.BODY_FOR_POST)

    url: Annotated[Url, Field(description="Whom to ask; the chart value `calls.hosts` must list its host.")]
    method: Annotated[Literal["GET", "POST"] | None, Field(description="How. Default: GET.")] = None
    body: Annotated[Body | None, Field(description="What to send, with POST.")] = None
    json_path: Annotated[
        JsonPath | None,
        Field(description="Where in the answer the number is (RFC 9535). Default: $, the whole answer."),
    ] = None


class JobEnv(ApiModel):
    """One environment variable, written here or taken from a Secret."""

    model_config = rules(say.JOB_ENV_ONE_VALUE)

    name: Annotated[EnvName, Field(description="Its name.")]
    value: Annotated[Word | None, Field(description="Its value.")] = None
    secret: Annotated[SecretKeyRef | None, Field(description="Where its value is.")] = None


class Job(ApiModel):
    """A Job that judges the canary once in each step: exit status 0 passes, any other fails.

    It runs as a pod of the restricted level, under the namespace's default account and without its token.
    """

    image: Annotated[Image, Field(description="Image of its only container.")]
    command: Annotated[
        tuple[Word, ...] | None, Field(max_length=32, description="Command. Default: the image's.")
    ] = None
    args: Annotated[
        tuple[Word, ...] | None, Field(max_length=32, description="Arguments. Default: the image's.")
    ] = None
    env: Annotated[
        tuple[JobEnv, ...] | None,
        Field(max_length=32, description="Environment variables.", json_schema_extra=keyed_by("name")),
    ] = None
    resources: Resources | None = None
    deadline: Annotated[
        Annotated[str, DURATION, at_least("1s", example="10m")] | None,
        Field(description="When it must have ended, or it can't be judged. Default: 10m."),
    ] = None

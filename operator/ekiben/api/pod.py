"""What a user writes about the pod: exactly what a revision hashes.

No default stands here. The API server applies defaults on read, so a new one would change every object's
revision at once and roll the whole fleet; the defaults are in `ekiben.core`, one set per template version.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints

from ekiben.api.fields import (
    ApiModel,
    LabelMap,
    Name,
    Opaque,
    OptionalSubdomain,
    PositiveDuration,
    Quantities,
    StringMap,
    Subdomain,
    Worded,
    checked,
    keyed_by,
    rules,
)
from ekiben.api.rules import pod as say
from ekiben.api.tracked import TrackedObject

_HOST = r"([A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?"
_PATH = r"[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*"
_TAG = r":[A-Za-z0-9_][-.A-Za-z0-9_]{0,127}"
_DIGEST = r"@sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})"
# The colon of a registry's port is no tag: a tag follows the last slash.
IMAGE_PATTERN = f"^({_HOST}/)?{_PATH}(/{_PATH})*({_TAG}({_DIGEST})?|{_DIGEST})$"

Image = Annotated[
    str,
    StringConstraints(pattern=IMAGE_PATTERN, min_length=1, max_length=512),
    Worded(
        "image must be an image's name with a digest, or with a tag that is not latest, such as"
        " registry.example.com/iris:1.4.2",
        also="(self.contains('@') || !self.endsWith(':latest'))",
    ),
]
ServiceClass = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", min_length=1, max_length=128),
    Worded("service must be the name of a Python class, such as Iris"),
]
EnvName = Annotated[
    str,
    StringConstraints(pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$", min_length=1, max_length=256),
    Worded("must be the name of an environment variable, such as MODEL_CACHE"),
]
MountPath = Annotated[
    str,
    StringConstraints(pattern=r"^(/[^/:]+)+/?$", min_length=1, max_length=1024),
    Worded(
        "must be an absolute path such as /models: not / itself, no //, no . or .. segment, no colon",
        also="!self.matches('/[.]{1,2}(/|$)')",
    ),
]


def opaque(*items: dict[str, str]) -> ConfigDict:
    """Build a model config for a Kubernetes object whose declared fields have rules; the rest is kept."""
    unknown: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}
    return ConfigDict(extra="allow", json_schema_extra=unknown | checked(*items))


class Bento(ApiModel):
    """The bento to serve."""

    image: Annotated[
        Image,
        Field(description="Image built by `bentoml containerize`: a digest, or a tag that is not `latest`."),
    ]
    service: Annotated[
        ServiceClass | None,
        Field(
            description="Class name of the bento's entry service; needed with `runtime`, and with a check"
            " over a bound that is not one of BentoML's own."
        ),
    ] = None
    tracked_config: Annotated[
        tuple[TrackedObject, ...] | None,
        Field(
            max_length=16,
            description="ConfigMaps and Secrets whose content is part of the revision: a changed one starts a"
            " rollout. See docs/config.md.",
            json_schema_extra=checked(say.TRACKED_DIFFER),
        ),
    ] = None


class Runtime(ApiModel):
    """How BentoML runs the service: becomes BENTOML_CONFIG_OVERRIDES."""

    workers: Annotated[
        int | None, Field(ge=1, le=64, description="Worker processes per pod. Default: the bento's own.")
    ] = None
    timeout: Annotated[
        PositiveDuration | None, Field(description="Longest time one request may take. Default: 60s.")
    ] = None
    max_concurrency: Annotated[
        int | None,
        Field(
            ge=1,
            le=100000,
            description="Requests in flight per pod before BentoML answers 429. Default: the bento's own.",
        ),
    ] = None
    overrides: Annotated[
        Opaque | None, Field(description="BentoML configuration merged over everything above.")
    ] = None


class Resources(ApiModel):
    """Resources of the bento container. Default: requests cpu 500m, memory 512Mi; limits memory 1Gi."""

    model_config = rules(say.REQUESTS_WITHIN_LIMITS)

    requests: Annotated[Quantities | None, Field(description="What each pod is sure to get.")] = None
    limits: Annotated[Quantities | None, Field(description="What each pod gets at most.")] = None


class EnvVar(ApiModel):
    """One environment variable of the bento container."""

    model_config = rules(say.ENV_ONE_SOURCE, say.ENV_NOT_CONFIG, say.ENV_NOT_RESERVED)

    name: Annotated[
        EnvName,
        Field(
            description="Not one that Ekiben sets itself; but BENTOML_DO_NOT_TRACK may be set, and wins over"
            " Ekiben's `true`."
        ),
    ]
    value: Annotated[str | None, Field(max_length=32768, description="Its value, as text.")] = None
    value_from: Annotated[
        Opaque | None, Field(description="Where the value comes from, as in a Pod's `env[].valueFrom`.")
    ] = None


class LocalObject(ApiModel):
    """A reference to an object of the same namespace by name."""

    name: Annotated[Subdomain, Field(description="Name of the object.")]


class ExtraContainer(ApiModel):
    """A container as in a Pod; its name is all that Ekiben looks at."""

    model_config = opaque(say.CONTAINER_NOT_BENTO)

    name: Annotated[Name, Field(description="Any name but `bento`.")]


class Volume(ApiModel):
    """A volume as in a Pod; its name is all that Ekiben looks at."""

    model_config = opaque(say.VOLUME_NOT_TMP)

    name: Annotated[Name, Field(description="Any name but `tmp`.")]


class VolumeMount(ApiModel):
    """A volume mount of the bento container, as in a Pod."""

    model_config = opaque(say.MOUNT_NOT_TMP)

    name: Annotated[
        str, Field(min_length=1, max_length=63, description="Name of one of `podTemplate.volumes`.")
    ]
    mount_path: Annotated[MountPath, Field(description="Path in the container, outside /tmp.")]


class PodTemplate(ApiModel):
    """What is merged over the rendered pod template."""

    model_config = rules(say.LABELS_NOT_RESERVED, say.CONTAINERS_DIFFER, say.MOUNTS_HAVE_VOLUMES)

    labels: Annotated[LabelMap | None, Field(description="Labels added to the pods.")] = None
    annotations: Annotated[StringMap | None, Field(description="Annotations added to the pods.")] = None
    node_selector: Annotated[
        LabelMap | None,
        Field(
            description="Labels that a node must have.",
            json_schema_extra={"x-kubernetes-map-type": "atomic"},
        ),
    ] = None
    tolerations: Annotated[
        tuple[Opaque, ...] | None, Field(max_length=32, description="Taints that the pods tolerate.")
    ] = None
    affinity: Annotated[Opaque | None, Field(description="Affinity as in a Pod.")] = None
    topology_spread_constraints: Annotated[
        tuple[Opaque, ...] | None,
        Field(max_length=16, description="How pods spread over zones and nodes, as in a Pod."),
    ] = None
    priority_class_name: Annotated[
        OptionalSubdomain | None, Field(description="PriorityClass of the pods.")
    ] = None
    runtime_class_name: Annotated[
        OptionalSubdomain | None, Field(description="RuntimeClass of the pods.")
    ] = None
    volumes: Annotated[
        tuple[Volume, ...] | None,
        Field(max_length=32, description="Volumes added to the pod.", json_schema_extra=keyed_by("name")),
    ] = None
    volume_mounts: Annotated[
        tuple[VolumeMount, ...] | None,
        Field(
            max_length=32,
            description="Mounts of the bento container.",
            json_schema_extra=keyed_by("mountPath"),
        ),
    ] = None
    init_containers: Annotated[
        tuple[ExtraContainer, ...] | None,
        Field(
            max_length=8,
            description="Containers that end before the bento container starts.",
            json_schema_extra=keyed_by("name"),
        ),
    ] = None
    sidecars: Annotated[
        tuple[ExtraContainer, ...] | None,
        Field(
            max_length=8,
            description="Containers added beside the bento container.",
            json_schema_extra=keyed_by("name"),
        ),
    ] = None

"""The fields of the API that say how requests reach a model from outside."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ekiben.api.fields import ApiModel, Hostname, Name, Subdomain, UrlPath, checked
from ekiben.api.rules import serving as say


class ParentRef(ApiModel):
    """A Gateway that routes to the model."""

    name: Annotated[Subdomain, Field(description="Name of the Gateway.")]
    namespace: Annotated[Name | None, Field(description="Its namespace. Default: the ModelDeployment's.")] = (
        None
    )
    section_name: Annotated[
        Subdomain | None, Field(description="One listener of it. Default: every listener.")
    ] = None


class RoutePath(ApiModel):
    """The path under which the model answers."""

    prefix: Annotated[
        UrlPath, Field(description="Requests whose path is this or below it are the model's.")
    ] = "/"
    rewrite: Annotated[
        UrlPath | None,
        Field(description="What the prefix becomes before a request is sent on. Default: it stays."),
    ] = None


class Traffic(ApiModel):
    """How requests reach the model from outside; without it they come through its Service."""

    parent_refs: Annotated[
        tuple[ParentRef, ...],
        Field(
            min_length=1,
            max_length=8,
            description="Gateways that route to the model.",
            json_schema_extra=checked(say.PARENTS_DIFFER),
        ),
    ]
    hostnames: Annotated[
        tuple[Hostname, ...],
        Field(
            max_length=16,
            description="Hosts for which the model answers. Default: every host of the listener.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    path: RoutePath = RoutePath()

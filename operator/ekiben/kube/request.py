"""One request to the API server, before it is sent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson

from ekiben.kube.kinds import Kind

JSON = "application/json"
# Of each object its metadata alone: what the rest of it says is not sent.
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
_METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request, by its RBAC verb; `discovery` is the path of a request about kinds, not objects.

    `below` follows the path of a subresource that leads on, as `proxy` does.
    """

    verb: str
    kind: Kind
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None
    query: dict[str, Any] | None = None
    body: dict[str, Any] | None = None
    content_type: str = JSON
    discovery: str = ""
    accept: str = JSON
    below: str = ""

    @property
    def method(self) -> str:
        """Return its HTTP method."""
        return _METHODS[self.verb]

    @property
    def payload(self) -> bytes | None:
        """Return its body as it is sent."""
        if self.body is None:
            return None
        try:
            # Times are text of our own making by then: another form of them is a mistake, as it is to json.
            return orjson.dumps(self.body, option=orjson.OPT_PASSTHROUGH_DATETIME)
        except TypeError:
            # Text that is no UTF-8, such as half of a surrogate pair: json takes any.
            return json.dumps(self.body).encode()

    @property
    def path(self) -> str:
        """Return the path of its URL, with the query."""
        path = self.discovery or self.kind.path(self.namespace, self.name, self.subresource)
        path += self.below
        return f"{path}?{urlencode(self.query)}" if self.query else path

    @property
    def resource(self) -> str:
        """Name the resource as RBAC rules do."""
        if self.discovery:
            return "discovery"
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural

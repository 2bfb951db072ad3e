"""A real API server that has the CRD: what it makes of an object, and why it refuses one."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from ekiben.api.v1alpha1 import API_VERSION, GROUP, KIND, PLURAL
from localcluster.pki import Pki

Json = dict[str, Any]

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAME = f"{PLURAL}.{GROUP}"
OBJECTS = f"/apis/{API_VERSION}/namespaces/default/{PLURAL}"
STRICT = {"fieldValidation": "Strict"}


class Refusal(NamedTuple):
    """One sentence of a refusal, and the field that it is about."""

    field: str
    sentence: str


class RefusedError(Exception):
    """The server's answer was not 2xx."""

    def __init__(self, answer: Json) -> None:
        super().__init__(answer["message"])
        self.answer = answer

    @property
    def refusals(self) -> list[Refusal]:
        """Every cause; or the whole message, without a field, where the server names none."""
        causes = self.answer.get("details", {}).get("causes", [])
        if not causes:
            return [Refusal("", self.answer["message"])]
        found = [Refusal(cause["field"], _sentence(cause["message"])) for cause in causes]
        # A remark that comes with a wrong type, a missing field or a list too long, and refuses nothing.
        return [refusal for refusal in found if not refusal.sentence.startswith("some validation rules were")]


def _status(body: bytes) -> Json:
    """Read a Status; an API that is not served yet answers a 404 in plain text."""
    try:
        status: Json = json.loads(body)
    except ValueError:
        status = {"message": body.decode()}
    return status


def _sentence(message: str) -> str:
    """Take off `Invalid value: VALUE: `, which the server puts before the sentence of a rule."""
    kind = "Invalid value: "
    if not message.startswith(kind):
        return message
    rest = message.removeprefix(kind)
    try:
        _, end = json.JSONDecoder().raw_decode(rest)
    except ValueError:
        return rest
    return rest[end:].removeprefix(": ")


def model(spec: Mapping[str, Any], name: str = "iris") -> Json:
    """Build a ModelDeployment."""
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": {**spec}}


class Server:
    """The administrator's view of an API server, one connection per request."""

    def __init__(self, url: str, pki: Pki) -> None:
        context = ssl.create_default_context(cafile=str(pki.crt("ca")))
        context.load_cert_chain(pki.crt("admin"), pki.key("admin"))
        self._url = url
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def send(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Json:
        """Send one request; RefusedError unless the answer is 2xx."""
        request = urllib.request.Request(
            f"{self._url}{path}?{urlencode(query or {})}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Accept": accept, "Content-Type": content_type},
            method=method,
        )
        try:
            with self._opener.open(request, timeout=30) as answer:
                content: Json = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise RefusedError(_status(error.read())) from None
        return content

    def apply(self, path: str, body: Json, manager: str = "tests", *, force: bool = False) -> Json:
        """Apply an object server-side; what other managers hold is taken with `force` only."""
        query = STRICT | {"fieldManager": manager, "force": str(force).lower()}
        name = body["metadata"]["name"]
        return self.send("PATCH", f"{path}/{name}", body, query, "application/apply-patch+yaml")

    def install(self, definition: Json) -> Json:
        """Apply a CRD and return it once it is served."""
        # Another kind of test may have installed it in the same session.
        self.apply(CRDS, definition, force=True)
        deadline = time.monotonic() + 30
        while not self._serves():
            assert time.monotonic() < deadline, self.send("GET", f"{CRDS}/{NAME}")["status"]
            time.sleep(0.05)
        return self.send("GET", f"{CRDS}/{NAME}")

    def _serves(self) -> bool:
        try:
            self.send("GET", OBJECTS)
        except RefusedError:
            return False
        return True

    def try_create(self, manifest: Json) -> Json:
        """Return what would be stored; nothing is. RefusedError where it would be refused."""
        return self.send("POST", OBJECTS, manifest, STRICT | {"dryRun": "All"})

    def refusals(self, manifest: Json) -> list[Refusal]:
        """Return why an object would be refused; nothing where it would be stored."""
        try:
            self.try_create(manifest)
        except RefusedError as refused:
            return refused.refusals
        return []

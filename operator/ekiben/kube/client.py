"""Requests to the API server with plain dicts.

kubernetes.aio's typed API classes are left out on purpose: decoding every object through their models costs
more than the request, and drops fields that they do not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Self

import orjson
from aiohttp import ClientError, ClientResponse, ClientTimeout
from prometheus_client import Counter

from ekiben.core.names import MANAGER
from ekiben.kube import config
from ekiben.kube.errors import ApiError, error_from_response, network_error
from ekiben.kube.kinds import DEPLOYMENT, POD, Kind
from ekiben.kube.lines import LineSplitter, garbled, parse_event
from ekiben.kube.request import (
    APPLY_PATCH,
    JSON,
    MERGE_PATCH,
    METADATA_LIST,
    METADATA_ONLY,
    Request,
)

__all__ = ["API_REQUESTS", "ApiError", "Client", "Manifest"]

Manifest = dict[str, Any]

API_REQUESTS = Counter(
    "ekiben_api_requests_total",
    "Requests to the API server by RBAC verb, resource and HTTP status (error: no whole answer).",
    ["verb", "resource", "code"],
)

PAGE = 500
# The API server's own Priority and Fairness makes us wait beyond that; more at once would only wait there.
AT_ONCE = 32
_SECONDS = 15.0
_BROKEN = (ClientError, TimeoutError, OSError)


class Client:
    """One session with one API server; safe to share between tasks of one event loop.

    A request that does not succeed raises ApiError; one that takes over `timeout` seconds does not succeed.
    At most `AT_ONCE` are under way, watches not counted; the others wait for their turn.
    """

    def __init__(
        self,
        connection: config.Connection,
        timeout: float = _SECONDS,
        manager: str = MANAGER,
        *,
        dry_run: bool = False,
    ) -> None:
        self._connection = connection
        self._timeout = timeout
        self._write: Manifest = {"fieldManager": manager, "fieldValidation": "Strict"}
        self._write |= {"dryRun": "All"} if dry_run else {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    def writing_as(self, manager: str, *, dry_run: bool = False) -> Client:
        """Return a client on the same session with another field manager; with `dry_run` nothing is kept."""
        return Client(self._connection, self._timeout, manager, dry_run=dry_run)

    def apart(self) -> Client:
        """Return a client on the same session whose requests don't wait for those of this one."""
        return Client(self._connection, self._timeout)

    @classmethod
    async def connect(
        cls, kubeconfig: str | Path | None = None, context: str | None = None, user_agent: str = "ekiben"
    ) -> Self:
        """Open a session: `kubeconfig`, else $KUBECONFIG, else the pod's service account."""
        return cls(await config.connect(kubeconfig, context, user_agent))

    async def access(self) -> config.Access:
        """Say how another HTTP client reaches the same API server; ask again when its token is refused."""
        return await self._connection.access()

    async def close(self) -> None:
        """Close every connection."""
        await self._connection.close()

    async def serves(self, kind: Kind) -> bool:
        """Tell whether the server announces a kind: a new CRD is stored some time before it is served."""
        groups = await self._call(Request("get", kind, discovery="/apis"))
        if not any(item.get("name") == kind.group for item in groups.get("groups") or ()):
            return False
        path = f"/apis/{kind.group}/{kind.version}"
        try:
            answer = await self._call(Request("get", kind, discovery=path))
        except ApiError as error:
            if error.is_not_found:
                return False
            raise
        return any(item.get("name") == kind.plural for item in answer.get("resources") or ())

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        """Read one object; None when there is none of that name."""
        try:
            return await self._call(Request("get", kind, namespace, name))
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    async def list_pages(
        self,
        kind: Kind,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        *,
        metadata_only: bool = False,
    ) -> AsyncGenerator[tuple[list[Manifest], str], None]:
        """List page by page: (objects, the list's resource version, the same on every page).

        With `metadata_only` the server leaves out all else of the objects. A 410 in the middle (the list
        became too old) is raised: start again.
        """
        query: dict[str, Any] = {"limit": PAGE}
        query |= _selecting(label_selector, field_selector)
        while True:
            accept = METADATA_LIST if metadata_only else JSON
            answer = await self._call(Request("list", kind, namespace, query=query, accept=accept))
            items, about = answer.get("items") or [], answer.get("metadata") or {}
            if not isinstance(items, list) or not isinstance(about, dict):
                raise garbled(f"a list of {kind.plural} without items")
            found = [item for item in items if isinstance(item, dict)]
            for item in found:
                # Lists leave out what is the same for every object; watches and single reads do not.
                item.setdefault("apiVersion", kind.api_version)
                item.setdefault("kind", kind.kind)
            yield found, str(about.get("resourceVersion") or "")
            if not about.get("continue"):
                return
            query["continue"] = about["continue"]

    async def peek(
        self,
        kind: Kind,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> list[Manifest]:
        """List everything at once as the API server's cache has it: seconds old perhaps, and cheap for it."""
        query = {"resourceVersion": "0"}
        query |= _selecting(label_selector, field_selector)
        answer = await self._call(Request("list", kind, namespace, query=query))
        items = answer.get("items") or []
        if not isinstance(items, list):
            raise garbled(f"a list of {kind.plural} without items")
        return [item for item in items if isinstance(item, dict)]

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> tuple[list[Manifest], str]:
        """List everything: (objects, resource version to watch from)."""
        found: list[Manifest] = []
        version = ""
        async for items, version in self.list_pages(kind, namespace, label_selector, field_selector):  # noqa: B007
            found += items
        return found, version

    async def watch(
        self,
        kind: Kind,
        namespace: str | None,
        resource_version: str,
        label_selector: str | None = None,
        timeout_seconds: int = 270,
        field_selector: str | None = None,
        *,
        metadata_only: bool = False,
    ) -> AsyncGenerator[tuple[str, Manifest], None]:
        """Yield (ADDED, MODIFIED, DELETED or BOOKMARK; object) until the server ends it at `timeout_seconds`.

        Raises ApiError for an ERROR event too (`is_gone`: list again). Close it: `contextlib.aclosing`.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": timeout_seconds,
        }
        query |= _selecting(label_selector, field_selector)
        limit = ClientTimeout(total=timeout_seconds + self._timeout)
        try:
            async with asyncio.timeout(self._timeout):
                accept = METADATA_ONLY if metadata_only else JSON
                stream = await self._send(
                    Request("watch", kind, namespace, query=query, accept=accept), limit
                )
        except TimeoutError as problem:
            raise network_error(problem) from problem
        splitter = LineSplitter()
        try:
            async for chunk in stream.content.iter_any():
                for line in splitter.feed(chunk):
                    yield parse_event(line)
                # A flood that is read without waiting must not keep the rest of the process waiting.
                await asyncio.sleep(0)
        except _BROKEN as problem:
            raise network_error(problem) from problem
        finally:
            # Nothing is left to say: a farewell over TLS would keep the connection for a round trip.
            if stream.connection is not None and stream.connection.transport is not None:
                stream.connection.transport.abort()
            stream.close()

    async def apply(self, kind: Kind, namespace: str | None, manifest: Manifest) -> Manifest:
        """Apply a manifest server-side as this client's field manager, taking over fields that others hold.

        With `metadata.resourceVersion` the server answers 409 if the object changed since; a field that the
        kind does not have is rejected.
        """
        name = manifest["metadata"]["name"]
        query = self._write | {"force": "true"}
        return await self._call(Request("patch", kind, namespace, name, None, query, manifest, APPLY_PATCH))

    async def create(self, kind: Kind, namespace: str | None, body: Manifest) -> Manifest:
        """Create an object; 409 (AlreadyExists) where the name is taken."""
        return await self._call(Request("create", kind, namespace, query=self._write, body=body))

    async def replace(self, kind: Kind, namespace: str | None, body: Manifest) -> Manifest:
        """Put an object in the place of the one with its name and resourceVersion; 409 if that changed."""
        name = body["metadata"]["name"]
        return await self._call(Request("update", kind, namespace, name, query=self._write, body=body))

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, status: Manifest, resource_version: str
    ) -> Manifest:
        """Put `status` in the place of the whole status; 409 if the object changed since `resource_version`.

        A PUT, whose RBAC verb is `update`: a merge patch would leave behind what `status` no longer names.
        """
        about = {"name": name, "namespace": namespace, "resourceVersion": resource_version}
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": about, "status": status}
        return await self._call(Request("update", kind, namespace, name, "status", self._write, body))

    async def scale(
        self, namespace: str, name: str, replicas: int, resource_version: str | None = None
    ) -> Manifest:
        """Set a Deployment's replicas; the answer is a Scale, with the Deployment's new resourceVersion."""
        body: Manifest = {"spec": {"replicas": replicas}}
        if resource_version:
            body["metadata"] = {"resourceVersion": resource_version}
        return await self.patch_merge(DEPLOYMENT, namespace, name, body, "scale")

    async def patch_merge(
        self, kind: Kind, namespace: str | None, name: str, body: Manifest, subresource: str | None = None
    ) -> Manifest:
        """Send a JSON merge patch."""
        return await self._call(
            Request("patch", kind, namespace, name, subresource, self._write, body, MERGE_PATCH)
        )

    async def delete(self, kind: Kind, namespace: str | None, name: str, uid: str) -> Manifest | None:
        """Delete the object with this uid, its dependants in the background; 409 where the name is another's.

        Returns None once it is gone (or was already), else the object that finalizers or its grace period
        still hold.
        """
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        try:
            answer = await self._call(Request("delete", kind, namespace, name, body=body))
        except ApiError as error:
            if error.is_not_found:
                return None
            raise
        about = answer.get("metadata") or {}
        held = about.get("finalizers") or about.get("deletionGracePeriodSeconds")
        return answer if about.get("deletionTimestamp") and held else None

    async def page(self, namespace: str, pod: str, port: int, path: str, longest: int) -> bytes:
        """Read a page of a pod through the API server, at most `longest` bytes and one more of it."""
        request = Request("get", POD, namespace, f"{pod}:{port}", "proxy", accept="text/plain", below=path)
        async with self._turns:
            answer = await self._send(request, ClientTimeout(total=self._timeout))
            parts: list[bytes] = []
            try:
                async for part in answer.content.iter_any():
                    parts.append(part)
                    if sum(map(len, parts)) > longest:
                        break
            except _BROKEN as problem:
                raise network_error(problem) from problem
            finally:
                answer.close()
        return b"".join(parts)[: longest + 1]

    async def _call(self, request: Request) -> Manifest:
        """Send one request and read its answer as a JSON object."""
        async with self._turns:
            answer = await self._send(request, ClientTimeout(total=self._timeout))
            try:
                body = await answer.read()
            except _BROKEN as problem:
                raise network_error(problem) from problem
        try:
            content = orjson.loads(body)
        except ValueError:
            raise garbled(f"an answer about {request.resource} that is no JSON") from None
        if not isinstance(content, dict):
            raise garbled(f"an answer about {request.resource} that is no object")
        return content

    async def _send(self, request: Request, timeout: ClientTimeout) -> ClientResponse:
        """Send one request, count it, and return the answer with its body unread; ApiError unless 2xx."""
        code = "error"
        try:
            answer = await self._connection.send(
                request.method, request.path, request.payload, request.content_type, timeout, request.accept
            )
            code = str(answer.status)
            if not 200 <= answer.status < 300:
                raise error_from_response(answer.status, answer.headers, await answer.read())
        except _BROKEN as problem:
            raise network_error(problem) from problem
        finally:
            API_REQUESTS.labels(request.verb, request.resource, code).inc()
        return answer


def _selecting(labels: str | None, fields: str | None) -> dict[str, str]:
    """Return what selects objects by their labels and fields; nothing selects all."""
    selectors = {"labelSelector": labels, "fieldSelector": fields}
    return {name: value for name, value in selectors.items() if value}

"""Everything that the command line reads from a cluster and writes to it; nothing is decided here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from pathlib import Path

import yaml

from ekiben.cli.exits import CommandError, Exit
from ekiben.cli.facts import Facts, Manifest, facts_of
from ekiben.cli.why import Surroundings, troubled
from ekiben.core import names
from ekiben.core.snapshot import Content, Record
from ekiben.core.tracking import content_digest, digests_of, tracked_maps
from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import (
    CONFIGMAP,
    CONTROLLERREVISION,
    DEPLOYMENT,
    EVENT,
    HTTPROUTE,
    MODELDEPLOYMENT,
    POD,
    Kind,
)

# Not kubectl-ekiben: Flux takes away at its next look what a manager whose name begins with kubectl wrote.
MANAGER = "ekiben-cli"
_RETRY_SECONDS = 1.0
_EXPLAINED_PODS = 3
_ATTEMPTS = 5


class Cluster:
    """One namespace of one cluster, as the user's kubeconfig reaches it."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client = client
        self.namespace = namespace

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, kubeconfig: str | None, context: str | None, namespace: str | None
    ) -> AsyncGenerator[Cluster, None]:
        """Connect as kubectl would, for the length of the block."""
        session = await Client.connect(kubeconfig, context, user_agent="kubectl-ekiben")
        try:
            chosen = namespace or default_namespace(kubeconfig, context)
            yield cls(session.writing_as(MANAGER), chosen)
        finally:
            await session.close()

    def rehearsing(self) -> Cluster:
        """Return the same namespace with a client that writes nothing: the server only says what would be."""
        return Cluster(self.client.writing_as(MANAGER, dry_run=True), self.namespace)

    async def model(self, name: str) -> Facts:
        """Read one model; CommandError where there is none."""
        raw = await self.client.get(MODELDEPLOYMENT, self.namespace, name)
        if raw is None:
            raise await self._missing(name)
        return await self.known(raw)

    async def known(self, raw: Manifest) -> Facts:
        """Return what is known of a model, with what the ConfigMaps hold that it tracks."""
        facts = facts_of(raw)
        return await self.knowing(facts, tracked_maps(facts.spec) if facts.spec else ())

    async def knowing(self, facts: Facts, config_maps: Iterable[str]) -> Facts:
        """Return the same facts with what these ConfigMaps hold."""
        known = dict(facts.config)
        for name in config_maps:
            if name not in known:
                found = await self._config_map(name)
                known[name] = (
                    Content(content_digest(found)) if isinstance(found, dict) else Content(None, found)
                )
        return replace(facts, config=known)

    async def born_with(self, facts: Facts, record: Record) -> dict[str, Manifest | None]:
        """Return what a revision's ConfigMaps held when it was born, None where that is not kept."""
        held: dict[str, Manifest | None] = {}
        for name, digest in digests_of(record).items():
            copy = names.config_copy(facts.name, record.revision, name)
            found = [await self._config_map(copy) or await self._config_map(name)]
            genuine = (item for item in found if isinstance(item, dict) and content_digest(item) == digest)
            held[name] = next(genuine, None)
        return held

    async def _config_map(self, name: str) -> Manifest | str:
        """Read one ConfigMap; a sentence where the user may not, "" where there is none."""
        try:
            return await self.client.get(CONFIGMAP, self.namespace, name) or ""
        except ApiError as error:
            if error.status != 403:
                raise
            return f"you may not get ConfigMap {name}"

    async def find(self, name: str) -> Manifest | None:
        """Read one model, None where there is none."""
        return await self.client.get(MODELDEPLOYMENT, self.namespace, name)

    async def models(self, *, everywhere: bool = False) -> list[Facts]:
        """Read the namespace's models, or every namespace's."""
        try:
            found, _ = await self.client.list(MODELDEPLOYMENT, None if everywhere else self.namespace)
        except ApiError as error:
            if error.is_not_found:
                raise _not_installed() from error
            raise
        return [facts_of(raw) for raw in found]

    async def _missing(self, name: str) -> CommandError:
        if not await self.client.serves(MODELDEPLOYMENT):
            return _not_installed()
        return CommandError(
            f"there is no ModelDeployment {name} in namespace {self.namespace}: see kubectl ekiben get -A",
            Exit.NOT_FOUND,
        )

    async def pods(self, name: str) -> list[Manifest]:
        """Read a model's pods."""
        return await self._optional(POD, f"{names.MODEL}={name}")

    async def records(self, facts: Facts) -> list[Manifest]:
        """Read a model's ControllerRevisions; others may carry its label, too."""
        found = await self._optional(CONTROLLERREVISION, f"{names.MODEL}={facts.name}")
        return [item for item in found if facts.uid in _owners(item)]

    async def around(self, facts: Facts) -> Surroundings:
        """Read what may say why a model waits."""
        label = f"{names.MODEL}={facts.name}"
        pods, deployments = await asyncio.gather(self.pods(facts.name), self._optional(DEPLOYMENT, label))
        asked = [pod.name for pod in troubled(facts, pods)[:_EXPLAINED_PODS]]
        events = await asyncio.gather(
            *(self._optional(EVENT, fields=f"regarding.kind=Pod,regarding.name={name}") for name in asked)
        )
        route = None
        if facts.spec and facts.spec.traffic:
            with contextlib.suppress(ApiError):
                route = await self.client.get(HTTPROUTE, self.namespace, names.route(facts.name))
        return Surroundings(tuple(pods), dict(zip(asked, events, strict=True)), route, tuple(deployments))

    async def _optional(
        self, kind: Kind, label: str | None = None, fields: str | None = None
    ) -> list[Manifest]:
        """List what helps to explain; a user who may not see it is told so, and gets the rest."""
        try:
            return (await self.client.list(kind, self.namespace, label, fields))[0]
        except ApiError as error:
            if error.status != 403:
                raise
            print(
                f"note: you may not list {kind.plural} in {self.namespace}: they are left out",
                file=sys.stderr,
            )
            return []

    async def patch(self, facts: Facts, body: Manifest, *, guarded: bool) -> None:
        """Merge a change into a model; with `guarded` CommandError where its spec changed since it was read.

        A command that names its rollout needs no guard: at another rollout it does nothing.
        """
        version = facts.resource_version
        for _ in range(_ATTEMPTS):
            about = {"uid": facts.uid} | ({"resourceVersion": version} if guarded else {})
            try:
                await self.client.patch_merge(
                    MODELDEPLOYMENT, self.namespace, facts.name, body | {"metadata": about}
                )
            except ApiError as error:
                if not error.is_conflict:
                    raise
                # The operator writes the status all the time: only a change of the spec is one to look at.
                raw = await self.find(facts.name)
                if raw is None or raw["metadata"].get("generation") != facts.raw["metadata"].get(
                    "generation"
                ):
                    break
                version = raw["metadata"]["resourceVersion"]
            else:
                return
        raise CommandError(f"{facts.name} was changed at the same time: look again, then repeat")


def _not_installed() -> CommandError:
    return CommandError("this cluster has no ModelDeployments: install Ekiben's chart first", Exit.NOT_FOUND)


def _owners(raw: Manifest) -> set[str]:
    return {owner.get("uid", "") for owner in (raw.get("metadata") or {}).get("ownerReferences") or ()}


def default_namespace(kubeconfig: str | None, context: str | None) -> str:
    """Return the namespace of the kubeconfig's context, as kubectl does; `default` where it names none."""
    named = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    configs = [_read_config(part) for part in named.split(os.pathsep) if part]
    # Of several files the first that sets a thing wins.
    current = context or next(
        (item["current-context"] for item in configs if item.get("current-context")), None
    )
    for config in configs:
        for entry in config.get("contexts") or ():
            if isinstance(entry, dict) and entry.get("name") == current:
                return str((entry.get("context") or {}).get("namespace") or "default")
    return "default"


def _read_config(path: str) -> Manifest:
    try:
        content = yaml.safe_load(Path(path).expanduser().read_text())
    except (OSError, ValueError, yaml.YAMLError):
        # What is wrong with it has been said already, by the attempt to connect.
        return {}
    return content if isinstance(content, dict) else {}


class Followed:
    """Objects of one kind kept current by a watch; `changed` is set with each change."""

    def __init__(
        self,
        cluster: Cluster,
        kind: Kind,
        changed: asyncio.Event,
        *,
        label: str | None = None,
        name: str = "",
    ) -> None:
        self.items: dict[str, Manifest] = {}
        self.listed = False
        self._cluster, self._kind, self._changed = cluster, kind, changed
        self._label, self._fields = label, f"metadata.name={name}" if name else None

    async def run(self) -> None:
        """Follow until cancelled; a refusal is raised, anything else is tried again."""
        while True:
            try:
                await self._follow()
            except ApiError as error:
                if not error.is_retryable and not error.is_gone:
                    raise
                if not error.is_gone:
                    print(f"note: {error.message}; trying again", file=sys.stderr)
                    await asyncio.sleep(_RETRY_SECONDS)

    async def _follow(self) -> None:
        client, namespace = self._cluster.client, self._cluster.namespace
        found, version = await client.list(self._kind, namespace, self._label, self._fields)
        self.items = {item["metadata"]["name"]: item for item in found}
        self.listed = True
        self._changed.set()
        stream = client.watch(self._kind, namespace, version, self._label, field_selector=self._fields)
        async with contextlib.aclosing(stream) as events:
            async for what, item in events:
                if what == "BOOKMARK":
                    continue
                name = item["metadata"]["name"]
                if what == "DELETED":
                    self.items.pop(name, None)
                else:
                    self.items[name] = item
                self._changed.set()


@contextlib.asynccontextmanager
async def following(*followed: Followed) -> AsyncGenerator[asyncio.Task[None], None]:
    """Keep objects current for the length of the block; the task ends only with what one was refused."""

    async def all_of_them() -> None:
        await asyncio.gather(*(item.run() for item in followed))

    task = asyncio.create_task(all_of_them())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ApiError):
            await task

"""Kopf as the shell around the controller: its login and its watch on ModelDeployments, and nothing more.

Only `on.event` is used, and it returns None: every other handler of kopf's writes finalizers or annotations
to users' objects, and none is retried as we need it. Nothing else imports kopf.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf

from ekiben.api.v1alpha1 import GROUP, PLURAL, VERSION
from ekiben.controller import Controller
from ekiben.core.names import MANAGER
from ekiben.kube.client import Client

# Seconds between two logins: a server that refuses every token must not be asked without pause.
LOGIN_SECONDS = 1.0
_FAR = timedelta(days=365)


class _Patience:
    """Pauses between tries, without end: an API server that is away for an hour is no reason to end."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.2, 0.5, 1.0, 2.0), itertools.repeat(5.0))


def _forget(*_: Any, **__: Any) -> Any:
    """Stand in for every method of kopf's storages: what has to be remembered is in the status."""
    return {}


_anything: Any = _forget


class _NoDiffs(kopf.DiffBaseStorage):
    """Neither copies nor annotates objects."""

    build = fetch = store = _anything


class _NoProgress(kopf.ProgressStorage):
    """Tries nothing again: that is our own queue's."""

    fetch = store = purge = touch = clear = _anything


def register(registry: kopf.OperatorRegistry, controller: Controller, client: Client) -> None:
    """Tell kopf how to log in, and to hand every event of a ModelDeployment to the controller."""

    clock = asyncio.get_running_loop().time
    due = clock()

    @kopf.on.login(registry=registry, id="login")
    async def login(**_: Any) -> kopf.ConnectionInfo:
        nonlocal due
        await asyncio.sleep(due - clock())
        due = clock() + LOGIN_SECONDS
        access = await client.access()
        return kopf.ConnectionInfo(
            server=access.server,
            ca_path=access.ca_file,
            certificate_path=access.cert_file,
            private_key_path=access.key_file,
            token=access.token,
            insecure=not access.verify,
            # Never twice the same: kopf gives up on credentials that were once refused, and a healthy token
            # is refused while the API server can't reach etcd.
            expiration=datetime.now(UTC) + _FAR,
        )

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry, id="observe")
    async def observe(event: Any, **_: Any) -> None:
        controller.observe_model(event["type"], event["object"])


def configured() -> kopf.OperatorSettings:
    """Return kopf's settings: write nothing anywhere, wait as long as it takes, notice silence."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = _NoProgress()
    settings.posting.enabled = False
    # The CRD is there before we start, and a list of namespaces is fixed: nothing has to be looked for.
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 30
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.enforce_retry_after = True
    settings.networking.error_backoffs = _Patience()
    # Ending is ours: kopf would send SIGKILL to the whole process.
    settings.process.ultimate_exiting_timeout = None
    return settings


async def run(
    controller: Controller, client: Client, namespaces: Collection[str], ready: asyncio.Event
) -> None:
    """Watch ModelDeployments until a signal comes or this is cancelled; raises what kopf gives up on.

    Not `kopf.operator`: at its end that cancels every task of the event loop that was begun meanwhile.
    """
    registry = kopf.OperatorRegistry()
    register(registry, controller, client)
    stop = asyncio.Event()
    where: dict[str, Any] = {"namespaces": namespaces} if namespaces else {"clusterwide": True}
    # Kopf would ask for the user's name, which an arbitrary uid in a container does not have.
    where["identity"] = MANAGER
    tasks = await kopf.spawn_tasks(
        registry=registry, settings=configured(), standalone=True, stop_flag=stop, ready_flag=ready, **where
    )
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        # Kopf leaves one task waiting for the flag, and its signal handlers in the loop.
        stop.set()
        await asyncio.sleep(0)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
    for task in tasks:
        if not task.cancelled() and (problem := task.exception()):
            raise problem

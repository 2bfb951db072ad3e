"""Kopf as the shell around the controller: its login and its watch on ModelDeployments, and nothing more.

Only `on.event` is used, and it returns None: every other handler of kopf's writes finalizers or annotations
to users' objects, and none is retried as we need it. Nothing else imports kopf.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import signal
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ekiben.api.v1alpha1 import GROUP, PLURAL, VERSION
from ekiben.controller import Controller
from ekiben.core.names import MANAGER
from ekiben.imports import without
from ekiben.kube.client import Client

# Kopf would import it only to know its classes when it sees them: a quarter of a start's CPU, and 12 MiB.
with without("kubernetes"):
    import kopf

logger = logging.getLogger(__name__)

# Kopf gives up on answers that it has no remedy for, such as a page of a list that has become too old (410).
# It begins anew after so many seconds; what fails this often in a row, each time within the last number of
# seconds, ends the process, where everybody sees it.
ANEW_SECONDS, ANEW_TIMES, SOON_SECONDS = 5.0, 5, 60.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

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
    """Watch ModelDeployments until a signal comes or this is cancelled; raises what ends kopf every time."""
    clock, failures = asyncio.get_running_loop().time, 0
    stopped = False
    while not stopped:
        begun = clock()
        try:
            await _run_once(controller, client, namespaces, ready)
            return
        except kopf.LoginError:
            raise
        except Exception as problem:
            failures = failures + 1 if clock() < begun + SOON_SECONDS else 1
            if failures > ANEW_TIMES:
                raise
            logger.warning("the watch on models begins anew in %.0f s: %r", ANEW_SECONDS, problem)
        stopped = await _stopped_within(ANEW_SECONDS)


async def _stopped_within(seconds: float) -> bool:
    """Wait; True where a signal came meanwhile."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    return stop.is_set()


async def _run_once(
    controller: Controller, client: Client, namespaces: Collection[str], ready: asyncio.Event
) -> None:
    """Run kopf until its first task ends; raises what ended it.

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
        for number in _SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)
    for task in tasks:
        if not task.cancelled() and (problem := task.exception()):
            raise problem

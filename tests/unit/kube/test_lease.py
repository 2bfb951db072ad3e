"""At most one candidate works at any moment, whatever the network and the candidates do.

On a virtual clock: an hour of leadership passes in a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import Kind
from ekiben.kube.lease import Lease, LeaseLostError, LeaseTiming
from unit.kube.virtual_time import run_virtually

Manifest = dict[str, Any]
TIMING = LeaseTiming()


class LeaseServer:
    """The one Lease that all candidates see, with the server's optimistic lock."""

    def __init__(self) -> None:
        self.lease: Manifest | None = None
        self.version = 0

    def write(self, body: Manifest, expected: int | None) -> Manifest:
        have = int(self.lease["metadata"]["resourceVersion"]) if self.lease else None
        if have != expected:
            raise ApiError(409, "Conflict", "the object has been modified")
        self.version += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)


class Network(Client):
    """One candidate's way to the server: it can be slow, or end in nothing, on the way there or back."""

    def __init__(self, server: LeaseServer) -> None:
        self.server = server
        self.fault = ""

    async def _travel(self, act: Any) -> Any:
        if self.fault == "refused":
            raise ApiError(0, "Network", "refused")
        if self.fault == "silent":
            await asyncio.sleep(3600)
        await asyncio.sleep(0.01)
        result = act()
        if self.fault == "answer lost":
            await asyncio.sleep(3600)
        await asyncio.sleep(0.01)
        return result

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        found: Manifest | None = await self._travel(lambda: copy.deepcopy(self.server.lease))
        return found

    async def create(self, kind: Kind, namespace: str | None, body: Manifest) -> Manifest:
        made: Manifest = await self._travel(lambda: self.server.write(body, None))
        return made

    async def replace(self, kind: Kind, namespace: str | None, body: Manifest) -> Manifest:
        version = int(body["metadata"]["resourceVersion"])
        written: Manifest = await self._travel(lambda: self.server.write(body, version))
        return written


class Stage:
    """Where candidates work, and are seen to work."""

    def __init__(self) -> None:
        self.server = LeaseServer()
        self.working: set[str] = set()
        self.log: list[tuple[float, str]] = []
        self.forced: list[str] = []

    def note(self, what: str) -> None:
        self.log.append((round(asyncio.get_running_loop().time(), 1), what))

    def candidate(self, identity: str) -> tuple[Network, Lease]:
        network = Network(self.server)
        lease = Lease(
            network, "ns", "ekiben", identity, timing=TIMING, die=lambda: self.forced.append(identity)
        )
        return network, lease

    async def work(self, identity: str, ending: float = 0.0) -> None:
        """Work until cancelled, and then for `ending` seconds more."""
        assert not self.working, f"{identity} begins while {self.working} work"
        self.working.add(identity)
        self.note(f"{identity} begins")
        try:
            await asyncio.sleep(10**9)
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(ending)
            self.working.discard(identity)
            self.note(f"{identity} ends")

    def run(self, identity: str, ending: float = 0.0) -> tuple[Network, asyncio.Task[None]]:
        """Start a candidate."""
        network, lease = self.candidate(identity)
        return network, asyncio.create_task(lease.run(lambda: self.work(identity, ending)))


async def stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_a_leader_leads_for_an_hour() -> None:
    async def main() -> None:
        stage = Stage()
        _, first = stage.run("a")
        await asyncio.sleep(1)
        _, second = stage.run("b")
        await asyncio.sleep(3600)
        assert stage.log == [(0.0, "a begins")]
        await stop(first, second)

    run_virtually(main())


def test_a_leader_that_stops_hands_over_within_a_try() -> None:
    async def main() -> None:
        stage = Stage()
        _, first = stage.run("a")
        await asyncio.sleep(1)
        _, second = stage.run("b")
        await asyncio.sleep(100)
        await stop(first)
        stopped = asyncio.get_running_loop().time()
        await asyncio.sleep(TIMING.retry + 0.5)
        assert stage.working == {"b"}
        assert stage.log[-1][0] <= stopped + TIMING.retry + 0.1
        await stop(second)

    run_virtually(main())


@pytest.mark.parametrize("fault", ["refused", "silent", "answer lost"])
def test_a_leader_that_is_cut_off_ends_before_the_next_may_begin(fault: str) -> None:
    async def main() -> None:
        stage = Stage()
        network, first = stage.run("a", ending=2.0)
        await asyncio.sleep(1)
        _, second = stage.run("b")
        await asyncio.sleep(100)
        network.fault = fault
        await asyncio.sleep(60)
        with pytest.raises(LeaseLostError):
            await first
        assert [what for _, what in stage.log] == ["a begins", "a ends", "b begins"]
        (ended, _), (began, _) = stage.log[1:]
        assert ended < began
        assert ended <= 101 + TIMING.renew + 2.0 + 0.1
        assert stage.forced == []
        if fault != "answer lost":
            assert began <= 101 + TIMING.retry + TIMING.duration + TIMING.retry
        await stop(second)

    run_virtually(main())


def test_a_short_outage_changes_nothing() -> None:
    async def main() -> None:
        stage = Stage()
        network, first = stage.run("a")
        await asyncio.sleep(10)
        for fault in ("refused", "silent"):
            network.fault = fault
            await asyncio.sleep(3)
            network.fault = ""
            await asyncio.sleep(10)
        assert stage.log == [(0.0, "a begins")]
        await stop(first)

    run_virtually(main())


def test_work_that_outlives_its_lease_is_ended_by_force() -> None:
    async def main() -> None:
        stage = Stage()
        network, first = stage.run("a", ending=60.0)
        await asyncio.sleep(10)
        network.fault = "refused"
        with pytest.raises(LeaseLostError, match="not renewed for 7 s"):
            await first
        assert stage.forced == ["a"]
        ended = asyncio.get_running_loop().time()
        assert ended <= 10 + TIMING.duration

    run_virtually(main())


def test_a_leader_that_is_told_to_stop_keeps_its_lease_until_its_work_has_ended() -> None:
    async def main() -> None:
        stage = Stage()
        _, first = stage.run("a", ending=40.0)
        await asyncio.sleep(1)
        _, second = stage.run("b")
        await asyncio.sleep(10)
        await stop(first)
        await asyncio.sleep(10)
        assert [what for _, what in stage.log] == ["a begins", "a ends", "b begins"]
        assert stage.forced == []
        await stop(second)

    run_virtually(main())


def test_a_clock_in_the_lease_is_not_believed() -> None:
    async def main() -> None:
        stage = Stage()
        spec = {"holderIdentity": "z", "renewTime": "1999-01-01T00:00:00.000000Z", "leaseTransitions": 4}
        stage.server.write({"metadata": {"name": "ekiben"}, "spec": spec}, None)
        _, first = stage.run("a")
        await asyncio.sleep(TIMING.duration - 0.5)
        assert stage.log == []
        await asyncio.sleep(TIMING.retry + 1)
        assert stage.working == {"a"}
        assert stage.server.lease is not None
        assert stage.server.lease["spec"]["leaseTransitions"] == 5
        await stop(first)

    run_virtually(main())


FAULTS = st.lists(
    st.tuples(
        st.floats(0, 30),
        st.sampled_from("abc"),
        st.sampled_from(["", "", "refused", "silent", "answer lost", "crash", "stop"]),
    ),
    max_size=25,
)


@settings(max_examples=60)
@given(FAULTS, st.integers(0, 10**6))
def test_no_two_ever_work_at_once(faults: list[tuple[float, str, str]], seed: int) -> None:
    """Each candidate is restarted when it ends; `Stage.work` asserts that nobody else works."""

    async def main() -> None:
        stage, chance = Stage(), random.Random(seed)
        networks: dict[str, Network] = {}
        tasks: dict[str, asyncio.Task[None]] = {}

        def start(identity: str) -> None:
            life = f"{identity}{chance.random()}"
            networks[identity], tasks[identity] = stage.run(life, ending=chance.uniform(0, 2.9))

        for identity in "abc":
            start(identity)
        for pause, identity, fault in faults:
            await asyncio.sleep(pause)
            if fault in ("crash", "stop"):
                # A process that crashes stops working at that instant, and releases nothing.
                networks[identity].fault = "refused" if fault == "crash" else networks[identity].fault
                await stop(tasks[identity])
            else:
                networks[identity].fault = fault
            for name, task in tasks.items():
                if task.done():
                    assert task.cancelled() or isinstance(task.exception(), LeaseLostError), task
                    start(name)
        for network in networks.values():
            network.fault = ""
        await asyncio.sleep(60)
        for name, task in tasks.items():
            if task.done():
                assert isinstance(task.exception(), LeaseLostError)
                start(name)
        await asyncio.sleep(60)
        assert len(stage.working) == 1, "in the end somebody leads"
        assert stage.forced == []
        await stop(*tasks.values())

    run_virtually(main())

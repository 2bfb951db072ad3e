"""Leadership against the real API server; what takes time is in the unit tests, on a virtual clock."""

from __future__ import annotations

import asyncio

import pytest

from ekiben.kube.client import Client
from ekiben.kube.kinds import LEASE
from ekiben.kube.lease import Lease, LeaseLostError, LeaseTiming
from integration.kube_objects import Manifest, lease

# A lease that is renewed often and, on a busy machine, lost by no accident.
TIMING = LeaseTiming(duration=30.0, renew=20.0, retry=0.05)


class Work:
    """Work that says when it runs, until it is told to end."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.end = asyncio.Event()
        self.cancelled = False

    async def __call__(self) -> None:
        self.began.set()
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


def candidate(client: Client, namespace: str, identity: str) -> Lease:
    return Lease(client, namespace, "ekiben", identity, timing=TIMING)


async def spec_of(client: Client, namespace: str) -> Manifest:
    """The Lease's spec; empty where there is no Lease."""
    found = await client.get(LEASE, namespace, "ekiben")
    return found["spec"] if found else {}


async def renewals(client: Client, namespace: str, count: int) -> None:
    """Wait until the lease has been renewed this many times."""
    seen: set[object] = set()
    async with asyncio.timeout(20):
        while len(seen) <= count:
            seen.add((await spec_of(client, namespace)).get("renewTime"))


async def test_one_leads_and_the_next_begins_when_it_is_done(client: Client, namespace: str) -> None:
    first, second = Work(), Work()
    leading = asyncio.create_task(candidate(client, namespace, "a").run(first))
    await asyncio.wait_for(first.began.wait(), 20)
    waiting = asyncio.create_task(candidate(client, namespace, "b").run(second))
    await renewals(client, namespace, 3)
    assert not second.began.is_set()
    first.end.set()
    await asyncio.wait_for(leading, 20)
    await asyncio.wait_for(second.began.wait(), 20)
    spec = await spec_of(client, namespace)
    assert spec["holderIdentity"] == "b"
    assert spec["leaseTransitions"] == 1
    assert spec["leaseDurationSeconds"] == 30
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert second.cancelled
    assert (await spec_of(client, namespace))["holderIdentity"] == ""


async def test_a_lease_that_was_taken_away_is_lost_at_the_next_renewal(
    client: Client, namespace: str
) -> None:
    work = Work()
    leading = asyncio.create_task(candidate(client, namespace, "a").run(work))
    await asyncio.wait_for(work.began.wait(), 20)
    await client.patch_merge(LEASE, namespace, "ekiben", {"spec": {"holderIdentity": "thief"}})
    with pytest.raises(LeaseLostError, match="another process"):
        await asyncio.wait_for(leading, 20)
    assert work.cancelled
    assert (await spec_of(client, namespace))["holderIdentity"] == "thief"


async def test_a_lease_that_was_deleted_or_edited_is_kept(client: Client, namespace: str) -> None:
    work = Work()
    leading = asyncio.create_task(candidate(client, namespace, "a").run(work))
    await asyncio.wait_for(work.began.wait(), 20)
    found = await client.get(LEASE, namespace, "ekiben")
    assert found is not None
    await client.delete(LEASE, namespace, "ekiben", found["metadata"]["uid"])
    await renewals(client, namespace, 2)
    await client.patch_merge(LEASE, namespace, "ekiben", {"metadata": {"labels": {"a": "b"}}})
    await renewals(client, namespace, 2)
    found = await client.get(LEASE, namespace, "ekiben")
    assert found is not None
    assert found["metadata"]["labels"] == {"a": "b"}
    work.end.set()
    await asyncio.wait_for(leading, 20)


async def test_the_same_identity_takes_its_lease_over_at_once(client: Client, namespace: str) -> None:
    await client.create(LEASE, namespace, lease("ekiben", holderIdentity="pod-0"))
    work = Work()
    work.end.set()
    async with asyncio.timeout(TIMING.duration / 2):
        await candidate(client, namespace, "pod-0").run(work)
    assert work.began.is_set()


async def test_work_that_fails_gives_the_lease_back(client: Client, namespace: str) -> None:
    async def fail() -> None:
        raise ValueError("the work failed")

    with pytest.raises(ValueError, match="the work failed"):
        await candidate(client, namespace, "a").run(fail)
    assert (await spec_of(client, namespace))["holderIdentity"] == ""

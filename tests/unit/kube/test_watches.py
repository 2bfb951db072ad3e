"""Many watches are waited for and told of as one."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from typing import Any

from ekiben.kube.client import ApiError
from ekiben.kube.informer import Informer
from ekiben.kube.kinds import JOB, SERVICE, Kind
from ekiben.kube.watches import Watches
from unit.fake_client import FakeClient, Manifest
from unit.kube.conftest import eventually

FORBIDDEN = ApiError(403, "Forbidden", "jobs.batch is forbidden")


class WithoutJobs(FakeClient):
    """Lets nobody list Jobs."""

    async def list_pages(
        self, kind: Kind, *_: Any, **__: Any
    ) -> AsyncGenerator[tuple[list[Manifest], str], None]:
        if kind is JOB:
            raise FORBIDDEN
        yield [], "1"


def watches(client: FakeClient) -> Watches:
    made = Watches(client)
    for kind, namespaces in ((SERVICE, ("shop", "lab")), (JOB, ("",))):
        made.add(kind, namespaces, None, on_change=lambda old, new: None)
    return made


async def test_each_kind_is_found_by_its_namespace_or_where_all_are_watched() -> None:
    client = FakeClient()
    client.put(SERVICE, {"metadata": {"namespace": "shop", "name": "iris"}})
    found = watches(client)
    found.start()
    await asyncio.wait_for(found.synced(), 5)
    shop, lab = found.find(SERVICE, "shop"), found.find(SERVICE, "lab")
    assert shop is not lab
    assert found.find(JOB, "shop") is found.find(JOB, "lab") is found.find(JOB, "")
    assert shop.store.get("shop", "iris") is not None
    await found.stop()


async def test_the_most_silent_watch_of_a_kind_is_told_and_one_that_was_never_whole_by_its_problem() -> None:
    client = WithoutJobs()
    found = watches(client)
    another = Informer(client, SERVICE, "infra")
    found.count_in(another)
    found.start()
    await eventually(lambda: "jobs.batch is forbidden" in " ".join(found.problems()), "the list is refused")
    await eventually(found.find(SERVICE, "lab").synced.is_set, "services are listed")
    ages = found.ages(time.monotonic())
    assert ages == {"services": math.inf, "jobs": math.inf}
    assert [line.split(":")[0] for line in found.problems()] == ["jobs", "services"]
    another.start()
    await eventually(another.synced.is_set, "that of somebody else too")
    assert found.ages(time.monotonic())["services"] < 5
    assert [line.split(":")[0] for line in found.problems()] == ["jobs"]
    await another.stop()
    await found.stop()

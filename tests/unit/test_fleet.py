"""Who runs and who is next, by statuses alone; and the controller never gives a slot away twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ekiben.api.status import RevisionStatus, RolloutStatus, Stage, Status
from ekiben.controller import Controller
from ekiben.core.plan import Plan
from ekiben.core.snapshot import Manifest, Snapshot
from ekiben.fleet import Fleet, is_running
from ekiben.kube.client import ApiError
from ekiben.kube.kinds import MODELDEPLOYMENT
from ekiben.kube.store import Key
from ekiben.settings import Settings
from unit.controller.world import SilentSampler
from unit.fake_client import FakeClient

STABLE = RevisionStatus(revision="kaaaaaaaaa")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def status(stage: Stage, minute: int = 0, revision: str = "kbbbbbbbbb") -> Status:
    rollout = RolloutStatus(
        id=f"{revision}.2", revision=revision, stage=stage, stage_started_at=NOW.replace(minute=minute)
    )
    return Status(stable=STABLE, rollout=rollout)


def raw(name: str, said: Status | None, priority: Any = 0, generation: int = 1) -> Manifest:
    wire = said.to_wire() if said else {}
    about = {"name": name, "namespace": "shop", "generation": generation}
    return {"metadata": about, "spec": {"rollout": {"priority": priority}}, "status": wire}


class TestFleet:
    def test_without_a_limit_there_is_no_line(self) -> None:
        fleet = Fleet(0, 0, lambda key: None)
        fleet.changed(None, raw("a", status(Stage.HOLDING)))
        assert fleet.line(("shop", "b"), raw("b", None)) is None

    @pytest.mark.parametrize("stage", [stage for stage in Stage if stage not in (Stage.OVER, Stage.QUEUED)])
    def test_every_stage_in_between_takes_the_slot(self, stage: Stage) -> None:
        fleet = Fleet(1, 0, lambda key: None)
        fleet.changed(None, raw("a", status(stage)))
        line = fleet.line(("shop", "b"), raw("b", None))
        assert line is not None
        assert (line.turn, line.running, line.limit, line.names) == (False, 1, 1, ("shop/a",))

    @pytest.mark.parametrize(
        "said",
        [
            None,
            status(Stage.OVER),
            status(Stage.QUEUED),
            status(Stage.PREPARING, revision=STABLE.revision),
            Status(rollout=status(Stage.PREPARING).rollout),
        ],
        ids=["no status", "over", "queued", "first revision", "held first revision"],
    )
    def test_what_is_not_in_flight_takes_none(self, said: Status | None) -> None:
        fleet = Fleet(1, 0, lambda key: None)
        fleet.changed(None, raw("a", said))
        line = fleet.line(("shop", "b"), raw("b", None, priority=1))
        assert line is not None
        assert line.turn
        assert said is None or not is_running(said)

    def test_a_freed_slot_wakes_the_head_alone(self) -> None:
        woken: list[Key] = []
        fleet = Fleet(1, 0, woken.append)
        running = raw("a", status(Stage.HOLDING))
        fleet.changed(None, running)
        for minute, name in enumerate("edcb"):
            fleet.changed(None, raw(name, status(Stage.QUEUED, minute)))
        assert woken == []
        fleet.changed(running, raw("a", status(Stage.OVER)))
        assert woken == [("shop", "e")]

    def test_a_model_that_is_deleted_frees_its_slot_and_its_place(self) -> None:
        woken: list[Key] = []
        fleet = Fleet(1, 0, woken.append)
        running, waiting = raw("a", status(Stage.HOLDING)), raw("b", status(Stage.QUEUED))
        fleet.changed(None, running)
        fleet.changed(None, waiting)
        fleet.changed(running, None)
        assert woken == [("shop", "b")]
        fleet.changed(waiting, None)
        line = fleet.line(("shop", "c"), raw("c", None))
        assert line is not None
        assert (line.turn, line.place, line.waiting) == (True, 1, 1)

    @pytest.mark.parametrize(
        "strange",
        [
            {"rollout": 1},
            {"rollout": {"stage": "Queued", "stageStartedAt": "never"}, "stable": {}},
            {"rollout": {"stage": ["Holding"]}, "stable": []},
            {"rollout": {"stage": "NotYetInvented"}, "stable": {"revision": 1}},
            [],
            "lost",
        ],
    )
    def test_a_strange_status_breaks_nothing(self, strange: Any) -> None:
        fleet = Fleet(1, 1, lambda key: None)
        odd = {**raw("a", None), "status": strange, "spec": "?"}
        fleet.changed(None, odd)
        assert fleet.line(("shop", "a"), odd) is not None
        fleet.changed(odd, None)

    def test_a_change_costs_the_same_with_ten_thousand_in_the_line(self) -> None:
        fleet = Fleet(2, 0, lambda key: None)
        for number in range(2):
            fleet.changed(None, raw(f"r{number}", status(Stage.HOLDING)))
        waiting = [raw(f"m{number:05}", status(Stage.QUEUED, number % 60)) for number in range(10_000)]
        for item in waiting:
            fleet.changed(None, item)
        begin = time.process_time()
        for item in waiting[:1000]:
            fleet.changed(item, item)
            fleet.line(("shop", item["metadata"]["name"]), item)
        # 5 us each where it is quick; a walk along the line for each would be a second and more.
        assert time.process_time() - begin < 0.5


class Starts:
    """A decide that begins a rollout whenever it may."""

    def __call__(self, snapshot: Snapshot) -> Plan:
        if snapshot.line is None or (snapshot.status.rollout is not None and not self._waits(snapshot)):
            return Plan()
        if snapshot.line.turn:
            return Plan(status=status(Stage.PREPARING))
        return Plan(status=status(Stage.QUEUED)) if snapshot.status.rollout is None else Plan()

    @staticmethod
    def _waits(snapshot: Snapshot) -> bool:
        return snapshot.status.rollout is not None and snapshot.status.rollout.stage is Stage.QUEUED


class Slow(FakeClient):
    """A client whose status writes wait for each other's beginning, so that passes overlap."""

    lost = 0

    async def patch_status(self, *given: Any, **named: Any) -> Manifest:
        await asyncio.sleep(0.02)
        answer = await super().patch_status(*given, **named)
        if self.lost and given[3]["rollout"]["stage"] == "Preparing":
            self.lost -= 1
            raise ApiError(0, "Network", "reset")
        return answer


class TestController:
    @pytest.fixture
    async def client(self) -> Slow:
        return Slow()

    @pytest.fixture
    async def controller(self, client: Slow) -> AsyncIterator[Controller]:
        settings = Settings(workers=8, max_concurrent_rollouts=2)
        made = Controller(client, settings, decide=Starts(), sampler=SilentSampler())
        made.start()
        await made.running.wait()
        yield made
        await made.stop(grace=0)

    @staticmethod
    def stages(client: Slow) -> list[str]:
        found = (item for key, item in client.objects.items() if key[0] == MODELDEPLOYMENT.plural)
        return sorted((item.get("status") or {}).get("rollout", {}).get("stage", "") for item in found)

    async def settle(self, client: Slow) -> None:
        before = -1
        while before != len(client.asked):
            before = len(client.asked)
            await asyncio.sleep(0.4)

    def tell(self, client: Slow, controller: Controller, count: int) -> None:
        for number in range(count):
            metadata = {"name": f"m{number}", "namespace": "shop"}
            spec = {"bento": {"image": "iris:1"}}
            controller.observe_model(
                "ADDED", client.put(MODELDEPLOYMENT, {"spec": spec, "metadata": metadata})
            )

    async def test_two_passes_at_once_never_take_the_last_slot(
        self, client: Slow, controller: Controller
    ) -> None:
        self.tell(client, controller, 8)
        await self.settle(client)
        assert self.stages(client) == ["Preparing"] * 2 + ["Queued"] * 6

    async def test_a_slot_whose_answer_was_lost_is_not_given_away_again(
        self, client: Slow, controller: Controller
    ) -> None:
        client.lost = 2
        self.tell(client, controller, 8)
        await self.settle(client)
        assert self.stages(client) == ["Preparing"] * 2 + ["Queued"] * 6

    async def test_a_slot_whose_write_was_refused_goes_to_the_next(
        self, client: Slow, controller: Controller
    ) -> None:
        client.fail("status", MODELDEPLOYMENT, ApiError(422, "Invalid", "no"), ApiError(422, "Invalid", "no"))
        self.tell(client, controller, 8)
        await self.settle(client)
        assert self.stages(client) == [""] * 2 + ["Preparing"] * 2 + ["Queued"] * 4

    async def test_a_new_process_knows_what_runs_before_it_decides(self, client: Slow) -> None:
        for number in range(2):
            metadata = {"name": f"r{number}", "namespace": "shop"}
            written = status(Stage.HOLDING).to_wire()
            client.put(MODELDEPLOYMENT, {"spec": {}, "metadata": metadata, "status": written})
        settings = Settings(workers=8, max_concurrent_rollouts=2)
        made = Controller(client, settings, decide=Starts(), sampler=SilentSampler())
        made.start()
        await made.running.wait()
        # The watch has told of nobody yet but of a newcomer.
        self.tell(client, made, 1)
        await self.settle(client)
        assert self.stages(client) == ["Holding", "Holding", "Queued"]
        await made.stop(grace=0)

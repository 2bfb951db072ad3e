"""The loop over keys: what is written in which order, and what is looked at again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ekiben import controller
from ekiben.core.plan import Delete, Plan, Scale
from ekiben.core.snapshot import Manifest, Ref, Snapshot
from ekiben.kube.client import ApiError
from ekiben.kube.kinds import DEPLOYMENT, MODELDEPLOYMENT, POD, SERVICE
from unit.controller.world import (
    APPLY,
    DEPLOYMENT_REF,
    KEY,
    SAID,
    SERVICE_REF,
    Rig,
    child,
    says_then_applies,
    with_labels_of_its_own,
)


class TestOrder:
    """Status first, then children, each once."""

    async def test_the_status_is_written_before_the_children(self, rig: Rig) -> None:
        rig.decide = says_then_applies
        rig.write_model()
        await rig.settle()
        assert rig.client.writes() == [
            ("status", "modeldeployments", "iris"),
            ("apply", "services", "iris"),
        ]

    async def test_the_record_comes_first_and_the_other_children_together(self, rig: Rig) -> None:
        record = Ref("ControllerRevision", DEPLOYMENT_REF.name)
        wanted = (SERVICE_REF, DEPLOYMENT_REF, record)
        rig.decide = lambda snapshot: Plan(
            applies=tuple(child(snapshot, ref.kind, ref.name) for ref in wanted if ref not in snapshot.live)
        )
        rig.client.hold = asyncio.Event()
        rig.write_model()
        await rig.until(lambda: bool(rig.client.writes()), "the first apply")
        await rig.settle()
        assert rig.client.writes() == [("apply", "controllerrevisions", record.name)]
        rig.client.hold.set()
        rig.client.hold = asyncio.Event()
        await rig.until(
            lambda: len(rig.client.writes()) == 3, "both others are asked for, neither is answered"
        )
        assert {kind for kind, _, _ in rig.client.objects} == {"modeldeployments", "controllerrevisions"}
        rig.client.hold.set()

    async def test_a_record_that_is_there_holds_up_nothing_when_its_label_changes(self, rig: Rig) -> None:
        record = Ref("ControllerRevision", DEPLOYMENT_REF.name)
        rig.decide = lambda snapshot: Plan(
            applies=(child(snapshot, record.kind, record.name),) if record not in snapshot.live else ()
        )
        rig.write_model()
        await rig.settle()
        rig.decide = lambda snapshot: Plan(
            applies=(child(snapshot, record.kind, record.name), child(snapshot))
            if SERVICE_REF not in snapshot.live
            else ()
        )
        rig.client.hold = asyncio.Event()
        before = len(rig.client.writes())
        rig.write_model(generation=2)
        await rig.until(lambda: len(rig.client.writes()) == before + 2, "both are asked for at once")
        rig.client.hold.set()

    async def test_trouble_with_one_child_does_not_keep_the_others_from_being_made(self, rig: Rig) -> None:
        rig.client.fail("apply", SERVICE, ApiError(0, "Network", "reset"))
        rig.decide = lambda snapshot: Plan(
            applies=(child(snapshot), child(snapshot, "Deployment", DEPLOYMENT_REF.name))
            if len(rig.seen) == 1
            else ()
        )
        rig.write_model()
        await rig.until(lambda: len(rig.seen) == 2, "the pass is made again")
        assert ("deployments", "shop", DEPLOYMENT_REF.name) in rig.client.objects
        assert ("services", "shop", "iris") not in rig.client.objects
        assert "reset" in rig.controller.errors[0]

    async def test_the_next_pass_comes_at_once_and_sees_what_was_written(self, rig: Rig) -> None:
        rig.client.rewrite = with_labels_of_its_own
        rig.decide = says_then_applies
        rig.write_model()
        await rig.settle()
        assert rig.seen[-1].status == SAID
        assert SERVICE_REF in rig.seen[-1].live
        assert rig.seen[-1].ledger[SERVICE_REF].intent

    async def test_a_status_that_says_nothing_new_is_not_written(self, rig: Rig) -> None:
        rig.decide = lambda _: Plan(status=SAID)
        rig.write_model()
        await rig.settle()
        rig.write_model()
        await rig.settle()
        assert rig.client.writes() == [("status", "modeldeployments", "iris")]

    async def test_a_child_is_looked_up_once_before_it_is_made(self, rig: Rig) -> None:
        rig.decide = says_then_applies
        rig.write_model()
        await rig.settle()
        assert [item for item in rig.client.asked if item[0] == "get"] == [("get", "services", "iris")]

    async def test_a_late_event_does_not_bring_an_older_status_back(self, rig: Rig) -> None:
        rig.decide = lambda snapshot: Plan(status=SAID if snapshot.status != SAID else None)
        first = rig.write_model()
        await rig.settle()
        rig.controller.observe_model("MODIFIED", first)
        rig.write_model("mnist")
        await rig.settle()
        assert [item for item in rig.client.writes() if item[2] == "iris"] == [
            ("status", "modeldeployments", "iris")
        ]

    async def test_a_plan_that_wants_to_come_back_does(self, rig: Rig) -> None:
        rig.decide = lambda _: Plan(requeue_after=0.02 if len(rig.seen) < 4 else None)
        rig.write_model()
        await rig.until(lambda: len(rig.seen) == 4, "four passes")

    async def test_what_is_to_be_sampled_is_told_once_the_status_is_written(self, rig: Rig) -> None:
        rig.client.fail("status", MODELDEPLOYMENT, ApiError(503, "Unavailable", "later"))
        rig.decide = lambda snapshot: Plan(status=SAID if snapshot.status != SAID else None)
        rig.write_model()
        await rig.until(lambda: len(rig.seen) > 1, "a second pass")
        await rig.settle()
        statuses = [item for item in rig.client.asked if item[0] == "status"]
        assert len(statuses) == 2
        assert rig.sampler.told == [(KEY, None)] * (len(rig.seen) - 1)


class TestConflicts:
    """Somebody was faster."""

    async def test_a_conflict_is_decided_again_at_once_on_what_is_there_now(self, rig: Rig) -> None:
        rig.decide = lambda snapshot: Plan(status=SAID if snapshot.status != SAID else None)
        old = rig.write_model(tell=False)
        rig.write_model(tell=False, generation=2)
        rig.controller.observe_model("ADDED", old)
        await rig.settle()
        assert [snapshot.model.generation for snapshot in rig.seen] == [1, 2, 2]
        assert rig.client.objects["modeldeployments", "shop", "iris"]["status"]["message"] == "said"

    async def test_a_child_that_is_not_as_we_know_it_is_read_again(self, rig: Rig) -> None:
        rig.client.fail("apply", SERVICE, ApiError(409, "Conflict", "uid mismatch"))
        rig.decide = says_then_applies
        rig.write_model()
        await rig.settle()
        assert SERVICE_REF in rig.seen[-1].live
        assert [item for item in rig.client.asked if item[:2] == ("apply", "services")] == [
            ("apply", "services", "iris")
        ] * 2

    async def test_a_status_that_rests_on_a_child_is_decided_again_where_that_has_changed(
        self, rig: Rig
    ) -> None:
        seen_then: list[Manifest] = []

        def decides(snapshot: Snapshot) -> Plan:
            if SERVICE_REF not in snapshot.live:
                return Plan(applies=(child(snapshot),))
            if not seen_then:
                rig.client.put(SERVICE, {**snapshot.live[SERVICE_REF], "spec": {"type": "NodePort"}})
            seen_then.append(snapshot.live[SERVICE_REF]["spec"])
            return Plan(status=SAID if snapshot.status != SAID else None, rests_on=(SERVICE_REF,))

        rig.decide = decides
        rig.write_model()
        await rig.settle()
        assert seen_then[:2] == [{}, {"type": "NodePort"}]
        assert [item for item in rig.client.asked if item[0] in ("get", "status")][-3:] == [
            ("get", "services", "iris"),
            ("get", "services", "iris"),
            ("status", "modeldeployments", "iris"),
        ]

    async def test_endless_conflicts_are_no_hot_loop(self, rig: Rig) -> None:
        rig.client.fail("apply", SERVICE, *[ApiError(409, "Conflict", "again")] * 1000)
        rig.decide = says_then_applies
        rig.write_model()
        await rig.until(lambda: rig.client.writes().count(APPLY) > controller.CONFLICTS_AT_ONCE, "the tries")
        await rig.settle()
        assert rig.client.writes().count(APPLY) == controller.CONFLICTS_AT_ONCE + 1

    async def test_a_live_child_is_applied_to_by_its_uid(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bodies: list[Manifest] = []
        real_apply = rig.client.apply

        async def apply(kind: Any, namespace: str | None, manifest: Manifest) -> Manifest:
            bodies.append(manifest)
            return await real_apply(kind, namespace, manifest)

        monkeypatch.setattr(rig.client, "apply", apply)
        rig.decide = lambda snapshot: Plan(
            applies=(child(snapshot, port=len(bodies)),) if len(bodies) < 2 else ()
        )
        rig.write_model()
        await rig.settle()
        assert "uid" not in bodies[0]["metadata"]
        assert bodies[1]["metadata"]["uid"] == rig.seen[-1].live[SERVICE_REF]["metadata"]["uid"]


class TestChildren:
    """Scaling and deleting."""

    async def test_a_scaling_that_the_watch_has_not_shown_is_not_repeated(self, rig: Rig) -> None:
        def decide(snapshot: Snapshot) -> Plan:
            live = snapshot.live.get(DEPLOYMENT_REF)
            if live is None:
                return Plan(applies=(child(snapshot, "Deployment", DEPLOYMENT_REF.name),))
            short = live["spec"].get("replicas") != 3
            return Plan(scales=(Scale(DEPLOYMENT_REF.name, 3),) if short else ())

        rig.decide = decide
        rig.write_model()
        await rig.settle()
        rig.write_model()
        await rig.settle()
        assert rig.seen[-1].live[DEPLOYMENT_REF]["spec"] == {}
        assert [item for item in rig.client.asked if item[0] == "scale"] == [
            ("scale", "deployments", DEPLOYMENT_REF.name)
        ]

    async def test_a_deleted_child_is_gone_from_the_next_snapshot(self, rig: Rig) -> None:
        def decide(snapshot: Snapshot) -> Plan:
            if snapshot.model.generation == 1:
                return says_then_applies(snapshot)
            live = snapshot.live.get(SERVICE_REF)
            return Plan(deletes=(Delete(SERVICE_REF, live["metadata"]["uid"]),) if live else ())

        rig.decide = decide
        rig.write_model()
        await rig.settle()
        rig.write_model(generation=2)
        await rig.settle()
        assert SERVICE_REF not in rig.seen[-1].live
        assert [item for item in rig.client.asked if item[0] == "delete"] == [("delete", "services", "iris")]

    async def test_a_scaling_of_what_has_just_gone_is_decided_again(self, rig: Rig) -> None:
        gone = ApiError(404, "NotFound", "no such Deployment")

        def decide(snapshot: Snapshot) -> Plan:
            if DEPLOYMENT_REF not in snapshot.live:
                return Plan(applies=(child(snapshot, "Deployment", DEPLOYMENT_REF.name),))
            if len(rig.seen) == 2:
                rig.client.objects.pop(("deployments", "shop", DEPLOYMENT_REF.name))
                rig.client.fail("scale", DEPLOYMENT, gone)
                return Plan(scales=(Scale(DEPLOYMENT_REF.name, 3),))
            return Plan()

        rig.decide = decide
        rig.write_model()
        await rig.settle()
        assert ("deployments", "shop", DEPLOYMENT_REF.name) in rig.client.objects
        assert rig.seen[-1].rejections == {}


async def test_a_model_that_rests_is_remembered_without_what_its_objects_read_as(rig: Rig) -> None:
    rig.write_model()
    await rig.settle()
    memory = rig.controller._memories[KEY]
    resting, before = memory.readings, len(rig.seen)
    rig.decide = lambda _: Plan(requeue_after=3600.0)
    rig.write_model(labels={"a": "b"})
    await rig.settle()
    assert len(rig.seen) == before + 1
    assert memory.readings is resting, "it waits for something: the next pass asks for the same"
    assert memory.readings._now
    rig.decide = lambda _: Plan()
    rig.write_model(labels={"a": "c"})
    await rig.settle()
    assert not memory.readings._now


STARTED = "2026-11-22T11:50:00Z"


async def test_while_pods_come_or_go_nothing_is_read_twice(rig: Rig) -> None:
    labels = {"ekiben.dev/model": "iris", "ekiben.dev/revision": "kbcdfghjkm"}
    about = {"name": "iris-x-1", "namespace": "shop", "uid": "pod", "labels": labels}
    pods = rig.controller._caches.store(POD, "shop")
    rig.write_model()
    started = {"containerStatuses": [{"name": "bento", "state": {"running": {"startedAt": STARTED}}}]}
    pods.note_written({"metadata": {**about, "resourceVersion": "1"}, "status": started})
    await rig.settle()
    memory = rig.controller._memories[KEY]
    assert memory.readings._now, "its pod is not ready: the next pass is near"
    ready = started | {"conditions": [{"type": "Ready", "status": "True"}]}
    pods.note_written({"metadata": {**about, "resourceVersion": "2"}, "status": ready})
    await rig.settle()
    assert not memory.readings._now

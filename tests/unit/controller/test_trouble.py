"""What becomes of everything that fails, and what is said of it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from ekiben import act, controller
from ekiben.core import names
from ekiben.core.plan import Event, Plan, Scale
from ekiben.core.snapshot import Ref, Snapshot
from ekiben.kube.client import ApiError
from ekiben.kube.kinds import DEPLOYMENT, EVENT, HPA, MODELDEPLOYMENT, SERVICE
from unit.controller.world import (
    DEPLOYMENT_REF,
    KEY,
    SAID,
    SERVICE_REF,
    Rig,
    SilentSampler,
    child,
    says_then_applies,
    with_labels_of_its_own,
)
from unit.fake_client import FakeClient


class TestTrouble:
    """Errors have a class, and each class its own way of being tried again."""

    async def test_what_passes_is_tried_again_later(self, rig: Rig) -> None:
        rig.client.fail("apply", SERVICE, ApiError(429, "TooManyRequests", "slow down", retry_after=0.4))
        rig.decide = says_then_applies
        rig.write_model()
        begun = time.monotonic()
        await rig.until(lambda: ("services", "shop", "iris") in rig.client.objects, "the Service")
        assert time.monotonic() - begun >= 0.4
        assert "429" in rig.controller.errors[0]

    async def test_a_bug_stops_neither_the_others_nor_the_next_try(
        self, rig: Rig, caplog: pytest.LogCaptureFixture
    ) -> None:
        def decide(snapshot: Snapshot) -> Plan:
            if snapshot.model.name == "iris" and len(rig.seen) == 1:
                raise RuntimeError("unheard of")
            return says_then_applies(snapshot) if snapshot.model.name == "iris" else Plan(status=SAID)

        rig.decide = decide
        rig.write_model()
        rig.write_model("mnist")
        await rig.until(lambda: ("services", "shop", "iris") in rig.client.objects, "the Service of iris")
        assert rig.client.objects["modeldeployments", "shop", "mnist"]["status"]["message"] == "said"
        assert "unheard of" in caplog.text

    async def test_a_model_whose_status_is_not_found_is_forgotten(self, rig: Rig) -> None:
        rig.client.fail("status", MODELDEPLOYMENT, ApiError(404, "NotFound", "no such model"))
        rig.decide = lambda _: Plan(status=SAID)
        rig.write_model()
        await rig.settle()
        assert len(rig.seen) == 1
        assert rig.sampler.told == [(KEY, None)] * 2

    async def test_a_deleted_model_is_forgotten(self, rig: Rig) -> None:
        raw = rig.write_model()
        await rig.settle()
        rig.controller.observe_model("DELETED", raw)
        await rig.settle()
        assert len(rig.seen) == 1
        assert rig.sampler.told[-1] == (KEY, None)

    async def test_what_the_server_stores_as_it_was_sent_needs_no_ledger(self, rig: Rig) -> None:
        rig.decide = says_then_applies
        rig.write_model()
        await rig.settle()
        assert SERVICE_REF in rig.seen[-1].live
        assert rig.seen[-1].ledger == {}

    async def test_a_model_made_anew_starts_without_a_memory(self, rig: Rig) -> None:
        rig.client.rewrite = with_labels_of_its_own
        rig.decide = says_then_applies
        rig.write_model()
        await rig.settle()
        assert rig.seen[-1].ledger
        rig.decide = lambda _: Plan()
        rig.write_model(uid="uid-anew")
        await rig.settle()
        assert rig.seen[-1].model.uid == "uid-anew"
        assert rig.seen[-1].ledger == {}

    async def test_events_are_told_even_where_a_child_could_not_be_written(self, rig: Rig) -> None:
        rig.client.fail("apply", SERVICE, ApiError(0, "Network", "reset"))
        told = Event("Normal", "Promoted", "Promote", "it serves")
        rig.decide = lambda snapshot: replace(
            says_then_applies(snapshot), events=(told,) if snapshot.status != SAID else ()
        )
        rig.write_model()
        await rig.until(lambda: ("services", "shop", "iris") in rig.client.objects, "the Service")
        assert [item[1] for item in rig.client.asked if item[0] == "create"] == [EVENT.plural]

    async def test_an_event_that_hangs_holds_up_no_child(self, rig: Rig) -> None:
        rig.client.hang.add("create")
        told = Event("Normal", "Promoted", "Promote", "it serves")
        rig.decide = lambda snapshot: replace(
            says_then_applies(snapshot), events=(told,) if snapshot.status != SAID else ()
        )
        rig.write_model()
        await rig.until(lambda: ("services", "shop", "iris") in rig.client.objects, "the Service")
        await rig.settle()
        assert [item[1] for item in rig.client.asked if item[0] == "create"] == [EVENT.plural]


class TestRefusals:
    """What the server refuses is said, and not tried again at once."""

    async def test_a_refused_child_is_in_the_next_snapshot_and_left_for_a_while(self, rig: Rig) -> None:
        rig.client.fail("apply", SERVICE, *[ApiError(422, "Invalid", "port: required")] * 100)
        rig.decide = says_then_applies
        rig.write_model()
        await rig.settle()
        assert rig.seen[-1].rejections == {SERVICE_REF: "Service iris: port: required"}
        assert [item for item in rig.client.asked if item[0] == "apply"] == [("apply", "services", "iris")]

    async def test_the_other_children_are_made_all_the_same(self, rig: Rig) -> None:
        rig.client.fail("apply", DEPLOYMENT, ApiError(403, "Forbidden", "exceeded quota"))
        rig.decide = lambda snapshot: Plan(
            applies=(child(snapshot, "Deployment", DEPLOYMENT_REF.name), child(snapshot))
            if SERVICE_REF not in snapshot.live
            else ()
        )
        rig.write_model()
        await rig.settle()
        assert ("services", "shop", "iris") in rig.client.objects
        assert rig.seen[-1].rejections == {
            DEPLOYMENT_REF: f"Deployment {DEPLOYMENT_REF.name}: exceeded quota"
        }

    async def test_a_scaler_whose_webhook_is_down_is_said_and_holds_up_nothing(self, rig: Rig) -> None:
        down = ApiError(500, "InternalError", 'failed calling webhook "vscaledobject.kb.io": refused')
        rig.client.fail("apply", HPA, *[down] * 100)
        rig.decide = lambda snapshot: Plan(
            applies=(child(snapshot, HPA.kind), child(snapshot, "Deployment", DEPLOYMENT_REF.name)),
            scales=(Scale(DEPLOYMENT_REF.name, 3),) if DEPLOYMENT_REF in snapshot.live else (),
        )
        rig.write_model()
        await rig.until(lambda: ("scale", DEPLOYMENT.plural, DEPLOYMENT_REF.name) in rig.client.asked, "3")
        assert "failed calling webhook" in rig.seen[-1].rejections[Ref(HPA.kind, "iris")]
        assert [item for item in rig.client.asked if item[:2] == ("apply", HPA.plural)] == [
            ("apply", HPA.plural, "iris")
        ]

    async def test_another_intent_is_tried_at_once_and_clears_the_refusal(self, rig: Rig) -> None:
        port = 1
        rig.client.fail("apply", SERVICE, ApiError(422, "Invalid", "port: taken"))
        rig.decide = lambda snapshot: Plan(
            applies=() if SERVICE_REF in snapshot.live else (child(snapshot, port=port),)
        )
        rig.write_model()
        await rig.settle()
        assert rig.seen[-1].rejections
        port = 2
        rig.write_model()
        await rig.settle()
        assert rig.client.objects["services", "shop", "iris"]["spec"] == {"port": 2}
        assert rig.seen[-1].rejections == {}

    async def test_an_edited_spec_forgets_what_was_refused(self, rig: Rig) -> None:
        rig.client.fail("apply", SERVICE, ApiError(422, "Invalid", "port: required"))
        rig.decide = says_then_applies
        rig.write_model()
        await rig.settle()
        rig.write_model(generation=2)
        await rig.settle()
        assert rig.seen[-1].rejections == {}
        assert ("services", "shop", "iris") in rig.client.objects

    async def test_after_a_while_it_is_tried_again(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(act, "REFUSED_SECONDS", 0.05)
        rig.client.fail("apply", SERVICE, *[ApiError(422, "Invalid", "not yet")] * 3)
        rig.decide = says_then_applies
        rig.write_model()
        await rig.until(lambda: ("services", "shop", "iris") in rig.client.objects, "the Service")
        await rig.settle()
        assert rig.seen[-1].rejections == {}

    async def test_a_refused_status_is_tried_again_slowly(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(controller, "REFUSED_SECONDS", 0.05)
        rig.client.fail("status", MODELDEPLOYMENT, *[ApiError(422, "Invalid", "status.phase: no")] * 2)
        rig.decide = says_then_applies
        rig.write_model()
        await rig.until(lambda: ("services", "shop", "iris") in rig.client.objects, "the Service")
        assert rig.client.writes()[:3] == [("status", "modeldeployments", "iris")] * 3


class TestNames:
    """A name that somebody else has is left alone."""

    async def test_somebody_elses_object_is_not_touched_and_is_said(self, rig: Rig) -> None:
        theirs = rig.client.put(SERVICE, {"metadata": {"name": "iris", "namespace": "shop"}, "spec": {}})
        rig.decide = lambda snapshot: replace(
            says_then_applies(snapshot), applies=() if snapshot.foreign else (child(snapshot),)
        )
        rig.write_model()
        await rig.settle()
        assert rig.seen[-1].foreign == {SERVICE_REF}
        assert rig.client.objects["services", "shop", "iris"] == theirs
        assert [item for item in rig.client.asked if item[0] == "get"] == [("get", "services", "iris")]

    async def test_a_name_that_becomes_free_is_taken(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(act, "TAKEN_SECONDS", 0.05)
        rig.client.put(SERVICE, {"metadata": {"name": "iris", "namespace": "shop"}, "spec": {"theirs": True}})
        rig.decide = lambda snapshot: Plan(
            applies=() if snapshot.foreign or SERVICE_REF in snapshot.live else (child(snapshot),)
        )
        rig.write_model()
        await rig.until(lambda: bool(rig.seen) and bool(rig.seen[-1].foreign), "the conflict")
        del rig.client.objects["services", "shop", "iris"]
        await rig.until(lambda: ("services", "shop", "iris") in rig.client.objects, "our Service")
        await rig.settle()
        assert rig.seen[-1].foreign == frozenset()
        assert "theirs" not in rig.client.objects["services", "shop", "iris"]["spec"]

    async def test_a_child_of_ours_that_lost_its_labels_is_found_and_mended(self, rig: Rig) -> None:
        raw = rig.write_model(tell=False)
        owner = {"kind": "ModelDeployment", "name": "iris", "uid": raw["metadata"]["uid"], "controller": True}
        bare = {"name": "iris", "namespace": "shop", "ownerReferences": [owner]}
        uid = rig.client.put(SERVICE, {"metadata": bare, "spec": {}})["metadata"]["uid"]
        rig.decide = says_then_applies
        rig.controller.observe_model("ADDED", raw)
        await rig.settle()
        mended = rig.client.objects["services", "shop", "iris"]["metadata"]
        assert (mended["uid"], mended["labels"]) == (uid, names.model_labels("iris"))


class TestHealth:
    """What the probes ask."""

    async def test_a_pass_that_never_ends_is_said(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        rig.client.hold = asyncio.Event()
        rig.decide = says_then_applies
        rig.write_model()
        await rig.until(lambda: ("apply", "services", "iris") in rig.client.asked, "the apply")
        assert rig.controller.stuck() == []
        monkeypatch.setattr(controller, "STUCK_SECONDS", -1.0)
        assert len(rig.controller.stuck()) == 1
        assert rig.controller.stuck()[0].endswith("hangs")
        rig.client.hold.set()
        await rig.settle()
        assert rig.controller.stuck() == []

    async def test_stopping_lets_a_pass_finish(self, rig: Rig) -> None:
        rig.client.hold = asyncio.Event()
        rig.decide = says_then_applies
        rig.write_model()
        await rig.until(lambda: ("apply", "services", "iris") in rig.client.asked, "the apply")
        stopping = asyncio.create_task(rig.controller.stop(grace=30))
        await asyncio.sleep(0.05)
        assert not stopping.done()
        rig.client.hold.set()
        await stopping
        assert ("services", "shop", "iris") in rig.client.objects

    async def test_a_resync_finds_what_the_watch_missed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rig = Rig(FakeClient(), SilentSampler())
        rig.write_model("iris")
        rig.write_model("mnist", tell=False)
        caches = rig.controller._caches
        assert caches.model_keys() == [("shop", "iris")]
        assert await caches.relist_models() == 1
        del rig.client.objects["modeldeployments", "shop", "iris"]
        assert await caches.relist_models() == 1
        assert caches.model_keys() == [("shop", "mnist")]
        assert await caches.relist_models() == 0

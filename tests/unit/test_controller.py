"""The loop over keys: what is written in which order, and what becomes of everything that fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from ekiben import act, controller
from ekiben.api.status import Status
from ekiben.controller import Controller
from ekiben.core import names
from ekiben.core.plan import Delete, Event, Plan, Sampling, Scale
from ekiben.core.snapshot import Manifest, Ref, Snapshot
from ekiben.kube import workqueue
from ekiben.kube.client import ApiError
from ekiben.kube.kinds import DEPLOYMENT, EVENT, MODELDEPLOYMENT, POD, SERVICE
from ekiben.settings import Settings
from unit.fake_client import FakeClient

Decide = Callable[[Snapshot], Plan]
KEY = ("shop", "iris")
SERVICE_REF, DEPLOYMENT_REF = Ref("Service", "iris"), Ref("Deployment", "iris-kbcdfghjkm")
SAID = Status(message="said")
APPLY = ("apply", "services", "iris")


def with_labels_of_its_own(manifest: Manifest) -> Manifest:
    """Store what is applied otherwise than it was sent."""
    labels = {**manifest["metadata"]["labels"], names.MANAGED_BY: "the server's own way to write it"}
    return {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}


class SilentSampler:
    """A sampler that reads nothing and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[tuple[str, str], Sampling | None]] = []

    def ensure(self, key: tuple[str, str], sampling: Sampling | None) -> None:
        self.told.append((key, sampling))

    def observation(self, key: tuple[str, str]) -> None:
        return None

    async def close(self) -> None:
        return None


class Rig:
    """A controller at work on a fake client, with a decide of the test's own."""

    def __init__(self, client: FakeClient, sampler: SilentSampler) -> None:
        self.client = client
        self.sampler = sampler
        self.decide: Decide = lambda _: Plan()
        self.seen: list[Snapshot] = []
        self.controller = Controller(client, Settings(workers=2), decide=self._decide, sampler=sampler)

    def _decide(self, snapshot: Snapshot) -> Plan:
        self.seen.append(snapshot)
        return self.decide(snapshot)

    def write_model(self, name: str = "iris", tell: bool = True, **changes: Any) -> Manifest:
        """Write a model as a user would, and let the watch tell of it."""
        raw = self.client.objects.get((MODELDEPLOYMENT.plural, "shop", name), {})
        metadata = {"name": name, "namespace": "shop", **raw.get("metadata", {}), **changes}
        spec = {"bento": {"image": "iris:1"}}
        written = self.client.put(MODELDEPLOYMENT, {"spec": spec, **raw, "metadata": metadata})
        if tell:
            self.controller.observe_model("MODIFIED", written)
        return written

    async def settle(self) -> None:
        """Wait until nothing happens any more."""
        quiet = 0
        while quiet < 5:
            before = (len(self.seen), len(self.client.asked))
            await asyncio.sleep(0.01)
            quiet = quiet + 1 if before == (len(self.seen), len(self.client.asked)) else 0

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"never came true: {what}")


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    # Sooner than `settle` takes for the end.
    monkeypatch.setattr(workqueue, "SOON_SECONDS", 0.001)
    made = Rig(FakeClient(), SilentSampler())
    made.controller.start()
    await made.controller.running.wait()
    yield made
    await made.controller.stop(grace=0)


def child(snapshot: Snapshot, kind: str = "Service", name: str = "iris", **spec: Any) -> Manifest:
    owner = {"kind": "ModelDeployment", "name": "iris", "uid": snapshot.model.uid, "controller": True}
    metadata = {
        "name": name,
        "namespace": "shop",
        "labels": names.model_labels("iris"),
        "ownerReferences": [owner],
    }
    version = "v1" if kind == "Service" else "apps/v1"
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def says_then_applies(snapshot: Snapshot) -> Plan:
    """Write the status, and in the same plan a Service while there is none."""
    applies = () if SERVICE_REF in snapshot.live else (child(snapshot),)
    return Plan(status=SAID if snapshot.status != SAID else None, applies=applies)


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

    async def test_a_live_child_is_applied_to_by_its_uid(self, rig: Rig) -> None:
        bodies: list[Manifest] = []
        real_apply = rig.client.apply

        async def apply(kind: Any, namespace: str | None, manifest: Manifest) -> Manifest:
            bodies.append(manifest)
            return await real_apply(kind, namespace, manifest)

        rig.client.apply = apply  # type: ignore[method-assign]
        rig.decide = lambda snapshot: Plan(
            applies=(child(snapshot, port=len(bodies)),) if len(bodies) < 2 else ()
        )
        rig.write_model()
        await rig.settle()
        assert "uid" not in bodies[0]["metadata"]
        assert bodies[1]["metadata"]["uid"] == rig.seen[-1].live[SERVICE_REF]["metadata"]["uid"]


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

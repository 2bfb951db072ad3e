"""Events against the real etcd and kube-apiserver."""

from __future__ import annotations

from ekiben.kube.client import Client
from ekiben.kube.kinds import EVENT, NAMESPACE, SERVICE
from ekiben.kube.recorder import RECORDED, Recorder
from integration.kube_objects import (
    service,
)


async def test_the_same_event_is_one_object_with_a_count(client: Client, namespace: str) -> None:
    made = await client.create(SERVICE, namespace, service("iris"))
    regarding = {"apiVersion": "v1", "kind": "Service", "namespace": namespace, "name": "iris"}
    regarding["uid"] = made["metadata"]["uid"]
    recorder = Recorder(client, "ekiben.dev/operator", "ekiben-0")
    for _ in range(3):
        await recorder.event(regarding, "Warning", "StepFailed", "Rollback", "error-rate 5% over 1%")
    await recorder.event(regarding, "Normal", "Promoted", "Promote", "é" * 2000)
    # The cluster's own controllers may tell of this Service too.
    everybodys = (await client.list(EVENT, namespace))[0]
    events = [event for event in everybodys if event.get("reportingController") == "ekiben.dev/operator"]
    said = {event["reason"]: event for event in events}
    assert len(events) == 2
    assert said["StepFailed"]["series"]["count"] == 3
    assert said["StepFailed"]["regarding"]["uid"] == regarding["uid"]
    assert said["StepFailed"]["type"] == "Warning"
    assert len(said["Promoted"]["note"].encode()) <= 1024


async def test_events_about_cluster_wide_objects_land_in_default(client: Client) -> None:
    await client.apply(
        NAMESPACE, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
    )
    regarding = {"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": "cluster-wide"}
    await Recorder(client, "ekiben.dev/operator", "ekiben-0").event(
        regarding, "Normal", "Seen", "Look", "a namespace"
    )
    events, _ = await client.list(EVENT, "default")
    assert "cluster-wide" in [event["regarding"].get("uid") for event in events]


async def test_an_expired_event_is_written_anew(client: Client, namespace: str) -> None:
    regarding = {"apiVersion": "v1", "kind": "Service", "namespace": namespace, "name": "iris", "uid": "u"}
    recorder = Recorder(client, "ekiben.dev/operator", "ekiben-0")
    await recorder.event(regarding, "Normal", "Seen", "Look", "once")
    for event in (await client.list(EVENT, namespace))[0]:
        await client.delete(EVENT, namespace, event["metadata"]["name"], event["metadata"]["uid"])
    await recorder.event(regarding, "Normal", "Seen", "Look", "once")
    (event,) = (await client.list(EVENT, namespace))[0]
    assert event["series"]["count"] == 2


async def test_an_event_that_cannot_be_written_fails_nobody(client: Client) -> None:
    failed = RECORDED.labels("failed")
    before = failed._value.get()
    regarding = {"apiVersion": "v1", "kind": "Service", "namespace": "nowhere", "name": "x", "uid": "u"}
    recorder = Recorder(client, "ekiben.dev/operator", "ekiben-0")
    await recorder.event(regarding, "Normal", "Seen", "Look", "in a namespace that is not there")
    await recorder.event({}, "Normal", "Seen", "Look", "about nothing")
    assert failed._value.get() == before + 2

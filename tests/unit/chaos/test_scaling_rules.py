"""The rules of scalers: silent over a hand-over as it should be, and each speaks where its own is broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, cast

import pytest

from ekiben.kube.client import Client
from ekiben.kube.kinds import SCALEDOBJECT, Kind
from rules.history import Entry, History, Manifest
from rules.judge import made_once
from rules.scaling import judge_scalers
from unit.chaos.test_rules import NEW, OLD, child, model

NAME = f"iris-{OLD}"
HPA, KEDA = "HorizontalPodAutoscaler", "ScaledObject"
BLOCK = {"maxReplicas": 5}


def scaled(version: int, *, gap: bool = False, **status: Any) -> Entry:
    entry = model(version, gap=gap, **status)
    return replace(entry, item={**entry.item, "spec": {"autoscaling": BLOCK}})


def size(version: int, replicas: int, revision: str = OLD) -> Entry:
    return child(version, "Deployment", f"iris-{revision}", {"replicas": replicas})


def scaler(version: int, kind: str, name: str = NAME, maker: str = "", **more: Any) -> Entry:
    entry = child(version, kind, name, {"scaleTargetRef": {"kind": "Deployment", "name": NAME}})
    if maker:
        entry.item["metadata"]["ownerReferences"] = [{"kind": KEDA, "name": maker}]
    return replace(entry, **more)


def handed_over() -> list[Entry]:
    """From KEDA to an autoscaler of ours, and a rollout under that."""
    made = f"keda-hpa-{NAME}"
    return [
        scaled(1),
        size(2, 2),
        scaler(3, KEDA),
        scaler(4, HPA, made, NAME),
        size(5, 3),
        scaler(6, KEDA),
        scaler(7, KEDA, gone=True),
        scaler(8, HPA, made, NAME, gone=True),
        scaler(9, HPA),
        size(10, 3, NEW),
        scaled(11, stable={"revision": NEW, "image": "iris:good-2"}),
        size(12, 0),
    ]


def test_a_hand_over_as_it_should_be_breaks_no_rule() -> None:
    assert judge_scalers(handed_over()) == []
    assert made_once(handed_over(), {}) == []


def without(*versions: int) -> list[Entry]:
    return [entry for entry in handed_over() if entry.version not in versions]


@pytest.mark.parametrize("left", [7, 8], ids=["a ScaledObject", "what KEDA made of it"])
def test_a_scaler_made_beside_what_is_left_is_a_breach_where_one_operator_writes(left: int) -> None:
    (breach,) = judge_scalers(without(left))
    assert f"at 9: {HPA} {NAME} is made beside" in breach
    assert judge_scalers(without(left), alone=False) == []


@pytest.mark.parametrize("alone", [True, False])
def test_a_pod_that_goes_is_a_breach_whoever_writes(alone: bool) -> None:
    (breach,) = judge_scalers([*handed_over()[:8], size(9, 2)], alone=alone)
    assert "shrank from 3 to 2" in breach


def test_a_model_that_nobody_scales_may_lose_pods() -> None:
    assert judge_scalers([model(1), size(2, 3), size(3, 2)]) == []


def test_a_promotion_with_fewer_pods_is_a_breach() -> None:
    (breach,) = judge_scalers([*without(10, 11, 12), size(10, 2, NEW), handed_over()[10]])
    assert f"{NEW} is stable with 2 pods, {OLD} had 3" in breach


@pytest.mark.parametrize(("since", "breaches"), [(8, 0), (9, 1)])
def test_no_scaler_is_judged_while_another_may_have_ended(since: int, breaches: int) -> None:
    ended = scaler(20, KEDA, gone=True, after_gap=True, since=since)
    assert len(judge_scalers([*without(7), ended])) == breaches


class Server:
    """Answers each list with the next of `lists`, and each watch with the events behind it."""

    def __init__(self, *lists: tuple[list[str], int, list[tuple[str, str, int]]]) -> None:
        self.lists = list(lists)
        self.events: list[tuple[str, str, int]] = []
        self.over = asyncio.Event()

    async def list(self, kind: Kind, namespace: str) -> tuple[list[Manifest], str]:
        if kind is not SCALEDOBJECT:
            return [], "0"
        found, version, self.events = self.lists.pop(0)
        return [_item(name, 1) for name in found], str(version)

    async def watch(
        self, kind: Kind, namespace: str, version: str
    ) -> AsyncGenerator[tuple[str, Manifest], None]:
        for event, name, at in self.events if kind is SCALEDOBJECT else ():
            yield event, _item(name, at)
        if kind is SCALEDOBJECT and self.lists:
            return
        if kind is SCALEDOBJECT:
            self.over.set()
        await asyncio.Event().wait()


def _item(name: str, version: int) -> Manifest:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version)}}


async def test_the_end_of_a_scaler_is_kept_and_one_that_nobody_saw_has_a_time_before_it() -> None:
    server = Server((["a", "b"], 5, [("DELETED", "a", 7)]), ([], 20, []))
    history = History(cast(Client, server), "shop", scalers=True)
    task = asyncio.create_task(history.run())
    await asyncio.wait_for(server.over.wait(), 5)
    task.cancel()
    await asyncio.wait({task})
    ends = [
        (entry.name, entry.version, entry.after_gap, entry.since) for entry in history.ordered() if entry.gone
    ]
    assert ends == [("a", 7, False, 0), ("b", 20, True, 7)]

"""Scale from zero: a held request against the pod's start alone, 500 at once, and what passing on costs."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench import hand
from bench.figures import AT_ONCE, AT_ONCE_LOST, HELD_P50, HELD_P95, PASSED_ON, BenchError, Result
from bench.losses import kinds, percentile, told
from bench.setting import HAND, MODEL, OURS, PATIENCE, Bench
from bench.watching import Change, watching
from ekiben.core import names
from ekiben.kube.client import Manifest
from ekiben.kube.kinds import DEPLOYMENT, POD
from load.client import Answer, Target
from rig.models import condition, follow, is_asleep, is_awake
from rig.site import FLOWERS, OPERATOR_NAMESPACE, install_activator, install_operator
from rig.traffic import Traffic, burst, traffic

PAIRS = 16
# They wake in turns: while one is measured, the others fall asleep again.
MODELS = 4
BURST, BURSTS = 500, 3
# The same of both at the same time, for so long.
PASS_RATE, PASS_SECONDS = 40.0, 45
ASKED_EVERY = 20.0
SLEEPY = {"minReplicas": 0, "maxReplicas": 1, "idleAfter": "10s", "activation": {"wakeTimeout": "3m"}}


@dataclass(frozen=True)
class Pair:
    """One wake by a request, and one start of the same pod by hand, in seconds.

    `held` is until the request's answer, `own` how long the pod that gave it took from its creation to Ready.
    By hand, `answers` is until the pod's own address answers, `ready` until it is Ready.
    """

    held: float
    own: float
    answers: float
    ready: float


async def measure(bench: Bench) -> list[Result]:
    """Put models to sleep, and see what their next requests wait for; no other row has an activator."""
    await install_activator(bench.site)
    try:
        models = bench.times(MODELS)
        await bench.apply(OURS, *(_model(bench, number) for number in range(models)))
        for number in range(models):
            await _until(bench, number, is_awake)
        floor = await _by_hand(bench)
        pairs = [await _pair(bench, floor, number, models) for number in range(bench.times(PAIRS))]
        bursts = [await _burst(bench) for _ in range(bench.times(BURSTS))]
        passed = await _passed_on(bench)
        await bench.empty(OURS)
        await bench.empty(HAND)
    finally:
        await install_operator(bench.site)
    return [*waited(pairs), *answered(bursts), passed]


def waited(pairs: Sequence[Pair]) -> list[Result]:
    """Judge what requests waited beyond a pod's start: one by hand in the median, and always their own pod's.

    Two starts of one pod differ by more than what there is to see: only of the request's own pod can be said
    what one request waited beyond it.
    """
    beside = [pair.held - pair.answers for pair in pairs]
    beyond = [pair.held - pair.own for pair in pairs]
    details = (
        f"{len(pairs)} pairs, in both orders; held {_list(pair.held for pair in pairs)} s",
        f"by hand, until the pod's own address answers: {_list(pair.answers for pair in pairs)} s",
        f"and until Kubernetes calls it Ready: {_list(pair.ready for pair in pairs)} s",
        f"each pair's difference: {_list(beside)} s",
    )
    own = (
        f"of the pods that answered, from created to Ready: {_list(pair.own for pair in pairs)} s",
        f"beyond that: {_list(beyond)} s",
    )
    return [
        Result(HELD_P50, round(percentile(beside, 50), 3), details=details),
        Result(HELD_P95, round(percentile(beyond, 95), 3), details=own),
    ]


def answered(bursts: Sequence[Sequence[Answer]]) -> list[Result]:
    """Judge what became of the requests that came at once to a model without pods."""
    answers = [answer for one in bursts for answer in one]
    lost = [answer for answer in answers if answer.is_lost]
    details = (
        *(
            f"burst {number + 1}: {len(one)} sent within {_spread(one):.2f} s, answered after "
            f"{min(answer.seconds for answer in one):.2f} to {max(answer.seconds for answer in one):.2f} s"
            for number, one in enumerate(bursts)
        ),
        *([f"lost: {kinds(lost)}"] if lost else []),
        *(f"lost: {told(answer)}" for answer in lost[:5]),
    )
    return [
        Result(AT_ONCE_LOST, len(lost), details=details),
        Result(AT_ONCE, min(len(one) for one in bursts)),
    ]


def passed_on(through: Sequence[Answer], direct: Sequence[Answer]) -> Result:
    """Compare the same requests through the activator and straight to the pod."""
    lost = [answer for answer in (*through, *direct) if answer.is_lost]
    if lost or not through or not direct:
        raise BenchError(f"of {len(through) + len(direct)} requests to a pod that is awake: {kinds(lost)}")
    ours, floor = ([1000 * answer.seconds for answer in side] for side in (through, direct))
    details = tuple(
        f"p{percent}: {percentile(ours, percent):.1f} ms through the activator, "
        f"{percentile(floor, percent):.1f} ms straight to the pod"
        for percent in (50, 95, 99)
    )
    count = f"{len(ours):,} requests each, at the same time, each on a new connection"
    beyond = percentile(ours, 99) - percentile(floor, 99)
    return Result(PASSED_ON, round(beyond, 1), details=(count, *details))


def _name(number: int) -> str:
    return MODEL if number == 0 else f"{MODEL}-{number}"


def _host(number: int) -> str:
    return f"{_name(number)}.{OURS}.example.com"


def _model(bench: Bench, number: int) -> Manifest:
    model = bench.model("1.0.0", autoscaling=SLEEPY)
    model["metadata"]["name"] = _name(number)
    model["spec"]["traffic"]["hostnames"] = [_host(number)]
    return model


async def _until(bench: Bench, number: int, done: Any) -> Manifest:
    return await follow(bench.client, OURS, _name(number), done, PATIENCE)


async def _asleep(bench: Bench, number: int) -> None:
    """Wait until a model is asleep and its pods are gone."""
    await _until(bench, number, is_asleep)
    selector = f"{names.MODEL}={_name(number)}"
    await bench.end_pods(OURS, selector)


async def _pair(bench: Bench, floor: str, number: int, models: int) -> Pair:
    which = number % models
    await _asleep(bench, which)
    if number % 2 == 0:
        held, own = await _wake(bench, which)
        answers, ready = await _alone(bench, floor)
    else:
        answers, ready = await _alone(bench, floor)
        held, own = await _wake(bench, which)
    bench.say(
        f"wake {number + 1}: held {held:.2f} s, its pod took {own:.2f} s; by hand {answers:.2f} s "
        f"(Ready {ready:.2f} s)"
    )
    return Pair(held, own, answers, ready)


async def _wake(bench: Bench, number: int) -> tuple[float, float]:
    """Send one request to a model that is asleep; return the seconds of its answer and of its pod's start."""
    target = replace(bench.site.target(_host(number)), timeout=PATIENCE)
    async with watching(bench.client, OURS, [POD]) as changes:
        began = time.time()
        (answer,) = (await burst(target, 1, bench.site.prefix)).answers
        if answer.is_lost:
            raise BenchError(f"the request that was to wake the model was lost: {told(answer)}")
        label = (names.MODEL, _name(number))
        created = await changes.first(
            lambda change: change.event == "ADDED" and label in change.object["metadata"]["labels"].items(),
            PATIENCE,
            began,
        )
        uid = created.object["metadata"]["uid"]
        ready = await changes.first(
            lambda change: is_ready(change) and change.object["metadata"]["uid"] == uid, PATIENCE, began
        )
    return answer.seconds, ready.at - created.at


async def _by_hand(bench: Bench) -> str:
    """Put the first model's Deployment into the other namespace, without pods; return its name."""
    written = [item for item in await hand.export(bench) if item["kind"] == DEPLOYMENT.kind]
    (deployment,) = copy.deepcopy(written)
    deployment["spec"]["replicas"] = 0
    await bench.apply(HAND, deployment)
    return str(deployment["metadata"]["name"])


async def _alone(bench: Bench, name: str) -> tuple[float, float]:
    """Scale the Deployment from 0 to 1; return the seconds until its pod answers, and until it is Ready."""

    def has_address(change: Change) -> bool:
        return bool(change.object.get("status", {}).get("podIP"))

    async with watching(bench.client, HAND, [POD]) as changes:
        began = time.time()
        await bench.client.patch_merge(DEPLOYMENT, HAND, name, {"spec": {"replicas": 1}})
        ip = (await changes.first(has_address, PATIENCE, began)).object["status"]["podIP"]
        async with traffic(_straight(ip), ASKED_EVERY, bench.site.prefix, fresh=1.0) as seen:
            await seen.until(_is_answered, PATIENCE)
        ready = await changes.first(is_ready, PATIENCE, began)
    await bench.client.patch_merge(DEPLOYMENT, HAND, name, {"spec": {"replicas": 0}})
    await bench.end_pods(HAND)
    first = min(answer.at + answer.seconds for answer in seen.answers if not answer.is_lost)
    return first - began, ready.at - began


def is_ready(change: Change) -> bool:
    """Tell whether a change is a pod's that Kubernetes calls Ready."""
    return condition(change.object, "Ready").get("status") == "True"


def _is_answered(seen: Traffic) -> bool:
    return any(not answer.is_lost for answer in seen.answers)


def _straight(ip: str, port: int = names.PORT, host: str = "pod") -> Target:
    return Target(f"http://{ip}:{port}/predict", host, FLOWERS, 30.0)


async def _burst(bench: Bench) -> list[Answer]:
    """Send 500 requests at once to a model that is asleep."""
    await _asleep(bench, 0)
    target = replace(bench.site.target(_host(0)), timeout=PATIENCE)
    seen = await burst(target, BURST, bench.site.prefix)
    bench.say(f"{len(seen.answers)} requests at once: {len(seen.lost())} lost {kinds(seen.lost())}")
    return seen.answers


async def _passed_on(bench: Bench) -> Result:
    """Ask one pod that is awake at once through an activator and at its own address."""
    await burst(replace(bench.site.target(_host(0)), timeout=PATIENCE), 1, bench.site.prefix)
    await _until(bench, 0, is_awake)
    pods, _ = await bench.client.list(POD, OURS, label_selector=f"{names.MODEL}={MODEL}")
    (pod,) = (item for item in pods if not item["metadata"].get("deletionTimestamp"))
    selector = "app.kubernetes.io/name=ekiben-activator"
    activators, _ = await bench.client.list(POD, OPERATOR_NAMESPACE, label_selector=selector)
    through = _straight(activators[0]["status"]["podIP"], names.ACTIVATOR_PORT, f"{MODEL}.{OURS}")
    direct = _straight(pod["status"]["podIP"])
    async with (
        traffic(through, PASS_RATE, bench.site.prefix, fresh=1.0) as ours,
        traffic(direct, PASS_RATE, bench.site.prefix, fresh=1.0) as floor,
    ):
        await asyncio.sleep(5 if bench.quick else PASS_SECONDS)
    return passed_on(ours.answers, floor.answers)


def _spread(answers: Sequence[Answer]) -> float:
    return max(answer.at for answer in answers) - min(answer.at for answer in answers)


def _list(seconds: Any) -> str:
    return ", ".join(f"{item:.2f}" for item in seconds)

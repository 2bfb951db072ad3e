"""`advise`: how pods are watched through the API server, and what is printed of it."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
import yaml

from ekiben.api.scaling import Autoscaling
from ekiben.api.v1alpha1 import parse_spec
from ekiben.cli import advising
from ekiben.cli.advice import Limit, advise
from ekiben.cli.advice_said import Watched, advice_lines, as_data, notes_of, spec_of
from ekiben.cli.advising import Watch, limit_of
from ekiben.cli.cluster import Cluster
from ekiben.cli.exits import CommandError, Exit
from ekiben.kube.client import ApiError, Client
from ekiben.kube.errors import error_from_response
from unit.cli import world
from unit.cli.test_advice import BOUNDS, LIMIT, fixed, sample
from unit.cli.world import V2, Json, golden, serving

SHARED = fixed(lambda load: 0.1 * max(load, 1), [1, 2, 4, 4.5, 6, 9, 9], pods=2)


def pod(name: str, ready: bool = True) -> Json:
    """Build a pod as it is listed."""
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "metadata": {"name": name, "labels": {"ekiben.dev/revision": V2}},
        "status": {"conditions": conditions},
    }


class Server:
    """Pods behind an API server; each look adds requests that took so long with so many in flight."""

    def __init__(self, raw: Json, pods: list[Json], load: Callable[[int], tuple[float, float]]) -> None:
        self.raw, self.pods, self.load = raw, pods, load
        self.now = 0.0
        self.looks: dict[str, int] = {}
        self.counts: dict[str, dict[float, int]] = {}
        self.busy: dict[str, float] = {}
        self.refused: dict[str, ApiError] = {}
        self.asked: list[tuple[Any, ...]] = []

    async def get(self, kind: Any, namespace: str, name: str) -> Json:
        return self.raw

    async def list(self, kind: Any, namespace: str, label: str) -> tuple[list[Json], str]:
        self.asked.append((kind.plural, namespace, label))
        return self.pods, ""

    async def serves(self, kind: Any) -> bool:
        return True

    async def page(self, namespace: str, name: str, port: int, path: str, longest: int) -> bytes:
        if name in self.refused:
            raise self.refused[name]
        look = self.looks[name] = self.looks.get(name, -1) + 1
        in_flight, took = self.load(look)
        counts = self.counts.setdefault(name, dict.fromkeys((*BOUNDS, float("inf")), 0))
        if look:
            served = round(in_flight / took * 5)
            self.busy[name] = self.busy.get(name, 0.0) + served * took
            for bound in counts:
                counts[bound] += served if took <= bound else 0
        about = 'endpoint="/predict",runner_name="Iris"'
        family = "bentoml_service_request_duration_seconds"
        lines = [
            f'bentoml_service_request_total{{{about},http_response_code="200"}} {counts[float("inf")]}',
            f"bentoml_service_request_in_progress{{{about}}} {round(in_flight)}",
            f"{family}_sum{{{about}}} {self.busy.get(name, 0.0)}",
            *(f'{family}_bucket{{{about},le="{bound}"}} {count}' for bound, count in counts.items()),
        ]
        return "\n".join(lines).replace('le="inf"', 'le="+Inf"').encode()

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return the command, on a clock of the server's."""

    def run(server: Server, **options: Any) -> Any:
        def watch(*args: Any) -> Watch:
            return Watch(*args, clock=lambda: server.now, sleep=server.sleep)

        monkeypatch.setattr(advising, "Watch", watch)
        given = Namespace(**({"name": "iris", "window": 60.0, "latency": "500ms", "output": None} | options))
        return advising.advise(Cluster(cast(Client, server), "shop"), given)

    return run


def ramp(look: int) -> tuple[float, float]:
    in_flight = (1, 2, 3, 4, 5, 7, 9)[look % 7]
    return in_flight, 0.1 * in_flight


async def test_a_window_is_watched_and_the_advice_printed(
    command: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server(serving().raw, [pod("iris-a"), pod("iris-b"), pod("iris-c", ready=False)], ramp)
    assert await command(server) is Exit.OK
    said = capsys.readouterr()
    assert (
        'iris: concurrency: "4.5": with up to 5 requests in flight in a pod p95 stayed within 500ms'
        in said.out
    )
    assert yaml.safe_load(said.out[said.out.index("spec:") :]) == {
        "spec": {
            "autoscaling": {
                "minReplicas": 2,
                "maxReplicas": 3,
                "metrics": [{"concurrency": "4.5"}, {"latency": {"p95": "500ms"}}],
            }
        }
    }
    assert said.err.splitlines()[0] == "iris: 0 of 60 s: 2 pods"
    assert said.err.splitlines()[-1].startswith("iris: 60 of 60 s: 2 pods, ")
    assert set(server.looks) == {"iris-a", "iris-b"}
    assert set(server.looks.values()) == {12}
    assert server.asked[0] == ("pods", "shop", f"ekiben.dev/model=iris,ekiben.dev/revision={V2}")


async def test_programs_get_the_same_and_the_exit_status_says_that_nothing_is_advised(
    command: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server(serving().raw, [pod("iris-a")], lambda _: (2.0, 0.2))
    assert await command(server, output="json") is Exit.FAILED
    data = json.loads(capsys.readouterr().out)
    assert (data["verdict"], data["concurrency"], data["manifest"]) == ("TooLittleLoad", None, None)
    assert data["samples"] == [
        {
            "pod": "iris-a",
            "mostInFlight": 2.0,
            "inFlight": 2.0,
            "requests": 600,
            "requestsPerSecond": 10.0,
            "p50": "<= 250ms",
            "p95": "<= 250ms",
        }
    ]


async def test_a_model_without_traffic_is_not_guessed_at(
    command: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server(serving().raw, [pod("iris-a")], lambda _: (0.0, 0.1))
    assert await command(server, window=10.0) is Exit.FAILED
    assert "0 requests ended, which is too few to say" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pods", "sleep", "says"),
    [
        ([], "Asleep", "iris sleeps and has no pods: wake it with a request"),
        ([], "Waking", "iris sleeps and has no pods: wake it with a request"),
        ([], None, f"iris has no pods of revision {V2}, which serves: give it some"),
        ([], "Idling", f"iris has no pods of revision {V2}, which serves: give it some"),
        ([pod("iris-a", ready=False)], None, "no pod of iris is ready"),
        ([pod("iris-a", ready=False)], "Waking", "see kubectl ekiben why iris"),
    ],
)
async def test_without_a_ready_pod_nothing_is_waited_for(
    command: Callable[..., Any], pods: list[Json], sleep: str | None, says: str
) -> None:
    state = {"sleep": {"state": sleep, "since": world.ago(60)}} if sleep else {}
    server = Server(serving(**state).raw, pods, ramp)
    with pytest.raises(CommandError, match=says) as problem:
        await command(server)
    assert (problem.value.code, server.now) == (Exit.FAILED, 0.0)


async def test_a_model_that_does_not_exist_is_not_waited_for(command: Callable[..., Any]) -> None:
    server = Server(cast(Json, None), [], ramp)
    with pytest.raises(CommandError, match="there is no ModelDeployment iris") as problem:
        await command(server)
    assert (problem.value.code, server.now) == (Exit.NOT_FOUND, 0.0)


async def test_pods_are_not_counted_where_one_cannot_be_read(
    command: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    others = ("iris-b", "iris-c", "iris-d")
    server = Server(serving().raw, [pod("iris-a"), *map(pod, others)], ramp)
    for name in others:
        server.refused[name] = ApiError(503, "ServiceUnavailable", "no route to host")
    assert await command(server) is Exit.FAILED
    said = capsys.readouterr().out
    assert "note: pod iris-b could not be read all the time: no route to host" in said
    assert (
        "note: how many pods it takes is not said, and there is no YAML: that needs every ready pod" in said
    )
    assert said.startswith('iris: concurrency: "4"')
    assert ("would have been enough" in said, "maxReplicas" in said) == (False, False)


async def test_nor_where_one_could_not_be_read_once(
    command: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def once(look: int) -> tuple[float, float]:
        if look == 6:
            raise ApiError(503, "ServiceUnavailable", "too much to do")
        return ramp(look)

    server = Server(serving().raw, [pod("iris-a")], once)
    assert await command(server, output="json") is Exit.FAILED
    data = json.loads(capsys.readouterr().out)
    assert (data["manifest"], data["pods"]) == (None, {"fewest": None, "most": None, "queued": None})


async def test_a_look_at_which_a_pod_comes_goes_or_begins_anew_counts_no_pods() -> None:
    server = Server(serving().raw, [pod("iris-a")], ramp)

    def change(look: int) -> tuple[float, float]:
        # The pods of this look are listed already.
        if server.now == 10.0:
            server.pods = [pod("iris-a"), pod("iris-b")]
        if server.now == 30.0:
            server.counts.pop("iris-a", None)
        if server.now == 40.0:
            server.pods = [pod("iris-a")]
        return ramp(look)

    server.load = change
    watch = Watch(
        Cluster(cast(Client, server), "shop"), "iris", V2, clock=lambda: server.now, sleep=server.sleep
    )
    await watch.run(60.0)
    # Come at 15 s, begun anew at 30 s, gone at 45 s.
    assert watch.whole() == {1, 2, 4, 5, 7, 8, 10, 11, 12}


async def test_who_may_not_read_pods_is_told_what_it_takes(command: Callable[..., Any]) -> None:
    server = Server(serving().raw, [pod("iris-a")], ramp)
    body = b'{"kind": "Status", "reason": "Forbidden", "message": "pods is forbidden", "code": 403}'
    server.refused["iris-a"] = error_from_response(403, {}, body)
    with pytest.raises(CommandError, match="it takes the verb get of pods/proxy"):
        await command(server)


@pytest.mark.parametrize(
    "body", [b"RBAC: access denied", b'{"reason": "Forbidden", "message": "RBAC: access denied"}']
)
async def test_a_403_of_the_pod_itself_is_no_missing_right(
    command: Callable[..., Any], capsys: pytest.CaptureFixture[str], body: bytes
) -> None:
    server = Server(serving().raw, [pod("iris-a")], ramp)
    server.refused["iris-a"] = error_from_response(403, {}, body)
    assert await command(server) is Exit.FAILED
    said = capsys.readouterr().out
    assert "pod iris-a could not be read all the time: it answered 403: RBAC: access denied" in said


async def test_what_cannot_be_asked_is_said_before_anything_is_watched(command: Callable[..., Any]) -> None:
    server = Server(serving().raw, [pod("iris-a")], ramp)
    with pytest.raises(CommandError, match="10s or more") as problem:
        await command(server, window=5.0)
    assert problem.value.code is Exit.MISUSED
    server.raw = {**server.raw, "status": {}}
    with pytest.raises(CommandError, match="serves nothing yet"):
        await command(server)


@pytest.mark.parametrize(
    ("more", "asked", "limit", "whence"),
    [
        ({}, "300ms", Limit(0.95, 0.3), "--latency"),
        (
            {"autoscaling": {"maxReplicas": 3, "metrics": [{"cpu": "70%"}, {"latency": {"p99": "2s"}}]}},
            None,
            Limit(0.99, 2.0),
            "autoscaling.metrics",
        ),
        (
            {"analysis": {"checks": [{"metric": "slow-requests", "over": "300ms", "max": "2%"}]}},
            None,
            Limit(0.98, 0.3),
            "analysis.checks",
        ),
    ],
)
def test_the_limit_is_the_specs_own(more: Json, asked: str | None, limit: Limit, whence: str) -> None:
    assert limit_of(parse_spec(world.spec("v1", **more)), asked) == (limit, whence)


@pytest.mark.parametrize(
    ("checks", "asked", "says"),
    [
        ([], None, "write --latency 500ms"),
        ([{"metric": "slow-requests", "over": "1s", "maxRatioToStable": "2"}], None, "write --latency 500ms"),
        ([], "0ms", "above zero"),
    ],
)
def test_without_a_limit_one_is_asked_for(checks: list[Json], asked: str | None, says: str) -> None:
    with pytest.raises(CommandError, match=says):
        limit_of(parse_spec(world.spec("v1", analysis={"checks": checks})), asked)


def watched(limit: Limit = LIMIT, **scaling: Any) -> Watched:
    block = Autoscaling.model_validate({"maxReplicas": 10, **scaling}) if scaling else None
    return Watched("iris", V2, limit, "--latency", 60.0, block)


def test_advice_is_printed_with_its_evidence() -> None:
    golden("advise-found", advice_lines(watched(minReplicas=2), advise(SHARED, LIMIT)))
    little = advise(SHARED[:6], LIMIT)
    golden("advise-too-little-load", advice_lines(watched(), little))


@pytest.mark.parametrize(
    ("samples", "verdict", "says"),
    [
        (SHARED[-4:], "OverThroughout", "make less load, or run more pods, and ask again"),
        (
            fixed(lambda _: 0.8, [0.8] * 40),
            "SlowAlone",
            "each is slow by itself, and more pods make it no faster",
        ),
        (
            fixed(lambda load: 0.9 if load < 4 else 0.1, [2, 3, 5, 9] * 5),
            "Unsteady",
            "something else than load",
        ),
        ([], "TooFewRequests", "make load, or take a longer --window"),
    ],
)
def test_what_was_not_seen_is_told_with_what_to_do(samples: Any, verdict: str, says: str) -> None:
    data = as_data(watched(), advise(samples, LIMIT))
    assert (data["verdict"], data["manifest"]) == (verdict, None)
    assert says in data["message"]


def test_the_yaml_keeps_what_goes_with_it() -> None:
    advice = advise(SHARED, LIMIT)
    made = spec_of(watched(minReplicas=0, metrics=[{"cpu": "70%"}, {"concurrency": "99"}]), advice)
    assert made is not None
    scaling = made["spec"]["autoscaling"]
    assert scaling["minReplicas"] == 0
    assert scaling["metrics"][1:] == [{"latency": {"p95": "500ms"}}, {"cpu": "70%"}]
    by_check = spec_of(watched(Limit(0.98, 0.5)), advice)
    assert by_check is not None
    assert len(by_check["spec"]["autoscaling"]["metrics"]) == 1


def test_without_a_service_the_yaml_has_no_bound_of_ones_own() -> None:
    advice = advise(SHARED, LIMIT)
    own = Watched("iris", V2, Limit(0.95, 0.3), "--latency", 60.0, None, service=False)
    made = spec_of(own, advice)
    assert made is not None
    assert made["spec"]["autoscaling"]["metrics"] == [{"concurrency": "3.8"}]
    assert any(
        "the YAML has no latency 300ms: without bento.service" in note for note in notes_of(own, advice)
    )
    for bound in (0.5, 2.5, 60.0):
        common = replace(own, limit=Limit(0.95, bound))
        made = spec_of(common, advice)
        assert made is not None
        assert len(made["spec"]["autoscaling"]["metrics"]) == 2
        assert not any("the YAML has no latency" in note for note in notes_of(common, advice))


def test_a_latency_of_another_quantile_stays() -> None:
    made = spec_of(
        watched(metrics=[{"latency": {"p99": "2s"}}, {"latency": {"p95": "1s"}}]), advise(SHARED, LIMIT)
    )
    assert made is not None
    latencies = made["spec"]["autoscaling"]["metrics"][1:]
    assert latencies == [{"latency": {"p95": "500ms"}}, {"latency": {"p99": "2s"}}]


@pytest.mark.parametrize("engine", ["none", "external"])
def test_that_nothing_scales_by_the_yaml_is_said(engine: str) -> None:
    notes = notes_of(watched(engine=engine), advise(SHARED, LIMIT))
    assert any(f"engine {engine}: nothing scales by the YAML" in note for note in notes)


def test_engine_keda_gives_way_to_one_that_reads_concurrency() -> None:
    keda, advice = watched(engine="keda"), advise(SHARED, LIMIT)
    made = spec_of(keda, advice)
    assert made is not None
    assert made["spec"]["autoscaling"]["engine"] == "hpa"
    assert "engine keda can't read concurrency: the YAML says hpa" in notes_of(keda, advice)


@pytest.mark.parametrize(("now", "kept"), [(2, 3), (3, 3), (10, 10)])
def test_the_yaml_leaves_the_room_that_there_is(now: int, kept: int) -> None:
    block, advice = watched(maxReplicas=now), advise(SHARED, LIMIT)
    made = spec_of(block, advice)
    assert made is not None
    assert made["spec"]["autoscaling"]["maxReplicas"] == kept
    noted = any(
        "keeps maxReplicas 10" in note and "3 would have been" in note for note in notes_of(block, advice)
    )
    assert noted is (now == 10)


def test_keda_and_a_bound_that_pods_lack_are_noted() -> None:
    hours = {"schedule": {"start": "0 8 * * *", "end": "0 9 * * *", "replicas": 2}}
    notes = as_data(watched(metrics=[hours]), advise(SHARED, LIMIT))["notes"]
    assert any(
        "no engine serves concurrency together with prometheus, schedule and" in note for note in notes
    )
    between = Limit(0.95, 0.3)
    notes = as_data(watched(between), advise([sample(0, 2.0, [0.2] * 500)], between))["notes"]
    assert notes[0].startswith("the pods don't count by 300ms")

"""Each strategy on the real cluster: real pods, a real Gateway, real requests."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from e2e.test_operator import model
from ekiben.kube.client import Client
from ekiben.kube.kinds import MODELDEPLOYMENT, POD
from load.client import Target
from rig.models import condition, follow, is_serving, is_settled
from rig.site import Site, apply, failures_logged, kubectl
from rig.traffic import traffic

pytestmark = pytest.mark.cluster

ANALYSIS = {"interval": "1s", "minSamples": 20, "checks": [{"metric": "error-rate", "max": "1%"}]}
PACE = {"scaleDownDelay": "2s", "abortScaleDownDelay": "1s"}
# Prints which version of the model answers a request with one more header; the status where none does.
ASK = """
import sys, urllib.error, urllib.request
url, host, body, name, value = sys.argv[1:]
headers = {"Host": host, "Content-Type": "application/json"} | ({name: value} if name else {})
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers), timeout=10)
    print(answer.headers["x-model-version"])
except urllib.error.HTTPError as refused:
    print(refused.code)
"""


def routed(site: Site, namespace: str, version: str, **spec: Any) -> dict[str, Any]:
    """Return the model behind the Gateway, under a host of the namespace's own."""
    traffic_ = {
        "parentRefs": [{"name": "models", "namespace": "infra"}],
        "hostnames": [f"{namespace}.example.com"],
    }
    return model(site, version, traffic=traffic_, **spec)


async def answering(site: Site, target: Target, header: tuple[str, str] = ("", "")) -> str:
    """Ask once, with a header; return the version that answers."""
    process = await asyncio.create_subprocess_exec(
        *(*site.prefix, sys.executable, "-c", ASK, target.url, target.host, target.body, *header),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().strip()


async def until_answered(site: Site, target: Target, header: tuple[str, str], version: str) -> None:
    """Ask until a version answers: a gateway takes a moment to take a route over."""
    for _ in range(40):
        if await answering(site, target, header) == version:
            return
        await asyncio.sleep(0.5)
    pytest.fail(f"{version} never answered")


def stage(found: dict[str, Any]) -> str | None:
    """Return the stage of the last rollout."""
    return (found["status"].get("rollout") or {}).get("stage")


async def test_a_blue_green_version_that_turns_bad_after_the_switch_goes_back_by_itself(
    site: Site, client: Client, namespace: str
) -> None:
    rollout = PACE | {"strategy": "BlueGreen"}
    spec = {"rollout": rollout, "analysis": ANALYSIS | {"bake": "2m"}}
    await apply(site, namespace, routed(site, namespace, "1.0.0", **spec))
    first = await follow(client, namespace, "iris", is_serving, 120)
    async with traffic(site.target(f"{namespace}.example.com"), 60, site.prefix) as seen:
        await seen.until(lambda now: len(now.answers) > 60, 30)
        since = seen.answers[-1].at
        await apply(site, namespace, routed(site, namespace, "3.0.0", **spec))
        baking = await follow(
            client,
            namespace,
            "iris",
            lambda m: stage(m) == "Baking",
            120,
        )
        bad = baking["status"]["rollout"]["revision"]
        logs = asyncio.create_task(failures_logged(site, namespace, bad))
        back = await follow(client, namespace, "iris", lambda m: is_settled(m, "RolledBack"), 120)
        await seen.until(lambda now: now.answers[-1].version == "1.0.0", 30)
    assert back["status"]["stable"]["revision"] == first["status"]["stable"]["revision"]
    assert [item["revision"] for item in back["status"]["failedRevisions"]] == [bad]
    excused = await logs
    lost = [answer for answer in seen.lost(since) if answer.id not in excused]
    assert excused
    assert not lost, lost[:3]


async def test_recreate_never_has_pods_of_two_versions_ready(
    site: Site, client: Client, namespace: str
) -> None:
    spec = {"rollout": PACE | {"strategy": "Recreate"}, "analysis": ANALYSIS}
    await apply(site, namespace, model(site, "1.0.0", **spec))
    first = await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted"), 120)
    together: list[set[str]] = []

    async def look() -> None:
        while True:
            pods, _ = await client.list(POD, namespace, label_selector="ekiben.dev/model=iris")
            together.append(
                {pod["metadata"]["labels"]["ekiben.dev/revision"] for pod in pods if _is_ready(pod)}
            )
            await asyncio.sleep(0.2)

    looking = asyncio.create_task(look())
    # One look at least on both sides of the change.
    await asyncio.sleep(2)
    await apply(site, namespace, model(site, "2.0.0", **spec))
    gap = await follow(
        client, namespace, "iris", lambda m: condition(m, "Ready").get("reason") == "Recreating", 120
    )
    second = await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted"), 120)
    await asyncio.sleep(2)
    looking.cancel()
    assert condition(gap, "Ready")["status"] == "False"
    assert second["status"]["stable"]["revision"] != first["status"]["stable"]["revision"]
    assert max(map(len, together)) == 1
    assert set().union(*together) == {
        first["status"]["stable"]["revision"],
        second["status"]["stable"]["revision"],
    }


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


async def test_testers_reach_the_canary_by_a_header_before_anybody_else(
    site: Site, client: Client, namespace: str
) -> None:
    header = ("x-canary", "always")
    steps = [{"headers": [{"name": header[0], "value": header[1]}]}, {"pause": {}}]
    spec = {"rollout": PACE | {"canary": {"steps": steps}}, "analysis": ANALYSIS}
    await apply(site, namespace, routed(site, namespace, "1.0.0", **spec))
    await follow(client, namespace, "iris", is_serving, 120)
    target = site.target(f"{namespace}.example.com")
    await until_answered(site, target, header, "1.0.0")
    await apply(site, namespace, routed(site, namespace, "2.0.0", **spec))
    paused = await follow(client, namespace, "iris", lambda m: stage(m) == "Paused", 120)
    await until_answered(site, target, header, "2.0.0")
    assert {await answering(site, target) for _ in range(5)} == {"1.0.0"}
    abort = json.dumps({"spec": {"rollout": {"abort": paused["status"]["rollout"]["id"]}}})
    await kubectl(
        site, *("patch", "mdep", "iris", "--namespace", namespace, "--type=merge", "--patch", abort)
    )
    await follow(client, namespace, "iris", lambda m: is_settled(m, "Aborted"), 60)
    await until_answered(site, target, header, "1.0.0")


async def test_a_changed_config_map_is_rolled_out_like_an_image(
    site: Site, client: Client, namespace: str
) -> None:
    def flags(value: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "flags"},
            "data": {"threshold": value},
        }

    env = [
        {"name": "THRESHOLD", "valueFrom": {"configMapKeyRef": {"name": "flags", "key": "threshold"}}},
    ]
    wanted = model(site, "1.0.0", env=env, rollout=PACE | {"canary": {"steps": [{"pause": {}}]}})
    wanted["spec"]["bento"]["trackedConfig"] = [{"configMap": "flags"}]
    await apply(site, namespace, flags("0.7"), wanted)
    first = await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted"), 120)
    await apply(site, namespace, flags("0.9"))
    paused = await follow(client, namespace, "iris", lambda m: stage(m) == "Paused", 120)
    seen = {}
    for side in ("stable", "canary"):
        revision = paused["status"][side]["revision"]
        selector = f"--selector=ekiben.dev/revision={revision}"
        pod = await kubectl(site, "get", "pods", "--namespace", namespace, selector, "--output=name")
        command = ("exec", pod.split()[0], "--namespace", namespace, "--container=bento", "--", "printenv")
        seen[side] = (await kubectl(site, *command, "THRESHOLD")).strip()
    assert seen == {"stable": "0.7", "canary": "0.9"}
    assert paused["status"]["stable"]["revision"] == first["status"]["stable"]["revision"]
    assert await client.get(MODELDEPLOYMENT, namespace, "iris")

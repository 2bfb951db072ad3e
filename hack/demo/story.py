"""The demo's acts, in order; each one waits for what it shows and fails when it does not come."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import yaml

from demo.picture import Moment, draw, moment
from demo.screen import Screen
from ekiben.kube.client import Client, Manifest
from ekiben.kube.kinds import HPA
from load.client import Answer
from rig.models import follow, is_serving, is_settled
from rig.site import ROOT, Site, apply, failures_logged, install_operator, kubectl, open_site
from rig.traffic import Traffic, traffic

MODEL = "iris"
EXAMPLE = ROOT / "examples" / "iris.yaml"
# Requests per second more for each pod, added until the autoscaler sees over 80% of the CPU that it asks for:
# a fast machine needs more of them than a slow one can bear.
BURST = 20.0
BURSTS, BURST_SECONDS = 4, 60.0
SETTLE_SECONDS = 3.0
PICTURE = ROOT / ".local" / "demo.svg"


class DemoFailedError(RuntimeError):
    """Something that the demo promises was not seen."""


@dataclass
class Story:
    """What the acts share: the cluster, the screen, and what was measured on the way."""

    site: Site
    client: Client
    namespace: str
    screen: Screen
    times: dict[str, float] = field(default_factory=dict)
    excused: set[str] = field(default_factory=set)
    moments: list[Moment] = field(default_factory=list)

    async def timed(self, title: str, act: Callable[[], Awaitable[None]]) -> None:
        """Run one act under its title and remember how long it took."""
        self.screen.act(title)
        start = time.monotonic()
        await act()
        self.times[title] = time.monotonic() - start

    async def apply(self, version: str) -> None:
        """Apply the example with another version, as a user or a GitOps tool would."""
        manifest = yaml.safe_load(EXAMPLE.read_text())
        image = self.site.image(version)
        manifest["spec"]["bento"]["image"] = image
        self.screen.say(f"$ kubectl apply -f {EXAMPLE.relative_to(ROOT)}   # image: {image}")
        await apply(self.site, self.namespace, manifest)

    async def follow(self, done: Callable[[Manifest], bool], seconds: float) -> Manifest:
        """Show the model's rows until it is as wanted."""
        return await follow(self.client, self.namespace, MODEL, done, seconds, self._show)

    def _show(self, model: Manifest) -> None:
        self.moments.append(moment(time.time(), model))
        self.screen.row(model)


async def tell(namespace: str, rate: float) -> None:
    """Tell the whole story; raises DemoFailedError where reality differs from it."""
    screen = Screen()
    screen.act("A real Kubernetes on this machine")
    start = time.monotonic()
    site = await asyncio.to_thread(open_site)
    client = await Client.connect(site.kubeconfig, user_agent="ekiben-demo")
    story = Story(site, client, namespace, screen)
    story.times["cluster and images"] = time.monotonic() - start
    try:
        await story.timed("Install the operator with its chart", lambda: _install(story))
        await story.timed("Serve v1", lambda: _serve(story))
        target = site.target(_host())
        async with traffic(target, rate, site.prefix) as seen:
            await seen.until(lambda now: len(now.answers) >= rate, 30)
            await story.timed("Roll v2 out, step by step", lambda: _promote(story, seen))
            await story.timed("Autoscale under load", lambda: _autoscale(story))
            await story.timed("Roll v3 out, which fails one request in five", lambda: _roll_back(story, seen))
        _account(story, seen)
    finally:
        await client.close()


def _host() -> str:
    return str(yaml.safe_load(EXAMPLE.read_text())["spec"]["traffic"]["hostnames"][0])


async def _install(story: Story) -> None:
    await install_operator(story.site)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": story.namespace}}
    await apply(story.site, story.namespace, namespace)
    # A model that an earlier demo left would make this one a different story.
    await kubectl(
        story.site, "delete", "mdep", MODEL, "--namespace", story.namespace, "--ignore-not-found", "--wait"
    )
    await kubectl(
        story.site, "delete", "pods", "--namespace", story.namespace, "--all", "--wait", "--timeout=90s"
    )


async def _serve(story: Story) -> None:
    await story.apply("1.0.0")
    await story.follow(is_serving, 120)


async def _promote(story: Story, seen: Traffic) -> None:
    await story.apply("2.0.0")
    await story.follow(lambda m: is_settled(m, "Promoted"), 180)
    # The gateway learns of the Service's new pods a moment after the route; until then old ones may answer.
    await asyncio.sleep(SETTLE_SECONDS)
    since = time.time()
    await seen.until(lambda now: len(now.since(since)) >= 50, 15)
    answered = seen.versions(since)
    if set(answered) != {"2.0.0"}:
        raise DemoFailedError(f"after the promotion these versions answered: {dict(answered)}")


async def _autoscale(story: Story) -> None:
    model = await story.follow(lambda m: True, 10)
    name = f"{MODEL}-{model['status']['stable']['revision']}"
    # The old revision's pods go first; then every further pod is the autoscaler's.
    model = await story.follow(lambda m: not (m["status"].get("retiring") or ()), 60)
    before = model["status"]["stable"]["replicas"]
    async with contextlib.AsyncExitStack() as sending:
        bursts = []
        for number in range(1, BURSTS + 1):
            rate = BURST * before
            story.screen.say(f"sending {rate:.0f} requests per second more to {before} pods")
            burst = traffic(story.site.target(_host()), rate, story.site.prefix)
            bursts.append(await sending.enter_async_context(burst))
            try:
                await story.follow(lambda m: m["status"]["stable"]["readyReplicas"] > before, BURST_SECONDS)
                break
            except TimeoutError:
                if number == BURSTS:
                    raise
        autoscaler = await story.client.get(HPA, story.namespace, name) or {}
    metrics = autoscaler.get("status", {}).get("currentMetrics") or [{}]
    usage = metrics[0].get("containerResource", {}).get("current", {}).get("averageUtilization")
    lost = [answer for burst in bursts for answer in burst.lost()]
    story.screen.say(f"the autoscaler saw {usage}% CPU and added a pod; {len(lost)} requests lost")
    if lost:
        raise DemoFailedError(f"{len(lost)} requests more were lost, the first one: {lost[0]}")


async def _roll_back(story: Story, seen: Traffic) -> None:
    since = time.time()
    await story.apply("3.0.0")
    model = await story.follow(lambda m: (m["status"].get("canary") or {}).get("readyReplicas", 0) > 0, 120)
    canary = model["status"]["canary"]["revision"]
    logs = asyncio.create_task(failures_logged(story.site, story.namespace, canary))
    await story.follow(lambda m: is_settled(m, "RolledBack"), 120)
    await asyncio.sleep(1)
    story.excused |= await logs
    errors = [answer for answer in seen.lost(since) if answer.status >= 500]
    story.screen.say(f"v3 answered {len(errors)} requests with an error before its weight was 0 again")
    if not errors:
        raise DemoFailedError("v3 was rolled back without a single error seen: that can't be why")


def _account(story: Story, seen: Traffic) -> None:
    """Account for every request: lost ones must be exactly those that v3 says it failed."""
    lost: list[Answer] = seen.lost()
    unexplained = [answer for answer in lost if answer.id not in story.excused]
    unseen = story.excused - {answer.id for answer in lost}
    PICTURE.parent.mkdir(exist_ok=True)
    draw(PICTURE, seen.answers, story.moments)
    story.screen.account(story.times, len(seen.answers), len(lost) - len(unexplained), len(unexplained))
    story.screen.goodbye(story.namespace, MODEL, PICTURE.relative_to(ROOT))
    if unexplained:
        raise DemoFailedError(f"{len(unexplained)} requests were lost, the first one: {unexplained[0]}")
    if unseen:
        raise DemoFailedError(f"v3 logged {len(unseen)} failures that no caller saw")

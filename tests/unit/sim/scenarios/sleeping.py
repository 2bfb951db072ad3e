"""Scale to zero: who goes to sleep and when, who holds the requests meanwhile, and what wakes a model."""

from __future__ import annotations

from typing import Any

from ekiben.api.sleeping import Activation
from ekiben.api.status import Stage
from ekiben.asking.asker import UnansweredError
from ekiben.core.idleness import LastRequest
from unit.sim.activator import SLICE
from unit.sim.scenario import STEPS, canary_spec, expect, scenario, serve
from unit.sim.world import World, service_spec

SCALING: dict[str, Any] = {"minReplicas": 0, "maxReplicas": 4, "idleAfter": "60s"}
ROLLOUT: dict[str, Any] = {"canary": {"steps": STEPS}, "scaleDownDelay": "5s"}
SLEEPER = canary_spec(autoscaling=SCALING, rollout=ROLLOUT)
ALONE = service_spec(autoscaling=SCALING, rollout={"scaleDownDelay": "5s"})


def state(world: World) -> str:
    """Return the state of the model's sleep, as its status says."""
    return world.status.sleep.state if world.status.sleep else "Awake"


def fall_asleep(world: World) -> None:
    """Let the first revision come up, serve a little, and go to sleep."""
    world.set_activators("10.9.0.1", "10.9.0.2")
    world.until_settled(within=600)
    world.traffic.burst(10)
    sleep_on(world)


def sleep_on(world: World) -> None:
    """Let the model go to sleep for want of requests, until its pods are gone."""
    world.until(lambda: state(world) == "Asleep" and not world.nodes.pods, within=300)
    world.run(1)


def ask(world: World, requests: float = 1) -> None:
    """Send requests, and wait until they are answered."""
    world.say(f"{requests:g} requests come")
    world.traffic.burst(requests)
    world.until(lambda: state(world) == "Awake", within=120)


@scenario(SLEEPER)
def asleep_and_awake_again(world: World) -> None:
    """Without requests the pods go; 500 at once are held, wake the model, and all are answered."""
    fall_asleep(world)
    assert (world.condition("Ready"), world.condition("Settled")) == ("True/Asleep", "True/Promoted")
    assert world.pods("v1") == (0, 0)
    world.run(600)
    ask(world, 500)
    assert world.pods("v1") == (1, 1)
    world.until(lambda: SLICE not in world.server.objects, within=10)
    sleep_on(world)


@scenario(ALONE)
def asleep_without_a_gateway(world: World) -> None:
    """The Service alone leads to the activator, and back to the pods."""
    fall_asleep(world)
    ask(world, 20)
    sleep_on(world)


@scenario(SLEEPER)
def awake_while_requests_come(world: World) -> None:
    """A model that is asked now and then stays awake, and each look at its pods comes when it may be idle."""
    world.set_activators("10.9.0.1")
    world.until_settled(within=600)
    for _ in range(8):
        world.run(40)
        world.traffic.burst(1)
        assert state(world) == "Awake"
    sleep_on(world)


@scenario(SLEEPER)
def a_request_while_it_idles_keeps_it_awake(world: World) -> None:
    """What comes between the two looks at the pods is served by them, and they stay."""
    world.set_activators("10.9.0.1")
    world.until_settled(within=600)
    world.until(lambda: state(world) == "Idling", within=300)
    world.run(5)
    world.say("a request comes")
    world.traffic.burst(1)
    world.until(lambda: state(world) == "Awake", within=30)
    assert world.pods("v1") == (1, 1)
    sleep_on(world)


@scenario(SLEEPER)
def a_request_as_the_last_pod_goes_wakes_it_again(world: World) -> None:
    """A request that comes when the pod has just been told to go is held, and a new pod answers it."""
    world.set_activators("10.9.0.1")
    world.until_settled(within=600)
    world.until(lambda: state(world) == "Asleep" and world.pods("v1") == (0, 0), within=300)
    ask(world)


@scenario(SLEEPER)
def a_pod_about_to_go_is_not_counted_on(world: World) -> None:
    """A pod still ready when its model has to wake may be about to go; requests are held until another is."""
    world.set_activators("10.9.0.1")
    world.deployments.tells_after = 3.0
    world.until_settled(within=600)
    world.until(lambda: state(world) == "Asleep" and world.replicas("v1") == 0, within=300)
    world.run(0.1)
    world.edit("autoscaling.minReplicas", 1)
    world.traffic.rate = 20
    world.until(lambda: state(world) == "Awake", within=120)
    assert world.pods("v1") == (1, 1)
    world.until(lambda: SLICE not in world.server.objects, within=10)
    world.traffic.rate = 0


@scenario(SLEEPER)
def never_ready_never_asleep(world: World) -> None:
    """A first revision that does not get ready is not idled away: whoever looks must see it."""
    world.set_activators("10.9.0.1")
    world.behave("v1", never_ready=True)
    world.run(600)
    assert (state(world), world.pods("v1")) == ("Awake", (0, 1))


@scenario(SLEEPER)
def without_an_activator_one_pod_stays(world: World) -> None:
    """Where nobody could hold a request no model goes to sleep, and the status says what to do."""
    world.until_settled(within=600)
    world.run(600)
    assert (state(world), world.pods("v1")) == ("Awake", (1, 1))
    assert world.condition("Reconciling") == "False/ActivatorMissing"
    world.set_activators("10.9.0.1")
    sleep_on(world)


@scenario(SLEEPER)
def a_release_wakes_both_versions(world: World) -> None:
    """A new revision wakes the old one first; nobody sleeps while they are compared."""
    fall_asleep(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 1)
    assert (state(world), world.pods("v1"), world.pods("v2")) == ("Awake", (1, 1), (1, 1))
    world.run(300)
    assert (state(world), world.pods("v1"), world.pods("v2")) == ("Awake", (1, 1), (1, 1))
    world.say("requests come")
    world.traffic.rate = 50
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")
    world.traffic.rate = 0
    sleep_on(world)


@scenario(SLEEPER)
def a_release_need_not_wait_for_a_version_that_does_not_wake(world: World) -> None:
    """Where the old version does not get ready again, the new one takes its place."""
    fall_asleep(world)
    world.behave("v1", pullable=False)
    world.release("v2")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted")


def canaried(most: int, wake_timeout: str) -> dict[str, Any]:
    """Return an autoscaling block whose changes are canaried."""
    return SCALING | {"canary": True, "maxReplicas": most, "activation": {"wakeTimeout": wake_timeout}}


@scenario(canary_spec(autoscaling=canaried(4, "2m"), rollout=ROLLOUT))
def held_by_the_block_that_serves(world: World) -> None:
    """A block that holds requests for a moment only goes back: they are held by the old one, and answered."""
    world.set_activators("10.9.0.1", "10.9.0.2")
    world.behave("v2", errors=0.2)
    serve(world, rate=50.0)
    world.release("v2")
    world.edit("autoscaling", canaried(5, "1s"))
    world.until_settled()
    expect(world, stable="v1/max4", outcome="RolledBack")
    world.traffic.rate = 0
    sleep_on(world)
    assert world.status.sleep is not None
    assert world.status.sleep.activation == Activation(max_held=1000, wake_timeout="2m")
    ask(world, 20)
    assert world.pods("v1/max4") == (1, 1)


@scenario(SLEEPER)
def minimum_raised_while_asleep(world: World) -> None:
    """With minReplicas above zero the pods come back, and the activator leaves the path."""
    fall_asleep(world)
    world.edit("autoscaling", {"minReplicas": 2, "maxReplicas": 4})
    world.until(lambda: world.pods("v1") == (2, 2), within=120)
    world.until(lambda: state(world) == "Awake" and SLICE not in world.server.objects, within=30)


@scenario(SLEEPER)
def autoscaling_taken_away_while_asleep(world: World) -> None:
    """Without autoscaling the model has its replicas again."""
    fall_asleep(world)
    world.edit("autoscaling", None)
    world.until(lambda: world.pods("v1") == (4, 4), within=120)


@scenario(SLEEPER)
def an_activator_pod_that_goes_leaves_the_slice(world: World) -> None:
    """The slice names the activator's pods that there are."""
    fall_asleep(world)
    world.set_activators("10.9.0.2")
    world.run(10)
    assert [item["addresses"] for item in world.server.objects[SLICE]["endpoints"]] == [["10.9.0.2"]]
    ask(world, 5)


@scenario(SLEEPER)
def asleep_without_an_activator_for_long_it_wakes(world: World) -> None:
    """An activator may restart; one that stays away leaves requests to nobody, so the pods come back."""
    fall_asleep(world)
    world.set_activators()
    world.run(30)
    assert (state(world), world.condition("Ready")) == ("Asleep", "False/ActivatorMissing")
    world.run(60)
    assert (state(world), world.pods("v1")) == ("Awake", (1, 1))


@scenario(SLEEPER)
def asleep_when_the_activator_is_uninstalled(world: World) -> None:
    """Without an activator in the chart the pods come back at once."""
    fall_asleep(world)
    world.set_activators(installed=False)
    world.run(20)
    assert (state(world), world.pods("v1"), SLICE in world.server.objects) == ("Awake", (1, 1), False)


@scenario(SLEEPER)
def status_lost_while_asleep(world: World) -> None:
    """A lost status does not strand the model: it wakes, and sleeps again when nobody asks."""
    fall_asleep(world)
    world.lose_status()
    world.until(lambda: world.pods("v1") == (1, 1), within=60)
    sleep_on(world)
    ask(world)


@scenario(SLEEPER)
def deleted_while_asleep(world: World) -> None:
    """A model that is deleted in its sleep is not woken; its children go with it."""
    fall_asleep(world)
    world.say("user deletes the model")
    world.server.delete_model()
    world.run(120)
    assert world.pods("v1") == (0, 0)


@scenario(SLEEPER)
def pods_that_cannot_be_read_are_not_idle(world: World) -> None:
    """No answer is no idleness: the pods stay until they can be asked."""
    world.set_activators("10.9.0.1")
    world.until_settled(within=600)

    def mute(question: object) -> object:
        raise UnansweredError("can't be read", "MetricsUnreachable")

    world.answer(LastRequest, mute)
    world.run(600)
    assert (state(world), world.pods("v1")) == ("Awake", (1, 1))
    world.answer(LastRequest, world.activator.last_request)
    world.say("they can be read again")
    sleep_on(world)

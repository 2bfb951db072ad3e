"""Canaries that a Job judges: its exit status, its deadline, and what becomes of it."""

from __future__ import annotations

from typing import Any

from ekiben.api.status import Stage
from ekiben.core.snapshot import Ref
from unit.sim.scenario import canary_spec, expect, scenario, serve
from unit.sim.scenarios.judging import expect_rolled_back
from unit.sim.world import World

GOLDEN: dict[str, Any] = {
    "name": "golden-set",
    "job": {"image": "registry.example.com/golden:3", "args": ["--revision", "{{canary.revision}}"]},
}
ERRORS = {"metric": "error-rate", "max": "1%"}
BY_JOB = canary_spec(analysis={"checks": [ERRORS, GOLDEN]})


@scenario(BY_JOB)
def promoted_by_a_job(world: World) -> None:
    """One Job in each step, told the canary's revision; the last rollout's stay until the next begins."""
    serve(world)
    world.release("v2")
    world.until_stage(Stage.HOLDING, 2)
    assert world.rollout is not None
    revision = world.rollout.revision
    world.until(lambda: len(world.jobs.begun) == 2)
    first = world.server.objects[Ref("Job", world.jobs.begun[0])]
    (container,) = first["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["--revision", revision]
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])
    kept = world.jobs.live()
    assert kept == sorted(world.jobs.begun)
    world.release("v3")
    world.until_stage(Stage.HOLDING, 1)
    assert not set(kept) & set(world.jobs.live())
    world.until_settled()
    expect(world, stable="v3", outcome="Promoted", failed=[])


@scenario(BY_JOB)
def failed_job_rolled_back(world: World) -> None:
    """A Job that ends with another exit status rolls the canary back, and says which."""
    world.jobs.ends = "PodFailurePolicy"
    serve(world)
    world.release("v2")
    world.until_settled(within=300)
    expect_rolled_back(world, "JobFailed")
    (failed,) = world.status.failed_revisions
    assert "failed with exit code 3" in failed.message
    assert len(world.jobs.begun) == 1


@scenario(canary_spec(analysis={"failureLimit": 3, "checks": [ERRORS, GOLDEN]}))
def a_failed_job_is_not_forgiven(world: World) -> None:
    """failureLimit waits for another look, and a Job has none."""
    world.jobs.ends = "PodFailurePolicy"
    serve(world)
    world.release("v2")
    world.until_settled(within=300)
    expect_rolled_back(world, "JobFailed")


@scenario(BY_JOB)
def a_job_without_end_is_an_error(world: World) -> None:
    """A Job that its deadline ends judges nobody: the step waits; deleted, it runs again."""
    world.jobs.ends, world.jobs.takes = "DeadlineExceeded", 600.0
    serve(world)
    world.release("v2")
    world.until(lambda: world.condition("Reconciling") == "True/CheckError", within=1300)
    expect(world, failed=[])
    world.run(300)
    assert world.condition("Reconciling") == "True/CheckError"
    world.jobs.ends, world.jobs.takes = "", 5.0
    (name,) = world.jobs.live()
    world.say("user deletes the Job")
    world.jobs.begun.clear()
    ref = Ref("Job", name)
    world.server.delete(ref, world.server.objects[ref]["metadata"]["uid"])
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])


@scenario(canary_spec(analysis={"consecutiveErrorLimit": 5, "checks": [ERRORS, GOLDEN]}))
def a_job_without_end_fails_in_the_end(world: World) -> None:
    """With consecutiveErrorLimit it fails the canary after so many looks at what is left of it."""
    world.jobs.ends = "DeadlineExceeded"
    serve(world)
    world.release("v2")
    world.until_settled(within=600)
    expect_rolled_back(world, "CheckError")


@scenario(BY_JOB)
def a_job_of_a_rollout_that_is_given_up_goes(world: World) -> None:
    """A Job that still runs when its rollout is aborted is deleted; nobody waits for it."""
    world.jobs.takes = 3600.0
    serve(world)
    world.release("v2")
    world.until(lambda: len(world.jobs.live()) == 1, within=120)
    world.run(300)
    assert world.condition("Reconciling") == "True/Analysing"
    world.command("abort")
    world.until_settled(within=120)
    expect(world, stable="v1", outcome="Aborted")
    assert world.jobs.live() == []


@scenario(canary_spec(analysis={"checks": [ERRORS, {**GOLDEN, "dryRun": True}]}))
def dry_run_of_a_job_decides_nothing(world: World) -> None:
    """A Job that is a dry run is told, and keeps nobody waiting."""
    world.jobs.ends = "PodFailurePolicy"
    serve(world)
    world.release("v2")
    world.until_settled()
    expect(world, stable="v2", outcome="Promoted", failed=[])

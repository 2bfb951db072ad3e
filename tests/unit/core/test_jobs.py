"""The Job of a check: what runs, what its end means, and when it goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ekiben.api.judging import Check
from ekiben.api.status import Stage
from ekiben.core import jobs, names, sources
from ekiben.core.snapshot import Manifest, Ref
from ekiben.core.view import View
from ekiben.ownership import is_child_name
from unit.core.test_sources import view_of

JOB: dict[str, Any] = {
    "image": "registry.example.com/golden:3",
    "command": ["/golden"],
    "args": ["--revision={{canary.revision}}", "--stable={{stable.revision}}"],
    "env": [
        {"name": "MODEL", "value": "{{model.namespace}}/{{model.name}}"},
        {"name": "TOKEN", "secret": {"name": "golden", "key": "token"}},
    ],
    "resources": {"requests": {"cpu": "500m"}},
    "deadline": "15m",
}


def check(**parts: Any) -> Check:
    """Build a check by a Job."""
    return Check.model_validate({"name": "golden", "job": JOB} | parts)


def made(view: View) -> Manifest:
    """Render the only Job that is to be made."""
    ((_, _, render),) = jobs.missing_jobs(view)
    return render()


def with_job(view: View, *conditions: dict[str, str], rollout: str = "") -> View:
    """Let the Job be there, ended so."""
    job = made(view)
    if rollout:
        job["metadata"]["labels"][names.ROLLOUT] = rollout
    live = {Ref("Job", job["metadata"]["name"]): {**job, "status": {"conditions": [*conditions]}}}
    return View(replace(view.snapshot, live=live), view.spec, view.status, view.wanted)


def ended(kind: str, reason: str = "", message: str = "") -> dict[str, str]:
    """Write how a Job ended."""
    return {"type": kind, "status": "True", "reason": reason, "message": message}


def test_a_job_runs_once_within_its_deadline_with_everything_filled_in() -> None:
    view = view_of(check(), step=1)
    job = made(view)
    assert view.rollout is not None
    revision = view.rollout.revision
    spec = job["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 900)
    (container,) = spec["template"]["spec"]["containers"]
    assert container["command"] == ["/golden"]
    assert container["args"] == [f"--revision={revision}", f"--stable={'s' * 10}"]
    assert container["env"] == [
        {"name": "MODEL", "value": "shop/iris"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "golden", "key": "token"}}},
    ]
    assert job["metadata"]["labels"][names.ROLLOUT] == view.rollout.id
    assert job["metadata"]["ownerReferences"][0]["uid"] == "uid"


def test_its_pod_is_restricted_and_nobody_takes_it_for_a_pod_of_the_model() -> None:
    template = made(view_of(check()))["spec"]["template"]
    assert names.MODEL not in template["metadata"]["labels"]
    assert names.MANAGED_BY not in template["metadata"]["labels"]
    pod = template["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [set(volume) for volume in pod["volumes"]] == [{"name", "emptyDir"}]


def test_its_name_fits_is_a_childs_and_differs_by_step_and_check() -> None:
    first, other = check(), check(name="other")
    view = view_of(first, other)
    refs = {jobs.ref_of_job(view, item) for item in (first, other)}
    refs.add(jobs.ref_of_job(view_of(first, initialDelay="2m"), first))
    assert len(refs) == 3
    for ref in refs:
        assert is_child_name(ref, "iris")
        assert len(names.revision_child("m" * 40, ref.name.removeprefix("iris-"))) <= 63


VERDICTS = {
    "it runs": ((), "Waiting", "runs"),
    "it has begun": (({"type": "Failed", "status": "False"},), "Waiting", "runs"),
    "it ended well": ((ended("Complete"),), "Pass", "ended with exit status 0"),
    "it ended badly": ((ended("Failed", "PodFailurePolicy", "exit code 3"),), "Fail", "failed: exit code 3"),
    "it failed without a word": ((ended("Failed", "BackoffLimitExceeded"),), "Fail", "BackoffLimitExceeded"),
    "it took too long": ((ended("Failed", "DeadlineExceeded"),), "Error", "did not end within its deadline"),
    "it is about to end": ((ended("SuccessCriteriaMet"),), "Waiting", "runs"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_how_it_ends_is_the_verdict(name: str) -> None:
    conditions, verdict, said = VERDICTS[name]
    result = sources.judge(with_job(view_of(check()), *conditions), check(), None)
    assert result.verdict == verdict
    assert said in result.message
    assert len(result.message) < 500


def test_a_job_that_is_not_there_yet_is_waited_for_and_one_that_is_is_not_made_again() -> None:
    view = view_of(check())
    assert sources.judge(view, check(), None).verdict == "Waiting"
    assert list(jobs.missing_jobs(with_job(view))) == []


GOES = {
    "not while it runs for this step": (Stage.HOLDING, (), "", 0),
    "not when it has ended": (Stage.HOLDING, (ended("Complete"),), "", 0),
    "not for its logs, when the rollout is over": (Stage.OVER, (ended("Complete"),), "", 0),
    "when its rollout is given up while it runs": (Stage.ABORTING, (), "", 1),
    "not when it has the very name that is wanted": (Stage.HOLDING, (ended("Complete"),), "other.1", 0),
    "when another rollout is on its way": (Stage.PREPARING, (ended("Complete"),), "other.1", 1),
}


@pytest.mark.parametrize("name", GOES)
def test_when_it_goes(name: str) -> None:
    stage, conditions, rollout, count = GOES[name]
    seen = with_job(view_of(check()), *conditions, rollout=rollout)
    later = view_of(check(), stage=stage)
    view = View(replace(later.snapshot, live=seen.snapshot.live), later.spec, later.status, later.wanted)
    assert len(list(jobs.unwanted_jobs(view))) == count


def test_words_that_nobody_knows_make_no_job() -> None:
    item = check(job=JOB | {"args": ["{{args.x}}"]})
    view = view_of(item)
    assert list(jobs.missing_jobs(view)) == []
    result = sources.judge(view, item, None)
    assert (result.verdict, result.message[:38]) == ("Error", "golden {{args.x}} is nothing that is k")

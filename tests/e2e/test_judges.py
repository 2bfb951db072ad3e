"""Judges of others on the real cluster: a server, a Job by its exit status, a gate that somebody opens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.test_operator import model
from ekiben.kube.client import Client
from ekiben.kube.kinds import JOB
from rig.models import condition, follow, is_settled
from rig.site import ROOT, Site, apply, install_operator, kubectl

pytestmark = pytest.mark.cluster

PACE = {"scaleDownDelay": "2s", "abortScaleDownDelay": "1s"}
STEPS = {"canary": {"steps": [{"weight": 50, "hold": "1s"}]}}
SCORES = {"good.json": 0.95, "bad.json": 0.5}
# Asks the canary about a flower that it must know; the exit status says whether it does.
GOLDEN = """
import json, sys, urllib.request
url, wanted = sys.argv[1:]
body = json.dumps({"flowers": [[5.1, 3.5, 1.4, 0.2]]}).encode()
headers = {"Content-Type": "application/json"}
answer = json.load(urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10))
sys.exit(0 if answer == [wanted] else 3)
"""
OPEN = "import sys, urllib.request as r; r.urlopen(r.Request(sys.argv[1], method='PUT'), timeout=10)"


@pytest.fixture(scope="module")
def judged(site: Site) -> Iterator[Site]:
    """The cluster with an operator that may call what runs in it."""
    asyncio.run(install_operator(site, ("--set", "calls.hosts={*.svc}")))
    yield site
    asyncio.run(install_operator(site))


def judges(site: Site) -> list[dict[str, Any]]:
    """Return the example gate, and a server of scores, in one pod of the image that is there anyway."""
    files = {name: json.dumps({"score": score}) for name, score in SCORES.items()}
    files["server.py"] = (ROOT / "examples/gate/server.py").read_text()
    ports = {"gate": 8080, "scores": 8081}
    commands = {
        "gate": ["python", "/judges/server.py", "--port=8080"],
        "scores": ["python", "-m", "http.server", "--directory=/judges", "8081"],
    }
    containers = [
        {
            "name": name,
            "image": site.image("1.0.0"),
            "command": commands[name],
            "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
            "volumeMounts": [{"name": "judges", "mountPath": "/judges"}],
        }
        for name, port in ports.items()
    ]
    about = {"name": "judges"}
    labels = {"app": "judges"}
    volumes = [{"name": "judges", "configMap": about}]
    # A first process takes no notice of SIGTERM unless it says otherwise.
    pod = {"containers": containers, "volumes": volumes, "terminationGracePeriodSeconds": 1}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": files},
        {"apiVersion": "v1", "kind": "Pod", "metadata": about | {"labels": labels}, "spec": pod},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": about,
            "spec": {
                "selector": labels,
                "ports": [{"name": name, "port": port} for name, port in ports.items()],
            },
        },
    ]


def analysis(site: Site, namespace: str, score: str = "good.json", flower: str = "setosa") -> dict[str, Any]:
    """Return checks of a score that a server tells, and of a Job that asks the canary about a flower."""
    url = f"http://{{{{canary.service}}}}.{namespace}:3000/predict"
    golden = {"image": site.image("1.0.0"), "command": ["python", "-c", GOLDEN], "args": [url, flower]}
    scored = {"url": f"http://judges.{namespace}.svc:8081/{score}", "jsonPath": "$.score"}
    checks = [{"name": "score", "min": "0.9", "web": scored}, {"name": "golden", "job": golden}]
    return {"interval": "1s", "checks": checks}


async def serving(site: Site, client: Client, namespace: str, **spec: Any) -> str:
    """Bring judges and the first version up; return its revision."""
    await apply(site, namespace, *judges(site), model(site, "1.0.0", **spec))
    first = await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted"), 120)
    await kubectl(site, "wait", "pod/judges", "--for=condition=Ready", f"--namespace={namespace}")
    return str(first["status"]["stable"]["revision"])


async def test_a_server_and_a_job_pass_a_version_and_a_gate_lets_it_through(
    judged: Site, client: Client, namespace: str
) -> None:
    site = judged
    gate = {
        "name": "change",
        "url": f"http://judges.{namespace}.svc:8080/",
        "when": "BeforePromotion",
        "interval": "1s",
    }
    spec = {"rollout": PACE | STEPS | {"gates": [gate]}, "analysis": analysis(site, namespace)}
    first = await serving(site, client, namespace, **spec)
    await apply(site, namespace, model(site, "2.0.0", **spec))

    def is_shut(found: dict[str, Any]) -> bool:
        said = condition(found, "Reconciling")
        return said.get("reason") == "GateShut" and "gate change is shut (409" in said["message"]

    shut = await follow(client, namespace, "iris", is_shut, 120)
    assert shut["status"]["stable"]["revision"] == first
    checks = {check["metric"]: check for check in shut["status"]["rollout"]["checks"]}
    assert {name: check["verdict"] for name, check in checks.items()} == {"score": "Pass", "golden": "Pass"}
    assert checks["score"]["value"] == "0.95"
    (job,) = (await client.list(JOB, namespace))[0]
    assert job["status"]["succeeded"] == 1

    url = f"http://localhost:8080/{namespace}/iris"
    command = ("exec", "judges", f"--namespace={namespace}", "--container=gate", "--", "python", "-c", OPEN)
    await kubectl(site, *command, url)
    done = await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted"), 60)
    assert done["status"]["stable"]["revision"] == shut["status"]["rollout"]["revision"] != first


async def test_a_score_that_is_too_low_and_a_job_that_exits_otherwise_bring_stable_back(
    judged: Site, client: Client, namespace: str
) -> None:
    site = judged
    spec = {"rollout": PACE | STEPS, "analysis": analysis(site, namespace, score="bad.json")}
    first = await serving(site, client, namespace, **spec)
    await apply(site, namespace, model(site, "2.0.0", **spec))
    back = await follow(client, namespace, "iris", lambda m: is_settled(m, "RolledBack"), 120)
    (failed,) = back["status"]["failedRevisions"]
    assert (failed["reason"], failed["message"]) == ("AnalysisFailed", "score 0.5, limit at least 0.9")

    # Once more, with a score that will do and a flower that nobody knows.
    again = PACE | STEPS | {"retry": failed["rollout"]}
    spec = {"rollout": again, "analysis": analysis(site, namespace, flower="rose")}
    await apply(site, namespace, model(site, "2.0.0", **spec))

    def is_over(found: dict[str, Any]) -> bool:
        rollouts = [item["rollout"] for item in found["status"].get("failedRevisions") or ()]
        return is_settled(found, "RolledBack") and rollouts not in ([], [failed["rollout"]])

    back = await follow(client, namespace, "iris", is_over, 120)
    (failed,) = back["status"]["failedRevisions"]
    assert failed["reason"] == "JobFailed"
    assert "exit code 3" in failed["message"]
    assert back["status"]["stable"]["revision"] == first

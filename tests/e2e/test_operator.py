"""The operator on a real cluster, installed by its chart under its own ServiceAccount."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest

from ekiben.kube.client import Client
from ekiben.kube.kinds import DEPLOYMENT, MODELDEPLOYMENT, POD
from localcluster.tools import command_path
from rig.models import condition, follow, is_settled
from rig.site import OPERATOR_NAMESPACE, ROOT, Site, apply, inside, install_operator, kubectl, run
from rig.traffic import traffic

pytestmark = pytest.mark.cluster


def model(site: Site, version: str, **spec: Any) -> dict[str, Any]:
    """Return a small iris model that needs no Gateway."""
    return {
        "apiVersion": "ekiben.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "iris"},
        "spec": {
            "bento": {"image": site.image(version), "service": "Iris"},
            "replicas": 1,
            "resources": {"requests": {"cpu": "50m", "memory": "300Mi"}},
            "rollout": {
                "canary": {"steps": [{"weight": 50, "hold": "3s"}]},
                "scaleDownDelay": "2s",
                "abortScaleDownDelay": "1s",
            },
            "analysis": {"interval": "1s", "minSamples": 20},
            **spec,
        },
    }


def test_the_demo_shows_all_that_it_promises(site: Site) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--namespace", "demo-test"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "hack"},
        check=False,
        capture_output=True,
        text=True,
        timeout=540,
    )
    subprocess.run(
        [str(command_path("kubectl")), "delete", "namespace", "demo-test", "--timeout=120s"],
        env=os.environ | {"KUBECONFIG": str(site.kubeconfig)},
        check=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost otherwise" in done.stdout


async def test_without_a_gateway_an_operator_killed_midway_still_promotes(
    site: Site, client: Client, namespace: str
) -> None:
    await apply(site, namespace, model(site, "1.0.0"))
    first = await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted"), 120)
    target = await inside(site, namespace)
    async with traffic(target, 30, site.prefix) as seen:
        await apply(site, namespace, model(site, "2.0.0"))
        await follow(client, namespace, "iris", lambda m: m["status"]["rollout"]["weight"] == 50, 120)
        await kubectl(
            site, "delete", "pods", "--namespace", OPERATOR_NAMESPACE, "--all", "--force", "--grace-period=0"
        )
        second = await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted"), 180)
        assert second["status"]["stable"]["revision"] != first["status"]["stable"]["revision"]
        await seen.until(lambda now: now.answers[-1].version == "2.0.0", 30)
    assert not seen.lost(), seen.lost()[:3]
    assert set(seen.versions()) == {"1.0.0", "2.0.0"}


async def test_an_image_that_cannot_be_pulled_waits_and_leaves_stable_alone(
    site: Site, client: Client, namespace: str
) -> None:
    await apply(site, namespace, model(site, "1.0.0"))
    await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted"), 120)
    pods, _ = await client.list(POD, namespace)
    missing = model(site, "1.0.0")
    missing["spec"]["bento"]["image"] = "ekiben.local/iris:no-such-tag"
    await apply(site, namespace, missing)
    waiting = await follow(
        client, namespace, "iris", lambda m: condition(m, "Reconciling").get("reason") == "ImagePull", 60
    )
    assert condition(waiting, "Ready")["status"] == "True"
    assert not waiting["status"].get("failedRevisions")
    await apply(site, namespace, model(site, "1.0.0"))
    await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted"), 60)
    after, _ = await client.list(POD, namespace, label_selector="ekiben.dev/model=iris")
    kept = {pod["metadata"]["uid"] for pod in after}
    assert {pod["metadata"]["uid"] for pod in pods} <= kept


async def test_uninstalling_the_chart_leaves_models_serving(
    site: Site, client: Client, namespace: str
) -> None:
    await apply(site, namespace, model(site, "1.0.0"))
    await follow(client, namespace, "iris", lambda m: is_settled(m, "Promoted"), 120)
    helm = str(command_path("helm"))
    await run(
        helm, "uninstall", "ekiben", "--namespace", OPERATOR_NAMESPACE, "--wait", kubeconfig=site.kubeconfig
    )
    await asyncio.sleep(2)
    assert await client.get(MODELDEPLOYMENT, namespace, "iris")
    (deployment,) = (await client.list(DEPLOYMENT, namespace))[0]
    assert deployment["status"]["readyReplicas"] == 1
    await install_operator(site)
    # Admission of a chart that was away for a while: what may be applied may be applied again.
    await apply(site, namespace, model(site, "1.0.0", replicas=2))
    await follow(client, namespace, "iris", lambda m: m["status"]["stable"].get("readyReplicas") == 2, 120)

"""What the chart does not allow: the operator says so, touches nothing, and goes on once it is mended."""

from __future__ import annotations

from pathlib import Path

from ekiben.kube.client import Client
from ekiben.kube.kinds import DEPLOYMENT, MODELDEPLOYMENT
from integration.operators import Manifest, Operator, condition_of, iris, only, serve_models, status_of, until
from policy_cases import REFUSED

CASE = REFUSED["host path"]


async def test_a_policy_made_tighter_leaves_what_serves_and_names_field_and_chart_value(
    client: Client, kubeconfig: Path, namespace: str
) -> None:
    async def stalled() -> Manifest:
        return condition_of(await status_of(client, namespace), "Stalled")

    async def is_made() -> bool:
        return bool((await client.list(DEPLOYMENT, namespace))[0])

    async def is_refused() -> bool:
        return (await stalled()).get("reason") == "NotAllowed"

    async def is_working() -> bool:
        return (await stalled()).get("status") == "False"

    await serve_models(client)
    lenient = Operator(kubeconfig, namespace, pod_allow=(CASE.needs,))
    await lenient.start()
    await client.create(MODELDEPLOYMENT, namespace, iris(podTemplate=CASE.spec["podTemplate"]))
    await until(is_made, "the Deployment is made where the chart allows it")
    await until(is_working, "the status says that nothing is stalled")
    await lenient.stop()
    before = await only(client, DEPLOYMENT, namespace)
    assert before["spec"]["template"]["spec"]["volumes"][1]["hostPath"]

    strict = Operator(kubeconfig, namespace)
    await strict.start()
    await until(is_refused, "Stalled with NotAllowed")
    said = (await stalled())["message"]
    assert CASE.says in said
    assert "podPolicy.allow" in said
    left = await only(client, DEPLOYMENT, namespace)
    assert left["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

    await client.patch_merge(MODELDEPLOYMENT, namespace, "iris", {"spec": {"podTemplate": None}})
    await until(is_working, "it goes on once the field is gone")
    await strict.stop()

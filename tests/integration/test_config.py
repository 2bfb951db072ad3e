"""Config that is part of the revision, on the real API: watches by name, copies, no Secret read unasked."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from typing import Any

import pytest

from ekiben.api.status import Stage
from ekiben.core import names
from ekiben.kube.client import ApiError
from ekiben.kube.kinds import CONFIGMAP, CONTROLLERREVISION, SECRET, Kind
from integration.lab import RELEASE, SYSTEM_NAMESPACE
from integration.operators import Manifest, condition_of
from integration.site import THROUGH_GATEWAY, Site, Status, image, is_at, is_settled

pytestmark = pytest.mark.apiserver

ROLE = Kind("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDING = Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
PAUSE = {"canary": {"steps": [{"weight": 50, "hold": "1s"}, {"pause": {}}]}}
TRACKING: Manifest = {
    "bento": {"image": image("v1"), "service": "Iris", "trackedConfig": [{"configMap": "flags"}]},
    "env": [{"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "flags", "key": "colour"}}}],
    "traffic": THROUGH_GATEWAY,
}


async def write(site: Site, name: str = "flags", **content: Any) -> None:
    """Write a ConfigMap as a user does, its content as a whole."""
    about = {"name": name, "namespace": site.namespace}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, **content}
    if await site.client.get(CONFIGMAP, site.namespace, name) is None:
        await site.client.create(CONFIGMAP, site.namespace, body)
    else:
        await site.client.replace(CONFIGMAP, site.namespace, body)


async def copies(site: Site) -> dict[str, Manifest]:
    """Return the copies by the revision that they belong to."""
    found, _ = await site.client.list(CONFIGMAP, site.namespace, f"{names.MANAGED_BY}={names.MANAGER}")
    return {item["metadata"]["labels"][names.REVISION]: item for item in found}


async def read_by(site: Site, revision: str) -> str:
    """Return what the pods of a revision read in `colour`, as their Deployment says."""
    deployment = await site.deployment(revision)
    env = {item["name"]: item for item in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    reference = env["COLOUR"]["valueFrom"]["configMapKeyRef"]
    config = await site.get(CONFIGMAP, reference["name"])
    return str(config["data"][reference["key"]]) if config.get("immutable") else "what may change"


def waits(reason: str) -> Any:
    """Tell whether something is waited for, for this reason."""

    def check(status: Status) -> bool:
        return bool(condition_of(status, "Reconciling").get("reason") == reason)

    return check


async def test_a_changed_config_map_is_rolled_out_and_stable_keeps_what_it_had(site: Site) -> None:
    await site.running()
    await write(site, data={"colour": "blue"})
    blue = await site.serve("v1", **TRACKING, rollout=PAUSE)
    assert await read_by(site, blue) == "blue"

    await write(site, data={"colour": "green"})
    paused = await site.until(is_at("Paused"), "the change is rolled out")
    green = paused["rollout"]["revision"]
    assert await read_by(site, green) == "green"
    assert await read_by(site, blue) == "blue"

    await write(site, data={"colour": "red"})
    paused = await site.until(
        lambda status: is_at("Paused")(status) and status["rollout"]["revision"] != green,
        "another change supersedes it",
    )
    red = paused["rollout"]["revision"]
    assert await read_by(site, red) == "red"
    await site.command("promote", paused["rollout"]["id"])
    await site.until(
        lambda status: is_settled("Promoted")(status) and status["stable"]["revision"] == red, "red serves"
    )
    assert [item["outcome"] for item in (await site.status())["history"]] == [
        "Promoted",
        "Superseded",
        "Promoted",
    ]

    await write(site, data={"colour": "blue"})
    back = await site.until(is_at("Paused"), "the old content is rolled out")
    assert back["rollout"]["revision"] == blue
    assert set(await copies(site)) == {blue, green, red}

    await site.change(rollout={"revisionHistoryLimit": 0})
    await site.command("promote", back["rollout"]["id"])

    async def only_blue() -> bool:
        return set(await copies(site)) == {blue}

    await site.eventually(only_blue, lambda: "copies go with their revision")
    assert await site.names(CONTROLLERREVISION) == {f"iris-{blue}"}


async def test_following_costs_a_watch_a_name_and_one_read_and_nothing_at_rest(site: Site) -> None:
    audit = site.lab.audit
    operator = await site.running()
    await write(site, data={"colour": "blue"})
    await write(site, "others", data={"a": "b"})
    revision = await site.serve("v1", **TRACKING)
    await site.at_rest()
    steady = audit.mark()
    await write(site, "others", data={"a": "c"})
    await asyncio.sleep(2)
    assert [str(item) for item in audit.since(steady) if item.verb != "watch"] == []

    labelled = {"metadata": {"labels": {"team": "a"}}}
    await site.client.patch_merge(CONFIGMAP, site.namespace, "flags", labelled)
    await site.at_rest()
    asked = [(item.verb, item.name) for item in audit.since(steady) if item.verb != "watch"]
    assert asked == [("get", "flags")], "a change of no content is read once, and rolls nothing out"

    await operator.stop()
    restarted = audit.mark()
    await operator.start()
    await site.at_rest(2)
    about = [item for item in audit.since(restarted, site.namespace) if item.resource == "configmaps"]
    read = [(item.verb, item.name) for item in about if item.verb != "watch"]
    assert sorted(read) == [("get", "flags"), ("list", ""), ("list", "flags")]
    # Each is told of once more where it ends.
    assert {item.name for item in about if item.verb == "watch"} == {"", "flags"}
    assert audit.writes_since(restarted, site.namespace) == []
    assert (await site.status())["stable"]["revision"] == revision

    await site.change(bento={"trackedConfig": None})
    await site.promoted("v1")
    given_up = audit.mark()
    await write(site, data={"colour": "green"})
    await site.at_rest()
    assert [
        str(item) for item in audit.since(given_up) if item.name == "flags" and item.verb != "watch"
    ] == []


async def test_a_config_map_that_is_missing_is_waited_for_and_nothing_stops(site: Site) -> None:
    await site.running()
    await site.create("v1", **TRACKING)
    site.traffic.start("iris")
    status = await site.until(waits("MissingConfig"), "the first revision waits")
    assert status["phase"] == "Pending"
    assert "ConfigMap flags" in status["message"]
    await write(site, data={"colour": "blue"})
    blue = (await site.until(is_settled("Promoted"), "it comes up by itself"))["stable"]["revision"]

    await site.remove(CONFIGMAP, "flags")
    status = await site.until(waits("MissingConfig"), "it is said")
    assert condition_of(status, "Ready")["status"] == "True"
    assert condition_of(status, "RolledOut")["status"] == "Unknown"
    assert await read_by(site, blue) == "blue"
    await site.change(bento={"image": image("v2")})
    await asyncio.sleep(2)
    assert (await site.status())["stable"]["revision"] == blue
    await write(site, data={"colour": "blue"})
    await site.promoted("v2")


async def test_a_config_map_as_large_as_there_can_be_is_copied_bytes_and_all(site: Site) -> None:
    await site.running()
    noise = base64.b64encode(os.urandom(700_000)).decode()
    await write(site, data={"colour": "b" * 50_000}, binaryData={"noise": noise})
    revision = await site.serve("v1", **TRACKING)
    copy = (await copies(site))[revision]
    assert copy["binaryData"] == {"noise": noise}
    assert copy["data"] == {"colour": "b" * 50_000}


async def test_a_copy_that_was_deleted_or_forged_is_made_again(site: Site) -> None:
    await site.running()
    await write(site, data={"colour": "blue"})
    blue = await site.serve("v1", **TRACKING)
    copy = (await copies(site))[blue]
    name, about = copy["metadata"]["name"], copy["metadata"]
    await site.remove(CONFIGMAP, name)

    async def is_back() -> bool:
        found = (await copies(site)).get(blue)
        return found is not None and found["metadata"]["uid"] != about["uid"]

    await site.eventually(is_back, lambda: "the copy is made again")
    await site.at_rest()

    # Somebody is faster, with labels of ours that our watch does not show and another content.
    owned = {key: about[key] for key in ("name", "namespace", "ownerReferences")}
    forged = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": owned, "data": {"colour": "pink"}}
    held = (await site.get(CONFIGMAP, name))["metadata"]["uid"]
    await site.client.delete(CONFIGMAP, site.namespace, name, held)
    with contextlib.suppress(ApiError):
        await site.client.create(CONFIGMAP, site.namespace, forged)

    async def is_genuine() -> bool:
        return await read_by(site, blue) == "blue"

    await site.eventually(is_genuine, lambda: "no other content is taken for the copy")


async def by_hand(site: Site, copy: Manifest, colour: str) -> str:
    """Put an object in a copy's place as with kubectl, and all that marks it as ours; return its uid."""
    kept = {key: copy["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
    kept["ownerReferences"] = copy["metadata"]["ownerReferences"]
    made = {"apiVersion": "v1", "kind": "ConfigMap", "immutable": True, "data": {"colour": colour}}
    kubectl = site.client.writing_as("kubectl-create")
    while True:
        await site.remove(CONFIGMAP, kept["name"])
        # The operator may have been faster: then there is a copy again.
        with contextlib.suppress(ApiError):
            created = await kubectl.create(CONFIGMAP, site.namespace, {**made, "metadata": kept})
            return str(created["metadata"]["uid"])


@pytest.mark.parametrize("working", [True, False], ids=["at-work", "away"])
async def test_another_content_in_a_copys_place_is_found_out_with_all_our_labels_on_it(
    site: Site, working: bool
) -> None:
    operator = await site.running()
    await write(site, data={"colour": "blue"})
    blue = await site.serve("v1", **TRACKING)
    copy = (await copies(site))[blue]
    await site.at_rest()
    if not working:
        await operator.stop()
    forged = await by_hand(site, copy, "pink")
    if not working:
        await operator.start()

    async def is_genuine() -> bool:
        found = (await copies(site)).get(blue)
        is_another = found is not None and found["metadata"]["uid"] != forged
        return is_another and await read_by(site, blue) == "blue"

    await site.eventually(is_genuine, lambda: "the copy is made again with what it should hold")
    await site.at_rest()
    assert is_settled("Promoted")(await site.status())


async def test_a_copy_made_by_hand_that_is_right_is_read_once_and_stays(site: Site) -> None:
    operator = await site.running()
    await write(site, data={"colour": "blue"})
    blue = await site.serve("v1", **TRACKING, rollout=PAUSE)
    copy = (await copies(site))[blue]
    await write(site, data={"colour": "green"})
    await site.until(is_at("Paused"), "the ConfigMap holds something else by now")
    await site.at_rest()
    await operator.stop()
    made = await by_hand(site, copy, "blue")
    begun = site.lab.audit.mark()
    await operator.start()
    await site.at_rest(2)
    name = copy["metadata"]["name"]
    asked = [(item.verb, item.name) for item in site.lab.audit.since(begun) if item.name == name]
    assert asked == [("get", name)]
    assert (await copies(site))[blue]["metadata"]["uid"] == made
    assert is_at("Paused")(await site.status())


async def test_a_secret_is_not_looked_at_where_the_chart_does_not_list_the_namespace(site: Site) -> None:
    await site.running()
    first = await site.serve("v1", traffic=THROUGH_GATEWAY)
    secret = {"metadata": {"name": "key-v1"}, "stringData": {"key": "x"}, "immutable": True}
    await site.client.create(SECRET, site.namespace, secret)
    await site.change(bento={"trackedConfig": [{"secret": "key-v1"}]})
    status = await site.until(is_stalled("SecretForbidden"), "it is said")
    assert "secrets.namespaces" in condition_of(status, "Stalled")["message"]
    assert condition_of(status, "Settled")["reason"] == "SecretForbidden"
    assert status["stable"]["revision"] == first
    await site.at_rest()
    assert [str(item) for item in site.lab.audit.since(site.mark) if item.resource == "secrets"] == []


async def test_a_secret_is_got_by_its_name_and_must_be_immutable(site: Site) -> None:
    await allow_secrets(site)
    await site.running(secret_namespaces=(site.namespace,))
    first = await site.serve("v1", traffic=THROUGH_GATEWAY)
    secret: Manifest = {"metadata": {"name": "key-v1"}, "stringData": {"key": "not-to-be-told"}}
    await site.client.create(SECRET, site.namespace, secret)
    await site.change(bento={"trackedConfig": [{"secret": "key-v1"}]})
    status = await site.until(is_stalled("SecretNotImmutable"), "it is said")
    assert "give each content a new name" in condition_of(status, "Stalled")["message"]
    assert status["stable"]["revision"] == first

    await site.client.create(
        SECRET, site.namespace, {**secret, "metadata": {"name": "key-v2"}, "immutable": True}
    )
    await site.change(bento={"trackedConfig": [{"secret": "key-v2"}]})
    status = await site.until(
        lambda status: is_settled("Promoted")(status) and status["stable"]["revision"] != first,
        "another name is another revision",
    )
    await site.at_rest()
    asked = [item for item in site.lab.audit.since(site.mark) if item.resource == "secrets"]
    assert {(item.verb, item.namespace) for item in asked} == {("get", site.namespace)}
    assert [item.name for item in asked].count("key-v2") == 1, "read once for one rollout"
    assert "not-to-be-told" not in str(status)


async def test_an_operator_killed_while_config_is_rolled_out_ends_where_it_should(site: Site) -> None:
    operator = await site.running()
    await write(site, data={"colour": "blue"})
    await site.serve("v1", **TRACKING)
    for number, colour in enumerate(("green", "red", "white", "black"), start=1):
        await write(site, data={"colour": colour})
        await operator.kill()
        await operator.begin(dies_after=number)
        await asyncio.wait({operator.task} if operator.task else set(), timeout=10)
        await operator.kill()
        await operator.start()
        status = await site.until(
            lambda status, number=number: (  # type: ignore[misc]
                is_settled("Promoted")(status) and len(status["history"]) == number + 1
            ),
            f"{colour} serves",
        )
        assert status["rollout"]["stage"] == Stage.OVER
        assert await read_by(site, status["stable"]["revision"]) == colour


def is_stalled(reason: str) -> Any:
    """Tell whether a hand is needed, for this reason."""

    def check(status: Status) -> bool:
        return bool(condition_of(status, "Stalled").get("reason") == reason)

    return check


async def allow_secrets(site: Site) -> None:
    """Give the right that the chart gives in each namespace of `secrets.namespaces`."""
    about = {"name": f"{RELEASE}-secrets", "namespace": site.namespace}
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    await site.client.create(ROLE, site.namespace, {"metadata": about, "rules": [rule]})
    group = "rbac.authorization.k8s.io"
    binding = {
        "metadata": about,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": about["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": RELEASE, "namespace": SYSTEM_NAMESPACE}],
    }
    await site.client.create(ROLE_BINDING, site.namespace, binding)

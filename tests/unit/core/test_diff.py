"""What counts as drift, and what does not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekiben.core.diff import digest, in_sync, projection_digest
from ekiben.core.snapshot import Applied, Manifest
from sample_specs import SPECS, children

CHILDREN = {
    f"{name}-{child['kind']}-{child['metadata']['name']}": child
    for name, spec in SPECS.items()
    for child in children(spec)
}
# The lists that the server merges by key, where it and others may add fields and items.
SHARED = (
    *("containers", "env", "imagePullSecrets", "initContainers", "ownerReferences", "ports"),
    *("volumeMounts", "volumes"),
)
# Maps that the server replaces whole.
WHOLE = ("selector", "matchLabels", "nodeSelector")

Path = tuple[Any, ...]


def the(kind: str, name: str = "everything") -> Manifest:
    return copy.deepcopy(next(child for child in children(SPECS[name]) if child["kind"] == kind))


def pod(manifest: Manifest) -> dict[str, Any]:
    spec: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return spec


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every leaf that could be edited; what names the object can't be."""
    if path in (("apiVersion",), ("kind",)):
        return
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from leaves(item, (*path, key))
    else:
        yield path


def objects(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every object."""
    if isinstance(value, dict):
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from objects(item, (*path, key))


def at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def ledger(desired: Manifest, live: Manifest) -> Applied:
    return Applied(intent=digest(desired), live=projection_digest(desired, live))


def identifies(path: Path) -> bool:
    """Tell whether a leaf is the key by which the server merges an item: that it never writes otherwise."""
    return path[-1] in ("name", "uid", "mountPath", "containerPort", "port")


any_child = st.sampled_from(sorted(CHILDREN))


# -- one pass over everything that is rendered --


@pytest.mark.parametrize("name", CHILDREN)
def test_what_was_applied_is_in_sync(name: str) -> None:
    child = CHILDREN[name]
    assert in_sync(child, json.loads(json.dumps(child)), None)


@given(name=any_child, data=st.data())
def test_no_leaf_can_be_changed_unseen(name: str, data: st.DataObject) -> None:
    desired = CHILDREN[name]
    path = data.draw(st.sampled_from(list(leaves(desired))))
    live = copy.deepcopy(desired)
    at(live, path[:-1])[path[-1]] = "edited by hand"
    assert not in_sync(desired, live, None)


@given(name=any_child, data=st.data())
def test_no_leaf_can_be_taken_away_unseen(name: str, data: st.DataObject) -> None:
    desired = CHILDREN[name]
    path = data.draw(st.sampled_from(list(leaves(desired))))
    live = copy.deepcopy(desired)
    del at(live, path[:-1])[path[-1]]
    assert not in_sync(desired, live, None)


@given(name=any_child, data=st.data())
def test_what_others_add_is_theirs_unless_the_place_is_ours_alone(name: str, data: st.DataObject) -> None:
    desired = CHILDREN[name]
    path = data.draw(st.sampled_from(list(objects(desired))))
    live = copy.deepcopy(desired)
    at(live, path)["added"] = "by somebody"
    lists = [path[index - 1] for index, key in enumerate(path) if isinstance(key, int)]
    ours_alone = any(field not in SHARED for field in lists) or any(field in WHOLE for field in path)
    assert in_sync(desired, live, None) != ours_alone


@given(name=any_child, data=st.data())
def test_the_ledger_forgives_just_what_the_server_answered(name: str, data: st.DataObject) -> None:
    desired = CHILDREN[name]
    paths = list(leaves(desired))
    path = data.draw(st.sampled_from([path for path in paths if not identifies(path)]))
    answered = copy.deepcopy(desired)
    at(answered, path[:-1])[path[-1]] = "as the server writes it"
    applied = ledger(desired, answered)
    assert in_sync(desired, answered, applied)
    other = data.draw(st.sampled_from(paths))
    edited = copy.deepcopy(answered)
    at(edited, other[:-1])[other[-1]] = "edited by hand"
    assert not in_sync(desired, edited, applied)


@given(name=any_child, data=st.data())
def test_a_digest_tells_intents_apart(name: str, data: st.DataObject) -> None:
    manifest = CHILDREN[name]
    path = data.draw(st.sampled_from(list(leaves(manifest))))
    other = copy.deepcopy(manifest)
    at(other, path[:-1])[path[-1]] = "other"
    assert digest(other) != digest(manifest)


# -- cases --


def test_what_is_not_there_is_not_in_sync() -> None:
    assert not in_sync(the("Service"), None, None)
    assert not in_sync(the("Service"), None, ledger(the("Service"), the("Service")))


def test_status_and_what_the_server_adds_to_metadata_are_not_ours() -> None:
    desired = the("Deployment")
    live = copy.deepcopy(desired)
    live["metadata"] |= {"resourceVersion": "9", "generation": 3, "annotations": {"a": "b"}}
    live["metadata"]["labels"]["theirs"] = "yes"
    live["spec"]["replicas"] = 7
    live["status"] = {"replicas": 7}
    assert in_sync(desired, live, None)


def test_items_of_lists_lack_their_kind() -> None:
    live = the("Service")
    del live["apiVersion"], live["kind"]
    assert in_sync(the("Service"), live, None)


def test_the_version_decided_on_is_no_part_of_the_intent() -> None:
    plain, versioned = the("HTTPRoute"), the("HTTPRoute")
    versioned["metadata"]["resourceVersion"] = "4"
    live = the("HTTPRoute")
    live["metadata"]["resourceVersion"] = "5"
    assert in_sync(versioned, live, None)
    assert digest(versioned) == digest(plain)
    assert projection_digest(versioned, live) == projection_digest(plain, plain)


def test_quantities_are_compared_as_numbers_and_only_quantities() -> None:
    desired = the("Deployment")
    live = copy.deepcopy(desired)
    pod(live)["containers"][0]["resources"] = {
        "requests": {"cpu": "1.5", "memory": "3072Mi", "ephemeral-storage": 1073741824},
        "limits": {"cpu": 2, "memory": "4096Mi"},
    }
    pod(live)["volumes"][0]["emptyDir"]["sizeLimit"] = "1024Mi"
    assert in_sync(desired, live, None)
    pod(live)["containers"][0]["resources"]["limits"]["cpu"] = "2001m"
    assert not in_sync(desired, live, None)
    variable = copy.deepcopy(desired)
    (threads,) = (item for item in pod(variable)["containers"][0]["env"] if item["name"] == "THREADS")
    assert threads["value"] == "4"
    threads["value"] = "4000m"
    assert not in_sync(desired, variable, None)


def test_true_is_not_one() -> None:
    desired = the("Deployment")
    live = copy.deepcopy(desired)
    pod(live)["enableServiceLinks"] = 0
    assert not in_sync(desired, live, None)


def test_injected_items_of_shared_lists_are_left_alone_in_any_order() -> None:
    desired = the("Deployment")
    live = copy.deepcopy(desired)
    pod(live)["containers"].insert(0, {"name": "mesh", "image": "mesh:1"})
    pod(live)["containers"][1]["env"].reverse()
    pod(live)["containers"][1]["env"].append({"name": "INJECTED", "value": "1"})
    pod(live)["containers"][1]["volumeMounts"].append({"name": "mesh", "mountPath": "/mesh"})
    pod(live)["volumes"].append({"name": "mesh", "emptyDir": {}})
    assert in_sync(desired, live, None)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda spec: spec["hostnames"].append("other.example.com"), id="hostname"),
        pytest.param(lambda spec: spec["hostnames"].clear(), id="no hostname"),
        pytest.param(lambda spec: spec["parentRefs"].reverse(), id="order of parents"),
        pytest.param(lambda spec: spec["parentRefs"][1].update(sectionName="http"), id="listener"),
        pytest.param(lambda spec: spec["rules"].append(copy.deepcopy(spec["rules"][0])), id="rule"),
        pytest.param(
            lambda spec: spec["rules"][0]["matches"][0].update(method="GET"), id="condition of a match"
        ),
        pytest.param(
            lambda spec: spec["rules"][0]["backendRefs"].append({"name": "other", "weight": 100}),
            id="backend",
        ),
        pytest.param(lambda spec: spec["rules"][0]["backendRefs"][1].update(weight=50), id="weight"),
        pytest.param(
            lambda spec: spec["rules"][0]["backendRefs"][0].update(filters=[{"type": "RequestMirror"}]),
            id="filter of a backend",
        ),
    ],
)
def test_a_route_edited_by_hand_is_seen(edit: Callable[[dict[str, Any]], None]) -> None:
    live = the("HTTPRoute")
    edit(live["spec"])
    assert not in_sync(the("HTTPRoute"), live, None)


def test_a_narrowed_selector_is_seen() -> None:
    live = the("Service")
    live["spec"]["selector"]["canary"] = "yes"
    assert not in_sync(the("Service"), live, None)
    assert not in_sync(the("Service"), live, ledger(the("Service"), the("Service")))


def test_two_mounts_of_one_volume_are_told_apart() -> None:
    desired = the("Deployment")
    live = copy.deepcopy(desired)
    mounts = pod(live)["containers"][0]["volumeMounts"]
    assert [mount["name"] for mount in mounts].count("cache") == 2
    mounts[-1]["subPath"] = "elsewhere"
    assert not in_sync(desired, live, None)


@pytest.mark.parametrize("odd", [None, 3, "text", [], [None], [3], [{"name": ["a"]}], {"name": "bento"}])
def test_odd_content_is_no_failure(odd: Any) -> None:
    desired = the("Deployment")
    live = copy.deepcopy(desired)
    pod(live)["containers"] = odd
    assert not in_sync(desired, live, ledger(desired, desired))
    strange = copy.deepcopy(desired)
    pod(strange)["containers"][1]["ports"] = odd
    assert in_sync(strange, copy.deepcopy(strange), None)


def test_a_ledger_of_another_intent_forgives_nothing() -> None:
    desired, before = the("Deployment"), the("Deployment", "image-alone")
    live = copy.deepcopy(before)
    assert not in_sync(desired, live, ledger(before, live))
    # The server writes both alike, and still it was the other that was applied.
    desired["spec"]["revisionHistoryLimit"], before = "one", copy.deepcopy(desired)
    live = copy.deepcopy(desired)
    live["spec"]["revisionHistoryLimit"] = 0
    assert in_sync(desired, live, ledger(desired, live))
    assert not in_sync(desired, live, ledger(before, live))

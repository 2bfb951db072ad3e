"""Every child is valid to the Kubernetes minors that we support, and to the Gateway API's CRD."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate
import pytest
import yaml

from localcluster.errors import LocalClusterError
from localcluster.tools import gateway_api_crds, keda_crds
from sample_specs import SPECS, children

# The oldest whose kubelet sleeps before a stop by default (PodLifecycleSleepAction), the local cluster's, and
# the newest.
MINORS = ("1.30", "1.36", "1.37")
MANIFESTS = {
    f"{name}-{manifest['kind']}-{manifest['metadata']['name']}": manifest
    for name, spec in SPECS.items()
    for manifest in children(spec)
}
ROUTES = {name: manifest for name, manifest in MANIFESTS.items() if manifest["kind"] == "HTTPRoute"}
BY_KEDA = {
    name: manifest for name, manifest in MANIFESTS.items() if manifest["apiVersion"] == "keda.sh/v1alpha1"
}
BUILT_IN = {
    name: manifest for name, manifest in MANIFESTS.items() if name not in ROUTES and name not in BY_KEDA
}


@pytest.fixture(scope="module")
def route_schema() -> dict[str, Any]:
    """The HTTPRoute's schema from the CRD, closed: a field that it does not know is an error."""
    try:
        files = gateway_api_crds()
    except LocalClusterError as missing:
        pytest.skip(f"HTTPRoutes go unchecked: {missing}")
    (file,) = (path for path in files if path.name.endswith("_httproutes.yaml"))
    versions = yaml.safe_load(file.read_text())["spec"]["versions"]
    (schema,) = (item["schema"]["openAPIV3Schema"] for item in versions if item["name"] == "v1")
    found: dict[str, Any] = closed(schema)
    return found


@pytest.fixture(scope="module")
def keda_schemas() -> dict[str, Any]:
    """The schemas of KEDA's kinds from its own CRDs, closed as well."""
    crds = [yaml.safe_load(file.read_text())["spec"] for file in keda_crds()]
    return {
        crd["names"]["kind"]: closed(version["schema"]["openAPIV3Schema"])
        for crd in crds
        for version in crd["versions"]
        if version["name"] == "v1alpha1"
    }


def closed(schema: Any) -> Any:
    """Copy a schema so that objects have no other properties than it names; metadata is the server's."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    copied = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        copied["additionalProperties"] = False
    if "metadata" in copied.get("properties", {}):
        copied["properties"]["metadata"] = {"type": "object"}
    return copied


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from leaves(item, (*path, key))
    if not isinstance(value, dict | list):
        yield path


@pytest.mark.parametrize("minor", MINORS)
@pytest.mark.parametrize("name", BUILT_IN)
def test_a_child_is_strictly_valid(name: str, minor: str) -> None:
    assert kubernetes_validate.validate(BUILT_IN[name], minor, strict=True) == minor


@pytest.mark.parametrize("minor", MINORS)
def test_the_check_of_children_can_fail(minor: str) -> None:
    manifest = copy.deepcopy(next(item for item in BUILT_IN.values() if item["kind"] == "Deployment"))
    manifest["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["nap"] = 5
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, minor, strict=True)


@pytest.mark.parametrize("name", ROUTES)
def test_a_route_is_valid_in_the_standard_channel(name: str, route_schema: dict[str, Any]) -> None:
    jsonschema.validate(ROUTES[name], route_schema)


def test_the_check_of_routes_can_fail(route_schema: dict[str, Any]) -> None:
    manifest = copy.deepcopy(next(iter(ROUTES.values())))
    manifest["spec"]["rules"][0]["sessionPersistence"] = {"type": "Cookie"}
    with pytest.raises(jsonschema.ValidationError, match="sessionPersistence"):
        jsonschema.validate(manifest, route_schema)


@pytest.mark.parametrize("name", BY_KEDA)
def test_a_child_for_keda_is_valid_to_its_own_crd(name: str, keda_schemas: dict[str, Any]) -> None:
    jsonschema.validate(BY_KEDA[name], keda_schemas[BY_KEDA[name]["kind"]])


def test_the_check_of_children_for_keda_can_fail(keda_schemas: dict[str, Any]) -> None:
    assert {manifest["kind"] for manifest in BY_KEDA.values()} == keda_schemas.keys()
    for manifest in map(copy.deepcopy, BY_KEDA.values()):
        manifest["spec"]["unheardOf"] = 1
        with pytest.raises(jsonschema.ValidationError, match="unheardOf"):
            jsonschema.validate(manifest, keda_schemas[manifest["kind"]])


def test_a_rule_has_no_name() -> None:
    """Older standard channels don't know a rule's name and drop it: it would look like drift for ever."""
    assert ROUTES
    for manifest in ROUTES.values():
        assert all("name" not in rule for rule in manifest["spec"]["rules"])


@pytest.mark.parametrize("name", MANIFESTS)
def test_no_child_holds_an_empty_word_or_a_null(name: str) -> None:
    """The server drops both, and the child looks edited ever after; the core API's group is an exception."""
    for path in leaves(MANIFESTS[name]):
        value: Any = MANIFESTS[name]
        for key in path:
            value = value[key]
        assert value is not None, path
        assert value != "" or path[-1] == "group", path

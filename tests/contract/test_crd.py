"""The CRD: current, structural, bounded, and kept whole by a real API server."""

from __future__ import annotations

import copy
import re
import types
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import kubernetes_validate
import pytest
import yaml
from pydantic import StringConstraints
from pydantic.alias_generators import to_camel

from contract.server import OBJECTS, Json, RefusedError, Server, model
from ekiben import docs
from ekiben.api import crd, generated
from ekiben.api.fields import ApiModel, seconds
from ekiben.api.generated import CHECKOUT
from ekiben.api.rules.judging import DEFAULT_BOUNDS
from ekiben.api.status import Status
from ekiben.api.v1alpha1 import DEFAULT_REPLICAS, HASHED_FIELDS, Spec, parse_spec
from ekiben.core.revision import DEFAULT_BUCKETS

BENTO = {"bento": {"image": "registry.example.com/iris:1.4.2"}}
MINORS = ("1.30", "1.36", "1.37")
GENERATED = [
    (crd.PATH, "ekiben.api.crd", crd.manifest),
    (docs.PATH, docs.MODULE, docs.reference),
]


class Node(NamedTuple):
    """One place of the schema."""

    path: str
    schema: Json
    in_list: bool


def walk(schema: Json, path: str, in_list: bool = False) -> Iterator[Node]:
    yield Node(path, schema, in_list)
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}", in_list)
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]", True)
    if "additionalProperties" in schema:
        yield from walk(schema["additionalProperties"], f"{path}{{}}", True)


def part(name: str) -> list[Node]:
    return list(walk(crd.object_schema()["properties"][name], name))


def filled(annotation: Any) -> Any:
    """Make a value of a type with nothing left out, whatever fields its models come to have."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return filled(next(choice for choice in arguments if choice is not types.NoneType))
    if origin is tuple:
        return (filled(arguments[0]),)
    if origin is dict:
        return {"key": filled(arguments[1])}
    if origin is Literal:
        return arguments[0]
    if hasattr(annotation, "__metadata__"):
        patterns = [each.pattern for each in annotation.__metadata__ if isinstance(each, StringConstraints)]
        return example(patterns[0]) if patterns else filled(annotation.__origin__)
    if isinstance(annotation, type) and issubclass(annotation, ApiModel):
        fields = annotation.model_fields.items()
        return annotation.model_construct(**{name: _filled_field(field) for name, field in fields})
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return next(iter(annotation))
    # A text that can be a rollout's ID too.
    values: dict[Any, Any] = {
        Any: 1,
        str: "text.1",
        int: 7,
        bool: True,
        datetime: datetime(2026, 11, 22, tzinfo=UTC),
    }
    return values[annotation]


def _filled_field(field: Any) -> Any:
    """Make a value of a field; a required one keeps its constraints beside its type."""
    patterns = [each.pattern for each in field.metadata if getattr(each, "pattern", None)]
    return example(patterns[0]) if patterns else filled(field.annotation)


def example(pattern: Any) -> str:
    """Make a text of a pattern: a duration, a percentage, a ratio, a path or an image."""
    texts = ("5m", "5%", "95%", "1.5", "$", "a:1", "text", "http://text", "/text", "text/plain")
    return next(text for text in texts if re.match(pattern, text))


@pytest.fixture
def live(server: Server) -> Iterator[Json]:
    """A stored ModelDeployment."""
    yield server.send("POST", OBJECTS, model(BENTO, "live"))
    server.send("DELETE", f"{OBJECTS}/live")


# --- generated files


@pytest.mark.parametrize(("path", "module", "text"), GENERATED, ids=["crd", "reference"])
def test_committed_file_is_current(path: str, module: str, text: Any) -> None:
    assert (CHECKOUT / path).read_text() == text(), f"run `python -m {module}`"


def test_check_tells_a_stale_file_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generated, "CHECKOUT", tmp_path)
    stale = tmp_path / "made.yaml"
    stale.write_text("old")
    monkeypatch.setattr("sys.argv", ["x", "--check"])

    assert generated.write_or_check("made.yaml", "new", "ekiben.x") == 1
    assert stale.read_text() == "old"
    assert capsys.readouterr().err == "made.yaml is stale: run `python -m ekiben.x` and commit it\n"

    monkeypatch.setattr("sys.argv", ["x"])
    assert generated.write_or_check("made.yaml", "new", "ekiben.x") == 0
    assert stale.read_text() == "new"

    monkeypatch.setattr("sys.argv", ["x", "--check"])
    assert generated.write_or_check("made.yaml", "new", "ekiben.x") == 0


def test_refuses_to_generate_without_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generated, "CHECKOUT", tmp_path)
    monkeypatch.setattr("sys.argv", ["x"])

    assert generated.write_or_check("crds/made.yaml", "new", "ekiben.x") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_type_that_is_not_structural_is_named() -> None:
    class Loose(ApiModel):
        either: int | str

    class Strange(ApiModel):
        pair: tuple[int, str]

    with pytest.raises(ValueError, match=r"^Loose\.either: a union of types is not structural$"):
        crd.model_schema(Loose)
    with pytest.raises(ValueError, match=r"^Strange\.pair: \['prefixItems'\] can't be written"):
        crd.model_schema(Strange)


# --- the schema


@pytest.mark.parametrize("minor", MINORS)
def test_valid_for_kubernetes(minor: str) -> None:
    committed = yaml.safe_load((CHECKOUT / crd.PATH).read_text())

    assert kubernetes_validate.validate(committed, minor, strict=True) == minor


def test_names() -> None:
    spec = crd.definition()["spec"]

    assert (spec["group"], spec["scope"]) == ("ekiben.dev", "Namespaced")
    assert spec["names"]["plural"] == "modeldeployments"
    assert spec["names"]["shortNames"] == ["mdep"]
    assert spec["names"]["categories"] == ["all", "ekiben"]
    assert [version["name"] for version in spec["versions"]] == ["v1alpha1"]


def test_defaults_only_where_they_neither_drift_nor_roll_the_fleet() -> None:
    """In an item a default is drift for ever; under a hashed field a new one would change every revision."""
    hashed = tuple(f"spec.{to_camel(name)}" for name in HASHED_FIELDS)
    defaults = [node for node in part("spec") if "default" in node.schema]

    assert len(defaults) > 15
    assert [node.path for node in defaults if node.in_list] == []
    assert [node.path for node in defaults if node.path.startswith(hashed)] == []
    assert [node.path for node in part("status") if "default" in node.schema] == []


def test_hashed_fields_exist() -> None:
    assert set(HASHED_FIELDS) <= set(Spec.model_fields)


def test_everything_is_bounded() -> None:
    """Without bounds the API server counts each rule as costing the largest object there can be."""
    bounds = {
        "string": {"maxLength"},
        "integer": {"minimum", "maximum"},
        "array": {"maxItems", "x-kubernetes-list-type"},
        "quantity": {"maxLength"},
        "map": {"maxProperties"},
    }
    unbounded = []
    for node in part("spec"):
        kind = "quantity" if "x-kubernetes-int-or-string" in node.schema else node.schema["type"]
        kind = "map" if "additionalProperties" in node.schema else kind
        if "enum" not in node.schema and bounds.get(kind, set()) - node.schema.keys():
            unbounded.append(node.path)
    assert unbounded == []


def test_status_has_no_rules_that_could_stop_the_operator() -> None:
    limits = crd.LIMITS | {"x-kubernetes-validations"}

    assert [node.path for node in part("status") if limits & node.schema.keys()] == []


def test_every_field_is_described() -> None:
    fields = [node for name in ("spec", "status") for node in part(name) if node.path[-1] not in "]}"]

    assert [node.path for node in fields if not node.schema.get("description", "").endswith(".")] == []


def test_no_pattern_speaks_for_itself() -> None:
    """A pattern's own message is the bare expression; each has a rule with a sentence in its place."""
    assert [node.path for name in ("spec", "status") for node in part(name) if "pattern" in node.schema] == []


def test_bounds_without_service_are_those_that_bentoml_has() -> None:
    assert tuple(seconds(bound) for bound in DEFAULT_BOUNDS) == DEFAULT_BUCKETS


# --- on a real API server


def test_server_accepts_it_as_structural(server: Server) -> None:
    found = server.install(yaml.safe_load((CHECKOUT / crd.PATH).read_text()))["status"]["conditions"]

    assert {each["type"]: each["status"] for each in found} == {
        "NamesAccepted": "True",
        "Established": "True",
    }


@pytest.mark.parametrize("spec", [BENTO, BENTO | {"traffic": {"parentRefs": [{"name": "a"}]}}])
def test_server_and_parser_give_the_same_defaults(server: Server, spec: Json) -> None:
    stored = server.try_create(model(spec))["spec"]

    assert without_empty(stored) == without_empty(
        parse_spec(spec).model_dump(mode="json", by_alias=True, exclude_none=True)
    )
    assert parse_spec(stored) == parse_spec(spec)


def test_status_loses_nothing(server: Server, live: Json) -> None:
    """A field that the schema lacks would be pruned, and the operator would write it again for ever."""
    status = filled(Status).to_wire()
    body = live | {"status": status}

    server.send("PUT", f"{OBJECTS}/live/status", body, {"fieldValidation": "Strict"})

    assert server.send("GET", f"{OBJECTS}/live")["status"] == status
    assert Status.model_validate(status).to_wire() == status


def test_scale_reads_the_serving_pods(server: Server, live: Json) -> None:
    status = {"replicas": 4, "selector": "ekiben.dev/model=live"}
    server.send("PUT", f"{OBJECTS}/live/status", live | {"status": status})

    # Autoscalers of others read it before anybody has named a number.
    assert server.send("GET", f"{OBJECTS}/live/scale")["spec"] == {"replicas": DEFAULT_REPLICAS}
    # As `kubectl scale` does.
    patch = {"spec": {"replicas": 3}}
    scale = server.send("PATCH", f"{OBJECTS}/live/scale", patch, content_type="application/merge-patch+json")

    assert (scale["spec"], scale["status"]) == (patch["spec"], status)
    assert server.send("GET", f"{OBJECTS}/live/scale")["spec"] == patch["spec"]
    assert server.send("GET", f"{OBJECTS}/live")["spec"]["replicas"] == 3


def test_table_shows_what_it_waits_for(server: Server, live: Json) -> None:
    status = filled(Status).to_wire()
    server.send("PUT", f"{OBJECTS}/live/status", live | {"status": status})

    table = server.send("GET", OBJECTS, accept="application/json;as=Table;v=v1;g=meta.k8s.io")

    columns = {column["name"]: column["priority"] for column in table["columnDefinitions"]}
    usual = ["Name", "STATUS", "STABLE", "CANARY", "WEIGHT", "STEP", "READY", "MESSAGE", "AGE"]
    assert [name for name, priority in columns.items() if priority == 0] == usual
    assert [name for name, priority in columns.items() if priority == 1] == ["URL", "REPLICAS", "IMAGE"]
    row = dict(zip(columns, table["rows"][0]["cells"], strict=True))
    age = row.pop("AGE")
    assert row == {
        "Name": "live",
        "STATUS": "Pending",
        "STABLE": "text.1",
        "CANARY": "text.1",
        "WEIGHT": 7,
        "STEP": 7,
        "READY": "text.1",
        "MESSAGE": "text.1",
        "URL": "text.1",
        "REPLICAS": 7,
        "IMAGE": BENTO["bento"]["image"],
    }
    assert age


def test_two_managers_share_the_environment_but_not_the_steps(server: Server, live: Json) -> None:
    one = model(BENTO | {"env": [{"name": "A", "value": "1"}]}, "live")
    two = {**copy.deepcopy(one), "spec": {"env": [{"name": "B", "value": "2"}]}}
    steps = {"rollout": {"canary": {"steps": [{"weight": 5}]}}}
    server.apply(OBJECTS, one, "one")

    # A part of an object is refused on creation only: here the other manager holds the image.
    server.apply(OBJECTS, two, "two")
    server.apply(OBJECTS, two | {"spec": {**two["spec"], **steps}}, "two")

    names = [variable["name"] for variable in server.send("GET", f"{OBJECTS}/live")["spec"]["env"]]
    assert names == ["A", "B"]
    other = copy.deepcopy(steps)
    other["rollout"]["canary"]["steps"].append({"weight": 10})
    with pytest.raises(RefusedError, match=r"conflict with \"two\".*\.spec\.rollout\.canary\.steps"):
        server.apply(OBJECTS, one | {"spec": {**one["spec"], **other}}, "one")


def without_empty(value: Any) -> Any:
    """Leave out empty lists and objects: to both sides they say nothing."""
    if not isinstance(value, Mapping):
        return value
    kept = {name: without_empty(item) for name, item in value.items()}
    return {name: item for name, item in kept.items() if item not in ({}, [], ())}

"""Config that is part of a revision: what gives it its name, and what its pods are told to read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ekiben.api.v1alpha1 import parse_spec
from ekiben.core import names
from ekiben.core.render import build_config_copy, build_deployment, build_record
from ekiben.core.render.deployment import TEMPLATES
from ekiben.core.revision import _name, record_of, revision_of
from ekiben.core.snapshot import Content, Manifest, Record
from ekiben.core.tracking import content_digest, content_of, digests_of
from sample_specs import EVERYTHING, IMAGE, MODEL, RAW, SPECS

GOLDEN = Path(__file__).parent / "golden/tracked-config.yaml"
FLAGS: Manifest = {"data": {"colour": "blue"}, "binaryData": {"logo": "AAEC"}}
FLAGS_DIGEST = "5359c7ea3a973dda1cd158c2376ca8e2"


def revision(*tracked: dict[str, str], **config: str | None) -> Record:
    spec = parse_spec(
        {**EVERYTHING, "bento": {"image": IMAGE, "service": "Iris", "trackedConfig": [*tracked]}}
    )
    return revision_of(spec, config={name: Content(digest) for name, digest in config.items()})


# -- the name --


@pytest.mark.parametrize("name", RAW)
def test_an_object_that_tracks_nothing_keeps_its_revision(name: str) -> None:
    empty = {**RAW[name], "bento": {**RAW[name]["bento"], "trackedConfig": []}}
    assert revision_of(parse_spec(empty), config={"flags": Content("other")}) == revision_of(SPECS[name])
    assert "trackedConfig" not in revision_of(SPECS[name]).inputs


def test_another_content_is_another_revision_and_the_same_content_the_same() -> None:
    flags = {"configMap": "flags"}
    blue, green = revision(flags, flags="blue"), revision(flags, flags="green")
    assert blue.revision != green.revision
    assert revision(flags, flags="blue").revision == blue.revision
    assert revision(flags, flags="blue", others="red").revision == blue.revision


def test_a_secret_counts_by_its_name_alone() -> None:
    assert revision({"secret": "key-v1"}).revision != revision({"secret": "key-v2"}).revision
    assert revision({"secret": "flags"}, flags="x").inputs["trackedConfig"] == [{"secret": "flags"}]


def test_the_order_of_the_tracked_objects_is_irrelevant() -> None:
    items = [{"configMap": "a"}, {"configMap": "b"}, {"secret": "c"}]
    assert revision(*items, a="1", b="2").revision == revision(*reversed(items), a="1", b="2").revision
    assert revision(*items, a="1", b="2").revision != revision(*items, a="2", b="1").revision


def test_what_is_not_known_never_has_the_name_of_what_is() -> None:
    flags = {"configMap": "flags"}
    assert revision(flags).revision == revision(flags, flags=None).revision
    assert revision(flags).revision != revision(flags, flags=content_digest({})).revision


# -- the content --


def test_a_digest_is_of_the_content_and_of_nothing_else() -> None:
    about = {"metadata": {"name": "flags", "labels": {"a": "b"}, "resourceVersion": "7"}, "immutable": True}
    assert content_digest({**about, **FLAGS}) == content_digest(FLAGS)
    assert content_digest({"data": {}, "binaryData": None}) == content_digest({})
    assert content_of({**about, **FLAGS}) == FLAGS


def test_the_same_bytes_as_text_and_as_binary_are_two_contents() -> None:
    assert content_digest({"data": {"a": "AAEC"}}) != content_digest({"binaryData": {"a": "AAEC"}})


CONTENT = st.fixed_dictionaries(
    {}, optional={part: st.dictionaries(st.text(max_size=5), st.text(max_size=5)) for part in FLAGS}
)


@given(one=CONTENT, other=CONTENT)
def test_contents_have_one_digest_exactly_if_they_are_equal(one: Manifest, other: Manifest) -> None:
    assert (content_digest(one) == content_digest(other)) == (content_of(one) == content_of(other))


def test_a_digest_never_changes() -> None:
    """Every revision that tracks a ConfigMap has it in its name: another one would roll all of them."""
    assert content_digest(FLAGS) == FLAGS_DIGEST


# -- the record --


def test_a_record_keeps_digests_and_no_content() -> None:
    record = replace(revision({"configMap": "flags"}, {"secret": "key-v1"}, flags="d1"), number=3)
    manifest = build_record(MODEL, record, "stable")
    assert record_of(manifest) == replace(record, outcome="stable")
    assert manifest["data"]["inputs"]["trackedConfig"] == [
        {"configMap": "flags", "digest": "d1"},
        {"secret": "key-v1"},
    ]
    assert digests_of(record) == {"flags": "d1"}


@pytest.mark.parametrize("tracked", ["flags", [7], [{"configMap": "flags"}], {"flags": 1}])
def test_a_record_with_nonsense_in_the_place_of_tracked_config_counts_as_damaged(tracked: Any) -> None:
    inputs = {"bento": {"image": IMAGE}, "trackedConfig": tracked}
    forged = replace(revision(), inputs=inputs, revision=_name(inputs), number=1)
    assert record_of(build_record(MODEL, forged, "stable")) is None


# -- the pods --


def test_a_copy_is_immutable_ours_and_says_whose_it_is() -> None:
    copy = build_config_copy(MODEL, "k7c4f9xw2p", "flags")
    about = copy["metadata"]
    assert copy["immutable"] is True
    assert "data" not in copy
    assert about["annotations"] == {names.COPY_OF: "flags"}
    assert about["labels"][names.REVISION] == "k7c4f9xw2p"
    assert about["ownerReferences"][0]["uid"] == MODEL.uid


@given(name=st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=253))
def test_a_copys_name_fits_however_long_the_original_is(name: str) -> None:
    assert len(names.config_copy("m" * 40, "k7c4f9xw2p", name)) <= 60


READING: dict[str, Any] = {
    "bento": {
        "image": IMAGE,
        "trackedConfig": [{"configMap": "flags"}, {"configMap": "rules"}, {"secret": "api-key-v3"}],
    },
    "env": [
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "flags", "key": "colour"}}},
        {"name": "OTHER", "valueFrom": {"configMapKeyRef": {"name": "untracked", "key": "x"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "api-key-v3", "key": "key"}}},
        {"name": "PLAIN", "value": "flags"},
    ],
    "podTemplate": {
        "volumes": [
            {"name": "rules", "configMap": {"name": "rules", "items": [{"key": "a", "path": "a"}]}},
            {"name": "flags", "secret": {"secretName": "flags"}},
            {
                "name": "both",
                "projected": {
                    "sources": [
                        {"configMap": {"name": "flags"}},
                        {"secret": {"name": "flags"}},
                        {"configMap": {"name": "untracked", "optional": True}},
                    ]
                },
            },
        ],
        "volumeMounts": [{"name": "rules", "mountPath": "/rules"}],
        "initContainers": [
            {"name": "fetch", "image": "f:1", "envFrom": [{"configMapRef": {"name": "rules"}}]}
        ],
        "sidecars": [
            {
                "name": "proxy",
                "image": "p:1",
                "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "rules", "key": "a"}}}],
                "envFrom": [{"secretRef": {"name": "flags"}}, {"configMapRef": {"name": "untracked"}}],
            }
        ],
    },
}
CONFIG = {"flags": Content("digest-of-flags"), "rules": Content("digest-of-rules")}


def test_pods_read_the_copies_byte_for_byte_as_they_always_did() -> None:
    """As in the golden files of the template versions: a byte that changes here restarts pods."""
    record = revision_of(parse_spec(READING), config=CONFIG)
    document = {"revision": record.revision, "template": build_deployment(MODEL, record)["spec"]["template"]}
    text = yaml.safe_dump(document, sort_keys=True, width=10_000)
    if os.environ.get("UPDATE_GOLDEN") == "1" and not GOLDEN.exists():
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_every_reference_to_a_tracked_config_map_and_no_other_names_a_copy() -> None:
    record = revision_of(parse_spec(READING), config=CONFIG)
    spec = build_deployment(MODEL, record)["spec"]["template"]["spec"]
    copies = {name: names.config_copy(MODEL.name, record.revision, name) for name in CONFIG}
    (bento, proxy), (fetch,) = spec["containers"], spec["initContainers"]
    by_name = {item["name"]: item for item in bento["env"]}
    assert by_name["COLOUR"]["valueFrom"] == {"configMapKeyRef": {"name": copies["flags"], "key": "colour"}}
    assert by_name["OTHER"]["valueFrom"]["configMapKeyRef"]["name"] == "untracked"
    assert by_name["KEY"]["valueFrom"]["secretKeyRef"]["name"] == "api-key-v3"
    assert by_name["PLAIN"]["value"] == "flags"
    assert fetch["envFrom"] == [{"configMapRef": {"name": copies["rules"]}}]
    assert proxy["env"][0]["valueFrom"]["configMapKeyRef"]["name"] == copies["rules"]
    assert proxy["envFrom"] == READING["podTemplate"]["sidecars"][0]["envFrom"]
    volumes = {item["name"]: item for item in spec["volumes"]}
    assert volumes["rules"]["configMap"] == {
        "name": copies["rules"],
        "items": [{"key": "a", "path": "a"}],
    }
    assert volumes["flags"] == {"name": "flags", "secret": {"secretName": "flags"}}
    assert volumes["both"]["projected"]["sources"] == [
        {"configMap": {"name": copies["flags"]}},
        {"secret": {"name": "flags"}},
        {"configMap": {"name": "untracked", "optional": True}},
    ]


@pytest.mark.parametrize("name", SPECS)
def test_without_tracked_config_nothing_is_renamed(name: str) -> None:
    record = revision_of(SPECS[name])
    assert build_deployment(MODEL, record)["spec"]["template"] == TEMPLATES[1](MODEL, record)


NONSENSE = [
    {"envFrom": "flags"},
    {"envFrom": [7, {"configMapRef": None}, {"configMapRef": {"name": ["flags"]}}]},
    {"env": {"name": "A"}},
    {"env": [None, {"valueFrom": 3}, {"valueFrom": {"configMapKeyRef": "flags"}}]},
]


@pytest.mark.parametrize("container", NONSENSE, ids=str)
def test_what_is_of_another_type_is_left_to_the_api_server(container: dict[str, Any]) -> None:
    sidecar = {"name": "proxy", "image": "p:1", **container}
    raw = {**READING, "podTemplate": {"sidecars": [sidecar], "volumes": [{"name": "a", "configMap": 3}]}}
    record = revision_of(parse_spec(raw), config=CONFIG)
    spec = build_deployment(MODEL, record)["spec"]["template"]["spec"]
    assert spec["containers"][1] == record.inputs["podTemplate"]["sidecars"][0]
    assert spec["volumes"][1] == {"name": "a", "configMap": 3}

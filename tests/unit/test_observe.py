"""Raw objects become a snapshot, whatever is missing in them and whoever wrote them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ekiben.api.status import Status
from ekiben.api.v1alpha1 import Spec, parse_spec
from ekiben.core import names
from ekiben.core.render import build_record, build_service
from ekiben.core.revision import revision_of
from ekiben.core.snapshot import Applied, InvalidSpec, Manifest, Model, Ref
from ekiben.observe import Remembered, Seen, build_snapshot

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MODEL = Model("shop", "iris", "uid-iris", 3, "812")
REVISION = "kbcdfghjkm"
BENTO: dict[str, Any] = {"image": "registry.example.com/iris:1", "service": "Iris"}


def raw_model(spec: Any = None, status: Any = None, **metadata: Any) -> Manifest:
    about = {
        "name": "iris",
        "namespace": "shop",
        "uid": "uid-iris",
        "generation": 3,
        "resourceVersion": "812",
        **metadata,
    }
    raw = {"metadata": about, "spec": {"bento": BENTO} if spec is None else spec}
    return raw if status is None else {**raw, "status": status}


def child(kind: str, name: str, owner: str | None = "uid-iris", model: str | None = "iris") -> Manifest:
    labels = names.model_labels(model) if model else {}
    owners = [{"kind": "ModelDeployment", "name": "iris", "uid": owner, "controller": True}]
    metadata: Manifest = {"name": name, "namespace": "shop", "uid": f"uid-{kind}-{name}", "labels": labels}
    return {"kind": kind, "metadata": metadata | ({"ownerReferences": owners} if owner else {})}


def observe(seen: Seen, **remembered: Any) -> Any:
    return build_snapshot(seen, Remembered(**remembered), NOW)


def test_the_models_metadata_is_read() -> None:
    assert observe(Seen(raw_model())).model == MODEL
    assert observe(Seen(raw_model(deletionTimestamp="2026-11-22T11:59:00Z"))).model.deleting


def test_a_good_spec_is_parsed() -> None:
    spec = observe(Seen(raw_model())).spec
    assert isinstance(spec, Spec)
    assert spec.bento.image == BENTO["image"]


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({}, "spec.bento: is missing"),
        ({"bento": {}}, "spec.bento.image: is missing"),
        ({"bento": BENTO, "replicas": 0}, "spec.replicas: input should be greater than or equal to 1"),
        (
            {"bento": BENTO, "analysis": {"checks": [{"metric": "error-rate", "max": "NaN"}]}},
            "spec.analysis.checks[0].max: must be a percentage from 0% to 100%, such as 1%, or a number",
        ),
        (
            {
                "bento": BENTO,
                "rollout": {"canary": {"steps": [{"weight": 5}, {"weight": 25, "hold": "soon"}]}},
            },
            "spec.rollout.canary.steps[1].hold: ",
        ),
        (
            {"bento": BENTO, "replicas": 0, "analysis": {"minSamples": 0}},
            "spec.replicas: input should be greater than or equal to 1 (1 more like this)",
        ),
    ],
)
def test_a_spec_that_makes_no_sense_is_one_sentence_about_its_field(spec: Any, sentence: str) -> None:
    seen = observe(Seen(raw_model(spec))).spec
    assert isinstance(seen, InvalidSpec)
    assert seen.message.startswith(sentence)
    assert "\n" not in seen.message


@pytest.mark.parametrize(
    "status",
    [{"stable": "v1"}, {"conditions": [{"type": "Ready"}]}, {"phase": "Fine"}, {"rollout": {"id": 1}}],
)
def test_a_status_that_we_did_not_write_counts_as_lost(status: Any) -> None:
    assert observe(Seen(raw_model(status=status))).status == Status()


def test_our_own_status_comes_back_as_it_was_written() -> None:
    written = Status(observed_generation=3, message="all is well", replicas=2)
    assert observe(Seen(raw_model(status=written.to_wire()))).status == written


class TestChildren:
    """Who owns what."""

    def test_what_our_uid_controls_is_ours(self) -> None:
        deployment = child("Deployment", f"iris-{REVISION}")
        seen = observe(Seen(raw_model(), children=(deployment,)))
        assert seen.live == {Ref("Deployment", f"iris-{REVISION}"): deployment}
        assert seen.foreign == frozenset()

    def test_what_nobody_owns_and_has_our_labels_is_adopted(self) -> None:
        orphan = child("Service", "iris", owner=None)
        assert Ref("Service", "iris") in observe(Seen(raw_model(), children=(orphan,))).live

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param(
                child("Service", "iris", owner="uid-of-the-iris-before"), id="an older iris owns it"
            ),
            pytest.param(
                child("Service", "iris-canary", owner="u2", model="iris-canary"), id="another model's"
            ),
            pytest.param(child("Service", "iris", owner=None, model=None), id="somebody's own"),
            pytest.param(child("Service", "iris", owner=None, model="mnist"), id="another model's orphan"),
            pytest.param(child("HTTPRoute", "iris", owner=None, model=None), id="somebody's route"),
            pytest.param(
                child("Deployment", f"iris-{REVISION}", owner="u2"), id="a Deployment named like ours"
            ),
        ],
    )
    def test_what_belongs_to_others_is_left_alone(self, other: Manifest) -> None:
        seen = observe(Seen(raw_model(), children=(other,)))
        assert seen.live == {}
        assert seen.foreign == {Ref(other["kind"], other["metadata"]["name"])}

    def test_what_has_no_name_of_our_childrens_is_none_of_our_business(self) -> None:
        others = (
            child("Deployment", "iris-batch", owner="u2"),
            child("Service", f"iris-{REVISION}", owner="u2"),
            child("Deployment", "iris", owner=None, model=None),
        )
        seen = observe(Seen(raw_model(), children=others))
        assert (seen.live, seen.foreign) == ({}, frozenset())

    def test_a_name_that_a_look_up_found_taken_is_foreign_until_it_is_ours(self) -> None:
        taken = Ref("Service", "iris")
        assert observe(Seen(raw_model()), conflicts=frozenset({taken})).foreign == {taken}
        ours = Seen(raw_model(), children=(child("Service", "iris"),))
        assert observe(ours, conflicts=frozenset({taken})).foreign == frozenset()

    def test_records_are_read_from_our_controller_revisions_only(self) -> None:
        record = revision_of(parse_spec({"bento": BENTO}))
        ours = build_record(MODEL, record, "stable")
        foreign = build_record(Model("shop", "iris", "u2", 1, "1"), record, "stable")
        assert observe(Seen(raw_model(), children=(ours,))).records[record.revision].inputs == record.inputs
        assert observe(Seen(raw_model(), children=(foreign,))).records == {}

    def test_a_record_deleted_by_hand_is_remembered_while_its_revision_has_pods(self) -> None:
        record = revision_of(parse_spec({"bento": BENTO}))
        records = {record.revision: record}
        serving = raw_model(status={"stable": {"revision": record.revision}})
        assert observe(Seen(serving), records=records).records == records
        assert observe(Seen(raw_model()), records=records).records == {}

    def test_what_core_renders_is_ours(self) -> None:
        service = build_service(MODEL, names.stable_service("iris"), REVISION)
        assert Ref("Service", "iris") in observe(Seen(raw_model(), children=(service,))).live


def test_what_is_remembered_is_handed_on() -> None:
    ref = Ref("Service", "iris")
    ledger, rejections = {ref: Applied("a", "b")}, {ref: "Service iris: no"}
    seen = observe(Seen(raw_model(), watches_fresh=False), ledger=ledger, rejections=rejections)
    assert (seen.ledger, seen.rejections, seen.now) == (ledger, rejections, NOW)
    assert not seen.cluster.watches_fresh


def test_a_copy_that_others_made_is_doubtful_until_it_was_looked_at() -> None:
    ours, theirs = (child("ConfigMap", f"iris-{REVISION}-{number * 8}") for number in "12")
    theirs["metadata"]["othersContent"] = True
    seen = Seen(raw_model(), children=(ours, theirs))
    refs = {Ref("ConfigMap", item["metadata"]["name"]) for item in (ours, theirs)}
    found = observe(seen)
    assert found.live.keys() == refs, "it can still be deleted with its revision"
    assert found.doubtful == {Ref("ConfigMap", theirs["metadata"]["name"])}
    assert observe(seen, checked={theirs["metadata"]["uid"]}).doubtful == frozenset()

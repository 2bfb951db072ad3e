"""What `lint` finds without a cluster, as sentences that name the field and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ekiben.api.generated import CHECKOUT
from ekiben.api.policy import RESTRICTED, PodPolicy
from ekiben.cli.exits import Exit
from ekiben.cli.lint import problems_of
from ekiben.cli.main import main
from unit.cli.world import spec

Json = dict[str, Any]


def model(raw_spec: Any, **metadata: Any) -> Json:
    """Return a manifest."""
    about = {"name": "iris", **metadata}
    return {
        "apiVersion": "ekiben.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": about,
        "spec": raw_spec,
    }


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        (model(spec("v1", replicaz=3)), "spec.replicaz is no field: write replicas"),
        (
            model(spec("v1", rollout={"canary": {"steps": [{"wieght": 5}]}})),
            "spec.rollout.canary.steps[0].wieght is no field: write weight",
        ),
        (model({}), "spec.bento: is missing"),
        (model(spec("v1", replicas=0)), "spec.replicas: input should be greater than or equal to 1"),
        (
            model(spec("v1", rollout={"promote": "now"})),
            "spec.rollout.promote: must be a rollout's ID as status.rollout.id shows it",
        ),
        (
            model(spec("v1", rollout={"scaleDownDelay": "soon"})),
            "spec.rollout.scaleDownDelay: must be a duration such as 30s, 5m or 1h30m",
        ),
        (model({"bento": {"image": "UPPER"}}), "spec.bento.image: image must be an image's name"),
        (model(spec("v1"), name="Iris"), "metadata.name must have at most 40 characters"),
        (model(None), "spec is missing"),
        (
            {"apiVersion": "v1", "kind": "Pod"},
            "apiVersion and kind must be ekiben.dev/v1alpha1 ModelDeployment",
        ),
        (
            model(spec("v1", podTemplate={"volumes": [{"name": "all", "hostPath": {"path": "/"}}]})),
            "spec.podTemplate.volumes must not be of type hostPath: remove it",
        ),
        (model(spec("v1", serviceAccountName="admin")), "spec.serviceAccountName must be left out, default"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(manifest: Json, sentence: str) -> None:
    found = problems_of(manifest, RESTRICTED)
    assert len(found) == 1
    assert found[0].startswith(sentence)


@pytest.mark.parametrize(
    ("raw_spec", "sentence"),
    [
        ({"checks": [{"name": "a", "max": "5", "wub": {}}]}, "spec.checks[0].wub is no field: write web"),
        (
            {"checks": [{"name": "a", "max": "NaN"}]},
            "spec.checks[0].max: must be a percentage from 0% to 100%",
        ),
        ({"args": []}, "spec.checks: is missing"),
        (None, "spec is missing: checks at least is needed"),
    ],
)
def test_a_mistake_in_a_model_analysis_is_named_with_its_remedy(raw_spec: Any, sentence: str) -> None:
    (found,) = problems_of(model(raw_spec, name="shared.checks") | {"kind": "ModelAnalysis"}, RESTRICTED)
    assert found.startswith(sentence)


def test_a_count_that_is_neither_number_nor_share_is_one_mistake() -> None:
    steps = {"canary": {"steps": [{"replicas": "many"}]}}
    (found,) = problems_of(model(spec("v1", rollout=steps)), RESTRICTED)
    assert found.startswith("spec.rollout.canary.steps[0].replicas: must be a number of pods from 1 to 10000")


def test_every_mistake_is_named_at_once() -> None:
    found = problems_of(model(spec("v1", replicas=0, replicaz=1), name="-"), RESTRICTED)
    assert len(found) == 3


def test_what_the_chart_allows_is_no_mistake() -> None:
    volumes = {"volumes": [{"name": "all", "hostPath": {"path": "/"}}]}
    loose = PodPolicy(frozenset({"hostPath"}), frozenset({"admin"}))
    assert problems_of(model(spec("v1", podTemplate=volumes, serviceAccountName="admin")), loose) == []


@pytest.mark.parametrize("path", sorted((CHECKOUT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_are_without_mistake(path: Path) -> None:
    objects = list(yaml.safe_load_all(path.read_text()))
    assert "ModelDeployment" in [item["kind"] for item in objects]
    loose = PodPolicy(service_accounts=frozenset({"*"}))
    assert [problems_of(item, loose) for item in objects] == [[] for _ in objects]


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("a: [", Exit.INVALID, "is no YAML"),
        ("", Exit.INVALID, "is empty"),
        ("kind: Pod", Exit.INVALID, "holds no ModelDeployment"),
        (None, Exit.NOT_FOUND, "can't be read: No such file"),
        (yaml.safe_dump(model(spec("v1", replicas=0))), Exit.INVALID, ""),
        (yaml.safe_dump(model(spec("v1"))), Exit.OK, ""),
    ],
)
def test_a_file_ends_with_the_status_that_fits(
    text: str | None, code: Exit, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "iris.yaml"
    if text is not None:
        path.write_text(text)
    assert main(["lint", "-f", str(path)]) == code
    said = capsys.readouterr()
    assert says in said.err
    assert ("Traceback" in said.err, bool(said.out)) == (False, not says)

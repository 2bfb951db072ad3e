"""Each version of the pod template, held to what it was when it was released."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ekiben.api.v1alpha1 import Spec
from ekiben.core.render import (
    build_deployment,
)
from ekiben.core.render.deployment import TEMPLATES
from ekiben.core.revision import revision_of
from sample_specs import MODEL, SPECS

GOLDEN = Path(__file__).parent / "golden"
CASES = [(version, name) for version in TEMPLATES for name in SPECS]


def golden_text(version: int, spec: Spec) -> str:
    """Write a revision's name and pod template as the golden files have them."""
    record = revision_of(spec, version)
    document = {"revision": record.revision, "template": TEMPLATES[version](MODEL, record)}
    text: str = yaml.safe_dump(document, sort_keys=True, width=10_000)
    return text


def golden_file(version: int, name: str) -> Path:
    return GOLDEN / f"template-v{version}" / f"{name}.yaml"


@pytest.mark.parametrize(("version", "name"), CASES)
def test_a_template_version_renders_byte_for_byte_what_it_always_did(version: int, name: str) -> None:
    """Hold every template version, and the names of the revisions, to what they were when they were released.

    A golden file must never change: clusters are full of pods that were made with it. Every byte that an
    upgrade of the operator renders otherwise is a restart of all of them, and a revision that gets another
    name is a rollout that nobody asked for. What should be otherwise goes into the next template version,
    with a folder of its own. So UPDATE_GOLDEN=1 writes files that are missing and touches none that exists.
    """
    path, text = golden_file(version, name), golden_text(version, SPECS[name])
    if os.environ.get("UPDATE_GOLDEN") == "1" and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.exists(), f"{path.name}: UPDATE_GOLDEN=1 writes it, once"
    assert path.read_text() == text


def test_every_golden_file_is_checked() -> None:
    assert {golden_file(*case) for case in CASES} == set(GOLDEN.glob("template-v*/*"))


def test_pods_of_an_unknown_template_version_are_refused_with_the_remedy() -> None:
    record = replace(revision_of(SPECS["image-alone"]), template_version=7)
    with pytest.raises(
        ValueError, match=r"template version 7, this operator knows 1: run the newer operator"
    ):
        build_deployment(MODEL, record)

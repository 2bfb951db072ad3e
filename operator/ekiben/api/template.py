"""What a user writes once for many models: `ModelAnalysis.spec` of ekiben.dev/v1alpha1."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from ekiben.api.fields import ApiModel, Name, checked, keyed_by
from ekiben.api.judging import Check
from ekiben.api.rules import judging as say

TEMPLATE_KIND = "ModelAnalysis"
TEMPLATE_PLURAL = "modelanalyses"

Value = Annotated[str, StringConstraints(max_length=256)]


class Argument(ApiModel):
    """One word that the checks have as `{{args.NAME}}`."""

    name: Annotated[Name, Field(description="Its name.")]
    default: Annotated[
        Value | None, Field(description="What it is where a model says nothing; without it a model must.")
    ] = None


class Template(ApiModel):
    """Checks that models of this namespace name in `analysis.templates`."""

    args: Annotated[
        tuple[Argument, ...],
        Field(max_length=16, description="Words that models fill in.", json_schema_extra=keyed_by("name")),
    ] = ()
    checks: Annotated[
        tuple[Check, ...],
        Field(
            min_length=1,
            max_length=10,
            description="What a canary must fulfil.",
            json_schema_extra=checked(say.NAMES_DIFFER, say.BOUNDS_ARE_DEFAULT),
        ),
    ]

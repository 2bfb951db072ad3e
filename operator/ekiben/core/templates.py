"""The checks of a rollout: those of the spec, and those that it names by ModelAnalysis objects.

They are resolved when a rollout starts and kept in its plan. What is edited or deleted later changes no
rollout that is on its way. A template that is missing or can't be used keeps a rollout from starting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ekiben.api.judging import Analysis, Check, TemplateUse
from ekiben.api.template import Template
from ekiben.core.analysis import DEFAULT_CHECKS
from ekiben.core.filling import PLACEHOLDERS_KEPT, UnknownPlaceholderError, filled
from ekiben.core.view import View, once

# A plan is part of the status, which must stay small.
MOST_CHECKS = 20


class TemplateError(ValueError):
    """A template that can't be used; the message names it and says what to do."""


@once
def template_problem(view: View) -> str:
    """Say why the checks that the spec asks for can't be had; empty when they can."""
    try:
        resolved_checks(view.spec.analysis, view.snapshot.templates)
    except TemplateError as problem:
        return str(problem)
    return ""


def checks_of(view: View) -> tuple[Check, ...]:
    """Return the checks that the spec asks for; those of the spec alone where a template can't be used."""
    analysis = view.spec.analysis
    if template_problem(view):
        return analysis.checks or DEFAULT_CHECKS
    return resolved_checks(analysis, view.snapshot.templates)


def resolved_checks(analysis: Analysis, templates: Mapping[str, Template | str]) -> tuple[Check, ...]:
    """Return every check, arguments filled in; raises TemplateError. An invalid template is a text."""
    found = list(analysis.checks)
    for use in analysis.templates:
        template = templates.get(use.name)
        if template is None:
            raise TemplateError(
                f"analysis.templates names ModelAnalysis {use.name}, which does not exist: create it"
            )
        if isinstance(template, str):
            raise TemplateError(f"ModelAnalysis {use.name} can't be used: {template}")
        found += _filled(use, template)
    titles = [check.name for check in found if check.name]
    if twice := sorted({title for title in titles if titles.count(title) > 1}):
        raise TemplateError(
            f"two checks are called {twice[0]}: rename one, also where a ModelAnalysis has it"
        )
    if len(found) > MOST_CHECKS:
        raise TemplateError(
            f"analysis.templates and checks come to {len(found)} checks, more than {MOST_CHECKS}"
        )
    if found and not any(_decides(check) for check in found):
        raise TemplateError("none of the checks decides: remove dryRun from one, or add one")
    return tuple(found) or DEFAULT_CHECKS


def _decides(check: Check) -> bool:
    return not check.dry_run and check.metric not in ("throughput", "mean-batch-size", "concurrency")


def _filled(use: TemplateUse, template: Template) -> list[Check]:
    known = {item.name: item.default for item in template.args}
    given = {item.name: item.value for item in use.args}
    if unknown := sorted(given.keys() - known.keys()):
        raise TemplateError(
            f"ModelAnalysis {use.name} has no argument {unknown[0]}: correct analysis.templates"
        )
    values = known | given
    if missing := sorted(name for name, value in values.items() if value is None):
        raise TemplateError(
            f"ModelAnalysis {use.name} needs its argument {missing[0]}: add it to analysis.templates"
        )
    words = {f"args.{name}": str(value) for name, value in values.items()} | PLACEHOLDERS_KEPT
    try:
        return [
            Check.model_validate(_deep(check.model_dump(by_alias=True, exclude_none=True), words))
            for check in template.checks
        ]
    except UnknownPlaceholderError as problem:
        raise TemplateError(f"ModelAnalysis {use.name} can't be used: {problem}") from None
    except ValueError as problem:
        first = str(problem).splitlines()[0]
        raise TemplateError(f"ModelAnalysis {use.name} can't be used with these arguments: {first}") from None


def _deep(value: Any, words: Mapping[str, str]) -> Any:
    """Fill in every text of a check."""
    if isinstance(value, str):
        return filled(value, words)
    if isinstance(value, dict):
        return {key: _deep(item, words) for key, item in value.items()}
    return [_deep(item, words) for item in value] if isinstance(value, list | tuple) else value

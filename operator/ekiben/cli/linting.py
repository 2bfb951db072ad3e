"""`lint`: read a file and say what `lint.py` finds; it needs no cluster, so nothing of one is imported."""

from __future__ import annotations

from argparse import Namespace

from ekiben.api.policy import NAMES, PodPolicy
from ekiben.cli import yamls
from ekiben.cli.exits import CommandError, Exit
from ekiben.cli.lint import problems_of


def lint(options: Namespace) -> Exit:
    """Say what is wrong with a manifest, without a cluster."""
    if unknown := sorted(set(options.allow) - set(NAMES)):
        raise CommandError(f"--allow {unknown[0]} is not known: take one of {', '.join(NAMES)}", Exit.MISUSED)
    policy = PodPolicy(frozenset(options.allow), frozenset(options.service_account))
    models = [item for item in yamls.read_documents(options.filename) if yamls.is_ours(item)]
    if not models:
        raise CommandError(f"-f {options.filename} holds no ModelDeployment", Exit.INVALID)
    wrong = 0
    for model in models:
        found = problems_of(model, policy)
        wrong += len(found)
        for text in found or ["no mistake found"]:
            print(f"{yamls.title(model)}: {text}")
    return Exit.INVALID if wrong else Exit.OK

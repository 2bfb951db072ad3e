"""The words of the command line, as data: parser, help, completion and docs/kubectl.md come of it."""

from __future__ import annotations

import argparse
import re
from typing import Any, NamedTuple

from ekiben.cli.exits import MEANINGS

PROGRAM = "kubectl ekiben"


class Option(NamedTuple):
    """One option or argument; `settings` are argparse's own, `completes` says what may stand there."""

    flags: tuple[str, ...]
    help: str
    settings: dict[str, Any]
    completes: str = ""


class Verb(NamedTuple):
    """One command."""

    name: str
    summary: str
    about: str
    example: str
    options: tuple[Option, ...]


def _option(*flags: str, help: str, completes: str = "", **settings: Any) -> Option:
    return Option(flags, help, settings, completes)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?|0", text)
    if not text or match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no duration of hours, minutes"
            " and whole seconds: write for example 30s, 10m or 1h30m"
        )
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


def _latency(text: str) -> str:
    if not re.fullmatch(r"([0-9]{1,5}(ms|s|m|h)){1,4}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write for example 500ms or 2s")
    return text


def _yes_or_no(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r}: write true or false")
    return text == "true"


def _name(text: str) -> str:
    """Take `mdep/iris` for `iris`, as kubectl does."""
    name = text.rpartition("/")[2]
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} names no ModelDeployment: write for example iris")
    return name


NAME = _option("name", help="the ModelDeployment", completes="models", metavar="NAME", type=_name)
COMMON = (
    _option("-n", "--namespace", help="its namespace; default: the context's", metavar="NAMESPACE"),
    _option("--context", help="a context of the kubeconfig; default: the current one", metavar="CONTEXT"),
    _option(
        "--kubeconfig",
        help="default: $KUBECONFIG, else ~/.kube/config",
        metavar="FILE",
        completes="files",
    ),
)
OUTPUT = _option("-o", "--output", help="for programs", choices=("json", "yaml"))
WIDE_OUTPUT = _option(
    "-o", "--output", help="for programs, or more columns", choices=("json", "yaml", "wide")
)
FILE = _option(
    "-f", "--filename", help="manifest; - is standard input", metavar="FILE", required=True, completes="files"
)
DRY_RUN = _option(
    "--dry-run", help="let the server check the change and print it, but keep nothing", action="store_true"
)
_STATUS_CODES = "Exit status:\n" + "\n".join(f"  {code.value:<4}{text}" for code, text in MEANINGS.items())

VERBS: tuple[Verb, ...] = (
    Verb(
        "get",
        "list models, or draw one: revisions, pods, weight, step, checks",
        "Without NAME: one line for each model. With it: a tree. -w goes on: on a terminal it draws anew,\n"
        "elsewhere it appends a line with each change.",
        "get iris -w",
        (
            NAME._replace(settings=NAME.settings | {"nargs": "?"}),
            _option("-w", "--watch", help="go on until Ctrl-C", action="store_true"),
            _option("-A", "--all-namespaces", help="list every namespace's models", action="store_true"),
            WIDE_OUTPUT,
        ),
    ),
    Verb(
        "status",
        "wait until the last change has ended, and say how: for pipelines",
        f"Waits for the operator to see the spec as it is now, and then for its end.\n\n{_STATUS_CODES}",
        "status iris --timeout 15m",
        (
            NAME,
            _option(
                "--timeout",
                help="longest wait, such as 10m; default: no limit",
                metavar="DURATION",
                type=_seconds,
                default=0.0,
            ),
            _option(
                "--watch",
                help="false: look once; default: true",
                metavar="true|false",
                type=_yes_or_no,
                nargs="?",
                const=True,
                default=True,
            ),
            OUTPUT,
        ),
    ),
    Verb(
        "why",
        "name the exact object that a model waits for, and what sets it going",
        "Looks at pods and their Events, Deployments, the HTTPRoute and the checks.",
        "why iris",
        (NAME, OUTPUT),
    ),
    Verb(
        "history",
        "list rollouts and how they ended, newest first",
        "The status remembers the last 10; images are known of the revisions that are kept.",
        "history iris",
        (NAME, OUTPUT),
    ),
    Verb(
        "advise",
        "say which concurrency target keeps the latency, and how many pods it takes",
        "Reads /metrics of the serving revision's pods through the API server, every 5 s while the window\n"
        "lasts, and judges what it saw: the target, the pods that would have been enough, the evidence, and\n"
        "the YAML to paste; nothing is written. Let the load vary meanwhile, up to more than the pods can\n"
        "take: what was not seen is not advised, and the exit status is 1. Without every ready pod read\n"
        "there is no YAML. It needs get of pods/proxy, by which any page of any pod there can be read.",
        "advise iris --window 5m --latency 500ms",
        (
            NAME,
            _option(
                "--window",
                help="how long to watch, at least 10s; default: 60s",
                metavar="DURATION",
                type=_seconds,
                default=60.0,
            ),
            _option(
                "--latency",
                help="longest p95; default: latency of autoscaling.metrics, or of a check slow-requests",
                metavar="DURATION",
                type=_latency,
            ),
            OUTPUT,
        ),
    ),
    Verb(
        "promote",
        "skip the steps that are left: all the way now",
        "Writes spec.rollout.promote with the ID of the rollout in flight. A first revision that is Held is\n"
        "served.",
        "promote iris",
        (NAME, DRY_RUN),
    ),
    Verb(
        "abort",
        "go back to stable at once",
        "Writes spec.rollout.abort with the ID of the rollout in flight. The revision is not tried again\n"
        "until retry, or another change of the spec.",
        "abort iris",
        (NAME, DRY_RUN),
    ),
    Verb(
        "pause",
        "take no step by itself",
        "Writes spec.rollout.paused: true. The weight stays, and a check that fails still ends the rollout.",
        "pause iris",
        (NAME, DRY_RUN),
    ),
    Verb(
        "resume",
        "leave a pause: that of a step, or the one of `pause`",
        "Writes spec.rollout.resume with the rollout's ID and step, and takes spec.rollout.paused back.",
        "resume iris",
        (NAME, DRY_RUN),
    ),
    Verb(
        "skip",
        "leave the current step now, without waiting for its hold and its samples",
        "Writes spec.rollout.resume with the rollout's ID and step. A check that fails still ends it.",
        "skip iris",
        (NAME, DRY_RUN),
    ),
    Verb(
        "retry",
        "try the revision that failed or was aborted once more",
        "Writes spec.rollout.retry with the ID of the failed rollout of what the spec asks for.",
        "retry iris",
        (NAME, DRY_RUN),
    ),
    Verb(
        "undo",
        "ask for an earlier revision again",
        "Writes what makes a revision (bento, runtime, resources, env, accounts, podTemplate, and\n"
        "autoscaling where it says canary: true) as it was then, and prints it to commit. Without --to:\n"
        "stable, if the spec asks for anything else; else what served before it. It is rolled out like\n"
        "any change, by steps and checks; stable itself serves at once.",
        "undo iris --to 3",
        (
            NAME,
            _option(
                "--to",
                help="a revision's name, its rollout's ID or number, or stable",
                metavar="REVISION",
                completes="revisions",
            ),
            DRY_RUN,
        ),
    ),
    Verb(
        "restart",
        "replace every pod, step by step and checked like any change",
        "Writes an annotation into spec.podTemplate, which makes a revision of the same content.",
        "restart iris",
        (NAME, DRY_RUN),
    ),
    Verb(
        "diff",
        "compare what two revisions are",
        "A revision is named by its name, its rollout's ID or number, stable, canary, or spec for what the\n"
        "spec asks for. With one: compared with stable.",
        "diff iris stable canary",
        (
            NAME,
            _option("old", help="the revision before", metavar="REVISION", completes="revisions"),
            _option("new", help="the revision after", metavar="REVISION", nargs="?", completes="revisions"),
        ),
    ),
    Verb(
        "plan",
        "say what applying a manifest would do; nothing is written",
        "The API server checks it by a dry run, as kubectl apply would send it. Then: new revision or not,\n"
        "its steps with their pods, the most pods and resources at a time, the time that it takes at least,\n"
        "and whether there is room, as far as you may look at quotas and nodes.",
        "plan -f iris.yaml",
        (FILE, OUTPUT),
    ),
    Verb(
        "lint",
        "say what is wrong with a manifest, without a cluster",
        "Types, forms, misspelt fields and the pod policy, of ModelDeployments and ModelAnalyses. What the\n"
        "rules between fields say, and what this cluster allows, only its API server knows: kubectl ekiben\n"
        "plan -f FILE asks it.",
        "lint -f iris.yaml",
        (
            FILE,
            _option(
                "--allow",
                help="what the chart's podPolicy.allow lists; may be repeated",
                metavar="NAME",
                action="append",
                default=[],
            ),
            _option(
                "--service-account",
                help="what the chart's podPolicy.serviceAccounts lists; may be repeated",
                metavar="NAME",
                action="append",
                default=[],
            ),
        ),
    ),
    Verb(
        "completion",
        "print a completion script for a shell",
        "For kubectl-ekiben. With `kubectl ekiben` kubectl's own completion asks kubectl_complete-ekiben,\n"
        "which is installed beside it.",
        "completion bash",
        (_option("shell", help="the shell", choices=("bash", "zsh", "fish"), metavar="bash|zsh|fish"),),
    ),
)

"""The words of the command line, as data: parser, help, completion and docs/kubectl.md come of it."""

from __future__ import annotations

import argparse
import re
from typing import Any, NamedTuple

from ekiben import __version__
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
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write for example 30s, 10m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


def _yes_or_no(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r}: write true or false")
    return text == "true"


def _name(text: str) -> str:
    """Take `mdep/iris` for `iris`, as kubectl does."""
    return text.rpartition("/")[2]


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
        "lint",
        "say what is wrong with a manifest, without a cluster",
        "Types, forms, misspelt fields and the pod policy. What the rules between fields say, and what this\n"
        "cluster allows, only its API server knows: kubectl ekiben plan -f FILE asks it.",
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
)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; an option that all commands share may stand before the command as well."""
    listed = "\n".join(f"  {verb.name:<12}{verb.summary}" for verb in VERBS)
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="See and steer Ekiben's ModelDeployments.",
        usage=f"{PROGRAM} COMMAND [options]",
        epilog=f"commands:\n{listed}\n\nexample:\n  {PROGRAM} get iris -w\n\n"
        f"{PROGRAM} COMMAND --help says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ekiben {__version__}")
    for option in COMMON:
        parser.add_argument(*option.flags, help=option.help, **option.settings)
    commands = parser.add_subparsers(dest="verb", metavar="COMMAND", help=argparse.SUPPRESS)
    for verb in VERBS:
        made = commands.add_parser(
            verb.name,
            prog=f"{PROGRAM} {verb.name}",
            description=f"{verb.summary[:1].upper()}{verb.summary[1:]}.\n\n{verb.about}",
            epilog=f"example:\n  {PROGRAM} {verb.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for option in verb.options:
            made.add_argument(*option.flags, help=option.help, **option.settings)
        for option in COMMON:
            # Suppressed, so that what stands before the command is not overwritten by a default.
            made.add_argument(*option.flags, help=option.help, default=argparse.SUPPRESS, **option.settings)
    return parser

"""The parser, built from the words."""

from __future__ import annotations

import argparse

from ekiben import __version__
from ekiben.cli.words import COMMON, PROGRAM, VERBS


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

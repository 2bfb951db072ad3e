"""`kubectl ekiben`: parse, run, and end with the status that `exits.py` promises."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from ekiben.cli.exits import CommandError, Exit
from ekiben.cli.parser import build_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status. What costs time to import is imported after parsing."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not options.verb:
        parser.print_help()
        return Exit.MISUSED
    for stream in (sys.stdout, sys.stderr):
        # A terminal without UTF-8 gets a ? for a line of the tree, not a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        return _run(options)
    except CommandError as problem:
        print(f"kubectl ekiben: {problem.message}", file=sys.stderr)
        return problem.code
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read has read enough; Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK


def _run(options: argparse.Namespace) -> int:
    # Each verb imports what it needs when it is asked for: `--help` must not wait for a client.
    if options.verb == "completion":
        from ekiben.cli.completion import SCRIPTS  # noqa: PLC0415

        print(SCRIPTS[options.shell], end="")
        return Exit.OK
    if options.verb == "lint":
        from ekiben.cli.linting import lint  # noqa: PLC0415

        return lint(options)
    from ekiben.cli import advising, planning, reading, steering  # noqa: PLC0415
    from ekiben.cli.cluster import Cluster  # noqa: PLC0415
    from ekiben.kube.errors import ApiError  # noqa: PLC0415

    modules = {"plan": planning, "undo": steering, "restart": steering, "advise": advising}
    command = (
        steering.steer
        if options.verb in steering.SIMPLE
        else getattr(modules.get(options.verb, reading), options.verb)
    )

    async def talk() -> Exit:
        async with Cluster.open(options.kubeconfig, options.context, options.namespace) as cluster:
            return await command(cluster, options)

    try:
        return asyncio.run(talk())
    except ApiError as error:
        unreached = {"Config": error.message, "Network": f"the API server can't be reached: {error.message}"}
        raise CommandError(unreached.get(error.reason, str(error))) from error


if __name__ == "__main__":
    sys.exit(main())

"""`python -m demo`: serve a model, promote a good version, roll a bad one back, and count every request."""

from __future__ import annotations

import asyncio
import math
import re
import sys

import click

from demo.story import DemoFailedError, tell
from ekiben.api.fields import DNS_LABEL_PATTERN
from localcluster.errors import LocalClusterError
from rig.site import SiteError


def _namespace(value: str) -> str:
    if len(value) > 63 or not re.fullmatch(DNS_LABEL_PATTERN, value):
        raise click.BadParameter("write lower-case letters, digits and dashes, such as demo")
    return value


def _number(value: float) -> float:
    # A range holds no bound that "nan" would be outside of.
    if math.isnan(value):
        raise click.BadParameter("write a number such as 20")
    return value


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--namespace",
    default="demo",
    show_default=True,
    callback=lambda _context, _parameter, value: _namespace(value),
    help="Namespace of the model.",
)
@click.option(
    "--rate",
    type=click.FloatRange(1, 1000),
    default=20.0,
    show_default=True,
    callback=lambda _context, _parameter, value: _number(value),
    help="Requests per second through the gateway.",
)
def main(namespace: str, rate: float) -> None:
    """Show the whole story on this machine's own cluster; exit 0 only if all of it was seen."""
    try:
        asyncio.run(tell(namespace, rate))
    except (DemoFailedError, SiteError, LocalClusterError, TimeoutError) as problem:
        click.secho(f"\nThe demo failed: {problem}", fg="red", err=True)
        click.echo(
            "Look around with .local/bin/kubectl, for example: .local/bin/kubectl describe mdep -A", err=True
        )
        sys.exit(1)


if __name__ == "__main__":
    main()

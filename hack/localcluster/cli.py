"""The command line of the local cluster."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from pathlib import Path

import click

from localcluster import tools as toolbox
from localcluster.controlplane import ControlPlane
from localcluster.errors import LocalClusterError
from localcluster.progress import say, step


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Run a real Kubernetes on this Linux machine, without Docker."""


@cli.group()
def tools() -> None:
    """Build the pinned programs that the cluster runs, once per machine."""


@tools.command("build")
@click.argument("names", nargs=-1, type=click.Choice(sorted(toolbox.TOOLS)))
def build_tools(names: tuple[str, ...]) -> None:
    """Build the named tools (all of them where none is named) and print their folders."""
    for name in names or sorted(toolbox.TOOLS):
        click.echo(toolbox.ensure(toolbox.TOOLS[name]))


@tools.command("list")
def list_tools() -> None:
    """Show what is built, and how long it took."""
    for folder, record in toolbox.builds():
        megabytes = record["bytes"] / 1e6
        click.echo(
            f"{folder:32} {record['minutes']:6.2f} min  {record['packages']:5.0f} packages compiled  "
            f"{record['cpus']:3.0f} cpus  {megabytes:6.0f} MB"
        )


@tools.command("path")
@click.argument("command")
def tool_path(command: str) -> None:
    """Print the path of a built command such as kubectl or helm."""
    click.echo(toolbox.command_path(command))


@cli.command("control-plane")
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), help="Where its files go; a new one if missing."
)
@click.option("--with-controller-manager", is_flag=True, help="Also run kube-controller-manager.")
@click.option(
    "--hpa-sync-period", default="5s", show_default=True, help="How often autoscalers are looked at."
)
def control_plane(directory: Path | None, with_controller_manager: bool, hpa_sync_period: str) -> None:
    """Run a bare etcd and kube-apiserver on loopback until Ctrl-C; needs no root."""
    folder = directory or Path(tempfile.mkdtemp(prefix="ekiben-control-plane-"))
    toolbox.ensure(toolbox.KUBERNETES)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with step("starting etcd and kube-apiserver"):
        plane = ControlPlane.start(
            folder, controller_manager=with_controller_manager, hpa_sync_period=hpa_sync_period
        )
    with plane:
        click.echo(f"export KUBECONFIG={plane.kubeconfig}  # {plane.server}")
        stop.wait()
        say("stopping")


def main() -> None:
    """Run the command line; what the caller can mend is one sentence and exit code 1."""
    try:
        cli(standalone_mode=True)
    except LocalClusterError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)

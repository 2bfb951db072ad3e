"""The command line of the local cluster."""

from __future__ import annotations

import errno
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from localcluster import status as looking
from localcluster import tools as toolbox
from localcluster.backends import choose
from localcluster.client import Kubectl
from localcluster.controlplane import ControlPlane
from localcluster.errors import LocalClusterError
from localcluster.keda import install_keda, remove_keda
from localcluster.measure import READY_LIMIT, TOP_LIMIT
from localcluster.measure import measure as measure_cluster
from localcluster.paths import local_dir
from localcluster.progress import say, step
from localcluster.state import check_name, default_name
from localcluster.stores import remove_free_stores

Command = TypeVar("Command", bound=Callable[..., object])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--backend",
    type=click.Choice(["local", "kind", "existing"]),
    default="local",
    show_default=True,
    envvar="EKIBEN_BACKEND",
    show_envvar=True,
    help="Where the cluster runs: a boxed node here, kind on Docker, or KUBECONFIG's.",
)
@click.pass_context
def cli(context: click.Context, backend: str) -> None:
    """Run a real Kubernetes on this Linux machine, without Docker."""
    context.obj = backend


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


def _duration(value: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,4}(ms|s|m|h)", value, re.ASCII):
        raise LocalClusterError(f"--hpa-sync-period {value!r} is no duration: write 1s, 30s or 2m.")
    return value


def _name_option(function: Command) -> Command:
    return click.option(
        "--name",
        default=default_name(),
        show_default="from the work tree's path",
        callback=lambda _context, _parameter, value: check_name(value),
        help="The cluster's name.",
    )(function)


@cli.command()
@_name_option
@click.option("--subnet", help="A private /16 for the local backend, such as 10.50.0.0/16.")
@click.pass_obj
def up(backend: str, name: str, subnet: str | None) -> None:
    """Bring the cluster up and write its kubeconfig into .local/."""
    chosen = choose(backend, name, subnet)
    chosen.up()
    click.echo(f"gateway  {chosen.gateway()}  (Gateway models in namespace infra)")
    if backend != "existing" and name == default_name():
        click.echo(f"kubectl  {local_dir() / 'bin' / 'kubectl'}")
    click.echo(f"export KUBECONFIG={chosen.kubeconfig()}")


@cli.command()
@_name_option
@click.pass_obj
def down(backend: str, name: str) -> None:
    """Take the cluster down and leave the machine as it was; loaded images stay for the next one."""
    choose(backend, name).down()


@cli.command()
@_name_option
@click.argument("archives", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.pass_obj
def load(backend: str, name: str, archives: tuple[Path, ...]) -> None:
    """Load image archives (OCI, or written by `docker save`) and print the names that pods must use."""
    for image in choose(backend, name).load(archives).values():
        click.echo(image)


@cli.command()
@_name_option
@click.option("--remove", is_flag=True, help="Take both away instead.")
@click.pass_obj
def keda(backend: str, name: str, remove: bool) -> None:
    """Install KEDA, and a Prometheus that reads every model's pods, into the running cluster."""
    if backend == "existing":
        raise LocalClusterError("nothing is installed into a cluster of yours: install KEDA there yourself.")
    if remove:
        remove_keda(Kubectl(choose(backend, name).kubeconfig()))
        return
    click.echo(f"prometheus  {install_keda(choose(backend, name))}")


@cli.command()
@_name_option
@click.pass_obj
def kubeconfig(backend: str, name: str) -> None:
    """Print the path of the running cluster's kubeconfig."""
    click.echo(choose(backend, name).kubeconfig())


@cli.command()
@_name_option
@click.pass_obj
def gateway(backend: str, name: str) -> None:
    """Print the URL of the running cluster's gateway."""
    click.echo(choose(backend, name).gateway())


@cli.command()
@_name_option
@click.option("--all", "everything", is_flag=True, help="List every local cluster of this machine instead.")
@click.pass_obj
def status(backend: str, name: str, everything: bool) -> None:
    """Say whether each part of the cluster works; exit code 0 only if all do."""
    if everything:
        for state, alive in looking.clusters():
            click.echo(looking.describe(state, alive))
        return
    local = backend == "local"
    parts = looking.look(name) if local else looking.look_inside(Kubectl(choose(backend, name).kubeconfig()))
    for part in parts:
        mark = click.style("ok  ", fg="green") if part.works else click.style("FAIL", fg="red")
        click.echo(f"{mark} {part.name:11} {part.detail}")
    if not all(part.works for part in parts):
        raise LocalClusterError("the cluster does not work: run `make cluster-down`, then `make cluster-up`.")


@cli.command()
@click.option(
    "--runs",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    help="How often to bring a cluster up and down.",
)
def measure(runs: int) -> None:
    """Time up, `kubectl top` and down on a cluster of its own; exit code 0 only if the limits hold."""
    measure_cluster()  # The first run may import images into a fresh store, and is not counted.
    cycles = [measure_cluster() for _ in range(runs)]
    for cycle in cycles:
        click.echo(f"ready {cycle.ready:5.1f} s   top {cycle.top:5.1f} s   down {cycle.down:4.1f} s")
    if not all(cycle.holds() for cycle in cycles):
        raise LocalClusterError(f"a limit was missed: ready in {READY_LIMIT:g} s, top in {TOP_LIMIT:g} s.")


@cli.command()
def prune() -> None:
    """Remove all image stores, and builds of tools that this work tree does not ask for."""
    running = [state.name for state, alive in looking.clusters() if alive]
    if running:
        raise LocalClusterError(
            f"{', '.join(running)} still runs: take it down first (`status --all` lists them)."
        )
    for folder in (*remove_free_stores(), *toolbox.remove_old_builds()):
        click.echo(f"removed {folder}")


@cli.command("control-plane")
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), help="Where its files go; a new one if missing."
)
@click.option("--with-controller-manager", is_flag=True, help="Also run kube-controller-manager.")
@click.option(
    "--hpa-sync-period",
    default="5s",
    show_default=True,
    callback=lambda _context, _parameter, value: _duration(value),
    help="How often autoscalers are looked at.",
)
def control_plane(directory: Path | None, with_controller_manager: bool, hpa_sync_period: str) -> None:
    """Run a bare etcd and kube-apiserver on loopback until Ctrl-C; needs no root."""
    folder = directory or Path(tempfile.mkdtemp(prefix="ekiben-control-plane-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalClusterError(
            f"--dir {folder} can't be a folder: {error.strerror}; name another."
        ) from error
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
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        click.echo(f"error: the disk is full ({error.filename}): free some space.", err=True)
        sys.exit(1)

"""Bring a boxed cluster up, load images into it, and take it down."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from localcluster import state as states
from localcluster.addons import (
    METRICS_API,
    WAIT,
    http_answers,
    install_gateway,
    render,
    wait_for_gateway,
    write_kubectl,
)
from localcluster.cgroups import CgroupPlan, read_plan
from localcluster.child import answers, wait_until
from localcluster.client import Kubectl
from localcluster.errors import LocalClusterError
from localcluster.images import SystemImage, pause_image, traefik_image
from localcluster.kubeconfig import write_kubeconfig
from localcluster.launch import reap, start_box, write_node_json
from localcluster.machine import be_root, check_disk, check_machine, cni_folder, machine_memory, memory_limit
from localcluster.network import Network, choose_network, link_name, read_used_networks
from localcluster.nodefiles import METRICS_PORT, SOCKET, NodeSpec, write_node_files
from localcluster.oci import image_digests
from localcluster.paths import PACKAGE, WORK_TREE, cache_dir, local_dir, locked
from localcluster.pki import Pki, create_control_plane_pki
from localcluster.progress import say, step
from localcluster.state import State
from localcluster.stores import snapshotter_for, taken_store
from localcluster.tools import KUBERNETES, ensure

API_TIMEOUT = 90.0
GATEWAY_TIMEOUT = 60.0
# An imported image exists as an archive, as blobs and unpacked.
_IMPORT_FACTOR = 3
# A new image of an old name lets go of what the old one had. containerd may collect that after it has found a
# layer of both there, and before it builds on it; nothing is left to collect at a second import.
_COLLECTED = "parent snapshot"


def up(name: str, subnet: str | None = None, work_tree: Path = WORK_TREE) -> State:
    """Bring the cluster up, or find it up; return its state when Traefik and the metrics API answer.

    A dead cluster of that name is reaped first. Raises LocalClusterError for a half-dead one.
    """
    check_machine(cache_dir())
    with _cluster_lock(name):
        before = states.load(name)
        if before is not None and before.ready and before.is_alive():
            return _already_up(before)
        if before is not None:
            say(f"taking away what is left of cluster {name}")
            reap(before)
        tools = ensure(KUBERNETES)
        images = [pause_image(), traefik_image()]
        with step(f"cluster {name}"):
            state = _start(name, subnet, work_tree, tools, images)
            try:
                _finish(state, images[1])
            except BaseException:
                say(f"logs are in {state.folder / 'log'}; cluster-down takes the cluster away")
                raise
        if name == states.default_name(work_tree):
            write_kubectl(Path(state.kubeconfig))
        return state.made_ready().save()


def down(name: str) -> bool:
    """Take the cluster away, dead or alive; say whether there was one. Loaded images stay on the machine."""
    be_root()
    with _cluster_lock(name):
        state = states.load(name)
        if state is None:
            return False
        with step(f"taking cluster {name} down"):
            reap(state)
        return True


def load(name: str, archive: Path) -> list[str]:
    """Import an image archive (OCI, or `docker save`'s) into the cluster; return the images' names.

    Nothing is copied where the cluster's store has every image with the archive's digest already.
    """
    digests = image_digests(archive)
    be_root()
    state = running(name)
    names = ", ".join(digests)
    if digests.items() <= _stored_images(state).items():
        say(f"{names}: loaded already")
        return list(digests)
    check_disk(cache_dir(), archive.stat().st_size * _IMPORT_FACTOR)
    with step(f"loading {names}"):
        done = _import(state, archive)
        if done.returncode != 0 and _COLLECTED in done.stderr:
            done = _import(state, archive)
    if done.returncode != 0:
        raise LocalClusterError(f"{archive} could not be imported: {done.stderr.strip()}")
    return list(digests)


def _import(state: State, archive: Path) -> subprocess.CompletedProcess[str]:
    # The archive goes in as a stream: the box need not see the folder it lies in.
    with archive.open("rb") as stream:
        return _ctr(state, "images", "import", f"--snapshotter={_snapshotter(state)}", "-", stdin=stream)


def _stored_images(state: State) -> dict[str, str]:
    listed = _ctr(state, "images", "list").stdout.splitlines()[1:]
    return {columns[0]: columns[2] for columns in map(str.split, listed)}


def _snapshotter(state: State) -> str:
    return str(json.loads((state.folder / "node.json").read_text())["snapshotter"])


def _ctr(state: State, *arguments: str, stdin: IO[bytes] | None = None) -> subprocess.CompletedProcess[str]:
    enter = ["nsenter", f"--target={state.processes[1].pid}", "--mount", "--"]
    command = [*enter, "ctr", "--address", SOCKET, "--namespace", "k8s.io", *arguments]
    return subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False)


def running(name: str) -> State:
    """Return the state of a cluster that runs; raise where it does not."""
    state = states.load(name)
    if state is None or not state.is_alive():
        raise LocalClusterError(f"cluster {name} is not up: run `make cluster-up` first.")
    return state


def kubeconfig_path(name: str, work_tree: Path = WORK_TREE) -> Path:
    """Return where a cluster's kubeconfig goes, in the work tree's ignored folder."""
    own = name == states.default_name(work_tree)
    return local_dir(work_tree) / ("kubeconfig" if own else f"{name}.kubeconfig")


def network_of(state: State) -> Network:
    """Return the addresses of a cluster."""
    return Network.parse(state.block)


def api_answers(state: State) -> bool:
    """Say whether the cluster's API is ready."""
    return answers(f"https://{network_of(state).node}:6443/readyz", Pki(state.folder / "pki"))


@contextlib.contextmanager
def _cluster_lock(name: str) -> Iterator[None]:
    file = cache_dir() / "clusters" / f"{name}.lock"
    with locked(file, lambda: say(f"another command works on cluster {name}: waiting for it")):
        yield


def _already_up(state: State) -> State:
    if not api_answers(state):
        raise LocalClusterError(
            f"cluster {state.name} is half-dead: its processes run but its API does not answer; "
            f"look into {state.folder / 'log'}, then run `make cluster-down`."
        )
    say(f"cluster {state.name} is up already")
    return state


def _start(name: str, subnet: str | None, work_tree: Path, tools: Path, images: list[SystemImage]) -> State:
    """Take addresses, groups and an image store for the cluster, write its files, and start the box."""
    machine_lock = locked(
        cache_dir() / "machine.lock", lambda: say("another cluster is being started: waiting")
    )
    with machine_lock, taken_store() as (store, store_lock):
        used = [*read_used_networks(), *(state.block for state in states.load_all())]
        network = choose_network(f"{work_tree}:{name}", used, subnet)
        plan = read_plan(name)
        link = link_name(name)
        _check_free(plan, link)
        state = State(
            name=name,
            work_tree=str(work_tree),
            block=str(network.block),
            link=link,
            groups=plan.groups,
            enabled=plan.enable,
            kubeconfig=str(kubeconfig_path(name, work_tree)),
        ).save()
        snapshotter = snapshotter_for(store, Path("/proc/self/mounts").read_text())
        _write_files(state, network, snapshotter, images[0])
        values = {
            "store": str(store),
            "snapshotter": snapshotter,
            "tools": str(tools),
            "keep": [str(path) for path in _must_stay_visible(tools)],
            "images": {image.name: str(image.archive) for image in images},
        }
        return start_box(state, plan, network, write_node_json(state, plan, values), [store_lock])


def _check_free(plan: CgroupPlan, link: str) -> None:
    taken = [path for path in (*plan.groups, f"/sys/class/net/{link}") if Path(path).exists()]
    if taken:
        raise LocalClusterError(
            f"{taken[0]} exists but no cluster's state file lists it: remove it, or choose another --name."
        )


def _must_stay_visible(tools: Path) -> list[Path]:
    """Return what the box reads; it matters where that lies under a folder that the box hides."""
    return [cache_dir(), PACKAGE, tools, Path(sys.prefix), Path(sys.base_prefix)]


def _write_files(state: State, network: Network, snapshotter: str, pause: SystemImage) -> None:
    folder = state.folder
    (folder / "log").mkdir()
    authority = create_control_plane_pki(folder / "pki", [network.node, network.kubernetes])
    plugins = cni_folder()
    if plugins is None:
        raise LocalClusterError("the CNI plugin ptp is not found: install containernetworking-plugins.")
    spec = NodeSpec(
        folder=folder,
        name=state.name,
        network=network,
        cni_folder=plugins,
        pause_image=pause.name,
        snapshotter=snapshotter,
        reserved_memory=machine_memory() - memory_limit(),
    )
    write_node_files(spec, authority)
    server = f"https://{network.node}:6443"
    for file, user in (("admin", "admin"), ("kubelet", "kubelet")):
        path = folder / f"{file}.kubeconfig"
        write_kubeconfig(path, name=state.name, server=server, pki=authority.pki, user=user)


def _finish(state: State, traefik: SystemImage) -> None:
    """Wait for the API, install DNS, metrics and the gateway, and wait until all of them answer."""
    network, pki = network_of(state), Pki(state.folder / "pki")

    def api_is_ready() -> bool:
        if not state.is_alive():
            raise LocalClusterError(
                f"the box ended; the end of its log:\n{_tail(state.folder / 'log' / 'node.log')}"
            )
        return api_answers(state)

    with step("etcd and kube-apiserver"):
        wait_until("kube-apiserver", api_is_ready, API_TIMEOUT)
    kubeconfig = Path(state.kubeconfig)
    write_kubeconfig(
        kubeconfig, name=state.name, server=f"https://{network.node}:6443", pki=pki, user="admin"
    )
    kubectl = Kubectl(kubeconfig)
    authority = base64.b64encode(pki.crt("ca").read_bytes()).decode()
    addresses = {"dns": network.dns, "node": network.node, "gateway": network.gateway}
    values = addresses | {"metrics_port": METRICS_PORT, "ca_bundle": authority, "traefik_image": traefik.name}
    service = {"service_address": f"clusterIP: {network.gateway}", "node_port": ""}
    kubectl.apply(text=render("cluster.yaml", values))
    install_gateway(kubectl, values | service)
    with step("node"):
        kubectl.run("wait", "--for=create", WAIT, f"node/{state.name}")
        kubectl.run("wait", "--for=condition=Ready", WAIT, f"node/{state.name}")
    with step("metrics API"):
        kubectl.run("wait", "--for=condition=Available", WAIT, METRICS_API)
    with step("Traefik"):
        wait_for_gateway(kubectl)
        wait_until("Traefik", lambda: http_answers(f"http://{network.gateway}/"), GATEWAY_TIMEOUT)


def _tail(file: Path) -> str:
    return "\n".join(file.read_text(errors="replace").splitlines()[-8:])

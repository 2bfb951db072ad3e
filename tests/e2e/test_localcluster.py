"""The boxed node on this machine: it works from outside, and it leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from localcluster import state as states
from localcluster.addons import http_answers
from localcluster.box import KUBELET_SYSCTLS
from localcluster.child import free_ports, wait_until
from localcluster.client import Kubectl
from localcluster.cluster import network_of
from localcluster.network import Network
from localcluster.nodefiles import SOCKET
from localcluster.oci import ImageConfig, write_archive, write_layer
from localcluster.paths import PACKAGE, cache_dir
from localcluster.state import State
from localcluster.status import dns_answers, look
from localcluster.tools import command_path

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(platform.system() != "Linux", reason="the boxed node needs Linux"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the boxed node needs root"),
]
# What a kubelet and a kube-proxy write on a machine that does not stop them.
SYSCTLS = (
    *KUBELET_SYSCTLS,
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/conf/all/forwarding",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "net/bridge/bridge-nf-call-iptables",
)
# How long a thing that will work may take on a busy machine; how fast it is, `localcluster measure` says.
PATIENCE = 120.0
ONE, TWO = "e2e-one", "e2e-two"


@pytest.fixture(autouse=True)
def taken_down() -> Iterator[None]:
    """No cluster of ours left by a test that failed half-way: the next one compares with what it finds."""
    yield
    for name in (ONE, TWO):
        run_cli("down", "--name", name)


@dataclass(frozen=True)
class Machine:
    """What of the machine a cluster could change, without what belongs to clusters that others run."""

    sysctls: dict[str, str]
    links: frozenset[str]
    routes: frozenset[str]
    groups: frozenset[str]
    mounts: frozenset[str]
    processes: frozenset[str]
    folders: frozenset[str]


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-m", "localcluster", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def ip(*arguments: str) -> set[str]:
    done = subprocess.run(["ip", "-o", *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def is_ours(text: str) -> bool:
    """Say whether a line speaks of this module's clusters: others may come and go meanwhile."""
    words = [ONE, TWO]
    for name in (ONE, TWO):
        state = OUR_STATES.get(name)
        if state is not None:
            words += [state.link, state.block.rpartition(".0.0/")[0] + "."]
    return any(word in text for word in words)


OUR_STATES: dict[str, State] = {}


def remember(name: str) -> State:
    state = states.load(name)
    assert state is not None
    OUR_STATES[name] = state
    return state


def look_at_machine() -> Machine:
    root = Path("/proc/sys")
    commands = [command_line(folder) for folder in Path("/proc").glob("[0-9]*")]
    caches = [*(cache_dir() / "clusters").glob("*/"), *(PACKAGE.parent.parent / ".local").glob("*")]
    groups = [str(path) for path in Path("/sys/fs/cgroup").rglob("*/") if is_ours(str(path))]
    return Machine(
        sysctls={name: (root / name).read_text() for name in SYSCTLS if (root / name).exists()},
        links=frozenset(line for line in ip("link") if is_ours(line)),
        routes=frozenset(line for line in ip("route", "show", "table", "all") if is_ours(line)),
        groups=frozenset(groups),
        mounts=frozenset(line for line in Path("/proc/mounts").read_text().splitlines() if is_ours(line)),
        processes=frozenset(line for line in commands if is_ours(line)),
        folders=frozenset(str(path) for path in caches if is_ours(path.name)),
    )


def assert_nothing_left(before: Machine) -> None:
    """Compare with the machine as it was; the kernel takes a dead box's link away in a moment."""
    deadline = time.monotonic() + PATIENCE
    while (now := look_at_machine()) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert now == before


@pytest.fixture(scope="module", autouse=True)
def tools() -> Iterator[None]:
    """Everything built beforehand, so that times are those of a built cache; nothing of ours afterwards."""
    built = run_cli("tools", "build", "kubernetes", "pause")
    assert built.returncode == 0, built.stderr
    for name in (ONE, TWO):
        assert run_cli("down", "--name", name).returncode == 0
    yield
    for name in (ONE, TWO):
        assert run_cli("down", "--name", name).returncode == 0


def bring_up(name: str) -> State:
    done = run_cli("up", "--name", name)
    assert done.returncode == 0, done.stderr
    return remember(name)


def kubectl(state: State, *arguments: str) -> str:
    return Kubectl(Path(state.kubeconfig)).run(*arguments)


def processes_inside(state: State, part: str) -> list[int]:
    """Return the pids of the box's processes whose command line has `part` in it."""
    return [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if part in command_line(folder) and state.name in cgroup(folder)
    ]


def command_line(folder: Path) -> str:
    return _said(folder / "cmdline").replace("\0", " ")


def cgroup(folder: Path) -> str:
    return _said(folder / "cgroup")


def _said(file: Path) -> str:
    """Read a file of a process; nothing where the process has ended."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def in_box(state: State, command: str, *arguments: str) -> str:
    """Run a command in the box's file system; `ctr` asks its containerd, in the kubelet's namespace."""
    environment = os.environ | {"CONTAINERD_ADDRESS": SOCKET, "CONTAINERD_NAMESPACE": "k8s.io"}
    enter = ["nsenter", f"--target={state.processes[1].pid}", "--mount", "--", command, *arguments]
    return subprocess.run(enter, env=environment, capture_output=True, text=True, check=True).stdout


def test_an_ended_component_is_started_again_and_a_half_dead_cluster_is_said_to_be_one() -> None:
    before = look_at_machine()
    state = bring_up(ONE)
    [dns] = processes_inside(state, "/coredns ")
    os.kill(dns, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while not (dns_answers(network_of(state).dns) and any("coredns 1x" in part.detail for part in look(ONE))):
        assert time.monotonic() < deadline, look(ONE)
        time.sleep(0.2)

    [apiserver] = processes_inside(state, "/kube-apiserver ")
    os.kill(apiserver, signal.SIGSTOP)
    try:
        done = run_cli("up", "--name", ONE)
        assert done.returncode == 1
        assert f"cluster {ONE} is half-dead" in done.stderr
        assert run_cli("status", "--name", ONE).returncode == 1
    finally:
        assert run_cli("down", "--name", ONE).returncode == 0
    assert_nothing_left(before)


def test_a_cluster_works_from_outside_and_leaves_nothing() -> None:
    before = look_at_machine()
    state = bring_up(ONE)
    network = network_of(state)
    assert look_at_machine().sysctls == before.sysctls
    assert all(part.works for part in look(ONE)), look(ONE)

    assert http_answers(f"http://{network.gateway}/")
    assert dns_answers(network.dns)
    assert not dns_answers(network.dns, "example.com")
    deadline = time.monotonic() + PATIENCE
    while not _top_works(state):
        assert time.monotonic() < deadline, "kubectl top nodes does not work"
        time.sleep(0.5)
    pod = kubectl(state, "get", "pods", "-n", "infra", "-o", "name").strip()
    assert "Version:" in kubectl(state, "exec", "-n", "infra", pod, "--", "/traefik", "version")
    kubectl(state, "logs", "-n", "infra", pod)
    assert _forwarded(state, pod, 8080, "/ping") == "OK"
    assert _pods_reach_services(state, network)

    again = run_cli("up", "--name", ONE)
    assert again.returncode == 0
    assert "is up already" in again.stderr
    assert states.load(ONE) == state

    assert run_cli("down", "--name", ONE).returncode == 0
    assert not Path(state.kubeconfig).exists()
    assert_nothing_left(before)


def _top_works(state: State) -> bool:
    done = subprocess.run(
        [str(command_path("kubectl")), f"--kubeconfig={state.kubeconfig}", "top", "nodes", "--no-headers"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0 and ONE in done.stdout


def _forwarded(state: State, pod: str, port: int, path: str) -> str:
    [local] = free_ports(1)
    command = [str(command_path("kubectl")), f"--kubeconfig={state.kubeconfig}", "port-forward"]
    forward = subprocess.Popen(
        [*command, "-n", "infra", pod, f"{local}:{port}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert forward.stdout is not None
        assert b"Forwarding" in forward.stdout.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{local}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    finally:
        forward.kill()
        forward.communicate()


def _pods_reach_services(state: State, network: Network) -> bool:
    """Ask the gateway's Service from inside its own pod's network: a pod that reaches itself by Service."""
    [pid] = processes_inside(state, "/traefik ")
    probe = f"import urllib.request as u; u.urlopen('http://{network.gateway}/', timeout=5)"
    done = subprocess.run(
        ["nsenter", f"--target={pid}", "--net", "--", sys.executable, "-c", probe],
        capture_output=True,
        text=True,
        check=False,
    )
    return "HTTP Error 404" in done.stderr


@pytest.mark.parametrize(
    ("which", "command"), [(0, "down"), (1, "up")], ids=["its parent", "its first process"]
)
def test_a_killed_cluster_is_taken_away_by_the_next_command(which: int, command: str, tmp_path: Path) -> None:
    before = look_at_machine()
    state = bring_up(ONE)
    layer = write_layer(tmp_path / "layer.tar", {"/file": uuid.uuid4().bytes})
    archive = str(tmp_path / "image.tar")
    write_archive(Path(archive), "localhost/e2e-persists:1", [layer], ImageConfig())
    loaded = run_cli("load", "--name", ONE, archive)
    assert loaded.stdout == "localhost/e2e-persists:1\n"
    assert "loaded already" not in loaded.stderr
    # As of a box that was killed amid an import, or amid the clearing of its store.
    lease = in_box(state, "ctr", "leases", "create").strip()
    os.kill(state.processes[which].pid, signal.SIGKILL)
    # A process 1 ends only when its whole box has: until then the cluster is half-dead, as is said elsewhere.
    wait_until("the box to end", lambda: not state.is_alive(), PATIENCE)
    done = run_cli(command, "--name", ONE)
    assert done.returncode == 0, done.stderr
    if command == "up":
        again = remember(ONE)
        assert again.processes != state.processes
        assert lease not in in_box(again, "ctr", "leases", "list")
        assert all(part.works for part in look(ONE))
        assert "loaded already" in run_cli("load", "--name", ONE, archive).stderr
        assert run_cli("down", "--name", ONE).returncode == 0
    assert_nothing_left(before)


@pytest.mark.parametrize("delay", [0.4, 3.0])
def test_an_up_that_was_killed_half_way_is_taken_away_by_the_next_command(delay: float) -> None:
    before = look_at_machine()
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-m", "localcluster", "up", "--name", ONE]
    starting = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(delay)
    starting.kill()
    starting.wait()
    assert run_cli("down", "--name", ONE).returncode == 0
    assert_nothing_left(before)


def test_two_clusters_run_side_by_side_and_end_apart() -> None:
    before = look_at_machine()
    one, two = bring_up(ONE), bring_up(TWO)
    assert network_of(one) != network_of(two)
    assert kubectl(one, "get", "nodes", "-o", "name") == f"node/{ONE}\n"
    assert kubectl(two, "get", "nodes", "-o", "name") == f"node/{TWO}\n"
    assert http_answers(f"http://{network_of(one).gateway}/")
    assert http_answers(f"http://{network_of(two).gateway}/")
    assert run_cli("down", "--name", TWO).returncode == 0
    assert all(part.works for part in look(ONE))
    assert run_cli("down", "--name", ONE).returncode == 0
    assert_nothing_left(before)


def test_a_subnet_that_the_machine_uses_is_refused_and_nothing_is_made() -> None:
    before = look_at_machine()
    run_ip("link", "add", "e2e-one-a", "type", "veth", "peer", "name", "e2e-one-b")
    try:
        run_ip("address", "add", "10.250.3.1/24", "dev", "e2e-one-a")
        run_ip("link", "set", "e2e-one-a", "up")
        done = run_cli("up", "--name", ONE, "--subnet", "10.250.0.0/16")
    finally:
        run_ip("link", "delete", "e2e-one-a")
    assert done.returncode == 1
    assert "--subnet 10.250.0.0/16 is taken" in done.stderr
    assert_nothing_left(before)


def run_ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)

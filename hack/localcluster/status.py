"""Look at a cluster and say, part by part, whether it works."""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from localcluster import state as states
from localcluster.addons import METRICS_API, http_answers
from localcluster.client import Kubectl, condition
from localcluster.cluster import api_answers, network_of
from localcluster.errors import LocalClusterError
from localcluster.state import State


@dataclass(frozen=True)
class Part:
    """One part of a cluster: what it is, whether it works, and where it is found."""

    name: str
    works: bool
    detail: str


def look(name: str) -> list[Part]:
    """Return the parts of a cluster; raise where there is no such cluster."""
    state = states.load(name)
    if state is None:
        raise LocalClusterError(f"there is no cluster {name}: run `make cluster-up`.")
    network, alive = network_of(state), state.is_alive()
    box = f"process {state.processes[0].pid}" if state.processes else "never started"
    parts = [Part("box", alive, f"{box}, logs in {state.folder / 'log'}")]
    parts.append(Part("started", state.ready, "up has ended well" if state.ready else "up was cut short"))
    if not alive:
        return parts
    parts.append(Part("api", api_answers(state), f"https://{network.node}:6443"))
    if parts[-1].works:
        parts += look_inside(Kubectl(state.folder / "admin.kubeconfig"))
    parts.append(Part("dns", dns_answers(network.dns), network.dns))
    parts.append(Part("traefik", http_answers(f"http://{network.gateway}/"), f"http://{network.gateway}/"))
    restarts = restarted(state)
    said = ", ".join(f"{component} {count}x" for component, count in restarts.items())
    return [*parts, Part("components", not restarts, f"started again: {said}" if said else "none ended")]


def look_inside(kubectl: Kubectl) -> list[Part]:
    """Return the parts that Kubernetes itself tells about, in a cluster of any backend."""
    nodes = (kubectl.get("nodes") or {}).get("items") or []
    ready = [condition(node, "Ready") == "True" for node in nodes]
    gateway = kubectl.get("--namespace=infra", "gateway", "models")
    metrics = kubectl.get(METRICS_API)
    return [
        Part("nodes", bool(ready) and all(ready), f"{sum(ready)} of {len(ready)} ready"),
        Part("metrics", condition(metrics, "Available") == "True", "kubectl top"),
        Part("gateway", condition(gateway, "Programmed") == "True", "models in namespace infra"),
    ]


def restarted(state: State) -> Counter[str]:
    """Count how often each component has ended and was started again."""
    log = state.folder / "log" / "node.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return Counter(
        line.split("] ")[1].split(" ended")[0] for line in lines if line.endswith("starting it again")
    )


def dns_answers(
    server: str, name: str = "kubernetes.default.svc.cluster.local", timeout: float = 2.0
) -> bool:
    """Say whether a DNS server knows the address of `name`."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    # One question, recursion desired: QTYPE A, QCLASS IN (RFC 1035, section 4.1).
    query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout)
        try:
            client.sendto(query, (server, 53))
            answer = client.recv(512)
        except OSError:
            return False
    return answer[:2] == query[:2] and answer[3] & 0x0F == 0 and answer[6:8] != b"\x00\x00"


def clusters() -> list[tuple[State, bool]]:
    """Return every cluster of this machine and whether it runs, work trees that are gone included."""
    return [(state, state.is_alive()) for state in states.load_all()]


def describe(state: State, alive: bool) -> str:
    """Return one line about a cluster."""
    where = state.work_tree if Path(state.work_tree).exists() else f"{state.work_tree} (gone)"
    return f"{state.name:20} {'runs' if alive else 'dead':5} {state.block:16} {where}"

"""The first process inside a boxed node: build the walls, start every component, and keep them running.

Started by launch.py as process 1 of the box: when it ends, the kernel ends everything else in there.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from localcluster.box import build_walls, connect
from localcluster.cgroups import CgroupPlan
from localcluster.child import answers
from localcluster.components import ControlPlaneFlags
from localcluster.errors import LocalClusterError
from localcluster.network import Network
from localcluster.nodefiles import METRICS_PORT, SOCKET
from localcluster.pki import Pki
from localcluster.progress import say

START_TIMEOUT = 90.0
RESTART_DELAY = 1.0


@dataclass(frozen=True)
class NodeConfig:
    """What the machine tells the box; read from node.json in the cluster's folder."""

    folder: Path
    name: str
    block: str
    store: Path
    snapshotter: str
    tools: Path
    plan: CgroupPlan
    keep: tuple[Path, ...]
    images: dict[str, str]

    @classmethod
    def read(cls, file: Path) -> NodeConfig:
        """Read node.json."""
        data = json.loads(file.read_text())
        return cls(
            folder=Path(data["folder"]),
            name=data["name"],
            block=data["block"],
            store=Path(data["store"]),
            snapshotter=data["snapshotter"],
            tools=Path(data["tools"]),
            plan=CgroupPlan.from_json(data["plan"]),
            keep=tuple(map(Path, data["keep"])),
            images=data["images"],
        )

    @property
    def network(self) -> Network:
        """The cluster's addresses."""
        return Network.parse(self.block)

    def flags(self) -> ControlPlaneFlags:
        """Return the control plane's flags: the API listens on the link, etcd on the box's own loopback."""
        return ControlPlaneFlags(
            folder=self.folder,
            pki=Pki(self.folder / "pki"),
            address=self.network.node,
            port=6443,
            etcd_port=2379,
            etcd_peer_port=2380,
            service_cidr=self.network.services,
        )


class Supervisor:
    """Starts components, reaps every process of the box, and starts again a component that ends."""

    def __init__(self, logs: Path) -> None:
        """Log each component to a file of its own under `logs`."""
        self._logs = logs
        self._commands: dict[str, list[str]] = {}
        self._running: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}
        logs.mkdir(exist_ok=True)

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a component in a session of its own."""
        self._commands[name] = list(command)
        with (self._logs / f"{name}.log").open("ab") as sink:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
            )
        self._running[process.pid] = (name, process)

    def wait_for(self, what: str, ready: Callable[[], bool]) -> None:
        """Poll until ready; raise when a component ends meanwhile, or after START_TIMEOUT seconds."""
        deadline = time.monotonic() + START_TIMEOUT
        while not ready():
            for name, process in self._running.values():
                if process.poll() is not None:
                    raise LocalClusterError(f"{name} ended with code {process.returncode}: see its log.")
            if time.monotonic() > deadline:
                raise LocalClusterError(f"{what} was not ready within {START_TIMEOUT:g} s.")
            time.sleep(0.05)
        say(f"{what} is ready")

    def run_forever(self) -> None:
        """Reap orphans, as process 1 must, and restart components."""
        while True:
            pid, status = os.wait()
            name, _ = self._running.pop(pid, ("", None))
            if name:
                say(f"{name} ended with code {os.waitstatus_to_exitcode(status)}: starting it again")
                time.sleep(RESTART_DELAY)
                self.start(name, self._commands[name])


def start_runtime(config: NodeConfig, supervisor: Supervisor) -> None:
    """Start containerd on the machine's image store, without what an earlier cluster left running in it."""
    containerd = [_which("containerd"), "--config", str(config.folder / "config" / "containerd.toml")]
    if Path("/var/lib/containerd/io.containerd.metadata.v1.bolt").exists():
        _clear_store(containerd)
    supervisor.start("containerd", containerd)
    supervisor.wait_for("containerd", _containerd_answers)
    present = set(_ctr("images", "list", "--quiet").splitlines())
    for name, archive in config.images.items():
        if name not in present:
            say(f"importing {name}")
            _ctr("images", "import", f"--snapshotter={config.snapshotter}", archive)


def _clear_store(containerd: Sequence[str]) -> None:
    """Forget the containers of a cluster that is gone: the kubelet would spend its first minute on them."""
    for leftover in ("io.containerd.grpc.v1.cri", "io.containerd.runtime.v2.task"):
        shutil.rmtree(f"/var/lib/containerd/{leftover}", ignore_errors=True)
    janitor = Path("/run/janitor.toml")
    config = Path(containerd[-1]).read_text()
    janitor.write_text(
        config.replace("disabled_plugins = [", 'disabled_plugins = [ "io.containerd.grpc.v1.cri",', 1)
    )
    process = subprocess.Popen([containerd[0], "--config", str(janitor)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not _containerd_answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise LocalClusterError(
                    "containerd does not start on the image store: remove the store's folder."
                )
            time.sleep(0.05)
        containers = _ctr("containers", "list", "--quiet").split()
        if containers:
            _ctr("containers", "delete", *containers)
            # A lease that ends collects what containers had written, now: left to itself it stays on disk.
            _ctr("leases", "create")
        # Also those of a box that was killed while it imported an image, or right here.
        leases = _ctr("leases", "list", "--quiet").split()
        if leases:
            _ctr("leases", "delete", "--sync", *leases)
    finally:
        process.terminate()
        process.wait()


def _containerd_answers() -> bool:
    command = [_which("ctr"), "--address", SOCKET, "--connect-timeout", "1s", "version"]
    return Path(SOCKET).exists() and subprocess.run(command, capture_output=True, check=False).returncode == 0


def _ctr(*arguments: str) -> str:
    command = [_which("ctr"), "--address", SOCKET, "--namespace", "k8s.io", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LocalClusterError(f"`ctr {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout


def _which(command: str) -> str:
    found = shutil.which(command)
    if found is None:
        raise LocalClusterError(f"{command} is not on PATH inside the box.")
    return found


def start_all(config: NodeConfig, supervisor: Supervisor) -> None:
    """Start every component, those that need the API after it answers."""
    flags, tools = config.flags(), config.tools
    supervisor.start("etcd", [str(tools / "etcd"), *flags.etcd()])
    supervisor.start("kube-apiserver", [str(tools / "kube-apiserver"), *flags.apiserver()])
    start_runtime(config, supervisor)
    url = f"https://{flags.address}:{flags.port}/readyz"
    supervisor.wait_for("kube-apiserver", lambda: answers(url, flags.pki))
    for name, arguments in node_components(config, flags).items():
        supervisor.start(name, [str(tools / name), *arguments])


def node_components(config: NodeConfig, flags: ControlPlaneFlags) -> dict[str, list[str]]:
    """Return the command lines of what needs the API."""
    kubeconfig, files = f"--kubeconfig={flags.admin_kubeconfig}", config.folder / "config"
    return {
        "kubelet": [
            f"--config={files / 'kubelet.yaml'}",
            f"--kubeconfig={config.folder / 'kubelet.kubeconfig'}",
            f"--hostname-override={config.name}",
            f"--node-ip={flags.address}",
        ],
        "kube-controller-manager": flags.controller_manager("5s"),
        "kube-scheduler": flags.scheduler(),
        "kube-proxy": [f"--config={files / 'kube-proxy.yaml'}"],
        "metrics-server": [
            kubeconfig,
            f"--authentication-kubeconfig={flags.admin_kubeconfig}",
            f"--authorization-kubeconfig={flags.admin_kubeconfig}",
            f"--secure-port={METRICS_PORT}",
            f"--tls-cert-file={flags.pki.crt('metrics-server')}",
            f"--tls-private-key-file={flags.pki.key('metrics-server')}",
            f"--kubelet-certificate-authority={flags.pki.crt('ca')}",
            "--kubelet-preferred-address-types=InternalIP",
            # The shortest resolution it takes, which needs a request timeout below it.
            "--metric-resolution=10s",
            "--kubelet-request-timeout=5s",
        ],
        "coredns": ["-conf", str(files / "Corefile")],
    }


def main() -> None:
    """Run the box that node.json describes, for ever."""
    config = NodeConfig.read(Path(sys.argv[1]))
    try:
        socket.sethostname(config.name)
        build_walls(config.folder, config.store, config.plan, config.keep)
        connect(config.network)
        supervisor = Supervisor(config.folder / "log")
        start_all(config, supervisor)
    except (LocalClusterError, OSError) as error:
        say(f"error: {error}")
        sys.exit(1)
    say("every component is started")
    supervisor.run_forever()


if __name__ == "__main__":
    main()

"""A bare Kubernetes API for tests: real etcd and kube-apiserver as child processes, no root, no node.

    with ControlPlane.start(tmp_path) as plane:
        run_against(plane.kubeconfig)

The children die with the *thread* that called start() (PR_SET_PDEATHSIG): call it from one that lives long
enough, such as that of a session-scoped pytest fixture.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from localcluster.child import Child, answers, free_ports, wait_until
from localcluster.components import ControlPlaneFlags
from localcluster.errors import LocalClusterError
from localcluster.kubeconfig import write_kubeconfig
from localcluster.pki import Pki, create_control_plane_pki
from localcluster.tools import command_path

START_TIMEOUT = 60.0
_PORT_ATTEMPTS = 3


class ControlPlane:
    """A running control plane; its files (logs included) stay in `directory` after stop()."""

    def __init__(
        self,
        directory: Path,
        *,
        controller_manager: bool,
        hpa_sync_period: str,
        extra_apiserver_args: Sequence[str],
        extra_controller_manager_args: Sequence[str],
        scheduler_args: Sequence[str] | None,
    ) -> None:
        """Write certificates and kubeconfig; nothing runs yet."""
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._extra = tuple(extra_apiserver_args)
        self._extra_controllers = tuple(extra_controller_manager_args)
        self._scheduler_args = scheduler_args
        self._hpa_sync_period = hpa_sync_period
        self._with_controllers = controller_manager
        self._pki = create_control_plane_pki(directory / "pki", ["10.96.0.1"]).pki
        self._children: dict[str, Child] = {}
        self._use_free_ports()

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        controller_manager: bool = False,
        hpa_sync_period: str = "5s",
        extra_apiserver_args: Sequence[str] = (),
        extra_controller_manager_args: Sequence[str] = (),
        scheduler_args: Sequence[str] | None = None,
    ) -> ControlPlane:
        """Start etcd, kube-apiserver and what is asked for; return when the API is ready.

        A scheduler runs where `scheduler_args` are given, if only none.
        """
        plane = cls(
            directory.resolve(),
            controller_manager=controller_manager,
            hpa_sync_period=hpa_sync_period,
            extra_apiserver_args=extra_apiserver_args,
            extra_controller_manager_args=extra_controller_manager_args,
            scheduler_args=scheduler_args,
        )
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            try:
                plane._start_all()
                return plane
            except LocalClusterError as error:
                plane.stop()
                # Somebody may take a port between our look and our use of it.
                if "address already in use" not in str(error) or attempt == _PORT_ATTEMPTS:
                    raise
                plane._use_free_ports()
            except BaseException:
                plane.stop()
                raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, certificates embedded."""
        return self._flags.admin_kubeconfig

    @property
    def server(self) -> str:
        """The API's URL."""
        return f"https://127.0.0.1:{self._flags.port}"

    @property
    def etcd_url(self) -> str:
        """Where etcd answers, its JSON gateway included."""
        return f"http://127.0.0.1:{self._flags.etcd_port}"

    @property
    def pki(self) -> Pki:
        """The certificates, for clients that want files: ca, admin."""
        return self._pki

    def pids(self) -> dict[str, int]:
        """Return the process id of each component that was started and not stopped."""
        return {name: child.pid for name, child in self._children.items()}

    def stop(self) -> None:
        """Kill everything, the API server before its store. May be called twice."""
        for name in reversed(list(self._children)):
            self._children.pop(name).stop()

    def pause_apiserver(self) -> None:
        """Kill the API server: connections are refused until restart_apiserver(); etcd keeps the data."""
        self._children.pop("kube-apiserver").stop(signal.SIGKILL)

    def restart_apiserver(self) -> None:
        """Start the API server again on the same port and data; return when it is ready."""
        if "kube-apiserver" in self._children:
            self.pause_apiserver()
        self._start_apiserver()
        self._start_controller_manager()
        self._start_scheduler()

    def __enter__(self) -> ControlPlane:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _use_free_ports(self) -> None:
        port, etcd_port, etcd_peer_port = free_ports(3)
        self._flags = ControlPlaneFlags(
            folder=self.directory,
            pki=self._pki,
            address="127.0.0.1",
            port=port,
            etcd_port=etcd_port,
            etcd_peer_port=etcd_peer_port,
            service_cidr="10.96.0.0/16",
        )
        write_kubeconfig(
            self.kubeconfig, name="control-plane", server=self.server, pki=self._pki, user="admin"
        )

    def _start_all(self) -> None:
        self._launch("etcd", self._flags.etcd())
        self._start_apiserver()
        self._start_controller_manager()
        self._start_scheduler()

    def _start_apiserver(self) -> None:
        self._launch("kube-apiserver", [*self._flags.apiserver(), *self._extra])
        wait_until(
            "kube-apiserver",
            lambda: answers(f"{self.server}/readyz", self._pki),
            START_TIMEOUT,
            [self._children["etcd"], self._children["kube-apiserver"]],
        )

    def _start_controller_manager(self) -> None:
        """Start it if it was asked for and does not run: it gives up when the API is away as it starts."""
        running = self._children.get("kube-controller-manager")
        if self._with_controllers and (running is None or running.has_ended()):
            flags = self._flags.controller_manager(self._hpa_sync_period)
            self._launch("kube-controller-manager", [*flags, *self._extra_controllers])

    def _start_scheduler(self) -> None:
        running = self._children.get("kube-scheduler")
        if self._scheduler_args is not None and (running is None or running.has_ended()):
            self._launch("kube-scheduler", [*self._flags.scheduler(), *self._scheduler_args])

    def _launch(self, name: str, flags: Sequence[str]) -> None:
        command = [str(command_path(name)), *flags]
        self._children[name] = Child(name, command, self.directory / "log" / f"{name}.log")

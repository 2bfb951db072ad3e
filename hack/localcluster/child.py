"""Child processes that never outlive their parent, and how to wait for them."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from localcluster.errors import LocalClusterError
from localcluster.pki import Pki


class Child:
    """A process that logs to a file and is killed by the kernel when the thread that started it ends."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        """Start it; the log is appended to, so that a restart keeps what the first run said."""
        # setpriv sets PR_SET_PDEATHSIG and then becomes the command: so no Python runs between fork and exec,
        # which is not safe in a program with threads.
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise LocalClusterError("setpriv is missing: install the package util-linux.")
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                [setpriv, "--pdeathsig", "KILL", "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Say whether it has ended, for whatever reason."""
        return self._process.poll() is not None

    def check(self) -> None:
        """Raise with the log's last lines where the process has ended."""
        code = self._process.poll()
        if code is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])
            raise LocalClusterError(f"{self.name} ended with code {code}; the end of {self.log}:\n{tail}")

    def stop(self, number: int = signal.SIGKILL, timeout: float = 10.0) -> None:
        """Send a signal and wait for the end; SIGKILL after `timeout` seconds."""
        if not self.has_ended():
            self._process.send_signal(number)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()


def wait_until(what: str, ready: Callable[[], bool], timeout: float, children: Sequence[Child] = ()) -> None:
    """Poll `ready` every 50 ms; raise after `timeout` seconds, or when one of `children` has ended."""
    deadline = time.monotonic() + timeout
    while not ready():
        for child in children:
            child.check()
        if time.monotonic() > deadline:
            raise LocalClusterError(f"{what} was not ready within {timeout:g} s.")
        time.sleep(0.05)


def answers(url: str, pki: Pki) -> bool:
    """Say whether a GET with the administrator's certificate is answered with 200."""
    context = ssl.create_default_context(cafile=str(pki.crt("ca")))
    context.load_cert_chain(pki.crt("admin"), pki.key("admin"))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def free_ports(count: int) -> list[int]:
    """Return distinct loopback TCP ports that nobody listens on now.

    They lie below the range that outgoing connections take theirs from: a client that dials a server which is
    down for a moment can otherwise be given the server's own port, and the server can't come back.
    """
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = range(10000, first_outgoing) if first_outgoing > 11000 else range(61000, 65536)
    ports: list[int] = []
    for port in random.sample(candidates, len(candidates)):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise LocalClusterError(f"no {count} free TCP ports on 127.0.0.1: end what listens there.")

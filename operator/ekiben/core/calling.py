"""Questions over HTTP, and whom the operator may call: tenants write these URLs, the operator asks them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from ekiben.core.asking import Question

EVERY_HOST = "*"
HOSTS, SECRETS = "calls.hosts", "secrets.namespaces"

# Never called unless the address itself is listed: our own pod and node, and what clouds tell their nodes.
_OWN_GROUND = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"),
        *("::/128", "::1/128", "fe80::/10", "ff00::/8"),
        *("100.100.100.200/32", "168.63.129.16/32", "fd00:ec2::254/128", "fd20:ce::254/128"),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One value of a Secret in the model's namespace."""

    name: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCall(Question):
    """Ask one URL; the value is an HttpAnswer. No redirect is followed.

    `bearer`, `basic` (user and password) and `secret_headers` are read from Secrets by whoever asks, `ca` is
    the bundle that the server's certificate must be signed by. `about` is whatever makes an old answer
    worthless, such as a rollout's ID and its step.
    """

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    bearer: SecretKey | None = None
    basic: tuple[SecretKey, SecretKey] | None = None
    secret_headers: tuple[tuple[str, SecretKey], ...] = ()
    ca: SecretKey | None = None
    insecure_skip_verify: bool = False
    about: str = ""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back: any status, and a body of at most `asking.http.LARGEST` bytes."""

    status: int
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """Which hosts may be called, and in which namespaces Secrets may be read for it; none by default.

    A host is `name`, `name:port`, `*.suffix` or `*`; a port that is named is the only one.
    """

    hosts: frozenset[str] = frozenset()
    secret_namespaces: frozenset[str] = frozenset()

    def allows_host(self, host: str, port: int) -> bool:
        """Tell whether a host and port that somebody wrote may be called."""
        name = host.lower().rstrip(".")
        return any(self._fits(pattern, name, port) for pattern in self.hosts)

    def allows_address(self, address: str) -> bool:
        """Tell whether what a host's name resolves to may be called; raises ValueError for no IP address."""
        ip = _embedded(ipaddress.ip_address(address.partition("%")[0]))
        if not any(ip in network for network in _OWN_GROUND if network.version == ip.version):
            return True
        return any(_without_port(pattern)[0] == str(ip) for pattern in self.hosts)

    def allows_secrets(self, namespace: str) -> bool:
        """Tell whether Secrets of a namespace may be read."""
        return namespace in self.secret_namespaces

    @staticmethod
    def _fits(pattern: str, name: str, port: int) -> bool:
        wanted, only = _without_port(pattern)
        if only is not None and only != port:
            return False
        return wanted in (EVERY_HOST, name) or (wanted.startswith("*.") and name.endswith(wanted[1:]))


NO_CALLS = CallPolicy()


def _without_port(pattern: str) -> tuple[str, int | None]:
    """Part `host:port`; an IPv6 address with a port is written in brackets."""
    if pattern.count(":") > 1 and not pattern.startswith("["):
        return pattern.lower(), None
    host, colon, port = pattern.lower().rpartition(":")
    if colon and port.isdecimal():
        return host.strip("[]"), int(port)
    return pattern.lower().strip("[]"), None


def _embedded(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IPv4 address that an IPv6 one stands for, or the address itself."""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return ip.ipv4_mapped
        if ip in _NAT64:
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip

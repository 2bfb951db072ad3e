"""Choose a cluster's addresses so that they collide with nothing that the machine already routes.

A cluster owns one /16 (a *block*): pods in the first quarter, Services in the second, and the last /30 is
the link between the machine and the box. So one look at the machine's routes decides, and a person recognises
an address.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from localcluster.errors import LocalClusterError

BLOCKS = tuple(ipaddress.IPv4Network(f"10.{second}.0.0/16") for second in range(200, 232))
_LINK_NAME_DIGITS = 8


@dataclass(frozen=True)
class Network:
    """The addresses of one cluster, all derived from its block."""

    block: ipaddress.IPv4Network

    @classmethod
    def parse(cls, block: str) -> Network:
        """Read the block as a state file has it."""
        return cls(ipaddress.IPv4Network(block))

    @property
    def pods(self) -> str:
        """Addresses of pods."""
        return str(self._quarter(0))

    @property
    def services(self) -> str:
        """Addresses of Services."""
        return str(self._quarter(1))

    @property
    def machine(self) -> str:
        """The machine's end of the link."""
        return str(self.block[-3])

    @property
    def node(self) -> str:
        """The node's end of the link: the API server and the kubelet listen there."""
        return str(self.block[-2])

    @property
    def link_prefix(self) -> int:
        """The link's prefix length."""
        return 30

    @property
    def dns(self) -> str:
        """The cluster's DNS Service."""
        return str(self._quarter(1)[10])

    @property
    def kubernetes(self) -> str:
        """The Service `kubernetes`, always the first address."""
        return str(self._quarter(1)[1])

    @property
    def gateway(self) -> str:
        """The gateway's Service, which the machine reaches."""
        return str(self._quarter(1)[80])

    def _quarter(self, index: int) -> ipaddress.IPv4Network:
        return list(self.block.subnets(prefixlen_diff=2))[index]


def link_name(cluster: str) -> str:
    """Return the machine's end of the link; a link's name has at most 15 characters."""
    return "ek" + hashlib.sha256(cluster.encode()).hexdigest()[:_LINK_NAME_DIGITS]


def choose_network(key: str, used: Iterable[str], wanted: str | None = None) -> Network:
    """Return the first free block, counted from one that depends on `key` (a work tree's path).

    `used` are the networks the machine routes or has addresses in. A `wanted` block is taken or refused; it
    may lie within a wider route of the machine, such as a company's 10.0.0.0/8.
    """
    networks = [ipaddress.IPv4Network(network, strict=False) for network in used]
    taken = [network for network in networks if network.prefixlen > 0]
    if wanted is not None:
        block = _parse_block(wanted)
        rivals = [network for network in taken if network.subnet_of(block)]
        if rivals:
            raise LocalClusterError(f"--subnet {block} is taken: the machine already routes {rivals[0]}.")
        return Network(block)
    first = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % len(BLOCKS)
    for block in BLOCKS[first:] + BLOCKS[:first]:
        if not any(network.overlaps(block) for network in taken):
            return Network(block)
    raise LocalClusterError(
        f"every block from {BLOCKS[0]} to {BLOCKS[-1]} overlaps a route of this machine: "
        "name a free /16 with --subnet, or take other clusters down."
    )


def _parse_block(text: str) -> ipaddress.IPv4Network:
    try:
        block = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise LocalClusterError(
            f"--subnet {text!r} is no network: give a /16 such as 10.50.0.0/16."
        ) from error
    if block.prefixlen != 16 or not block.is_private:
        raise LocalClusterError(f"--subnet {text} must be a private /16 such as 10.50.0.0/16.")
    return block


def used_networks(addresses: str, routes: str) -> list[str]:
    """Read `ip -j -4 address` and `ip -j -4 route show table all` into the networks the machine uses."""
    found = []
    for interface in json.loads(addresses or "[]"):
        found += [f"{address['local']}/{address['prefixlen']}" for address in interface.get("addr_info", [])]
    for route in json.loads(routes or "[]"):
        if route["dst"] != "default" and route.get("type", "unicast") not in {"broadcast", "multicast"}:
            found.append(route["dst"])
    return found


def read_used_networks() -> list[str]:
    """Ask this machine which networks it uses."""

    def ask(*arguments: str) -> str:
        return subprocess.run(
            ["ip", "-j", "-4", *arguments], capture_output=True, text=True, check=True
        ).stdout

    return used_networks(ask("address"), ask("route", "show", "table", "all"))

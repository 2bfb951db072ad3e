"""Which addresses a cluster takes on a machine that already routes some."""

from __future__ import annotations

import ipaddress
import json

import pytest

from localcluster.errors import LocalClusterError
from localcluster.network import BLOCKS, Network, choose_network, link_name, used_networks


def test_a_network_is_cut_from_its_block_without_overlap() -> None:
    network = Network.parse("10.205.0.0/16")
    assert network.pods == "10.205.0.0/18"
    assert network.services == "10.205.64.0/18"
    assert (network.kubernetes, network.dns) == ("10.205.64.1", "10.205.64.10")
    assert ipaddress.ip_address(network.gateway) in ipaddress.ip_network(network.services)
    link = ipaddress.ip_network(f"{network.node}/{network.link_prefix}", strict=False)
    assert ipaddress.ip_address(network.machine) in link
    assert not link.overlaps(ipaddress.ip_network(network.pods))
    assert not link.overlaps(ipaddress.ip_network(network.services))
    assert {network.machine, network.node}.isdisjoint({str(link[0]), str(link[-1])})


def test_the_same_work_tree_gets_the_same_block_and_others_mostly_another() -> None:
    assert choose_network("/home/me/ekiben", []) == choose_network("/home/me/ekiben", [])
    assert len({choose_network(f"/home/me/{number}", []).block for number in range(20)}) > 5


def test_the_next_free_block_is_taken_where_the_first_is_in_use() -> None:
    first = choose_network("key", [])
    second = choose_network("key", [first.pods])
    assert BLOCKS.index(second.block) == (BLOCKS.index(first.block) + 1) % len(BLOCKS)


def test_the_default_route_takes_nothing() -> None:
    assert choose_network("key", ["0.0.0.0/0"]) == choose_network("key", [])


def test_a_machine_that_routes_everything_is_told_to_name_a_subnet() -> None:
    with pytest.raises(LocalClusterError, match="name a free /16 with --subnet"):
        choose_network("key", ["10.0.0.0/8"])


def test_a_named_subnet_may_lie_within_a_wider_route() -> None:
    assert choose_network("key", ["10.0.0.0/8"], "10.50.0.0/16").pods == "10.50.0.0/18"


@pytest.mark.parametrize("rival", ["10.50.64.0/18", "10.50.0.0/16", "10.50.3.4/32"])
def test_a_named_subnet_that_is_in_use_is_refused_with_what_uses_it(rival: str) -> None:
    with pytest.raises(LocalClusterError, match=f"--subnet 10.50.0.0/16 is taken: .* {rival}"):
        choose_network("key", [rival], "10.50.0.0/16")


@pytest.mark.parametrize("text", ["10.50.0.0/24", "8.8.0.0/16", "10.50.0.1/16", "nonsense", "fd00::/16"])
def test_a_named_subnet_must_be_a_private_16(text: str) -> None:
    with pytest.raises(LocalClusterError, match=r"--subnet .* /16 such as 10\.50\.0\.0/16"):
        choose_network("key", [], text)


def test_what_the_machine_uses_is_read_from_ip() -> None:
    addresses = json.dumps([{"ifname": "eth0", "addr_info": [{"local": "192.0.2.2", "prefixlen": 24}]}])
    routes = json.dumps(
        [
            {"dst": "default", "gateway": "192.0.2.1"},
            {"dst": "10.9.0.0/16", "dev": "tun0"},
            {"type": "local", "dst": "10.8.0.1", "dev": "lo", "table": "local"},
            {"type": "broadcast", "dst": "192.0.2.255", "dev": "eth0"},
        ]
    )
    assert used_networks(addresses, routes) == ["192.0.2.2/24", "10.9.0.0/16", "10.8.0.1"]
    assert used_networks("", "") == []


def test_a_link_name_fits_the_kernel_and_differs_by_cluster() -> None:
    names = {link_name(f"cluster-{number}") for number in range(100)}
    assert len(names) == 100
    assert all(len(name) <= 15 for name in names)

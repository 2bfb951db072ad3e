"""The files of a boxed node: what keeps the machine and the pods safe stands in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from localcluster.network import Network
from localcluster.nodefiles import (
    NodeSpec,
    cni_config,
    containerd_config,
    corefile,
    kubelet_config,
    proxy_config,
)
from localcluster.stores import snapshotter_for


@pytest.fixture
def spec() -> NodeSpec:
    return NodeSpec(
        folder=Path("/cache/one"),
        name="one",
        network=Network.parse("10.205.0.0/16"),
        cni_folder=Path("/usr/lib/cni"),
        pause_image="localhost/pause:1",
        snapshotter="overlayfs",
        reserved_memory=1024,
    )


def test_kube_proxy_never_writes_the_machines_conntrack_settings(spec: NodeSpec) -> None:
    conntrack = yaml.safe_load(proxy_config(spec, "6.1.0"))["conntrack"]
    assert conntrack == {
        "maxPerCore": 0,
        "min": 0,
        "tcpEstablishedTimeout": "0s",
        "tcpCloseWaitTimeout": "0s",
    }


@pytest.mark.parametrize(
    ("kernel", "mode"),
    [
        ("6.18.0-rc1", "nftables"),
        ("5.13.0-1-amd64", "nftables"),
        ("5.10.0-30-amd64", "iptables"),
        ("?", "iptables"),
    ],
)
def test_kube_proxy_uses_nftables_on_kernels_that_have_what_it_needs(
    spec: NodeSpec, kernel: str, mode: str
) -> None:
    assert yaml.safe_load(proxy_config(spec, kernel))["mode"] == mode


def test_pods_resolve_names_in_the_cluster_only(spec: NodeSpec) -> None:
    config = yaml.safe_load(kubelet_config(spec, Path("/cache/one/pki")))
    assert config["clusterDNS"] == ["10.205.64.10"]
    assert config["resolvConf"] == "/cache/one/config/resolv.conf"
    assert "forward" not in corefile(spec)


def test_the_kubelet_takes_both_kinds_of_cgroups_and_only_known_clients(spec: NodeSpec) -> None:
    config = yaml.safe_load(kubelet_config(spec, Path("/cache/one/pki")))
    assert config["failCgroupV1"] is False
    assert config["cgroupDriver"] == "cgroupfs"
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["systemReserved"] == {"memory": "1024"}


def test_pods_are_routed_and_not_bridged(spec: NodeSpec) -> None:
    config = json.loads(cni_config(spec.network))
    assert [plugin["type"] for plugin in config["plugins"]] == ["ptp"]
    assert config["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.205.0.0/18"}]]


def test_containerd_uses_our_pause_image_and_the_snapshotter_that_works_here(spec: NodeSpec) -> None:
    text = containerd_config(spec)
    assert 'sandbox_image = "localhost/pause:1"' in text
    assert 'snapshotter = "overlayfs"' in text
    assert "SystemdCgroup = false" in text


@pytest.mark.parametrize(
    ("mounts", "snapshotter"),
    [
        ("/dev/vda / ext4 rw 0 0\n", "overlayfs"),
        ("overlay / overlay rw 0 0\n", "native"),
        ("overlay / overlay rw 0 0\n/dev/vdb /cache ext4 rw 0 0\n", "overlayfs"),
        ("/dev/vda / ext4 rw 0 0\noverlay /cache overlay rw 0 0\n", "native"),
        ("/dev/vda / ext4 rw 0 0\noverlay /cac overlay rw 0 0\n", "overlayfs"),
    ],
)
def test_an_overlay_is_never_stacked_on_an_overlay(mounts: str, snapshotter: str) -> None:
    assert snapshotter_for(Path("/cache/stores/0"), mounts) == snapshotter

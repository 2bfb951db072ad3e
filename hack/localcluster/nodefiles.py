"""The configuration files that a boxed node's components read; text only, nothing is started here."""

from __future__ import annotations

import json
import platform
import re
import resource
from dataclasses import dataclass
from pathlib import Path

import yaml

from localcluster.network import Network
from localcluster.pki import Authority

SOCKET = "/run/containerd/containerd.sock"
KUBELET_OPEN_FILES = 1_000_000
METRICS_PORT = 4443
_NFTABLES_SINCE = (5, 13)


@dataclass(frozen=True)
class NodeSpec:
    """What the files of one node depend on."""

    folder: Path
    name: str
    network: Network
    cni_folder: Path
    pause_image: str
    snapshotter: str
    reserved_memory: int


def write_node_files(spec: NodeSpec, authority: Authority) -> None:
    """Write every file; certificates for the kubelet, the node's own servers included."""
    address, pki = spec.network.node, authority.pki
    authority.client("kubelet", f"system:node:{spec.name}", "system:nodes")
    authority.server("kubelet-server", [spec.name, address, "127.0.0.1"])
    authority.server("metrics-server", ["metrics-server.kube-system.svc", address])
    config = spec.folder / "config"
    (config / "cni").mkdir(parents=True, exist_ok=True)
    files = {
        "containerd.toml": containerd_config(spec),
        "cni/10-ekiben.conflist": cni_config(spec.network),
        "kubelet.yaml": kubelet_config(spec, pki.folder),
        "kube-proxy.yaml": proxy_config(spec, platform.release()),
        "Corefile": corefile(spec),
        "resolv.conf": f"nameserver {address}\n",
    }
    for name, text in files.items():
        (config / name).write_text(text)


def containerd_config(spec: NodeSpec) -> str:
    """Return containerd's configuration, in the version that Debian 12's and today's both read."""
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd-opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{spec.pause_image}"
  # Lowering oom_score_adj is refused in many containers and virtual machines; sandboxes then die at birth.
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{spec.cni_folder}"
    conf_dir = "{spec.folder}/config/cni"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{spec.snapshotter}"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def cni_config(network: Network) -> str:
    """Return the pods' network: each pod on a link of its own, routed rather than bridged.

    On a bridge, answers between two pods bypass the node's address translation, and Services break unless the
    machine has br_netfilter loaded and switched on.
    """
    ranges = [[{"subnet": network.pods}]]
    ipam = {"type": "host-local", "dataDir": "/run/cni", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    return json.dumps({"cniVersion": "0.4.0", "name": "ekiben", "plugins": [{"type": "ptp", "ipam": ipam}]})


def kubelet_config(spec: NodeSpec, pki: Path) -> str:
    """Return the kubelet's configuration; it holds on cgroup v1, hybrid and v2 alike."""
    open_files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], KUBELET_OPEN_FILES)
    return yaml.safe_dump(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "maxOpenFiles": open_files,
            "maxPods": 250,
            "failSwapOn": False,
            "clusterDNS": [spec.network.dns],
            "clusterDomain": "cluster.local",
            # Not the machine's: a name server that is out of reach costs every look-up 5 s.
            "resolvConf": f"{spec.folder}/config/resolv.conf",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{pki}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{pki}/kubelet-server.crt",
            "tlsPrivateKeyFile": f"{pki}/kubelet-server.key",
            # Nobody could pull an image again: there is no registry.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {
                "nodefs.available": "0%",
                "imagefs.available": "0%",
                "memory.available": "100Mi",
            },
            "systemReserved": {"memory": str(spec.reserved_memory)},
            "serializeImagePulls": False,
            # Tolerates what a machine refuses (oom_score_adj, sysctls) instead of dying of it.
            "featureGates": {"KubeletInUserNamespace": True},
        }
    )


def proxy_config(spec: NodeSpec, kernel: str) -> str:
    """Return kube-proxy's configuration; zeroes keep it from writing the machine's conntrack settings."""
    found = re.match(r"(\d+)\.(\d+)", kernel)
    modern = found is not None and (int(found[1]), int(found[2])) >= _NFTABLES_SINCE
    return yaml.safe_dump(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(spec.folder / "admin.kubeconfig")},
            "mode": "nftables" if modern else "iptables",
            "clusterCIDR": spec.network.pods,
            "hostnameOverride": spec.name,
            "metricsBindAddress": "127.0.0.1:10249",
            "healthzBindAddress": "127.0.0.1:10256",
            # The default of 1s would hold every change of endpoints back that long.
            "nftables": {"minSyncPeriod": "100ms"},
            "iptables": {"minSyncPeriod": "100ms"},
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        }
    )


def corefile(spec: NodeSpec) -> str:
    """Return CoreDNS's configuration: cluster names are answered, all others refused at once."""
    return f"""cluster.local:53 in-addr.arpa:53 {{
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {spec.folder}/admin.kubeconfig
        ttl 5
    }}
}}
"""

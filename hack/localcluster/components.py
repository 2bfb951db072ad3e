"""The command lines of the control plane's components, shared by the bare one and the boxed node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from localcluster.pki import Pki


@dataclass(frozen=True)
class ControlPlaneFlags:
    """Where one control plane listens and keeps its files."""

    folder: Path
    pki: Pki
    address: str
    port: int
    etcd_port: int
    etcd_peer_port: int
    service_cidr: str

    @property
    def admin_kubeconfig(self) -> Path:
        """The kubeconfig of the cluster's administrator, for components too."""
        return self.folder / "admin.kubeconfig"

    def etcd(self) -> list[str]:
        """Return etcd's flags: no fsync, because a throw-away cluster need not survive a power cut."""
        client = f"http://127.0.0.1:{self.etcd_port}"
        peer = f"http://127.0.0.1:{self.etcd_peer_port}"
        return [
            f"--data-dir={self.folder / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]

    def apiserver(self) -> list[str]:
        """Return kube-apiserver's flags."""
        pki = self.pki
        return [
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            f"--cert-dir={pki.folder}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--secure-port={self.port}",
            f"--service-cluster-ip-range={self.service_cidr}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki.folder / 'sa.pub'}",
            f"--service-account-signing-key-file={pki.key('sa')}",
            f"--tls-cert-file={pki.crt('server')}",
            f"--tls-private-key-file={pki.key('server')}",
            f"--client-ca-file={pki.crt('ca')}",
            f"--kubelet-client-certificate={pki.crt('admin')}",
            f"--kubelet-client-key={pki.key('admin')}",
            f"--proxy-client-cert-file={pki.crt('front-proxy')}",
            f"--proxy-client-key-file={pki.key('front-proxy')}",
            f"--requestheader-client-ca-file={pki.crt('ca')}",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-allowed-names=front-proxy",
            # The node's name is in no DNS; logs, exec and port-forward dial the kubelet by its address.
            "--kubelet-preferred-address-types=InternalIP",
            # Aggregated APIs are processes beside the API server, reached through their endpoints.
            "--enable-aggregator-routing=true",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
        ]

    def controller_manager(self, hpa_sync_period: str) -> list[str]:
        """Return kube-controller-manager's flags; the HPA's default period of 15s would make tests wait."""
        kubeconfig = self.admin_kubeconfig
        return [
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--service-account-private-key-file={self.pki.key('sa')}",
            f"--root-ca-file={self.pki.crt('ca')}",
            f"--cluster-signing-cert-file={self.pki.crt('ca')}",
            f"--cluster-signing-key-file={self.pki.key('ca')}",
            "--use-service-account-credentials=true",
            # Each controller asks for an account and a token first: 4 s at the default of 20 requests/s.
            "--kube-api-qps=300",
            "--kube-api-burst=600",
            "--allocate-node-cidrs=false",
            "--leader-elect=false",
            "--secure-port=0",
            f"--horizontal-pod-autoscaler-sync-period={hpa_sync_period}",
            # A new pod's CPU counts for the HPA from its first sample, not after the default 5 minutes.
            "--horizontal-pod-autoscaler-cpu-initialization-period=10s",
            "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
        ]

    def scheduler(self) -> list[str]:
        """Return kube-scheduler's flags."""
        kubeconfig = self.admin_kubeconfig
        return [
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--leader-elect=false",
        ]

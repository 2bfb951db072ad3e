"""KEDA for the local cluster: which part of its source is built, and how its manifests are made to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from localcluster.errors import LocalClusterError
from localcluster.images import SystemImage
from localcluster.keda import Images, manifests
from localcluster.kedasource import TRIGGERS, without_cases
from localcluster.pki import Authority

SWITCH = """func buildScaler(triggerType string) {
	switch triggerType {
	case "activemq":
		return scalers.NewActiveMQScaler(config)
	case "cpu":
		return scalers.NewCPUMemoryScaler(config)
	case "cron":
		return scalers.NewCronScaler(config)
	case "graphite", "grafana":
		return scalers.NewGraphiteScaler(config)
	case "kubernetes-workload":
		return scalers.NewKubernetesWorkloadScaler(client, config)
	case "memory":
		return scalers.NewCPUMemoryScaler(config)
	case "prometheus":
		return scalers.NewPrometheusScaler(config)
	case "pulsar":
		return scalers.NewPulsarScaler(config)
	default:
		return nil
	}
}
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: keda}
spec:
  template:
    spec:
      containers:
      - name: NAME
        image: example.com/keda:main
        imagePullPolicy: Always
        command: [/keda]
        args: [--leader-elect, --enable-cert-rotation=true, --zap-log-level=info]
        readinessProbe: {httpGet: {path: /readyz, port: 8081}, initialDelaySeconds: 20}
"""


def test_only_the_cases_of_our_triggers_are_left_of_the_switch() -> None:
    left = without_cases(SWITCH)
    for trigger in TRIGGERS:
        assert f'\tcase "{trigger}":\n' in left
    assert left.count("case") == len(TRIGGERS)
    assert left.count("scalers.New") == len(TRIGGERS)
    assert left.endswith("\tdefault:\n\t\treturn nil\n\t}\n}\n")


def test_a_source_without_a_trigger_of_ours_is_refused() -> None:
    with pytest.raises(LocalClusterError, match="no case for cron, prometheus"):
        without_cases(SWITCH.replace('"cron"', '"clock"').replace('"prometheus"', '"thanos"'))


def kedas(folder: Path) -> list[dict[str, Any]]:
    """Return what is applied of a small config folder like KEDA's own."""
    for part in ("service_account", "rbac", "manager", "metrics-server", "webhooks"):
        (folder / part).mkdir()
        (folder / part / "kustomization.yaml").write_text("kind: Kustomization\nresources: []\n")
    (folder / "manager" / "manager.yaml").write_text(DEPLOYMENT.replace("NAME", "keda-operator"))
    served = DEPLOYMENT.replace("NAME", "keda-metrics-apiserver")
    (folder / "metrics-server" / "deployment.yaml").write_text(served)
    api = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "spec": {"group": "x"}}
    (folder / "metrics-server" / "api_service.yaml").write_text(yaml.safe_dump(api))
    (folder / "webhooks" / "webhooks.yaml").write_text(DEPLOYMENT.replace("NAME", "keda-admission"))
    asked = {"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "keda-admission"}}
    asked["webhooks"] = [{"failurePolicy": "Ignore", "clientConfig": {"service": {"name": "x"}}}]
    (folder / "webhooks" / "validation_webhooks.yaml").write_text(yaml.safe_dump(asked))
    names = ("operator", "adapter", "webhooks")
    images = Images(*(SystemImage(f"localhost/{name}:1", Path()) for name in names))
    return list(manifests(folder, images, "Q0E="))


def test_kedas_own_manifests_run_our_images_with_a_certificate_of_ours(tmp_path: Path) -> None:
    made = {(item["kind"], (item.get("metadata") or {}).get("name")): item for item in kedas(tmp_path)}
    assert set(made) == {
        ("Deployment", "keda-operator"),
        ("Deployment", "keda-metrics-apiserver"),
        ("APIService", None),
        ("Deployment", "keda-admission"),
        ("ValidatingWebhookConfiguration", "keda-admission"),
    }
    assert made["APIService", None]["spec"]["caBundle"] == "Q0E="
    (webhook,) = made["ValidatingWebhookConfiguration", "keda-admission"]["webhooks"]
    assert webhook["failurePolicy"] == "Fail"
    assert webhook["clientConfig"] == {"service": {"name": "x"}, "caBundle": "Q0E="}
    for name, image in (
        ("keda-operator", "operator"),
        ("keda-metrics-apiserver", "adapter"),
        ("keda-admission", "webhooks"),
    ):
        (container,) = made["Deployment", name]["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"localhost/{image}:1"
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert "command" not in container
        assert container["args"] == [
            "--leader-elect=false",
            "--enable-cert-rotation=false",
            "--zap-log-level=info",
        ]
        assert container["readinessProbe"]["initialDelaySeconds"] == 1


def test_a_certificate_for_both_sides_serves_and_calls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.both("tls", ["keda-operator.keda.svc"])
    made = x509.load_pem_x509_certificate(authority.pki.crt("tls").read_bytes())
    usages = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}

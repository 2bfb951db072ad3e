"""What the API server makes of an object besides storing it: defaults and canonical quantities."""

from __future__ import annotations

from typing import Any

from ekiben.core.snapshot import Manifest, Ref

_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_POD = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "terminationGracePeriodSeconds": 30,
}
_CONTAINER = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "imagePullPolicy": "IfNotPresent",
    "resources": {},
}
_DEPLOYMENT = {
    "replicas": 1,
    "progressDeadlineSeconds": 600,
    "revisionHistoryLimit": 10,
    "strategy": {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
    },
}
_SERVICE = {
    "type": "ClusterIP",
    "clusterIP": "10.96.7.7",
    "sessionAffinity": "None",
    "internalTrafficPolicy": "Cluster",
    "ipFamilyPolicy": "SingleStack",
}


def with_defaults(ref: Ref, manifest: Manifest) -> Manifest:
    """Return the object as the API server of Kubernetes 1.36 would store it."""
    result = {**manifest, "metadata": {"namespace": "shop", **manifest["metadata"]}}
    if "spec" in manifest and ref.kind in _BY_KIND:
        result["spec"] = _BY_KIND[ref.kind](manifest["spec"])
    return result


def _deployment(spec: dict[str, Any]) -> dict[str, Any]:
    template = spec["template"]
    return {**_DEPLOYMENT, **spec, "template": {**template, "spec": _pod(template["spec"])}}


def _pod(spec: dict[str, Any]) -> dict[str, Any]:
    return {**_POD, **spec, "containers": [_container(item) for item in spec["containers"]]}


def _container(container: dict[str, Any]) -> dict[str, Any]:
    result = {**_CONTAINER, **container}
    if "ports" in container:
        result["ports"] = [{"protocol": "TCP", **port} for port in container["ports"]]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if probe in container:
            result[probe] = {**_PROBE, **container[probe]}
            if "httpGet" in container[probe]:
                result[probe]["httpGet"] = {"scheme": "HTTP", **container[probe]["httpGet"]}
    result["resources"] = {
        side: {name: _canonical(value) for name, value in amounts.items()}
        for side, amounts in container.get("resources", {}).items()
    }
    return result


def _canonical(value: Any) -> str:
    """Write a quantity as the API server does, for the units that examples use."""
    text = str(value)
    if text.endswith("Mi") and text[:-2].isdigit() and int(text[:-2]) % 1024 == 0:
        return f"{int(text[:-2]) // 1024}Gi"
    if "." in text and text.replace(".", "").isdigit():
        return f"{round(float(text) * 1000)}m"
    return text


def _service(spec: dict[str, Any]) -> dict[str, Any]:
    ports = [{"protocol": "TCP", "targetPort": port["port"], **port} for port in spec.get("ports", ())]
    return {**_SERVICE, **spec, "ports": ports}


def _route(spec: dict[str, Any]) -> dict[str, Any]:
    result = dict(spec)
    result["parentRefs"] = [
        {"group": "gateway.networking.k8s.io", "kind": "Gateway", **parent}
        for parent in spec.get("parentRefs", ())
    ]
    result["rules"] = [
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            **rule,
            "backendRefs": [
                {"group": "", "kind": "Service", "weight": 1, **backend}
                for backend in rule.get("backendRefs", ())
            ],
        }
        for rule in spec.get("rules", ())
    ]
    return result


def _autoscaler(spec: dict[str, Any]) -> dict[str, Any]:
    result = {"minReplicas": 1, **spec}
    if "behavior" in spec:
        down = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}
        result["behavior"] = {
            **spec["behavior"],
            "scaleDown": {**down, **spec["behavior"].get("scaleDown", {})},
        }
    return result


_BY_KIND = {
    "Deployment": _deployment,
    "Service": _service,
    "HTTPRoute": _route,
    "HorizontalPodAutoscaler": _autoscaler,
}

"""The pod template, version 1.

It never changes: revisions that were born with it must render the same for ever, or an upgrade of the
operator would restart every pod. What needs to change goes into a next version, in a file of its own.
"""

from __future__ import annotations

import json
from math import ceil
from typing import Any

from ekiben.core import names
from ekiben.core.canonical import canonical
from ekiben.core.defaults import DEFAULTS, effective_resources
from ekiben.core.revision import image_of, service_of, timeout_of
from ekiben.core.snapshot import Manifest, Model, Record

Json = dict[str, Any]

# The user that `bentoml containerize` puts into the image; by number, as runAsNonRoot can't check a name.
USER = 1034

# A pod that ends goes on getting requests until every proxy has heard of it, and BentoML resets those that
# come after SIGTERM. The kubelet itself sleeps, so the image needs no `sleep`.
PRE_STOP_SECONDS = 5
# From the longest request's end to BentoML's own exit.
EXIT_SECONDS = 5
# Longer than proxies keep an idle connection (Traefik: 90 s): a server that closes first loses requests.
KEEP_ALIVE_SECONDS = 120
# The operator's verdict comes at the deadline; the kubelet's restart must not come before it.
STARTUP_MARGIN_SECONDS = 60
LIVENESS_PERIOD_SECONDS = 10
LONGEST_SECONDS = 2**30  # Kubernetes counts in int32

# Fields of podTemplate that go into the pod as they are.
PASSED_ON = (
    "nodeSelector",
    "tolerations",
    "affinity",
    "topologySpreadConstraints",
    "priorityClassName",
    "runtimeClassName",
    "initContainers",
)
# BentoML refuses 1 where it expects 1.0, and the API server hands 1.0 on as 1.
FLOATS = frozenset({"max_age", "sample_rate"})


def build_pod_template(model: Model, record: Record) -> Manifest:
    """Build the pod template of one revision."""
    extra = record.inputs.get("podTemplate", {})
    return {
        "metadata": {
            "labels": {**extra.get("labels", {}), **names.revision_labels(model.name, record.revision)},
            "annotations": {
                "kubectl.kubernetes.io/default-container": names.CONTAINER,
                **extra.get("annotations", {}),
            },
        },
        "spec": canonical(_pod_spec(record, extra)),
    }


def _pod_spec(record: Record, extra: Json) -> Json:
    inputs = record.inputs
    spec: Json = {
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": PRE_STOP_SECONDS + _drain_seconds(record) + EXIT_SECONDS,
        "containers": [_container(record, extra), *extra.get("sidecars", [])],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}, *extra.get("volumes", [])],
    }
    if "serviceAccountName" in inputs:
        spec["serviceAccountName"] = inputs["serviceAccountName"]
    else:
        # The namespace's default account is nobody's choice: its token is of no use to a model.
        spec["automountServiceAccountToken"] = False
    if "imagePullSecrets" in inputs:
        spec["imagePullSecrets"] = inputs["imagePullSecrets"]
    return spec | {name: extra[name] for name in PASSED_ON if name in extra}


def _container(record: Record, extra: Json) -> Json:
    return {
        "name": names.CONTAINER,
        "image": image_of(record),
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "serve",
            # An image may carry PORT or BENTOML_PORT of its own; the option wins over both.
            "--port",
            str(names.PORT),
            "--timeout-graceful-shutdown",
            str(_drain_seconds(record)),
            "--timeout-keep-alive",
            str(KEEP_ALIVE_SECONDS),
        ],
        "ports": [{"name": names.PORT_NAME, "containerPort": names.PORT, "protocol": "TCP"}],
        "env": _env(record),
        "resources": _resources(record),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *extra.get("volumeMounts", [])],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # The last lines of a crash's log become the reason that the status shows.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        **_probes(record),
    }


def _probes(record: Record) -> Json:
    # While a model loads, BentoML takes connections and answers nothing: probes time out.
    startup = ceil(record.deadline_seconds) + STARTUP_MARGIN_SECONDS
    # A worker that is busy for one whole request is not dead.
    busy = ceil(max(60.0, timeout_of(record)) / LIVENESS_PERIOD_SECONDS)
    return {
        "startupProbe": _probe("/readyz", period=1, timeout=2, failures=startup),
        "readinessProbe": _probe("/readyz", period=2, timeout=2, failures=3),
        "livenessProbe": _probe("/livez", period=LIVENESS_PERIOD_SECONDS, timeout=5, failures=busy + 1),
    }


def _probe(path: str, *, period: int, timeout: int, failures: int) -> Json:
    return {
        "httpGet": {"path": path, "port": names.PORT_NAME},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": min(failures, LONGEST_SECONDS),
    }


def _drain_seconds(record: Record) -> int:
    """Return how long a pod that ends may finish its requests: as long as any of them may take."""
    return max(1, min(ceil(timeout_of(record)), LONGEST_SECONDS))


def _env(record: Record) -> list[Json]:
    ours = [
        {"name": "BENTOML_HOME", "value": "/tmp/bentoml"},
        {"name": "BENTOML_DO_NOT_TRACK", "value": "true"},
    ]
    if config := _bentoml_config(record):
        text = json.dumps(config, sort_keys=True, separators=(",", ":"))
        ours.append({"name": "BENTOML_CONFIG_OVERRIDES", "value": text})
    theirs = record.inputs.get("env", [])
    named = {variable["name"] for variable in theirs}
    return [*(variable for variable in ours if variable["name"] not in named), *theirs]


def _bentoml_config(record: Record) -> Json:
    """Build BentoML's configuration of the entry service, the user's overrides merged over it."""
    runtime = record.inputs.get("runtime", {})
    config: Json = {}
    if service := service_of(record):
        # Always said: the drain and the route's time-out rest on it, whatever the bento's own code says.
        traffic: Json = {"timeout": canonical(timeout_of(record))}
        if "maxConcurrency" in runtime:
            traffic["max_concurrency"] = runtime["maxConcurrency"]
        own: Json = {"traffic": traffic}
        if "workers" in runtime:
            own["workers"] = runtime["workers"]
        if record.buckets:
            # BentoML prefers min, max and factor to buckets: those in the bento's code must go.
            duration = {"buckets": list(record.buckets), "min": None, "max": None, "factor": None}
            own["metrics"] = {"duration": duration}
        config = {"services": {service: own}}
    merged: Json = _with_floats(_deep_merged(config, runtime.get("overrides", {})))
    return merged


def _deep_merged(base: Any, over: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return {**base, **{key: _deep_merged(base.get(key), value) for key, value in over.items()}}


def _with_floats(value: Any, floats: bool = False) -> Any:
    """Write as floats the numbers that BentoML takes in no other form."""
    if isinstance(value, dict):
        return {
            key: _with_floats(item, floats or key in FLOATS or key == "duration")
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_with_floats(item, floats) for item in value]
    return float(value) if floats and isinstance(value, int) and not isinstance(value, bool) else value


def _resources(record: Record) -> Json:
    resources = effective_resources(record.inputs.get("resources", {}), DEFAULTS[record.template_version])
    return {section: quantities for section, quantities in resources.items() if quantities}

"""Specs between nothing set and everything set, and every child that they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ekiben.api.v1alpha1 import Spec, parse_spec
from ekiben.core import names
from ekiben.core.engines import DEFAULT_METRIC, needs_keda
from ekiben.core.render import (
    ScaleTarget,
    build_autoscaler,
    build_deployment,
    build_disruption_budget,
    build_job,
    build_record,
    build_route,
    build_scaled_object,
    build_service,
    build_trigger_authentication,
)
from ekiben.core.revision import revision_of, timeout_of
from ekiben.core.snapshot import Manifest, Model, Record

IMAGE = "registry.example.com/iris:1.4.2"
MODEL = Model(
    namespace="shop",
    name="iris",
    uid="5f1c7d0a-0d3e-4c3b-9a55-0b1f6a1d2c3e",
    generation=3,
    resource_version="812",
)

EVERYTHING: dict[str, Any] = {
    "bento": {"image": "registry.example.com:5000/iris@sha256:" + "0123456789abcdef" * 4, "service": "Iris"},
    "runtime": {
        "workers": 2,
        "timeout": "2m30s",
        "maxConcurrency": 32,
        "overrides": {
            "services": {"Iris": {"traffic": {"external_queue": False}}, "Features": {"workers": 1}},
            "tracing": {"exporter_type": "otlp", "sample_rate": 1.0, "otlp": {"protocol": "http"}},
        },
    },
    "resources": {
        "requests": {"cpu": "1500m", "memory": "3072Mi", "ephemeral-storage": 1073741824},
        "limits": {"cpu": 2, "memory": "4Gi"},
    },
    "env": [
        {"name": "THREADS", "value": "4"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "iris", "key": "token"}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "EMPTY", "value": ""},
    ],
    "serviceAccountName": "iris-reader",
    "imagePullSecrets": [{"name": "registry"}],
    "podTemplate": {
        "labels": {"team": "flowers"},
        "annotations": {"example.com/owner": "botany"},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "models", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["cpu"]}]}
                    ]
                }
            }
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {names.MODEL: "iris"}},
            }
        ],
        "priorityClassName": "serving",
        "runtimeClassName": "gvisor",
        "volumes": [
            {"name": "weights", "persistentVolumeClaim": {"claimName": "weights", "readOnly": True}},
            {"name": "cache", "emptyDir": {"sizeLimit": "1024Mi"}},
            {
                "name": "identity",
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "token"}},
                        {
                            "downwardAPI": {
                                "items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]
                            }
                        },
                    ]
                },
            },
        ],
        "volumeMounts": [
            {"name": "weights", "mountPath": "/weights", "readOnly": True},
            {"name": "cache", "mountPath": "/cache"},
            {"name": "cache", "mountPath": "/home/bentoml/cache", "subPath": "home"},
        ],
        "initContainers": [{"name": "fetch", "image": "registry.example.com/fetch:3"}],
        "sidecars": [
            {
                "name": "proxy",
                "image": "registry.example.com/proxy:7",
                "ports": [{"containerPort": 4000}],
                "resources": {"requests": {"cpu": 0.1}, "limits": {"memory": "64Mi"}},
                "env": [{"name": "UPSTREAM", "value": "127.0.0.1:3000"}],
            }
        ],
    },
    "autoscaling": {
        "minReplicas": 2,
        "maxReplicas": 10,
        "metrics": [{"cpu": "60%"}, {"cpu": "0.9"}, {"memory": "1024Mi"}],
    },
    "podDisruptionBudget": {"maxUnavailable": 2},
    "traffic": {
        "parentRefs": [
            {"name": "models", "namespace": "infra", "sectionName": "https"},
            {"name": "local"},
        ],
        "hostnames": ["iris.example.com"],
        "path": {"prefix": "/iris", "rewrite": "/"},
    },
    "rollout": {"progressDeadline": "15m"},
    "analysis": {
        "checks": [
            {"metric": "error-rate", "max": "1%"},
            {"metric": "slow-requests", "over": "300ms", "max": "5%"},
            {"metric": "slow-requests", "over": "1s", "max": "1%"},
            {
                "name": "golden",
                "job": {
                    "image": "registry.example.com/golden:3",
                    "command": ["/golden"],
                    "args": ["{{model.name}}"],
                    "env": [
                        {"name": "A", "value": "b"},
                        {"name": "TOKEN", "secret": {"name": "golden", "key": "token"}},
                    ],
                    "resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}},
                    "deadline": "90s",
                },
            },
        ]
    },
}

RAW: dict[str, dict[str, Any]] = {
    "image-alone": {"bento": {"image": IMAGE}},
    "service-known": {
        "bento": {"image": IMAGE, "service": "Iris"},
        "analysis": {"checks": [{"metric": "slow-requests", "over": "300ms", "max": "5%"}]},
        "autoscaling": {"maxReplicas": 4},
        "traffic": {"parentRefs": [{"name": "models"}]},
    },
    "gpu": {
        "bento": {"image": IMAGE},
        "resources": {"requests": {"memory": "16Gi"}, "limits": {"nvidia.com/gpu": 1}},
    },
    "by-keda": {
        "bento": {"image": IMAGE},
        "autoscaling": {
            "minReplicas": 2,
            "maxReplicas": 10,
            "fallbackReplicas": 4,
            "metrics": [
                {"cpu": "70%"},
                {"memory": "700Mi"},
                {
                    "prometheus": {
                        "address": "http://prometheus.monitoring.svc:9090",
                        "query": 'sum(load{ns="{{model.namespace}}",pod=~"iris-{{revision}}-.*"})',
                        "threshold": "0.5",
                        "bearer": {"name": "prometheus", "key": "token"},
                    }
                },
                {
                    "prometheus": {
                        "address": "https://prometheus.monitoring.svc:9090",
                        "query": "sum(queue_length)",
                        "threshold": "100",
                        "basic": {
                            "username": {"name": "prometheus", "key": "user"},
                            "password": {"name": "prometheus", "key": "password"},
                        },
                    }
                },
                {
                    "schedule": {
                        "start": "0 8 * * 1-5",
                        "end": "0 20 * * 1-5",
                        "timeZone": "Europe/Berlin",
                        "replicas": 6,
                    }
                },
            ],
            "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]}},
        },
    },
    "by-formula": {
        "bento": {"image": IMAGE},
        "autoscaling": {
            "minReplicas": 2,
            "maxReplicas": 10,
            "metrics": [
                {
                    "name": "waiting",
                    "trigger": {
                        "type": "rabbitmq",
                        "metadata": {
                            "queueName": "{{model.namespace}}-{{model.name}}",
                            "mode": "QueueLength",
                            "value": "20",
                        },
                        "authenticationRef": {"name": "rabbitmq"},
                        "metricType": "Value",
                    },
                },
                {
                    "name": "work",
                    "prometheus": {
                        "address": "http://prometheus.monitoring.svc:9090",
                        "query": 'sum(load{revision="{{revision}}"})',
                        "threshold": "8",
                    },
                },
            ],
            "formula": {"expression": "max([waiting / 20, work / 8]) * 10", "target": "10"},
        },
    },
    "everything": EVERYTHING,
}
SPECS: dict[str, Spec] = {name: parse_spec(raw) for name, raw in RAW.items()}


def edit(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return what sets a field of a raw spec, named by its path such as `env.0.value`."""

    def apply(raw: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for key in parents:
            raw = raw[int(key)] if isinstance(raw, list) else raw[key]
        raw[last] = value

    return apply


def keda_children(spec: Spec, model: Model, record: Record) -> list[Manifest]:
    """Render a ScaledObject and what its queries need."""
    block = spec.autoscaling
    assert block is not None
    target = ScaleTarget(model, record, block, block.metrics, min_replicas=2, max_replicas=10, hold=True)
    scaled = build_scaled_object(target, fallback=block.fallback_replicas or 2)
    return [scaled] + [
        build_trigger_authentication(model, record.revision, number, metric.prometheus)
        for number, metric in enumerate(block.metrics)
        if metric.prometheus and (metric.prometheus.bearer or metric.prometheus.basic)
    ]


def children(spec: Spec, model: Model = MODEL) -> list[Manifest]:
    """Render every child that a spec can need."""
    record = replace(revision_of(spec), number=4)
    stable, canary = names.stable_service(model.name), names.canary_service(model.name)
    rendered = [
        build_record(model, record, "stable"),
        build_deployment(model, record),
        build_service(model, stable, record.revision),
        build_service(model, canary, None),
        build_disruption_budget(model, record.revision, spec.pod_disruption_budget),
    ]
    if spec.autoscaling and any(needs_keda(metric) for metric in spec.autoscaling.metrics):
        rendered += keda_children(spec, model, record)
    elif spec.autoscaling:
        metrics = spec.autoscaling.metrics or (DEFAULT_METRIC,)
        target = ScaleTarget(
            model, record, spec.autoscaling, metrics, min_replicas=2, max_replicas=4, hold=True
        )
        rendered.append(build_autoscaler(target))
    for check in spec.analysis.checks:
        if check.job:
            job = names.revision_child(model.name, "j0123456789"[:10])
            pull = spec.image_pull_secrets or ()
            rendered.append(
                build_job(model, job, f"{record.revision}.4", check.job, {"model.name": "m"}, pull)
            )
    if spec.traffic:
        timeout = timeout_of(record)
        rendered.append(
            build_route(model, spec.traffic, canary_weight=25, timeout_seconds=timeout, resource_version=None)
        )
    return rendered

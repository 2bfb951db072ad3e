"""What a user may write, and the exact sentence for what not, as the real API server says it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from contract.server import OBJECTS, STRICT, Json, Refusal, RefusedError, Server, model
from ekiben.api.crd import object_schema
from ekiben.api.generated import CHECKOUT
from ekiben.api.v1alpha1 import API_VERSION, KIND

IMAGE = "registry.example.com/iris:1.4.2"
DIGEST = "sha256:" + "0a" * 32
BENTO = {"image": IMAGE}
SERVED = {"image": IMAGE, "service": "Iris"}


class Refused(NamedTuple):
    """A spec fragment, and what the server says about it."""

    why: str
    spec: Json
    field: str
    sentence: str


def image(text: str) -> Json:
    return {"bento": {"image": text}}


def runtime(**fields: Any) -> Json:
    return {"bento": SERVED, "runtime": fields}


def pod(**fields: Any) -> Json:
    return {"podTemplate": fields}


def env(*variables: Json) -> Json:
    return {"env": [*variables]}


def scaling(*metrics: Json, **fields: Any) -> Json:
    return {"autoscaling": {"maxReplicas": 4, **fields} | ({"metrics": [*metrics]} if metrics else {})}


def guarded(latency: Json) -> Json:
    return scaling({"concurrency": "8"}, {"latency": latency})


def by_query(**fields: Any) -> Json:
    query = 'sum(rate(requests{revision="{{revision}}"}[1m]))'
    return {"prometheus": {"address": "http://prometheus:9090", "query": query, "threshold": "8"} | fields}


def by_hours(**fields: Any) -> Json:
    return {"schedule": {"start": "0 8 * * 1-5", "end": "0 20 * * 1-5", "replicas": 3} | fields}


def by_trigger(**fields: Any) -> Json:
    metadata = {"queueName": "jobs", "mode": "QueueLength", "value": "10"}
    return {"trigger": {"type": "rabbitmq", "metadata": metadata} | fields}


def by_formula(expression: str, *more: Json, target: str = "10", **fields: Any) -> Json:
    metrics = (by_trigger() | {"name": "queue"}, by_query() | {"name": "work"}, *more)
    return scaling(*metrics, formula={"expression": expression, "target": target}, **fields)


def parents(*refs: Json) -> Json:
    return {"traffic": {"parentRefs": [*refs]}}


def traffic(**fields: Any) -> Json:
    return {"traffic": {"parentRefs": [{"name": "models"}], **fields}}


def steps(*items: Json) -> Json:
    return {"rollout": {"canary": {"steps": [*items]}}}


def by_header(*items: tuple[str, str]) -> Json:
    return {"headers": [{"name": name, "value": value} for name, value in items]}


def blue_green(**block: Any) -> Json:
    return {"rollout": {"strategy": "BlueGreen", "blueGreen": block}}


def canary(**fields: Any) -> Json:
    return {"rollout": {"canary": fields}}


def rollout(**fields: Any) -> Json:
    return {"rollout": fields}


def gates(*items: Json) -> Json:
    return rollout(gates=[*items])


def gate(**fields: Any) -> Json:
    return gates({"name": "ticket", "url": "http://gate.shop.svc", "when": "BeforeStep", **fields})


def analysis(**fields: Any) -> Json:
    return {"analysis": fields}


def check(metric: str, **fields: Any) -> Json:
    return {"analysis": {"checks": [{"metric": metric, **fields}]}}


def checks(*items: Json) -> Json:
    return {"analysis": {"checks": [*items]}}


def beside(metric: str, **fields: Any) -> Json:
    return checks({"metric": metric, **fields}, {"metric": "error-rate", "max": "1%"})


SECRET = {"name": "judge", "key": "token"}
QUERY = {"address": "http://prometheus:9090", "query": "up"}
BY_QUERY = {"name": "score", "max": "0.05", "prometheus": QUERY}


def prometheus(**fields: Any) -> Json:
    return checks(BY_QUERY | {"prometheus": QUERY | fields})


def web_check(**fields: Any) -> Json:
    return {"name": "accuracy", "min": "0.9", "web": {"url": "http://judge/x"} | fields}


def web(**fields: Any) -> Json:
    return checks(web_check(**fields))


def job(**fields: Any) -> Json:
    return checks({"name": "golden", "job": {"image": "golden:3"} | fields})


def throughput(**fields: Any) -> Json:
    return beside("throughput", **fields)


def mounted(path: str) -> Json:
    return pod(volumes=[{"name": "data", "emptyDir": {}}], volumeMounts=[{"name": "data", "mountPath": path}])


ACCEPTED: dict[str, Json] = {
    "config that is tracked, a Secret of the same name beside a ConfigMap": {
        "bento": {"image": IMAGE, "trackedConfig": [{"configMap": "flags"}, {"secret": "flags"}]}
    },
    "as much config as may be tracked": {
        "bento": {
            "image": IMAGE,
            "trackedConfig": [{"configMap": f"{'c' * 250}.{number:02}"} for number in range(16)],
        }
    },
    "an image alone": {},
    "an image without a registry": image("iris:1"),
    "a registry with a port and a tag": image("localhost:5000/team/iris:1.4.2"),
    "a registry that is an IPv6 address": image("[::1]:5000/iris:1"),
    "a digest alone": image(f"registry.example.com/iris@{DIGEST}"),
    "latest with a digest": image(f"registry.example.com/iris:latest@{DIGEST}"),
    "a tag that only begins like latest": image("iris:latest-2"),
    "a priority": {"rollout": {"priority": -1000}},
    "a runtime with the service": runtime(workers=2, timeout="1m30s", overrides={"api_server": {"x": [1]}}),
    "quantities as numbers and as text": {"resources": {"requests": {"cpu": 1}, "limits": {"cpu": "1500m"}}},
    "a request equal to its limit in other words": {
        "resources": {"requests": {"memory": "1024Mi"}, "limits": {"memory": "1Gi"}}
    },
    "an extended resource": {"resources": {"limits": {"example.com/gpu": 1}}},
    "a variable from a Secret": env(
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}
    ),
    "BENTOML_DO_NOT_TRACK": env({"name": "BENTOML_DO_NOT_TRACK", "value": "false"}),
    "an empty serviceAccountName": {"serviceAccountName": ""},
    "a null in the place of an object": {"autoscaling": None, "podTemplate": None},
    "a label that only looks like ours": pod(labels={"app.kubernetes.io/component": "model"}),
    "a sidecar with everything a container has": pod(sidecars=[{"name": "log", "image": "a:1", "tty": True}]),
    "a mount beside /tmp": mounted("/tmpfiles"),
    "a mount at a path with dots in it": mounted("/models/v1.2/.cache"),
    "one replica, whatever the autoscaler may do": {"replicas": 1} | scaling(),
    "autoscaling in percent over the request": scaling({"cpu": "250%"}),
    "autoscaling on requests": scaling({"concurrency": "0.5"}, {"requestsPerSecond": "50"}),
    "autoscaling on requests, guarded by their latency": {"bento": SERVED}
    | scaling({"concurrency": "8"}, {"latency": {"p95": "300ms"}}, {"latency": {"p99": "10ms"}}),
    "a latency between BentoML's own bounds": scaling({"latency": {"p50": "1000ms"}}, {"cpu": "70%"}),
    "a latency alone, switched off": scaling({"latency": {"p95": "1s"}}, engine="none"),
    "autoscaling in quantities": scaling({"cpu": "1.5"}, {"memory": "700Mi"}),
    "as many replicas at least as at most": scaling(minReplicas=4),
    "autoscaling by a query and by hours": scaling(by_query(), by_hours(), {"cpu": "70%"}),
    "autoscaling by a query with a token, and with a password": scaling(
        by_query(bearer=SECRET), by_query(basic={"username": SECRET, "password": SECRET}), engine="keda"
    ),
    "eight windows": scaling(*(by_hours(replicas=n) for n in range(1, 5)), *(by_hours() for _ in range(4))),
    "a ScaledObject for CPU": scaling({"cpu": "70%"}, engine="keda", fallbackReplicas=4),
    "an HPA, whatever is installed": scaling({"concurrency": "8"}, engine="hpa"),
    "autoscaling by a queue": scaling(by_trigger()),
    "autoscaling by each revision's own queue, with authentication": scaling(
        by_trigger(
            metadata={"queueName": "{{model.namespace}}-{{model.name}}-{{revision}}", "vhostName": ""},
            authenticationRef={"name": "rabbitmq"},
            metricType="Value",
        ),
        {"cpu": "70%"},
        engine="keda",
    ),
    "autoscaling by every type of trigger that a cluster has": scaling(
        *(by_trigger(type=type_) for type_ in ("kafka", "aws-sqs-queue", "external", "metrics-api"))
    ),
    "autoscaling by a trigger whose metadata has braces": scaling(
        by_trigger(metadata={"query": '{"size": 0, "aggs": {"a": {"max": {"field": "x"}}}}', "lone": "{"})
    ),
    "autoscaling to zero and by a queue": scaling(by_trigger(), minReplicas=0),
    "autoscaling by a formula": by_formula("max([queue, work * 2])"),
    "autoscaling by a formula with hours, of all pods together": by_formula(
        "(queue + work) / max(office, 1)", by_hours() | {"name": "office"}, engine="keda"
    ),
    "autoscaling by a formula with all that it may call": by_formula(
        "not (queue > 5 and work in [1, 2.5]) ? mean([queue, abs (work)]) ** 2 : float(queue) or"
        " \t(work)\n- max(queue, 1e3)"
    ),
    "a name without a formula": scaling(by_query() | {"name": "work"}),
    "a formula switched off as it stands": by_formula("queue + work", engine="none"),
    "autoscaling left to others": {"autoscaling": {"engine": "external"}, "replicas": 3},
    "autoscaling whose changes are canaried": scaling({"concurrency": "8"}, canary=True, engine="hpa"),
    "autoscaling left to others, canary false": {"autoscaling": {"engine": "external", "canary": False}},
    "autoscaling switched off as it stands": scaling(by_query(), minReplicas=2, engine="none"),
    "switched off, with metrics that no engine serves together": scaling(
        by_query(), {"concurrency": "8"}, engine="none"
    ),
    "no replica while nobody asks": scaling(minReplicas=0),
    "no replica after an hour, and few requests held": scaling(
        minReplicas=0, idleAfter="1h", activation={"maxHeld": 1, "wakeTimeout": "10m"}
    ),
    "one Gateway by two listeners": parents(
        {"name": "a", "sectionName": "http"}, {"name": "a", "sectionName": "https"}
    ),
    "Gateways of one name in two namespaces": parents({"name": "a"}, {"name": "a", "namespace": "infra"}),
    "a wildcard host": traffic(hostnames=["*.example.com", "iris.example.com"]),
    "a path with its rewrite": traffic(path={"prefix": "/v1.0/iris_%20", "rewrite": "/"}),
    "pauses between rising weights": steps(
        {"pause": {}}, {"weight": 5, "hold": "0s"}, {"pause": {}}, {"weight": 6}, {"weight": 100}
    ),
    "no steps": steps(),
    "BlueGreen, with all the room that it needs": rollout(strategy="BlueGreen", maxSurge="100.0%"),
    "steps by headers, then by weight": traffic()
    | steps(
        by_header(("X-Canary", "always")),
        {"pause": {}},
        by_header(("x-canary", "always"), ("x-team", "ml; q=1")),
        {"weight": 5},
    ),
    "pods apart from the weight": traffic() | steps({"replicas": 3}, {"weight": 5}, {"replicas": "50%"}),
    "stable that shrinks, and gets its traffic back on a ramp": traffic()
    | canary(shrinkStable=True, trafficRamp={"step": 25, "every": "10s"}),
    "stable that does not shrink, with autoscaling": scaling() | canary(shrinkStable=False),
    "eight steps by headers": traffic() | steps(*(by_header(("x-canary", f"v{n}")) for n in range(8))),
    "a preview at hosts of its own": traffic(hostnames=["*.example.com"])
    | blue_green(previewHostnames=["preview.example.com"], autoPromotion=False, autoPromotionDelay="5m"),
    "a preview where stable answers for every host": traffic()
    | blue_green(previewHostnames=["preview.example.com"]),
    "an analysis before, between and behind weights": steps(
        {"analysis": {}}, {"weight": 5}, {"analysis": {"hold": "10m", "maxWait": "1h"}}, {"weight": 50}
    ),
    "Recreate, with a check that compares with nothing": rollout(strategy="Recreate", maxSurge="100%")
    | {"analysis": {"checks": [{"metric": "error-rate", "max": "1%"}]}},
    "a fallback where room is short": rollout(preflight={"fallback": "Recreate"}),
    "no look for room": rollout(strategy="Recreate", preflight={"enabled": False}),
    "a rollout's ID in every command": rollout(
        promote="k7c4f9xw2p.1", resume="k7c4f9xw2p.12/3", abort="k7c4f9xw2p.1", retry="bcdf2456kk.999"
    ),
    "gates for every moment": gates(
        {"name": "ticket", "url": "https://change.example.com/a?b=c", "when": "BeforeRollout"},
        {
            "name": "bench",
            "url": "http://bench.shop.svc:8080",
            "when": "BeforeStep",
            "interval": "1s",
            "maxWait": "2h",
            "onTimeout": "fail",
            "bearer": {"name": "token", "key": "token"},
            "headers": [{"name": "x-team", "value": "ml"}],
            "tls": {"caSecret": {"name": "ca", "key": "ca.crt"}},
            "timeout": "30s",
        },
        {"name": "approval", "url": "http://[::1]:8080/", "when": "BeforePromotion", "onTimeout": "pass"},
    ),
    "to pass by the gate before the first step": rollout(resume="k7c4f9xw2p.1/0"),
    "a warm-up of a few calls": rollout(warmup={"path": "/predict", "body": "[[1]]", "maxLatency": "300ms"}),
    "a warm-up by reading": rollout(
        warmup={
            "path": "/model",
            "method": "GET",
            "requests": 1000,
            "contentType": "text/plain; charset=utf-8",
        }
    ),
    "the shortest deadline": rollout(progressDeadline="10s"),
    "no delay before scaling down": rollout(scaleDownDelay="0s", abortScaleDownDelay="0s"),
    "a small surge": rollout(maxSurge="0.5%"),
    "a bake, for either strategy": blue_green() | analysis(bake="1h30m"),
    "a check that BlueGreen can judge in its bake": blue_green()
    | check("error-rate", max="1%", maxRatioToStable="1.5"),
    "the shortest interval in milliseconds": analysis(interval="1000ms"),
    "a check on ratio alone": check("shed-rate", maxRatioToStable="1.5"),
    "no error at all": check("error-rate", max="0%", excludeSheds=True),
    "one of BentoML's bounds without a service": check("slow-requests", over="2s500ms", max="5%"),
    "an increase over stable, in points": check("error-rate", maxIncreaseOverStable="0.5%"),
    "every limit at once": check(
        "shed-rate", max="2%", maxRatioToStable="2", maxIncreaseOverStable="1%", confidence="99.9%"
    ),
    "a throughput": throughput(min="2.5"),
    "a mean between two bounds, and like stable's": beside(
        "mean-batch-size", min="2", max="16", maxRatioToStable="1.5"
    ),
    "a mean that is dry": beside("concurrency", max="0.5", dryRun=True),
    "paths that don't count, and latency that is shown": analysis(
        excludePaths=["/internal", "/v1/warm-up"], showLatency=True
    ),
    "a dry run beside a check that decides": checks(
        {"metric": "error-rate", "max": "1%", "dryRun": False},
        {"metric": "shed-rate", "max": "1%", "dryRun": True, "onNoData": "pass"},
    ),
    "no checks": checks(),
    "a number of a Prometheus": prometheus(
        address="http://prometheus.monitoring.svc:9090/base",
        query='sum(rate(errors{pod=~"{{model.name}}-{{canary.revision}}-.*"}[1m])) / {{args.most-2}}',
        headers=[{"name": "X-Scope-OrgID", "value": "shop"}, {"name": "X-Key", "secret": SECRET}],
        bearer=SECRET,
        tls={"caSecret": SECRET, "insecureSkipVerify": False},
        timeout="60s",
        range={"over": "5m", "step": "15s"},
    ),
    "a number of a server alone": checks(
        web_check(
            url="https://judge.shop.svc/{{model.namespace}}?m={{stable.revision}}",
            method="POST",
            body='{"a": {"b": "{{canary.revision}}"}}',
            jsonPath="$.data['a b'][\"c\"][-1]",
            basic={"username": SECRET, "password": SECRET},
            tls={"insecureSkipVerify": True},
        )
        | {"interval": "1m", "min": "-0.5", "max": "1000000"}
    ),
    "a Job": job(
        image="registry.example.com/golden:3",
        command=["/golden"],
        args=["--revision={{canary.revision}}", ""],
        env=[{"name": "A", "value": "{{model.name}}"}, {"name": "B", "secret": SECRET}],
        resources={"requests": {"cpu": 1}, "limits": {"memory": "1Gi"}},
        deadline="1h30m",
    ),
    "checks of a ModelAnalysis": analysis(
        templates=[{"name": "quality.v2", "args": [{"name": "team", "value": ""}]}, {"name": "other"}]
    ),
    "sources and metrics beside each other": checks(
        {"metric": "error-rate", "max": "1%"}, BY_QUERY | {"onNoData": "pass"}, web_check() | {"dryRun": True}
    ),
    "certain, and patient with what can't be judged": analysis(
        confidence="99.999%", consecutiveErrorLimit=20, onInconclusive="fail"
    ),
    "any bound with a service": {"bento": SERVED} | check("slow-requests", over="300ms", max="5%"),
}

BAD_IMAGE = (
    "image must be an image's name with a digest, or with a tag that is not latest, such as"
    " registry.example.com/iris:1.4.2"
)
KEYS = "must have keys such as team or example.com/team: letters, digits, dashes, dots and underscores"
VALUES = "must have values such as flowers-2: letters, digits, dashes, dots and underscores"
RESOURCES = (
    "must name resources: cpu, memory, ephemeral-storage, or one with its domain such as nvidia.com/gpu"
)
BAD_DURATION = "must be a duration such as 30s, 5m or 1h30m"
NOT_POSITIVE = "must be a duration above zero, such as 300ms, 30s or 5m"
BAD_LABEL = (
    "podTemplate.labels must not set ekiben.dev/* or app.kubernetes.io/name, app.kubernetes.io/instance,"
    " app.kubernetes.io/managed-by, by which Ekiben finds its pods: choose other keys"
)
BAD_CONTAINER = (
    "sidecars and initContainers must not be named bento, as the model's container is: choose another name"
)
BAD_MOUNT = "must be an absolute path such as /models: not / itself, no //, no . or .. segment, no colon"
TMP_MOUNT = (
    "volumeMounts must not be at /tmp or below, where Ekiben mounts a volume of its own: choose another path"
)
BAD_METRIC = (
    "autoscaling.metrics takes exactly one of cpu, memory, concurrency, requestsPerSecond, latency,"
    " prometheus, schedule and trigger per item: write one item for each target"
)
QUANTILE = "autoscaling.metrics: latency takes exactly one of p50, p95 and p99: write one item for each"
FORMULA_OF_ALL = (
    "autoscaling.formula takes the place of all metrics: give each of them a name, a prometheus, schedule or"
    " trigger, and have it in the expression; leave out what is not in it, cpu and memory too"
)
BAD_PER_POD = 'must be a number per pod, above zero, in quotes, such as "8" or "0.5"'
BAD_CRON = "must be a cron schedule of five fields, such as 0 8 * * 1-5, where Sunday is 0"
NEEDS_ZERO = (
    "autoscaling.idleAfter and activation are for minReplicas: 0, where the pods go while nobody asks: set"
    " minReplicas to 0, or leave them out"
)
BAD_CPU = "must be a percentage such as 70%, or CPUs such as 500m or 1.5"
BAD_MEMORY = "must be a percentage such as 80%, or an amount of at least 1Mi such as 700Mi"
SAME_GATEWAY = (
    "traffic.parentRefs must not name a Gateway twice, unless each time with another sectionName: remove one"
)
BAD_HOST = (
    "must be a host name such as iris.example.com or *.example.com: lower case, no scheme, port, path or IP"
    " address"
)
BAD_PATH = (
    "must be a path such as /iris: it starts with / and has no //, no . or .. segment, no query, no %2F"
)
BAD_STEP = (
    "a step is exactly one of `weight`, with or without `hold`, `pause: {}`, `analysis: {}`, `replicas` and"
    " `headers`: write one item for each"
)
NEEDS_TRAFFIC = (
    "steps with headers or replicas need traffic: without a Gateway nothing reads headers, and the pods are"
    " the weight; add traffic.parentRefs, or write steps with weight"
)
BAD_HEADER_VALUE = (
    "must be a header's value such as always: printable ASCII without quotes, backticks and backslashes, and"
    " no space at either end"
)
SHRINKING_NEEDS_TRAFFIC = (
    "rollout.canary.shrinkStable and trafficRamp need a Gateway, which moves traffic apart from pods: add"
    " traffic.parentRefs, or remove them"
)
BAD_COUNT = "must be a number of pods from 1 to 10000, or a percentage of stable's size such as 50%"
NOT_RISING = "the weights of rollout.canary.steps must rise from step to step: order them, each weight once"
BLUE_GREEN = "spec.rollout.blueGreen"
BAD_ID = "must be a rollout's ID as status.rollout.id shows it, such as k7c4f9xw2p.1"
BAD_LIMIT = 'must be a percentage from 0% to 100%, such as 1%, or a number in quotes, such as "5"'
BAD_PERCENT = "must be a percentage from 0% to 100%, such as 1% or 0.5%"
BAD_RATIO = 'must be a ratio above zero in quotes, such as "1.5"'
BAD_NAME = "must be a name of lower-case letters, digits and dashes, such as my-model"
BAD_SUBDOMAIN = "must be a name of lower-case letters, digits, dashes and dots, such as my-model.v2"
RESERVED_ENV = (
    "env must not set BENTOML_HOME, BENTOML_HOST, BENTOML_PORT or PORT, which Ekiben sets for probes, metrics"
    " and the read-only root: remove it"
)
CONFIG_ENV = (
    "env must not set BENTOML_CONFIG_OVERRIDES or BENTOML_CONFIG_OPTIONS: write it as runtime.overrides"
)
NEEDS_LIMIT = (
    "a check needs a limit: set max, maxRatioToStable or maxIncreaseOverStable, for throughput,"
    " prometheus and web min or max"
)
MIN = (
    "min belongs to throughput, mean-batch-size and concurrency, and to other sources: set max,"
    " maxRatioToStable or maxIncreaseOverStable for a share"
)
PLAIN = (
    "mean-batch-size and concurrency are no shares: they take max, min and maxRatioToStable, without"
    " maxIncreaseOverStable and confidence"
)
MAX_FITS = (
    'max is a percentage such as 1% for a share, and a number in quotes such as "5" for mean-batch-size,'
    " concurrency and other sources: write that"
)
EXCLUDES = "analysis.excludePaths must not have /, below which everything is: name the paths that don't count"
NO_SHARE = (
    "throughput is no share: it takes min alone, without max, maxRatioToStable, maxIncreaseOverStable and"
    " confidence"
)
NO_DATA = (
    "onNoData belongs to shares and prometheus: without requests a throughput is simply 0, and a web answer"
    " without a number is an error, so remove it"
)
ONE_SOURCE = "a check takes exactly one of metric, prometheus, web and job: write one check for each"
CHECK_NAME = (
    "a check of prometheus, web or job needs a name that is no metric's, and one of a metric has none: add,"
    " change or remove name"
)
SHARES_ALONE = (
    "maxRatioToStable, maxIncreaseOverStable and confidence belong to metrics: for another source set max"
    " or min, and compare with stable in the query"
)
INTERVAL = (
    "interval belongs to prometheus and web: metrics are looked at by analysis.interval, and a job runs once"
    " in each step"
)
NO_LIMIT = "a job's exit status is its verdict: remove max and min"
JOB_ENV = "env of a job takes either value or secret: remove one of the two"
NAMES_DIFFER = "analysis.checks must have different names: rename one"
WORDS = (
    "; what stands in {{ }} must be one of canary.revision, canary.service, stable.revision, model.name,"
    " model.namespace and"
    " args.NAME, without spaces"
)
BAD_WORD = "must be a text" + WORDS
BAD_DEADLINE = "must be a duration of at least 1s, such as 10m"
BAD_QUERY = "must be a query in PromQL" + WORDS
BAD_ADDRESS = "must be an address such as http://prometheus.monitoring.svc:9090, without query" + WORDS
BAD_URL = "must be a URL such as https://judge.shop.svc/score, without password and fragment" + WORDS
BAD_BODY = "must be a body to send" + WORDS
BAD_JSON_PATH = (
    "must be a path to one value, such as $.data.accuracy or $['results'][0]: names and positions, no"
    " wildcard, filter, slice or `..`"
)
BAD_HEADER = (
    "must be the name of a header, and none of host, content-length, transfer-encoding, connection, expect,"
    " upgrade"
)
BAD_LINE = "must be one line of printable ASCII"
ONE_VALUE = "a header takes either value or secret: remove one of the two"
ONE_TRUST = "tls takes either caSecret or insecureSkipVerify: remove one of the two"
ONE_AUTHORIZATION = "a call takes either bearer or basic: remove one of the two"
BODY = "body belongs to method: POST: add it, or remove body"
BAD_KEY = "must be a key of a Secret: letters, digits, dashes, dots and underscores"
BAD_TIMEOUT = "must be a duration from 100ms to 60s, such as 5s"
BAD_NUMBER = 'must be a number in quotes, such as "5" or "0.05"'
DECIDES = (
    "one of analysis.checks must decide by a share or another source: remove dryRun from one,"
    " or add {metric: error-rate, max: 1%}"
)
BAD_CONFIDENCE = "must be a percentage from 50% to 99.999%, such as 95%"
OVER = "over belongs to slow-requests, which needs it: add it there, remove it from any other metric"
SHEDS = "excludeSheds belongs to error-rate: remove it from any other metric"
RUNTIME = "bento.service is needed with runtime: name the class of the bento's entry service"
BOUND = (
    "bento.service is needed with a check `over` a bound that is not one of BentoML's own (5ms, 10ms, 25ms,"
    " 50ms, 100ms, 250ms, 500ms, 1s, 2500ms, 5s, 10s, 30s, 60s, 120s, 180s): name the class of the bento's"
    " entry service, or take one of these"
)


def bad_calls(source: str) -> Iterator[Refused]:
    """Yield what is wrong with a call, whoever makes it."""
    call = {"prometheus": prometheus, "web": web, "gate": gate}[source]
    field = GATE if source == "gate" else f"{CHECK}.{source}"
    yield Refused(
        f"{source}: a header of ours",
        call(headers=[{"name": "HOST", "value": "x"}]),
        f"{field}.headers[0].name",
        BAD_HEADER,
    )
    two_lines = [{"name": "X", "value": "a\nb"}]
    yield Refused(f"{source}: two lines", call(headers=two_lines), f"{field}.headers[0].value", BAD_LINE)
    yield Refused(
        f"{source}: a header without value", call(headers=[{"name": "X"}]), f"{field}.headers[0]", ONE_VALUE
    )
    both = {"caSecret": SECRET, "insecureSkipVerify": True}
    yield Refused(f"{source}: two trusts", call(tls=both), f"{field}.tls", ONE_TRUST)
    basic = {"username": SECRET, "password": SECRET}
    yield Refused(f"{source}: two logins", call(bearer=SECRET, basic=basic), field, ONE_AUTHORIZATION)
    yield Refused(f"{source}: no patience", call(timeout="99ms"), f"{field}.timeout", BAD_TIMEOUT)
    yield Refused(f"{source}: all the time", call(timeout="61s"), f"{field}.timeout", BAD_TIMEOUT)
    for part, value, sentence in (("name", "A_b", BAD_SUBDOMAIN), ("key", "a/b", BAD_KEY)):
        bad = SECRET | {part: value}
        places: dict[str, Json] = {
            "bearer": {"bearer": bad},
            "basic.username": {"basic": {"username": bad, "password": SECRET}},
            "basic.password": {"basic": {"username": SECRET, "password": bad}},
            "headers[0].secret": {"headers": [{"name": "X", "secret": bad}]},
            "tls.caSecret": {"tls": {"caSecret": bad}},
        }
        for place, fields in places.items():
            yield Refused(
                f"{source}: {place} of a bad {part}", call(**fields), f"{field}.{place}.{part}", sentence
            )


GATE = "spec.rollout.gates[0]"
GATE_URL = "must be a URL such as https://change.shop.svc/approve, without password and fragment"
CHECK, STEP = "spec.analysis.checks[0]", "spec.rollout.canary.steps"
METRICS, METRIC, PATH = "spec.autoscaling.metrics", "spec.autoscaling.metrics[0]", "spec.traffic.path"
RESOURCES_REFUSED = [
    Refused(
        "a quantity with a wrong unit",
        {"resources": {"requests": {"memory": "512MB"}}},
        "spec.resources.requests[memory]",
        "must be a quantity such as 500m, 2 or 1Gi",
    ),
    Refused(
        "a limit without a number",
        {"resources": {"limits": {"memory": "Gi"}}},
        "spec.resources.limits[memory]",
        "must be a quantity such as 500m, 2 or 1Gi",
    ),
    Refused(
        "a negative quantity",
        {"resources": {"requests": {"cpu": -1}}},
        "spec.resources.requests[cpu]",
        "must be a quantity such as 500m, 2 or 1Gi",
    ),
    Refused(
        "a request above its limit",
        {"resources": {"requests": {"cpu": "1500m"}, "limits": {"cpu": 1}}},
        "spec.resources",
        "resources.requests must not be above resources.limits: lower the request or raise the limit",
    ),
    *(
        Refused(
            f"no resource: {name}", {"resources": {part: {name: "1"}}}, f"spec.resources.{part}", RESOURCES
        )
        for part in ("requests", "limits")
        for name in ("gpu", "nvidia.com/")
    ),
]
REFUSED = [
    Refused("no tag", image("registry.example.com/iris"), "spec.bento.image", BAD_IMAGE),
    Refused(
        "a tracked object of two kinds",
        {"bento": {"image": IMAGE, "trackedConfig": [{"configMap": "flags", "secret": "key-v1"}]}},
        "spec.bento.trackedConfig[0]",
        "an item of bento.trackedConfig is either configMap or secret: write one item for each object",
    ),
    Refused(
        "a tracked object of no kind",
        {"bento": {"image": IMAGE, "trackedConfig": [{}]}},
        "spec.bento.trackedConfig[0]",
        "an item of bento.trackedConfig is either configMap or secret: write one item for each object",
    ),
    Refused(
        "a ConfigMap that is tracked twice",
        {"bento": {"image": IMAGE, "trackedConfig": [{"configMap": "flags"}, {"configMap": "flags"}]}},
        "spec.bento.trackedConfig",
        "bento.trackedConfig must not name an object twice: remove one of the two",
    ),
    Refused(
        "a tracked ConfigMap with no possible name",
        {"bento": {"image": IMAGE, "trackedConfig": [{"configMap": "flags_v1"}]}},
        "spec.bento.trackedConfig[0].configMap",
        "must be a name of lower-case letters, digits, dashes and dots, such as my-model.v2",
    ),
    Refused(
        "a tracked Secret with no possible name",
        {"bento": {"image": IMAGE, "trackedConfig": [{"secret": "API_KEY"}]}},
        "spec.bento.trackedConfig[0].secret",
        "must be a name of lower-case letters, digits, dashes and dots, such as my-model.v2",
    ),
    Refused(
        "a cron of four fields",
        {"rollout": {"freeze": [{"cron": "0 18 * *", "duration": "60h"}]}},
        "spec.rollout.freeze[0].cron",
        "must be a cron schedule of five fields, such as 0 18 * * 5",
    ),
    Refused(
        "a priority beyond its bounds",
        {"rollout": {"priority": 1001}},
        "spec.rollout.priority",
        "spec.rollout.priority in body should be less than or equal to 1000",
    ),
    Refused(
        "a freeze of no length",
        {"rollout": {"freeze": [{"cron": "0 18 * * 5", "duration": "0s"}]}},
        "spec.rollout.freeze[0].duration",
        NOT_POSITIVE,
    ),
    Refused(
        "an offset in the place of a time zone",
        {"rollout": {"freeze": [{"cron": "0 18 * * 5", "duration": "60h", "timeZone": "+02:00"}]}},
        "spec.rollout.freeze[0].timeZone",
        "must be an IANA time zone, such as Europe/Berlin",
    ),
    Refused("a port is no tag", image("localhost:5000/iris"), "spec.bento.image", BAD_IMAGE),
    Refused("latest", image("registry.example.com/iris:latest"), "spec.bento.image", BAD_IMAGE),
    Refused("an upper-case repository", image("Iris:1"), "spec.bento.image", BAD_IMAGE),
    Refused("a short digest", image("iris@sha256:0a"), "spec.bento.image", BAD_IMAGE),
    Refused("a blank in the image", image("iris :1"), "spec.bento.image", BAD_IMAGE),
    Refused("a scheme", image("https://registry.example.com/iris:1"), "spec.bento.image", BAD_IMAGE),
    Refused(
        "a bento's tag as a service",
        {"bento": {"image": IMAGE, "service": "iris:latest"}},
        "spec.bento.service",
        "service must be the name of a Python class, such as Iris",
    ),
    Refused("runtime without service", {"runtime": {"workers": 1}}, "spec.bento.service", RUNTIME),
    Refused("a time-out of zero", runtime(timeout="0s"), "spec.runtime.timeout", NOT_POSITIVE),
    Refused("a time-out without unit", runtime(timeout="60"), "spec.runtime.timeout", NOT_POSITIVE),
    Refused(
        "overrides that are no object",
        runtime(overrides="{}"),
        "spec.runtime.overrides",
        'spec.runtime.overrides in body must be of type object: "string"',
    ),
    *RESOURCES_REFUSED,
    *(
        Refused(f"a key of {field}", {"podTemplate": {field: {key: "x"}}}, f"spec.podTemplate.{field}", KEYS)
        for field in ("labels", "annotations", "nodeSelector")
        for key in ("a b", "a/b/c", "", "-a")
    ),
    *(
        Refused(
            f"a value of {field}", {"podTemplate": {field: {"a": "b c"}}}, f"spec.podTemplate.{field}", VALUES
        )
        for field in ("labels", "nodeSelector")
    ),
    Refused("our configuration", env({"name": "BENTOML_CONFIG_OVERRIDES"}), "spec.env[0].name", CONFIG_ENV),
    Refused("old configuration", env({"name": "BENTOML_CONFIG_OPTIONS"}), "spec.env[0].name", CONFIG_ENV),
    Refused("BENTOML_HOME", env({"name": "BENTOML_HOME"}), "spec.env[0].name", RESERVED_ENV),
    Refused("BENTOML_HOST", env({"name": "BENTOML_HOST"}), "spec.env[0].name", RESERVED_ENV),
    Refused("BENTOML_PORT", env({"name": "BENTOML_PORT"}), "spec.env[0].name", RESERVED_ENV),
    Refused("PORT", env({"name": "A"}, {"name": "PORT"}), "spec.env[1].name", RESERVED_ENV),
    Refused(
        "a blank in a variable's name",
        env({"name": "A B"}),
        "spec.env[0].name",
        "must be the name of an environment variable, such as MODEL_CACHE",
    ),
    Refused(
        "a variable with two sources",
        env({"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}),
        "spec.env[0]",
        "env takes either value or valueFrom: remove one of the two",
    ),
    Refused(
        "a variable twice",
        env({"name": "A", "value": "b"}, {"name": "A", "value": "c"}),
        "spec.env[1]",
        'Duplicate value: {"name":"A"}',
    ),
    Refused(
        "an upper-case ServiceAccount",
        {"serviceAccountName": "Iris"},
        "spec.serviceAccountName",
        BAD_SUBDOMAIN,
    ),
    Refused(
        "a pull secret with a slash",
        {"imagePullSecrets": [{"name": "ns/registry"}]},
        "spec.imagePullSecrets[0].name",
        BAD_SUBDOMAIN,
    ),
    Refused(
        "a priority in words",
        pod(priorityClassName="very high"),
        "spec.podTemplate.priorityClassName",
        BAD_SUBDOMAIN,
    ),
    Refused(
        "a runtime class with an underscore",
        pod(runtimeClassName="kata_qemu"),
        "spec.podTemplate.runtimeClassName",
        BAD_SUBDOMAIN,
    ),
    Refused("our own label", pod(labels={"ekiben.dev/x": "y"}), "spec.podTemplate.labels", BAD_LABEL),
    Refused(
        "a label we select by",
        pod(labels={"app.kubernetes.io/name": "y"}),
        "spec.podTemplate.labels",
        BAD_LABEL,
    ),
    Refused(
        "a label we own",
        pod(labels={"a": "b", "app.kubernetes.io/managed-by": "helm"}),
        "spec.podTemplate.labels",
        BAD_LABEL,
    ),
    Refused(
        "a sidecar named bento",
        pod(sidecars=[{"name": "bento"}]),
        "spec.podTemplate.sidecars[0].name",
        BAD_CONTAINER,
    ),
    Refused(
        "an init container named bento",
        pod(initContainers=[{"name": "bento"}]),
        "spec.podTemplate.initContainers[0].name",
        BAD_CONTAINER,
    ),
    Refused(
        "a sidecar's name in upper case",
        pod(sidecars=[{"name": "Log"}]),
        "spec.podTemplate.sidecars[0].name",
        BAD_NAME,
    ),
    Refused(
        "an init container's name with an underscore",
        pod(initContainers=[{"name": "fetch_model"}]),
        "spec.podTemplate.initContainers[0].name",
        BAD_NAME,
    ),
    Refused(
        "two sidecars of one name",
        pod(sidecars=[{"name": "log"}, {"name": "log"}]),
        "spec.podTemplate.sidecars[1]",
        'Duplicate value: {"name":"log"}',
    ),
    Refused(
        "a sidecar named as an init container",
        pod(sidecars=[{"name": "log"}], initContainers=[{"name": "log"}]),
        "spec.podTemplate.sidecars",
        "podTemplate.sidecars and initContainers must not share a name: rename one of the two",
    ),
    Refused(
        "a volume's name in upper case",
        pod(volumes=[{"name": "Data", "emptyDir": {}}]),
        "spec.podTemplate.volumes[0].name",
        BAD_NAME,
    ),
    Refused(
        "a volume named tmp",
        pod(volumes=[{"name": "tmp", "emptyDir": {}}]),
        "spec.podTemplate.volumes[0].name",
        "volumes must not be named tmp, as Ekiben's own is: choose another name",
    ),
    Refused(
        "a mount without its volume",
        pod(volumeMounts=[{"name": "data", "mountPath": "/data"}]),
        "spec.podTemplate.volumeMounts",
        "podTemplate.volumeMounts must each name a volume of podTemplate.volumes: add the volume",
    ),
    Refused("a mount at /tmp", mounted("/tmp"), "spec.podTemplate.volumeMounts[0].mountPath", TMP_MOUNT),
    Refused(
        "a mount below /tmp", mounted("/tmp/cache"), "spec.podTemplate.volumeMounts[0].mountPath", TMP_MOUNT
    ),
    Refused(
        "a roundabout mount", mounted("/x/../tmp"), "spec.podTemplate.volumeMounts[0].mountPath", BAD_MOUNT
    ),
    Refused("a relative mount", mounted("tmp"), "spec.podTemplate.volumeMounts[0].mountPath", BAD_MOUNT),
    Refused("a mount at /", mounted("/"), "spec.podTemplate.volumeMounts[0].mountPath", BAD_MOUNT),
    Refused(
        "more at least than at most",
        scaling(minReplicas=5),
        "spec.autoscaling.minReplicas",
        "autoscaling.minReplicas must not be above maxReplicas: lower it or raise maxReplicas",
    ),
    Refused(
        "nobody knows how many pods at most",
        {"autoscaling": {"minReplicas": 2}},
        "spec.autoscaling",
        "autoscaling.maxReplicas is needed: write the most pods that a revision may have",
    ),
    Refused(
        "KEDA's metrics and the adapter's together",
        scaling(by_query(), {"concurrency": "8"}),
        METRICS,
        "autoscaling.metrics: prometheus, schedule and trigger need KEDA, which can't read concurrency,"
        " requestsPerSecond and latency: leave one kind out, or ask a Prometheus for the requests too",
    ),
    Refused(
        "the adapter's metric for KEDA",
        scaling({"requestsPerSecond": "8"}, engine="keda"),
        METRICS,
        "autoscaling.engine keda can't read concurrency, requestsPerSecond and latency: write engine: hpa,"
        " or ask a Prometheus for the requests",
    ),
    Refused(
        "a latency for KEDA",
        scaling({"cpu": "70%"}, {"latency": {"p95": "500ms"}}, engine="keda"),
        METRICS,
        "autoscaling.engine keda can't read concurrency, requestsPerSecond and latency: write engine: hpa,"
        " or ask a Prometheus for the requests",
    ),
    Refused(
        "a latency beside a query",
        scaling(by_query(), {"latency": {"p95": "500ms"}}),
        METRICS,
        "autoscaling.metrics: prometheus, schedule and trigger need KEDA, which can't read concurrency,"
        " requestsPerSecond and latency: leave one kind out, or ask a Prometheus for the requests too",
    ),
    Refused(
        "nothing that takes pods away",
        scaling({"latency": {"p95": "500ms"}}, {"latency": {"p99": "1s"}}),
        METRICS,
        "autoscaling.metrics: latency only adds pods, so another metric must say when they may go: write one"
        " beside it, such as concurrency",
    ),
    Refused(
        "two quantiles in one", guarded({"p95": "500ms", "p99": "1s"}), f"{METRICS}[1].latency", QUANTILE
    ),
    Refused("no quantile", guarded({}), f"{METRICS}[1].latency", QUANTILE),
    *(
        Refused(
            f"a {quantile} that nothing can measure",
            guarded({quantile: "5ms"}),
            f"{METRICS}[1].latency.{quantile}",
            "must be a duration of at least 10ms, such as 500ms",
        )
        for quantile in ("p50", "p95", "p99")
    ),
    Refused(
        "a latency that is no bucket of the bento's own",
        guarded({"p95": "300ms"}),
        "spec.bento.service",
        "bento.service is needed with autoscaling by a latency that is not one of BentoML's own bounds (5ms,"
        " 10ms, 25ms, 50ms, 100ms, 250ms, 500ms, 1s, 2500ms, 5s, 10s, 30s, 60s, 120s, 180s): name the class"
        " of the bento's entry service, or take one of these",
    ),
    Refused(
        "KEDA's metric for an HPA",
        scaling(by_hours(), engine="hpa"),
        METRICS,
        "autoscaling.engine hpa can't read prometheus, schedule and trigger: write engine: keda, or remove"
        " them",
    ),
    Refused(
        "a trigger for an HPA",
        scaling(by_trigger(), engine="hpa"),
        METRICS,
        "autoscaling.engine hpa can't read prometheus, schedule and trigger: write engine: keda, or remove"
        " them",
    ),
    Refused("a query and a trigger in one", scaling(by_query() | by_trigger()), METRIC, BAD_METRIC),
    *(
        Refused(
            f"a trigger of type {type_}, which has a field of its own",
            scaling(by_trigger(type=type_)),
            f"{METRIC}.trigger.type",
            "autoscaling.metrics: a trigger is for what has no field of its own: write cpu, memory,"
            " prometheus, or for cron schedule instead",
        )
        for type_ in ("cpu", "memory", "prometheus", "cron")
    ),
    Refused(
        "a trigger of a type that is no name",
        scaling(by_trigger(type="Rabbit MQ")),
        f"{METRIC}.trigger.type",
        "must be the type of one of KEDA's triggers, such as rabbitmq or aws-sqs-queue",
    ),
    Refused(
        "a trigger with a word that nobody knows",
        scaling(by_trigger(metadata={"queueName": "{{canary.revision}}"})),
        f"{METRIC}.trigger.metadata[queueName]",
        "must hold in {{ }} only one of revision, model.name, model.namespace, without spaces",
    ),
    Refused(
        "a trigger with a key that is none",
        scaling(by_trigger(metadata={"queue name": "jobs"})),
        f"{METRIC}.trigger.metadata",
        "must have keys as KEDA's trigger has them, such as queueName",
    ),
    Refused(
        "a trigger without metadata",
        scaling({"trigger": {"type": "rabbitmq"}}),
        f"{METRIC}.trigger.metadata",
        "Required value",
    ),
    Refused(
        "a number where KEDA wants text",
        scaling(by_trigger(metadata={"value": 10})),
        f"{METRIC}.trigger.metadata.value",
        f'{METRIC}.trigger.metadata.value in body must be of type string: "integer"',
    ),
    Refused(
        "a trigger with an authentication by no name",
        scaling(by_trigger(authenticationRef={"name": "Rabbit MQ"})),
        f"{METRIC}.trigger.authenticationRef.name",
        BAD_SUBDOMAIN,
    ),
    Refused(
        "a trigger by utilization",
        scaling(by_trigger(metricType="Utilization")),
        f"{METRIC}.trigger.metricType",
        'Unsupported value: "Utilization": supported values: "AverageValue", "Value"',
    ),
    Refused(
        "a name for what KEDA can't compute with",
        scaling({"cpu": "70%", "name": "work"}),
        f"{METRIC}.name",
        "autoscaling.metrics: name is what formula calls a prometheus, schedule or trigger, and KEDA computes"
        " with nothing else: leave it out",
    ),
    Refused(
        "a name that no formula can hold",
        scaling(by_trigger() | {"name": "my-queue"}),
        f"{METRIC}.name",
        "must be a name for the formula, of letters, digits and underscores, such as queue",
    ),
    Refused(
        "a name twice",
        scaling(by_trigger() | {"name": "work"}, by_query() | {"name": "work"}),
        METRICS,
        "autoscaling.metrics must not have a name twice: write another",
    ),
    Refused(
        "a formula for an HPA",
        by_formula("queue + work", engine="hpa"),
        METRICS,
        "autoscaling.engine hpa can't read prometheus, schedule and trigger: write engine: keda, or remove"
        " them",
    ),
    *(
        Refused(f"a formula {why}", spec, "spec.autoscaling.formula", FORMULA_OF_ALL)
        for why, spec in (
            ("without metrics", scaling(formula={"expression": "queue", "target": "10"}, engine="keda")),
            ("that leaves one out", by_formula("queue * 2")),
            ("that has one within another word only", by_formula("queue * network + work_2 * 2work")),
            ("beside CPU, which KEDA would drop", by_formula("queue + work", {"cpu": "70%"})),
            ("over one without a name", by_formula("queue + work", by_hours())),
            ("of nothing", by_formula("  ")),
        )
    ),
    *(
        Refused(
            f"a formula {why}",
            by_formula(expression),
            "spec.autoscaling.formula.expression",
            "must be made of numbers, names, operators, brackets, and of functions abs, ceil, float, floor,"
            " int, max, mean, median, min and round alone, without text and comments",
        )
        for why, expression in (
            ("that loops", "count([queue, work], # > 1)"),
            ("that loops behind a pipe", "[queue, work] | sum (work)"),
            ("that loops behind a comment", "queue + work + count/**/([1], true)"),
            ("with text", 'queue + work + float("1")'),
            ("with a variable", "let a = queue; a + work"),
        )
    ),
    *(
        Refused(
            f"a formula's target of {target}",
            by_formula("queue + work", target=target),
            "spec.autoscaling.formula.target",
            'must be a whole number above zero, in quotes, such as "10", for KEDA falls back by no other:'
            " multiply in the expression instead",
        )
        for target in ("0", "0.5", "10m")
    ),
    Refused(
        "a window with more pods than there may be",
        scaling(by_hours(replicas=5)),
        METRICS,
        "autoscaling.metrics: a schedule must not ask for more replicas than maxReplicas: lower it or raise"
        " maxReplicas",
    ),
    Refused(
        "more pods in an outage than there may be",
        scaling(by_query(), fallbackReplicas=5),
        "spec.autoscaling.fallbackReplicas",
        "autoscaling.fallbackReplicas must not be above maxReplicas: lower it or raise maxReplicas",
    ),
    Refused(
        "a token and a password",
        scaling(by_query(bearer=SECRET, basic={"username": SECRET, "password": SECRET})),
        f"{METRIC}.prometheus",
        "autoscaling.metrics: prometheus takes one of bearer and basic: remove the other",
    ),
    Refused(
        "a query with a word that nobody knows",
        scaling(by_query(query='up{r="{{canary.revision}}"}')),
        f"{METRIC}.prometheus.query",
        "must be a query in PromQL; what stands in {{ }} must be one of revision, model.name,"
        " model.namespace, without spaces",
    ),
    Refused(
        "an address with a query",
        scaling(by_query(address="http://prometheus:9090/?a=b")),
        f"{METRIC}.prometheus.address",
        "must be an address such as http://prometheus.monitoring.svc:9090, without query",
    ),
    Refused(
        "a threshold of nothing",
        scaling(by_query(threshold="0.0")),
        f"{METRIC}.prometheus.threshold",
        BAD_PER_POD,
    ),
    Refused(
        "a window without an end",
        scaling(by_hours(end="0 8 * * 1-5")),
        f"{METRIC}.schedule.end",
        "autoscaling.metrics: a schedule must end at another time than it starts: write its end",
    ),
    *(
        Refused(
            f"a window that begins at {start}",
            scaling(by_hours(start=start)),
            f"{METRIC}.schedule.start",
            BAD_CRON,
        )
        for start in ("0 8 * *", "0 8 L * *", "0 8 * * 7", "@daily")
    ),
    Refused("a window that never ends", scaling(by_hours(end="@daily")), f"{METRIC}.schedule.end", BAD_CRON),
    *(
        Refused(f"a {part} by {wrong}", scaling(by_query(**fields)), f"{METRIC}.prometheus.{path}", sentence)
        for wrong, secret, last, sentence in (
            ("a Secret with no name", {"name": "Judge", "key": "token"}, "name", BAD_SUBDOMAIN),
            ("no key of a Secret", {"name": "judge", "key": "to ken"}, "key", BAD_KEY),
        )
        for part, fields, path in (
            ("token", {"bearer": secret}, f"bearer.{last}"),
            ("user", {"basic": {"username": secret, "password": SECRET}}, f"basic.username.{last}"),
            ("password", {"basic": {"username": SECRET, "password": secret}}, f"basic.password.{last}"),
        )
    ),
    Refused(
        "a window by no clock",
        scaling(by_hours(timeZone="+01:00")),
        f"{METRIC}.schedule.timeZone",
        "must be an IANA time zone, such as Europe/Berlin",
    ),
    Refused(
        "fewer replicas than none",
        scaling(minReplicas=-1),
        "spec.autoscaling.minReplicas",
        "spec.autoscaling.minReplicas in body should be greater than or equal to 0",
    ),
    *(
        Refused(
            f"no replica, and engine {engine}",
            scaling(minReplicas=0, engine=engine),
            "spec.autoscaling.minReplicas",
            "autoscaling.minReplicas: 0 does not go with engine external or none, which leave the number of"
            " pods to others or to replicas: write another engine, or minReplicas: 1",
        )
        for engine in ("external", "none")
    ),
    *(
        Refused(
            f"scaling that is canaried, and engine {engine}",
            scaling(canary=True, engine=engine),
            "spec.autoscaling.canary",
            "autoscaling.canary does not go with engine external or none, where no revision has an autoscaler"
            " that could be judged: write another engine, or leave canary out",
        )
        for engine in ("external", "none")
    ),
    Refused(
        "a time to idle with a pod that stays",
        scaling(minReplicas=1, idleAfter="5m"),
        "spec.autoscaling",
        NEEDS_ZERO,
    ),
    Refused(
        "held requests with pods that stay",
        scaling(activation={"maxHeld": 10}),
        "spec.autoscaling",
        NEEDS_ZERO,
    ),
    Refused(
        "idle at once",
        scaling(minReplicas=0, idleAfter="1s"),
        "spec.autoscaling.idleAfter",
        "must be a duration of at least 10s, such as 10m",
    ),
    Refused(
        "held for an hour",
        scaling(minReplicas=0, activation={"wakeTimeout": "1h"}),
        "spec.autoscaling.activation.wakeTimeout",
        "must be a duration from 1s to 10m, such as 90s",
    ),
    Refused(
        "nothing held",
        scaling(minReplicas=0, activation={"maxHeld": 0}),
        "spec.autoscaling.activation.maxHeld",
        "spec.autoscaling.activation.maxHeld in body should be greater than or equal to 1",
    ),
    Refused("two targets in one metric", scaling({"cpu": "70%", "memory": "80%"}), METRIC, BAD_METRIC),
    Refused("an empty metric", scaling({}), METRIC, BAD_METRIC),
    Refused(
        "two targets per pod in one metric",
        scaling({"concurrency": "8", "requestsPerSecond": "50"}),
        METRIC,
        BAD_METRIC,
    ),
    Refused("no request in flight", scaling({"concurrency": "0"}), f"{METRIC}.concurrency", BAD_PER_POD),
    Refused(
        "requests by the minute",
        scaling({"requestsPerSecond": "60/min"}),
        f"{METRIC}.requestsPerSecond",
        BAD_PER_POD,
    ),
    Refused("zero percent of cpu", scaling({"cpu": "0%"}), f"{METRIC}.cpu", BAD_CPU),
    Refused("no cpu at all", scaling({"cpu": "0m"}), f"{METRIC}.cpu", BAD_CPU),
    Refused("cpu in bytes", scaling({"cpu": "500Mi"}), f"{METRIC}.cpu", BAD_CPU),
    Refused("memory in thousandths of a byte", scaling({"memory": "700m"}), f"{METRIC}.memory", BAD_MEMORY),
    Refused("a fraction of a percent", scaling({"memory": "0.5%"}), f"{METRIC}.memory", BAD_MEMORY),
    Refused(
        "no replicas",
        {"replicas": 0},
        "spec.replicas",
        "spec.replicas in body should be greater than or equal to 1",
    ),
    Refused(
        "a Gateway twice", parents({"name": "a"}, {"name": "a"}), "spec.traffic.parentRefs", SAME_GATEWAY
    ),
    Refused(
        "a Gateway, and one of its listeners",
        parents({"name": "a", "namespace": "n"}, {"name": "a", "namespace": "n", "sectionName": "http"}),
        "spec.traffic.parentRefs",
        SAME_GATEWAY,
    ),
    Refused(
        "a Gateway with its namespace in its name",
        parents({"name": "infra/models"}),
        "spec.traffic.parentRefs[0].name",
        BAD_SUBDOMAIN,
    ),
    Refused(
        "a listener by its number",
        parents({"name": "models", "sectionName": ":80"}),
        "spec.traffic.parentRefs[0].sectionName",
        BAD_SUBDOMAIN,
    ),
    Refused(
        "no Gateway",
        parents(),
        "spec.traffic.parentRefs",
        "spec.traffic.parentRefs in body should have at least 1 items",
    ),
    Refused(
        "a namespace with a dot",
        parents({"name": "a", "namespace": "x.y"}),
        "spec.traffic.parentRefs[0].namespace",
        BAD_NAME,
    ),
    Refused("a host with a scheme", traffic(hostnames=["http://a.b"]), "spec.traffic.hostnames[0]", BAD_HOST),
    Refused("a host with a port", traffic(hostnames=["a.b:80"]), "spec.traffic.hostnames[0]", BAD_HOST),
    Refused("an address for a host", traffic(hostnames=["10.0.0.1"]), "spec.traffic.hostnames[0]", BAD_HOST),
    Refused("a star inside a host", traffic(hostnames=["a.*.b"]), "spec.traffic.hostnames[0]", BAD_HOST),
    Refused(
        "a host twice",
        traffic(hostnames=["a.b", "a.b"]),
        "spec.traffic.hostnames[1]",
        'Duplicate value: "a.b"',
    ),
    Refused("a relative prefix", traffic(path={"prefix": "iris"}), f"{PATH}.prefix", BAD_PATH),
    Refused("an empty segment", traffic(path={"prefix": "/a//b"}), f"{PATH}.prefix", BAD_PATH),
    Refused("a way up", traffic(path={"prefix": "/a/../b"}), f"{PATH}.prefix", BAD_PATH),
    Refused("a hidden slash", traffic(path={"prefix": "/a%2fb"}), f"{PATH}.prefix", BAD_PATH),
    Refused("a query", traffic(path={"prefix": "/a?b"}), f"{PATH}.prefix", BAD_PATH),
    Refused("a relative rewrite", traffic(path={"rewrite": "x"}), f"{PATH}.rewrite", BAD_PATH),
    Refused("falling weights", steps({"weight": 50}, {"weight": 20}), STEP, NOT_RISING),
    Refused("a weight twice", steps({"weight": 20}, {"pause": {}}, {"weight": 20}), STEP, NOT_RISING),
    Refused("a step of two kinds", steps({"weight": 5, "pause": {}}), f"{STEP}[0]", BAD_STEP),
    Refused("a step of no kind", steps({"weight": 5}, {"hold": "1m"}), f"{STEP}[1]", BAD_STEP),
    Refused(
        "a pause with a hold",
        steps({"pause": {}, "hold": "1m"}),
        f"{STEP}[0].hold",
        "hold belongs to a step with weight: remove it, a pause lasts until rollout.resume, and an analysis"
        " has a hold of its own",
    ),
    Refused("an analysis with a weight", steps({"weight": 5, "analysis": {}}), f"{STEP}[0]", BAD_STEP),
    Refused(
        "an analysis with an endless wait",
        steps({"analysis": {"maxWait": "for ever"}}),
        f"{STEP}[0].analysis.maxWait",
        BAD_DURATION,
    ),
    Refused(
        "an analysis held in words",
        steps({"analysis": {"hold": "1 min"}}),
        f"{STEP}[0].analysis.hold",
        BAD_DURATION,
    ),
    Refused(
        "a delay in words",
        blue_green(autoPromotionDelay="soon"),
        f"{BLUE_GREEN}.autoPromotionDelay",
        BAD_DURATION,
    ),
    Refused(
        "a check that BlueGreen can never judge",
        blue_green() | check("error-rate", maxRatioToStable="1.5"),
        "spec.analysis.checks",
        "with strategy BlueGreen the two versions never serve at the same time: give each of analysis.checks"
        " a max or min, for analysis.bake, or compare with stable by strategy Canary",
    ),
    Refused(
        "a bake with Recreate",
        rollout(strategy="Recreate") | analysis(bake="10m"),
        "spec.analysis.bake",
        "analysis.bake needs the old version's pods, which strategy Recreate takes away: remove it, or write"
        " strategy: BlueGreen",
    ),
    Refused("a bake in words", analysis(bake="a while"), "spec.analysis.bake", BAD_DURATION),
    Refused(
        "a block for BlueGreen with Canary",
        rollout(blueGreen={"autoPromotion": False}),
        "spec.rollout.blueGreen",
        "rollout.blueGreen belongs to strategy BlueGreen: remove it, or write strategy: BlueGreen",
    ),
    Refused(
        "a preview without a Gateway",
        blue_green(previewHostnames=["preview.example.com"]),
        f"{BLUE_GREEN}.previewHostnames",
        "rollout.blueGreen.previewHostnames need a Gateway: add traffic.parentRefs, or remove them; inside"
        " the cluster the new revision answers as Service NAME-canary",
    ),
    Refused(
        "a preview where stable answers",
        traffic(hostnames=["a.example.com"])
        | blue_green(previewHostnames=["b.example.com", "a.example.com"]),
        f"{BLUE_GREEN}.previewHostnames",
        "rollout.blueGreen.previewHostnames must not repeat traffic.hostnames, where stable answers:"
        " choose others",
    ),
    Refused(
        "a preview that is no host",
        traffic() | blue_green(previewHostnames=["https://b.example.com"]),
        f"{BLUE_GREEN}.previewHostnames[0]",
        BAD_HOST,
    ),
    Refused(
        "steps with BlueGreen",
        {"rollout": {"strategy": "BlueGreen", "canary": {"steps": [{"weight": 5}]}}},
        "spec.rollout.canary.steps",
        "rollout.canary.steps belong to strategy Canary: remove them, or write strategy: Canary",
    ),
    Refused(
        "BlueGreen without room",
        {"rollout": {"strategy": "BlueGreen", "maxSurge": "50%"}},
        "spec.rollout.maxSurge",
        "strategy BlueGreen runs two revisions of the same size: remove rollout.maxSurge, or write 100%",
    ),
    Refused(
        "a step by headers that holds",
        traffic() | steps(by_header(("x-canary", "always")) | {"hold": "1m"}),
        f"{STEP}[0].hold",
        "hold belongs to a step with weight: remove it, a pause lasts until rollout.resume, and an analysis"
        " has a hold of its own",
    ),
    Refused(
        "a step by headers without a Gateway", steps(by_header(("x-canary", "always"))), STEP, NEEDS_TRAFFIC
    ),
    Refused("pods apart from the weight without a Gateway", steps({"replicas": 2}), STEP, NEEDS_TRAFFIC),
    Refused(
        "a header twice in one step",
        traffic() | steps(by_header(("X-Canary", "a"), ("x-canary", "b"))),
        f"{STEP}[0].headers",
        "headers of one step must differ in their names, in which case does not matter: remove one,"
        " or write a step for each value",
    ),
    Refused(
        "more steps by headers than rules fit",
        traffic() | steps(*(by_header(("x-canary", f"v{n}")) for n in range(9))),
        STEP,
        "rollout.canary.steps may have at most 8 steps with headers, each of which is a rule of the"
        " HTTPRoute: remove some",
    ),
    Refused(
        "a header's name with a colon",
        traffic() | steps(by_header(("x-canary:", "always"))),
        f"{STEP}[0].headers[0].name",
        "must be a header's name such as x-canary",
    ),
    Refused(
        "a header's value with a backtick",
        traffic() | steps(by_header(("x-canary", "a`b"))),
        f"{STEP}[0].headers[0].value",
        BAD_HEADER_VALUE,
    ),
    Refused(
        "a header's value with a space behind",
        traffic() | steps(by_header(("x-canary", "a "))),
        f"{STEP}[0].headers[0].value",
        BAD_HEADER_VALUE,
    ),
    Refused(
        "stable that shrinks with autoscaling",
        traffic() | scaling() | canary(shrinkStable=True),
        "spec.rollout.canary.shrinkStable",
        "rollout.canary.shrinkStable does not go with autoscaling, which sizes stable by its load: write"
        " replicas instead of autoscaling, or remove shrinkStable",
    ),
    Refused(
        "stable that shrinks without a Gateway",
        canary(shrinkStable=True),
        "spec.rollout.canary",
        SHRINKING_NEEDS_TRAFFIC,
    ),
    Refused(
        "a ramp without a Gateway",
        canary(trafficRamp={"step": 25, "every": "10s"}),
        "spec.rollout.canary",
        SHRINKING_NEEDS_TRAFFIC,
    ),
    Refused(
        "stable that shrinks with BlueGreen",
        traffic() | {"rollout": {"strategy": "BlueGreen", "canary": {"shrinkStable": True}}},
        "spec.rollout.canary",
        "rollout.canary.shrinkStable and trafficRamp belong to strategy Canary: remove them,"
        " or write strategy: Canary",
    ),
    Refused(
        "a ramp that takes no time",
        traffic() | canary(trafficRamp={"step": 25, "every": "0s"}),
        "spec.rollout.canary.trafficRamp.every",
        "must be a duration of at least 1s, such as 10s",
    ),
    Refused("no pods", traffic() | steps({"replicas": 0}), f"{STEP}[0].replicas", BAD_COUNT),
    Refused("a share of no pods", traffic() | steps({"replicas": "0%"}), f"{STEP}[0].replicas", BAD_COUNT),
    Refused("pods in words", traffic() | steps({"replicas": "two"}), f"{STEP}[0].replicas", BAD_COUNT),
    Refused(
        "Recreate with a surge",
        {"rollout": {"strategy": "Recreate", "maxSurge": "50%"}},
        "spec.rollout.maxSurge",
        "strategy Recreate has no pods above stable's size: remove rollout.maxSurge",
    ),
    Refused(
        "Recreate that falls back to itself",
        {"rollout": {"strategy": "Recreate", "preflight": {"fallback": "Recreate"}}},
        "spec.rollout.preflight.fallback",
        "strategy Recreate is what rollout.preflight.fallback falls back to: remove the fallback",
    ),
    Refused(
        "Recreate that compares with stable",
        {
            "rollout": {"strategy": "Recreate"},
            "analysis": {"checks": [{"metric": "error-rate", "maxRatioToStable": "2"}]},
        },
        "spec.analysis.checks",
        "strategy Recreate has no stable beside the new revision to compare with: write max in the place of"
        " maxRatioToStable and maxIncreaseOverStable",
    ),
    Refused("a hold in words", steps({"weight": 5, "hold": "1 min"}), f"{STEP}[0].hold", BAD_DURATION),
    Refused(
        "a weight over 100",
        steps({"weight": 101}),
        f"{STEP}[0].weight",
        "spec.rollout.canary.steps[0].weight in body should be less than or equal to 100",
    ),
    Refused(
        "too many steps",
        steps(*({"weight": weight} for weight in range(1, 22))),
        STEP,
        "Too many: 21: must have at most 20 items",
    ),
    Refused(
        "an unknown start",
        rollout(initial="Canary"),
        "spec.rollout.initial",
        'Unsupported value: "Canary": supported values: "Stable", "Held"',
    ),
    Refused("a revision for a rollout", rollout(promote="k7c4f9xw2p"), "spec.rollout.promote", BAD_ID),
    Refused("a word for a rollout", rollout(abort="now"), "spec.rollout.abort", BAD_ID),
    Refused("a zeroth rollout", rollout(retry="k7c4f9xw2p.0"), "spec.rollout.retry", BAD_ID),
    Refused(
        "a resume without its step",
        rollout(resume="k7c4f9xw2p.1"),
        "spec.rollout.resume",
        "must be ID/STEP as status.rollout.id and .step show them, such as k7c4f9xw2p.1/2",
    ),
    Refused(
        "a deadline too short",
        rollout(progressDeadline="9s"),
        "spec.rollout.progressDeadline",
        "must be a duration of at least 10s, such as 10m",
    ),
    Refused("a negative delay", rollout(scaleDownDelay="-5s"), "spec.rollout.scaleDownDelay", BAD_DURATION),
    Refused("a day", rollout(abortScaleDownDelay="1d"), "spec.rollout.abortScaleDownDelay", BAD_DURATION),
    Refused(
        "no surge",
        rollout(maxSurge="0.0%"),
        "spec.rollout.maxSurge",
        "must be a percentage above 0%, up to 100%",
    ),
    Refused(
        "too large a surge",
        rollout(maxSurge="100.5%"),
        "spec.rollout.maxSurge",
        "must be a percentage above 0%, up to 100%",
    ),
    Refused(
        "looks too often",
        analysis(interval="500ms"),
        "spec.analysis.interval",
        "must be a duration of at least 1s, such as 15s",
    ),
    Refused(
        "a delay that overflows", analysis(initialDelay="999999h"), "spec.analysis.initialDelay", BAD_DURATION
    ),
    Refused("a wait without end", analysis(maxWait="forever"), "spec.analysis.maxWait", BAD_DURATION),
    Refused(
        "too forgiving",
        analysis(failureLimit=101),
        "spec.analysis.failureLimit",
        "spec.analysis.failureLimit in body should be less than or equal to 100",
    ),
    Refused(
        "an unknown metric",
        check("p99", max="1%"),
        f"{CHECK}.metric",
        'Unsupported value: "p99": supported values: "error-rate", "shed-rate", "slow-requests",'
        ' "throughput", "mean-batch-size", "concurrency"',
    ),
    Refused("a check without limit", check("error-rate"), CHECK, NEEDS_LIMIT),
    Refused("slow by no bound", check("slow-requests", max="5%"), f"{CHECK}.over", OVER),
    Refused("a bound for errors", check("error-rate", max="1%", over="1s"), f"{CHECK}.over", OVER),
    Refused(
        "slow at once",
        {"bento": SERVED} | check("slow-requests", max="5%", over="0ms"),
        f"{CHECK}.over",
        NOT_POSITIVE,
    ),
    Refused(
        "our own bound without service",
        check("slow-requests", max="5%", over="300ms"),
        "spec.bento.service",
        BOUND,
    ),
    Refused(
        "sheds of sheds", check("shed-rate", max="1%", excludeSheds=True), f"{CHECK}.excludeSheds", SHEDS
    ),
    Refused(
        "an increase without %",
        check("error-rate", maxIncreaseOverStable="1"),
        f"{CHECK}.maxIncreaseOverStable",
        BAD_PERCENT,
    ),
    Refused("fewest errors", check("error-rate", max="1%", min="1"), f"{CHECK}.min", MIN),
    Refused("a share of a throughput", throughput(min="1", max="1%"), CHECK, NO_SHARE),
    Refused("a throughput like stable's", throughput(maxRatioToStable="1"), CHECK, NO_SHARE),
    Refused("a throughput by evidence", throughput(min="1", confidence="95%"), CHECK, NO_SHARE),
    Refused(
        "a throughput without requests",
        throughput(min="1", onNoData="pass"),
        f"{CHECK}.onNoData",
        NO_DATA,
    ),
    Refused(
        "any throughput",
        throughput(min="0.0"),
        f"{CHECK}.min",
        'min of a metric must be a number above zero in quotes, such as "5"',
    ),
    Refused("a mean by evidence", beside("concurrency", max="5", confidence="95%"), CHECK, PLAIN),
    Refused("points of a mean", beside("mean-batch-size", maxIncreaseOverStable="1%"), CHECK, PLAIN),
    Refused("a share of a mean", beside("concurrency", max="5%"), f"{CHECK}.max", MAX_FITS),
    Refused("a share that is a number", check("error-rate", max="1"), f"{CHECK}.max", MAX_FITS),
    Refused(
        "a mean without inputs",
        beside("mean-batch-size", min="1", onNoData="pass"),
        f"{CHECK}.onNoData",
        NO_DATA,
    ),
    Refused("nothing but a mean", check("concurrency", max="5"), "spec.analysis.checks", DECIDES),
    Refused(
        "a path with a query", analysis(excludePaths=["/a?b=c"]), "spec.analysis.excludePaths[0]", BAD_PATH
    ),
    *bad_calls("gate"),
    Refused(
        "a gate of no name",
        gate(name="Ticket!"),
        f"{GATE}.name",
        "must be a name of lower-case letters, digits and dashes, such as my-model",
    ),
    Refused("a gate that is a path", gate(url="/approve"), f"{GATE}.url", GATE_URL),
    Refused("a gate with a password", gate(url="http://me:secret@gate.shop.svc"), f"{GATE}.url", GATE_URL),
    Refused("a gate with a fragment", gate(url="http://gate.shop.svc/#a"), f"{GATE}.url", GATE_URL),
    Refused("a gate at no time", gate(maxWait="0s"), f"{GATE}.maxWait", NOT_POSITIVE),
    Refused(
        "a gate that is asked too often",
        gate(interval="500ms"),
        f"{GATE}.interval",
        "must be a duration of at least 1s, such as 30s",
    ),
    Refused(
        "a gate at any time",
        gate(when="Always"),
        f"{GATE}.when",
        'Unsupported value: "Always": supported values: "BeforeRollout", "BeforeStep", "BeforePromotion"',
    ),
    Refused(
        "a gate that ends otherwise",
        gate(onTimeout="retry"),
        f"{GATE}.onTimeout",
        'Unsupported value: "retry": supported values: "pause", "pass", "fail"',
    ),
    Refused(
        "a warm-up while nothing serves",
        rollout(strategy="Recreate", warmup={"path": "/predict"}),
        "spec.rollout.warmup",
        "strategy Recreate has nothing that serves while pods are warmed up: remove rollout.warmup, or write"
        " strategy: Canary",
    ),
    Refused(
        "a body that is not sent",
        rollout(warmup={"path": "/model", "method": "GET", "body": "{}"}),
        "spec.rollout.warmup.body",
        "rollout.warmup.body belongs to POST: remove it, or write method: POST",
    ),
    Refused(
        "a warm-up without a path", rollout(warmup={"path": "predict"}), "spec.rollout.warmup.path", BAD_PATH
    ),
    Refused(
        "a body of no kind",
        rollout(warmup={"path": "/predict", "contentType": "json"}),
        "spec.rollout.warmup.contentType",
        "must be a media type such as application/json",
    ),
    Refused(
        "warm at once",
        rollout(warmup={"path": "/predict", "maxLatency": "0s"}),
        "spec.rollout.warmup.maxLatency",
        NOT_POSITIVE,
    ),
    Refused(
        "nothing that counts", analysis(excludePaths=["/a", "/"]), "spec.analysis.excludePaths", EXCLUDES
    ),
    Refused(
        "a check that is sure",
        check("error-rate", max="1%", confidence="100%"),
        f"{CHECK}.confidence",
        BAD_CONFIDENCE,
    ),
    Refused(
        "an analysis that guesses", analysis(confidence="49%"), "spec.analysis.confidence", BAD_CONFIDENCE
    ),
    Refused(
        "nothing but a throughput",
        check("throughput", min="1"),
        "spec.analysis.checks",
        DECIDES,
    ),
    Refused(
        "nothing but dry runs",
        checks({"metric": "error-rate", "max": "1%", "dryRun": True}),
        "spec.analysis.checks",
        DECIDES,
    ),
    Refused(
        "an inconclusive end without a name",
        analysis(onInconclusive="wait"),
        "spec.analysis.onInconclusive",
        'Unsupported value: "wait": supported values: "pause", "pass", "fail"',
    ),
    Refused(
        "endless errors in a row",
        analysis(consecutiveErrorLimit=1001),
        "spec.analysis.consecutiveErrorLimit",
        "spec.analysis.consecutiveErrorLimit in body should be less than or equal to 1000",
    ),
    Refused("a share without %", check("error-rate", max="0.01"), f"{CHECK}.max", MAX_FITS),
    Refused("a share over all", check("error-rate", max="101%"), f"{CHECK}.max", BAD_LIMIT),
    Refused("a share as a number", checks(BY_QUERY | {"max": "5%"}), f"{CHECK}.max", MAX_FITS),
    Refused("a smallest share", checks(BY_QUERY | {"min": "5%"}), f"{CHECK}.min", BAD_NUMBER),
    Refused("no source", checks({"name": "a", "max": "1"}), CHECK, ONE_SOURCE),
    Refused("two sources", checks(BY_QUERY | {"web": {"url": "http://judge"}}), CHECK, ONE_SOURCE),
    Refused("a source without a name", checks({"max": "1", "prometheus": QUERY}), CHECK, CHECK_NAME),
    Refused("a metric with a name", check("error-rate", max="1%", name="a"), CHECK, CHECK_NAME),
    Refused("a metric's name", checks(BY_QUERY | {"name": "error-rate"}), CHECK, CHECK_NAME),
    Refused("a bad name", checks(BY_QUERY | {"name": "A b"}), f"{CHECK}.name", BAD_NAME),
    Refused("a name twice", checks(BY_QUERY, BY_QUERY), "spec.analysis.checks", NAMES_DIFFER),
    Refused("a query like stable's", checks(BY_QUERY | {"maxRatioToStable": "1"}), CHECK, SHARES_ALONE),
    Refused("a query by evidence", checks(BY_QUERY | {"confidence": "95%"}), CHECK, SHARES_ALONE),
    Refused(
        "a metric asked for now and then",
        check("error-rate", max="1%", interval="1m"),
        f"{CHECK}.interval",
        INTERVAL,
    ),
    Refused(
        "a server asked all the time",
        checks(web_check() | {"interval": "500ms"}),
        f"{CHECK}.interval",
        "must be a duration of at least 1s, such as 1m",
    ),
    Refused(
        "a server without data", checks(web_check() | {"onNoData": "pass"}), f"{CHECK}.onNoData", NO_DATA
    ),
    Refused("an empty query", prometheus(query="  "), f"{CHECK}.prometheus.query", BAD_QUERY),
    Refused("an unknown word", prometheus(query="{{canary.image}}"), f"{CHECK}.prometheus.query", BAD_QUERY),
    Refused(
        "a word with spaces", prometheus(query="{{ model.name }}"), f"{CHECK}.prometheus.query", BAD_QUERY
    ),
    Refused(
        "an address without scheme",
        prometheus(address="prometheus:9090"),
        f"{CHECK}.prometheus.address",
        BAD_ADDRESS,
    ),
    Refused(
        "an address with a query",
        prometheus(address="http://a/?b=c"),
        f"{CHECK}.prometheus.address",
        BAD_ADDRESS,
    ),
    Refused(
        "a range without length",
        prometheus(range={"over": "0s", "step": "15s"}),
        f"{CHECK}.prometheus.range.over",
        NOT_POSITIVE,
    ),
    Refused(
        "a range of too many points",
        prometheus(range={"over": "5m", "step": "15ms"}),
        f"{CHECK}.prometheus.range.step",
        "must be a duration of at least 1s, such as 15s",
    ),
    Refused("a password in a URL", web(url="http://ann:pw@judge/"), f"{CHECK}.web.url", BAD_URL),
    Refused("a fragment", web(url="http://judge/#a"), f"{CHECK}.web.url", BAD_URL),
    Refused("an empty body", web(method="POST", body=" "), f"{CHECK}.web.body", BAD_BODY),
    Refused("a body that is got", web(body="x"), f"{CHECK}.web.body", BODY),
    Refused("a wildcard", web(jsonPath="$.a[*]"), f"{CHECK}.web.jsonPath", BAD_JSON_PATH),
    Refused("a filter", web(jsonPath="$[?@.a]"), f"{CHECK}.web.jsonPath", BAD_JSON_PATH),
    Refused(
        "a ModelAnalysis of a bad name",
        analysis(templates=[{"name": "A_b"}]),
        "spec.analysis.templates[0].name",
        BAD_SUBDOMAIN,
    ),
    Refused(
        "an argument of a bad name",
        analysis(templates=[{"name": "a", "args": [{"name": "A.b", "value": "x"}]}]),
        "spec.analysis.templates[0].args[0].name",
        BAD_NAME,
    ),
    Refused("a Job by a limit", checks({"name": "a", "max": "1", "job": {"image": "a:1"}}), CHECK, NO_LIMIT),
    Refused(
        "a Job now and then",
        checks({"name": "a", "interval": "1m", "job": {"image": "a:1"}}),
        f"{CHECK}.interval",
        INTERVAL,
    ),
    Refused("a Job of the latest image", job(image="golden:latest"), f"{CHECK}.job.image", BAD_IMAGE),
    Refused("a Job told nonsense", job(command=["{{x}}"]), f"{CHECK}.job.command[0]", BAD_WORD),
    Refused("a Job asked nonsense", job(args=["{{x}}"]), f"{CHECK}.job.args[0]", BAD_WORD),
    Refused("a Job without end", job(deadline="0s"), f"{CHECK}.job.deadline", BAD_DEADLINE),
    Refused(
        "a Job with an odd variable",
        job(env=[{"name": "a b", "value": ""}]),
        f"{CHECK}.job.env[0].name",
        "must be the name of an environment variable, such as MODEL_CACHE",
    ),
    Refused(
        "a Job with an unknown word",
        job(env=[{"name": "A", "value": "{{x}}"}]),
        f"{CHECK}.job.env[0].value",
        BAD_WORD,
    ),
    Refused("a Job with a variable of nothing", job(env=[{"name": "A"}]), f"{CHECK}.job.env[0]", JOB_ENV),
    Refused(
        "a Job with a bad Secret",
        job(env=[{"name": "A", "secret": SECRET | {"name": "A_b"}}]),
        f"{CHECK}.job.env[0].secret.name",
        BAD_SUBDOMAIN,
    ),
    Refused(
        "a Job with a bad key",
        job(env=[{"name": "A", "secret": SECRET | {"key": "a/b"}}]),
        f"{CHECK}.job.env[0].secret.key",
        BAD_KEY,
    ),
    *(
        Refused(
            f"a Job's {case.why}",
            job(resources=case.spec["resources"]),
            f"{CHECK}.job.{case.field[5:]}",
            case.sentence,
        )
        for case in RESOURCES_REFUSED
    ),
    *(case for source in ("prometheus", "web") for case in bad_calls(source)),
    Refused(
        "a ratio of zero",
        check("error-rate", maxRatioToStable="0.0"),
        f"{CHECK}.maxRatioToStable",
        BAD_RATIO,
    ),
    Refused(
        "a negative ratio", check("error-rate", maxRatioToStable="-1"), f"{CHECK}.maxRatioToStable", BAD_RATIO
    ),
]

BAD_MODEL_NAME = (
    "metadata.name must have at most 40 characters, which are lower-case letters, digits and dashes, begin"
    " with a letter and not end with a dash: names of Services are made from it"
)


@pytest.mark.parametrize("why", ACCEPTED)
def test_accepts(server: Server, why: str) -> None:
    assert server.refusals(model({"bento": BENTO, **ACCEPTED[why]})) == []


@pytest.mark.parametrize("case", REFUSED, ids=[case.why for case in REFUSED])
def test_refuses_with_one_sentence(server: Server, case: Refused) -> None:
    said = server.refusals(model({"bento": BENTO, **case.spec}))

    assert said == [Refusal(case.field, case.sentence)]


@pytest.mark.parametrize("name", ["i", "iris-2", "a" * 40])
def test_accepts_name(server: Server, name: str) -> None:
    assert server.refusals(model({"bento": BENTO}, name)) == []


@pytest.mark.parametrize("name", ["a" * 41, "2iris", "iris.v2"])
def test_refuses_name_that_services_cannot_have(server: Server, name: str) -> None:
    assert server.refusals(model({"bento": BENTO}, name)) == [Refusal("metadata.name", BAD_MODEL_NAME)]


def test_refuses_missing_image(server: Server) -> None:
    assert server.refusals(model({"bento": {}})) == [Refusal("spec.bento.image", "Required value")]


def test_refuses_misspelt_field_for_strict_clients(server: Server) -> None:
    said = server.refusals(model({"bento": BENTO, "rollout": {"scaledownDelay": "5s"}}))

    assert [refusal.sentence.split(": ", 1)[1] for refusal in said] == [
        'strict decoding error: unknown field "spec.rollout.scaledownDelay"'
    ]


def test_a_trigger_names_no_authentication_of_the_whole_cluster(server: Server) -> None:
    """Those are about Secrets in KEDA's own namespace; clients that are not strict lose the field."""
    reference = {"name": "aws", "kind": "ClusterTriggerAuthentication"}
    said = server.refusals(model({"bento": BENTO} | scaling(by_trigger(authenticationRef=reference))))

    assert [refusal.sentence.split(": ", 1)[1] for refusal in said] == [
        f'strict decoding error: unknown field "{METRIC}.trigger.authenticationRef.kind"'
    ]


def test_names_every_mistake_at_once(server: Server) -> None:
    said = server.refusals(model(image("iris") | {"runtime": {"timeout": "0s"}} | steps({"hold": "1m"})))

    assert sorted(said) == [
        Refusal("spec.bento.image", BAD_IMAGE),
        Refusal("spec.bento.service", RUNTIME),
        Refusal("spec.rollout.canary.steps[0]", BAD_STEP),
        Refusal("spec.runtime.timeout", NOT_POSITIVE),
    ]


def test_every_rule_is_seen_to_refuse() -> None:
    """A rule that no case trips, at each field that has it, may be one that can't be tripped."""
    tripped = {Refusal(_any_item(case.field), case.sentence) for case in REFUSED}
    tripped.add(Refusal("metadata.name", BAD_MODEL_NAME))

    assert set(_rules(object_schema(), "")) - tripped == set()


@pytest.mark.parametrize("path", sorted((CHECKOUT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_accepts_example(server: Server, path: Path) -> None:
    manifests = list(yaml.safe_load_all(path.read_text()))

    assert KIND in [manifest["kind"] for manifest in manifests]
    for manifest in manifests:
        if manifest["kind"] == KIND:
            assert server.refusals(manifest) == []
        else:
            assert template_refusals(server, manifest) == []


TEMPLATES: dict[str, tuple[Json, list[Refusal]]] = {
    "arguments and checks": (
        {"args": [{"name": "team"}, {"name": "least", "default": ""}], "checks": [BY_QUERY]},
        [],
    ),
    "one of BentoML's own bounds": (
        {"checks": [{"metric": "slow-requests", "over": "500ms", "max": "5%"}]},
        [],
    ),
    "another bound": (
        {"checks": [{"metric": "slow-requests", "over": "300ms", "max": "5%"}]},
        [
            Refusal(
                "spec.checks",
                "`over` in a ModelAnalysis must be one of BentoML's own bounds (5ms, 10ms, 25ms, 50ms, 100ms,"
                " 250ms, 500ms, 1s, 2500ms, 5s, 10s, 30s, 60s, 120s, 180s), which every pod exports: take one"
                " of these, or write the check in the model",
            )
        ],
    ),
    "a name twice": ({"checks": [BY_QUERY, BY_QUERY]}, [Refusal("spec.checks", NAMES_DIFFER)]),
    "a check as a model has it": (
        {"checks": [{"metric": "error-rate"}]},
        [Refusal("spec.checks[0]", NEEDS_LIMIT)],
    ),
    "an argument of a bad name": (
        {"args": [{"name": "A.b"}], "checks": [BY_QUERY]},
        [Refusal("spec.args[0].name", BAD_NAME)],
    ),
}


def template_refusals(server: Server, manifest: Json) -> list[Refusal]:
    """Try to create a ModelAnalysis; return every sentence of the refusal, nothing where there is none."""
    path = f"/apis/{API_VERSION}/namespaces/default/modelanalyses"
    try:
        server.send("POST", path, manifest, STRICT | {"dryRun": "All"})
    except RefusedError as refusal:
        return refusal.refusals
    return []


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_model_analysis_is_refused_by_the_same_sentences(server: Server, name: str) -> None:
    spec, said = TEMPLATES[name]
    about = {"apiVersion": API_VERSION, "kind": "ModelAnalysis", "metadata": {"name": "quality"}}
    assert template_refusals(server, {**about, "spec": spec}) == said


def test_changes_a_valid_spec_into_any_other(server: Server) -> None:
    """There are no transition rules: Git may revert to whatever it had."""
    plain = model({"bento": BENTO}, "change")
    full = yaml.safe_load((CHECKOUT / "examples/full.yaml").read_text()) | {"metadata": {"name": "change"}}
    try:
        generations = [server.apply(OBJECTS, each)["metadata"]["generation"] for each in (plain, full, plain)]
    finally:
        server.send("DELETE", f"{OBJECTS}/change")

    assert generations == [1, 2, 3]


def _any_item(field: str) -> str:
    """Take the index or the key out of every bracket."""
    return re.sub(r"\[[^]]*\]", "[]", field)


def _rules(schema: Json, path: str) -> Iterator[Refusal]:
    for rule in schema.get("x-kubernetes-validations", []):
        yield Refusal(f"{path}{rule.get('fieldPath', '')}".lstrip("."), rule["message"])
    for name, child in schema.get("properties", {}).items():
        yield from _rules(child, f"{path}.{name}".lstrip("."))
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from _rules(schema[keyword], f"{path}[]")

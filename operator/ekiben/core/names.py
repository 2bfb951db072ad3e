"""Every name, label and well-known word that Ekiben writes into a cluster."""

from __future__ import annotations

import hashlib

MANAGER = "ekiben"
MANAGED_BY = "app.kubernetes.io/managed-by"
MODEL = "ekiben.dev/model"
REVISION = "ekiben.dev/revision"
OUTCOME = "ekiben.dev/outcome"
TEMPLATE_VERSION = "ekiben.dev/template-version"
ROLLOUT = "ekiben.dev/rollout"
COPY_OF = "ekiben.dev/copy-of"
JOB = "ekiben.dev/job"

# Kubernetes' EndpointSlices carry their Service's labels, so ours can't be told from them by those.
SLICE_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
SLICE_MANAGER = "ekiben.dev"

# Metrics of pods that autoscalers ask an adapter for, ours or another that serves the same.
CONCURRENCY = "ekiben_concurrency"
REQUESTS_PER_SECOND = "ekiben_requests_per_second"
# Asked for with two labels: of which quantile, such as p95, and over which limit, such as 500ms.
LATENCY = "ekiben_latency_seconds"
QUANTILE_LABEL, LIMIT_LABEL = "quantile", "limit"

# What a route adds to requests to a model that may have no pods, so that the activator knows whose they are.
MODEL_HEADER = "Ekiben-Model"
# Where an activator takes requests, and where it says for which models it holds some.
ACTIVATOR_PORT = 8012
ACTIVATOR_CONTROL_PORT = 8013

CONTAINER = "bento"
PORT_NAME = "http"
PORT = 3000


def revision_child(model: str, revision: str) -> str:
    """Name the Deployment, autoscaler, disruption budget and ControllerRevision of one revision."""
    return f"{model}-{revision}"


def config_copy(model: str, revision: str, config_map: str) -> str:
    """Name a revision's copy of a ConfigMap; the ConfigMap's own name may be too long to be part of it."""
    return f"{revision_child(model, revision)}-{hashlib.sha256(config_map.encode()).hexdigest()[:8]}"


def trigger_authentication(model: str, revision: str, number: int) -> str:
    """Name the TriggerAuthentication of one of a revision's queries."""
    return f"{revision_child(model, revision)}-{number}"


def stable_service(model: str) -> str:
    """Name the Service that selects stable."""
    return model


def canary_service(model: str) -> str:
    """Name the Service that selects the canary, or stable while there is none."""
    return f"{model}-canary"


def route(model: str) -> str:
    """Name the HTTPRoute."""
    return model


def preview_route(model: str) -> str:
    """Name the HTTPRoute through which a new revision answers before any traffic goes to it."""
    return f"{model}-preview"


def activator_slice(model: str) -> str:
    """Name the EndpointSlice by which a model's Service leads to the activator."""
    return f"{model}-activator"


def model_labels(model: str) -> dict[str, str]:
    """Labels of every child."""
    return {
        MANAGED_BY: MANAGER,
        "app.kubernetes.io/name": "bentoml",
        "app.kubernetes.io/instance": model,
        MODEL: model,
    }


def revision_labels(model: str, revision: str) -> dict[str, str]:
    """Labels of every child of one revision."""
    return model_labels(model) | {REVISION: revision}


def pod_selector(model: str, revision: str | None) -> dict[str, str]:
    """Select one revision's pods, or with None the pods of every revision."""
    return {MODEL: model} | ({REVISION: revision} if revision else {})


def pause_of(rollout: str, step: int) -> str:
    """Name a step of a rollout, as `rollout.resume` does."""
    return f"{rollout}/{step}"

"""The Job of a check: a pod of the restricted level under the namespace's default account, run once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ekiben.api.fields import seconds
from ekiben.api.pod import LocalObject
from ekiben.api.sources import Job, JobEnv
from ekiben.core import names
from ekiben.core.filling import filled
from ekiben.core.render.metadata import build_metadata
from ekiben.core.snapshot import Manifest, Model

DEFAULT_DEADLINE = "10m"
CONTAINER = "check"
# Any user but root; an image that names one by number can be told to run as another.
USER = 65532


def build_job(
    model: Model,
    name: str,
    rollout: str,
    job: Job,
    words: Mapping[str, str],
    pull_secrets: Sequence[LocalObject],
) -> Manifest:
    """Build the Job of a check in a rollout; raises UnknownPlaceholderError."""
    labels = names.model_labels(model.name) | {names.ROLLOUT: rollout}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": build_metadata(model, name, labels),
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": max(round(seconds(job.deadline or DEFAULT_DEADLINE)), 1),
            # A pod that is evicted says nothing about the canary, and one that fails says its exit status.
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}},
                ]
            },
            "template": {
                # Not the model's labels: its Services and the analysis would take it for a pod of a revision.
                "metadata": {"labels": {names.JOB: name}},
                "spec": _pod(job, words, pull_secrets),
            },
        },
    }


def _pod(job: Job, words: Mapping[str, str], pull_secrets: Sequence[LocalObject]) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(job, words)],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
    }
    if pull_secrets:
        spec["imagePullSecrets"] = [{"name": item.name} for item in pull_secrets]
    return spec


def _container(job: Job, words: Mapping[str, str]) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": job.image,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    for field, texts in (("command", job.command), ("args", job.args)):
        if texts:
            container[field] = [filled(text, words) for text in texts]
    if job.env:
        container["env"] = [_env(item, words) for item in job.env]
    if job.resources:
        container["resources"] = job.resources.model_dump(mode="json", by_alias=True, exclude_none=True)
    return container


def _env(item: JobEnv, words: Mapping[str, str]) -> dict[str, Any]:
    if item.secret is not None:
        key = {"name": item.secret.name, "key": item.secret.key}
        return {"name": item.name, "valueFrom": {"secretKeyRef": key}}
    return {"name": item.name, "value": filled(item.value or "", words)}

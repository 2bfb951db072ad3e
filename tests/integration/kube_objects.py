"""Objects and waiting for tests against the real API server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import CRD, LEASE, Kind

Manifest = dict[str, Any]

GAUGE = Kind("ekiben.test", "v1", "Gauge", "gauges")


def deployment(name: str, image: str = "example.test/iris:1", **extra: Any) -> Manifest:
    """A Deployment without replicas, as Ekiben applies it."""
    labels = {"ekiben.dev/model": name}
    container = {"name": "bento", "image": image, "resources": {"requests": {"cpu": "0.1"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            **extra,
        },
    }


def service(name: str) -> Manifest:
    """A Service."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"ekiben.dev/model": name}, "ports": [{"port": 3000}]},
    }


def gauge(name: str) -> Manifest:
    """An object of the kind that only tests have."""
    return {"apiVersion": GAUGE.api_version, "kind": "Gauge", "metadata": {"name": name}, "spec": {"size": 1}}


def gauge_crd() -> Manifest:
    """A kind with a required spec and a typed status, as ours."""
    status = {
        "type": "object",
        "properties": {
            "phase": {"type": "string"},
            "level": {"type": "integer"},
            "parts": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
    spec = {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}}}
    schema = {"type": "object", "required": ["spec"], "properties": {"spec": spec, "status": status}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": CRD.api_version,
        "kind": CRD.kind,
        "metadata": {"name": "gauges.ekiben.test"},
        "spec": {
            "group": "ekiben.test",
            "scope": "Namespaced",
            "names": {"kind": "Gauge", "plural": "gauges", "singular": "gauge"},
            "versions": [version],
        },
    }


async def eventually(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait until something is so, and say what was not if it never is."""
    for _ in range(int(seconds * 100)):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"never came true: {what}")


async def serve_gauges(client: Client) -> None:
    """Install the Gauge kind, and wait until it is served."""
    await client.apply(CRD, None, gauge_crd())
    for _ in range(600):
        with contextlib.suppress(ApiError):
            await client.list(GAUGE)
            return
        await asyncio.sleep(0.05)
    pytest.fail("the API server does not serve gauges.ekiben.test")


def lease(name: str, **spec: object) -> Manifest:
    """A Lease."""
    return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": {"name": name}, "spec": spec}

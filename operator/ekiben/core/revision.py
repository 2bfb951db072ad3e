"""What makes a revision: the canonical form of what the user wrote about the pod, and its name.

The name hashes nothing else, so an upgrade of the operator renames no revision: the version of the pod
template is recorded at a revision's birth and looked up afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from math import isfinite
from typing import Any

from ekiben.api.fields import seconds
from ekiben.api.v1alpha1 import HASHED_FIELDS, Spec
from ekiben.core import names
from ekiben.core.blocks import FIELD, block_inputs
from ekiben.core.canonical import canonical, canonical_json, canonical_quantity, duration_text
from ekiben.core.defaults import DEFAULTS, Defaults, reduced_resources
from ekiben.core.snapshot import Content, Manifest, Record
from ekiben.core.tracking import TRACKED, digests_of, tracked_inputs

CURRENT_TEMPLATE_VERSION = 1

# BentoML's own bounds; a histogram given others would lose them, and with them the quantiles people look at.
DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0)

# No vowels, so no words; nothing that is read as something else (0 o, 1 l i, 3).
_LETTERS = "bcdfghjkmnpqrstvwxz"
_ALPHABET = _LETTERS + "2456789"
_LENGTH = 10


def revision_of(
    spec: Spec,
    template_version: int = CURRENT_TEMPLATE_VERSION,
    *,
    config: Mapping[str, Content] | None = None,
) -> Record:
    """Name the revision that a spec asks for, and say what it would be if it were born now.

    What equals a default of `template_version` counts as not written. `config` is what is known of the
    tracked ConfigMaps: while one's content is not, the name is one that no revision ever has.
    """
    inputs = _inputs(spec, DEFAULTS[template_version], config or {})
    return Record(
        revision=_name(inputs),
        inputs=inputs,
        template_version=template_version,
        buckets=_buckets(spec) if spec.bento.service else (),
        deadline_seconds=seconds(spec.rollout.progress_deadline),
    )


def record_of(controller_revision: Manifest) -> Record | None:
    """Read a record back from its ControllerRevision; None where it is foreign or damaged."""
    try:
        return _record(controller_revision)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return None


def image_of(record: Record) -> str:
    """Return the image that a revision runs, as the user wrote it."""
    return str(record.inputs["bento"]["image"])


def service_of(record: Record) -> str | None:
    """Return the class name of the bento's entry service, where the user gave it."""
    service: str | None = record.inputs["bento"].get("service")
    return service


def timeout_of(record: Record) -> float:
    """Return the longest time in seconds that one request to a revision may take."""
    runtime = record.inputs.get("runtime", {})
    if "timeout" in runtime:
        return round(seconds(runtime["timeout"]), 3)
    return DEFAULTS.get(record.template_version, DEFAULTS[CURRENT_TEMPLATE_VERSION]).timeout


def _name(inputs: Mapping[str, Any]) -> str:
    number = int.from_bytes(hashlib.sha256(canonical_json(inputs).encode()).digest())
    number, index = divmod(number, len(_LETTERS))
    name = _LETTERS[index]
    while len(name) < _LENGTH:
        number, index = divmod(number, len(_ALPHABET))
        name += _ALPHABET[index]
    return name


def _buckets(spec: Spec) -> tuple[float, ...]:
    """Merge the bounds that checks and scaling ask for with BentoML's; nothing where none asks.

    Bounds that BentoML has anyway count as asked for: the bento's own code may have configured others.
    """
    checks, metrics = spec.analysis.checks, spec.autoscaling.metrics if spec.autoscaling else ()
    bounds = {
        round(seconds(check.over), 3) for check in checks if check.metric == "slow-requests" and check.over
    }
    bounds |= {metric.latency.seconds for metric in metrics if metric.latency}
    bounds.discard(0.0)
    return tuple(sorted(bounds.union(DEFAULT_BUCKETS))) if bounds else ()


def _inputs(spec: Spec, defaults: Defaults, config: Mapping[str, Content]) -> dict[str, Any]:
    wire = canonical(
        spec.model_dump(mode="json", by_alias=True, exclude_none=True, include=set(HASHED_FIELDS))
    )
    wire["runtime"] = _runtime(wire.get("runtime", {}), defaults)
    wire["resources"] = reduced_resources(_quantities(wire.get("resources", {})), defaults)
    wire["env"] = [_without_nulls(_env_var(variable)) for variable in wire.get("env", [])]
    wire["podTemplate"] = _pod_template(wire.get("podTemplate", {}))
    # What stands for it is its content, whatever the order in which it is named.
    wire["bento"] = {key: value for key, value in wire["bento"].items() if key != TRACKED}
    wire[TRACKED] = tracked_inputs(spec, config)
    wire[FIELD] = block_inputs(spec)
    return _written(wire)


def _written(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what says nothing: unset fields, empty strings, lists and objects."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


def _runtime(runtime: Mapping[str, Any], defaults: Defaults) -> dict[str, Any]:
    timeout = round(seconds(runtime["timeout"]), 3) if "timeout" in runtime else defaults.timeout
    canonical_timeout = None if timeout == defaults.timeout else duration_text(timeout)
    return _written({**runtime, "timeout": canonical_timeout})


def _quantities(resources: Mapping[str, Any]) -> dict[str, Any]:
    """Write every quantity in a container's `resources` one way."""
    return {
        section: {name: canonical_quantity(value) for name, value in items.items()}
        if section in ("requests", "limits") and isinstance(items, dict)
        else items
        for section, items in resources.items()
    }


def _env_var(variable: Mapping[str, Any]) -> dict[str, Any]:
    # Kubernetes does not keep an empty value: it is the same as none.
    return {key: value for key, value in variable.items() if not (key == "value" and value == "")}


def _pod_template(template: Mapping[str, Any]) -> dict[str, Any]:
    wire = {name: _without_nulls(value) for name, value in template.items()}
    for name in ("initContainers", "sidecars"):
        wire[name] = [_container(container) for container in wire.get(name, [])]
    wire["volumes"] = [_volume(volume) for volume in wire.get("volumes", [])]
    return _written(wire)


def _container(container: Mapping[str, Any]) -> dict[str, Any]:
    resources = container.get("resources")
    return (
        {**container, "resources": _quantities(resources)} if isinstance(resources, dict) else {**container}
    )


def _volume(volume: Mapping[str, Any]) -> dict[str, Any]:
    empty_dir = volume.get("emptyDir")
    if not isinstance(empty_dir, dict) or "sizeLimit" not in empty_dir:
        return {**volume}
    return {**volume, "emptyDir": {**empty_dir, "sizeLimit": canonical_quantity(empty_dir["sizeLimit"])}}


def _without_nulls(value: Any) -> Any:
    """Drop nulls at every depth: to Kubernetes a null is the same as nothing written."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _record(controller_revision: Manifest) -> Record | None:
    labels = controller_revision["metadata"]["labels"]
    data = controller_revision["data"]
    record = Record(
        revision=labels[names.REVISION],
        inputs=canonical(data["inputs"]),
        template_version=int(labels[names.TEMPLATE_VERSION]),
        buckets=tuple(_number(bound) for bound in data["buckets"]),
        deadline_seconds=_number(data["deadlineSeconds"]),
        number=int(_number(controller_revision["revision"])),
        outcome=str(labels.get(names.OUTCOME, "")),
    )
    # The name proves the content: whatever was edited by hand no longer hashes to it.
    genuine = labels[names.MANAGED_BY] == names.MANAGER and record.revision == _name(record.inputs)
    possible = record.template_version > 0 and record.deadline_seconds > 0 and record.number >= 0
    digests_of(record)
    return record if genuine and possible and image_of(record) else None


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return float(value)

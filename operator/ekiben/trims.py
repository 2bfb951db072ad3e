"""What the caches keep of an object: what nothing reads costs memory, and its changes cost decisions.

What is read as a whole is not trimmed; pods are in `observe_pods.py`, beside their reading.
"""

from __future__ import annotations

from ekiben.core import names
from ekiben.core.snapshot import ASKED_AT, Manifest
from ekiben.ownership import controller_of
from ekiben.writers import OTHERS_CONTENT, applied_at, is_others_content, writers_of

# The one thing that a Deployment's status says and its pods don't: that they may not be created.
_TOLD = "ReplicaFailure"
# What KEDA says where somebody has to act.
_TROUBLE = frozenset({("Ready", "False"), ("Fallback", "True"), ("Paused", "True")})
# What a HorizontalPodAutoscaler says of its metrics; the words of it may be others each time.
_READING = ("type", "status", "reason", "lastTransitionTime")
_DROPPED = frozenset({"annotations", "managedFields"})
# Its controller's own count of templates, written a moment after we made it.
_COUNT = "deployment.kubernetes.io/revision"


def trim_model(raw: Manifest) -> Manifest:
    """Drop the annotations, in which kubectl keeps a second copy of the whole object; keep who wrote what."""
    about = {key: value for key, value in raw["metadata"].items() if key not in _DROPPED}
    return {**raw, "metadata": about | {"writers": writers_of(raw["metadata"].get("managedFields"))}}


def trim_status(raw: Manifest) -> Manifest:
    """Drop the status: counts that change with every pod, or every 15 s, and decide nothing."""
    return {key: value for key, value in raw.items() if key != "status"}


def trim_autoscaler(raw: Manifest) -> Manifest:
    """Keep of our own's status whether it can read; of anybody else's only whose it is and what it sizes.

    Of those that KEDA made of ours the bounds are kept, too, and whether they can read.
    """
    about, spec = raw["metadata"], raw.get("spec") or {}
    labels, owner = about.get("labels") or {}, controller_of(raw) or {}
    ours, by_keda = labels.get(names.MANAGED_BY) == names.MANAGER, owner.get("kind") == "ScaledObject"
    told = {
        "conditions": [
            {key: item[key] for key in _READING if key in item}
            for item in (raw.get("status") or {}).get("conditions") or ()
            if item.get("type") == "ScalingActive"
        ]
    }
    if ours and not by_keda:
        return {**raw, "status": told}
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "ownerReferences", "deletionTimestamp")
    trimmed: Manifest = {key: raw[key] for key in ("apiVersion", "kind") if key in raw}
    trimmed["metadata"] = {key: about[key] for key in kept if key in about}
    trimmed["spec"] = {"scaleTargetRef": spec.get("scaleTargetRef")}
    if not ours:
        return trimmed
    trimmed["spec"] |= {key: spec[key] for key in ("minReplicas", "maxReplicas") if key in spec}
    return trimmed | {"status": told}


def trim_scaled_object(raw: Manifest) -> Manifest:
    """Keep of the status whether KEDA can use it: what it measures changes every few seconds.

    What is kept of who wrote what is when we asked last for anything else.
    """
    kept = [
        {key: item[key] for key in ("type", "status", "reason", "message") if key in item}
        for item in (raw.get("status") or {}).get("conditions") or ()
        if (item.get("type"), item.get("status")) in _TROUBLE
    ]
    about = {key: value for key, value in raw["metadata"].items() if key not in _DROPPED}
    if (asked_at := applied_at(raw["metadata"].get("managedFields"))) is not None:
        about[ASKED_AT] = asked_at
    return {**raw, "metadata": about, "status": {"conditions": kept}}


def trim_deployment(raw: Manifest) -> Manifest:
    """Keep of the status why pods can't be created: how many there are the pods tell themselves.

    What its controller counts in an annotation goes, too.
    """
    conditions = (raw.get("status") or {}).get("conditions") or ()
    kept = [
        {key: item[key] for key in ("type", "status", "message") if key in item}
        for item in conditions
        if item.get("type") == _TOLD
    ]
    about = {key: value for key, value in raw["metadata"].items() if key not in _DROPPED}
    annotations = {
        key: value for key, value in (raw["metadata"].get("annotations") or {}).items() if key != _COUNT
    }
    about |= {"annotations": annotations} if annotations else {}
    return {**raw, "metadata": about, "status": {"conditions": kept}}


def trim_job(raw: Manifest) -> Manifest:
    """Keep how a Job ended: it is never compared with what was asked for."""
    kept = [
        {key: item[key] for key in ("type", "status", "reason", "message") if key in item}
        for item in (raw.get("status") or {}).get("conditions") or ()
        if item.get("type") in ("Complete", "Failed")
    ]
    head = {key: raw[key] for key in ("apiVersion", "kind", "metadata") if key in raw}
    return head | {"status": {"conditions": kept}}


def trim_gateway(raw: Manifest) -> Manifest:
    """Keep the class and the conditions; the count of attached routes changes with every route."""
    conditions = [
        {key: item.get(key) for key in ("type", "status", "reason", "message")}
        for item in (raw.get("status") or {}).get("conditions") or ()
    ]
    class_name = (raw.get("spec") or {}).get("gatewayClassName", "")
    metadata = {key: raw["metadata"].get(key) for key in ("name", "namespace", "uid", "resourceVersion")}
    return {
        "metadata": metadata,
        "spec": {"gatewayClassName": class_name},
        "status": {"conditions": conditions},
    }


def trim_config_map(raw: Manifest) -> Manifest:
    """Keep the metadata, which is all that the server sends, as that of a ConfigMap.

    What others wrote the content of is marked: it may have our labels, and is no copy for that.
    """
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "ownerReferences", "deletionTimestamp")
    metadata = {key: raw["metadata"][key] for key in kept if key in raw["metadata"]}
    if is_others_content(raw["metadata"].get("managedFields")):
        metadata[OTHERS_CONTENT] = True
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}

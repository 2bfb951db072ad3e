"""Before anything is decided: does the cluster's CRD keep all that we are going to write?

An older CRD prunes the status fields that it does not know. A decision that can't be remembered is made again
and again, so the operator does not act at all until the CRD is current.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ekiben.api.crd import definition, template_definition
from ekiben.api.template import TEMPLATE_PLURAL
from ekiben.api.v1alpha1 import GROUP, PLURAL, VERSION
from ekiben.core.snapshot import Manifest
from ekiben.kube.client import ApiError, Client
from ekiben.kube.kinds import CRD, MODELDEPLOYMENT

logger = logging.getLogger(__name__)

NAME = f"{PLURAL}.{GROUP}"
TEMPLATE_NAME = f"{TEMPLATE_PLURAL}.{GROUP}"
RETRY_SECONDS = 30.0
OUTAGE_SECONDS = 2.0
SERVED_SECONDS = 0.2
_REMEDY = f"apply crds/{PLURAL}.yaml of this version of Ekiben"


async def current_crd(client: Client, tell: Callable[[str], None]) -> None:
    """Wait until the CRD is installed and current; `tell` gets the sentence about what is wrong, or ""."""
    ours, said = definition(), ""
    theirs = template_definition()
    while True:
        try:
            problem = crd_problem(await client.get(CRD, None, NAME), ours)
            problem = problem or template_problem(await client.get(CRD, None, TEMPLATE_NAME), theirs)
            # Kopf looks once for the kinds that there are, and would never see one that comes later.
            if not problem and not await client.serves(MODELDEPLOYMENT):
                await asyncio.sleep(SERVED_SECONDS)
                continue
            pause = RETRY_SECONDS
        except ApiError as error:
            problem = f"the CRD {NAME} can't be read: {error}"
            # An outage of a moment must not keep a whole fleet waiting.
            pause = error.retry_after or (OUTAGE_SECONDS if error.is_retryable else RETRY_SECONDS)
        tell(problem)
        if not problem:
            return
        if problem != said:
            logger.error("not working: %s", problem)
            said = problem
        await asyncio.sleep(pause)


def crd_problem(live: Manifest | None, ours: Manifest) -> str:
    """Say in one sentence what keeps us from working with the cluster's CRD; "" for nothing."""
    if live is None:
        return f"the CRD {NAME} is not installed: {_REMEDY}"
    schema = _status_schema(live)
    if schema is None:
        return f"the CRD {NAME} does not serve {VERSION}: {_REMEDY}"
    missing = sorted(lacking(schema, _status_schema(ours) or {}, "status"))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"the CRD {NAME} is older than this operator: it lacks {missing[0]}{more}: {_REMEDY}"
    return ""


def template_problem(live: Manifest | None, ours: Manifest) -> str:
    """Say what is wrong with the CRD of ModelAnalysis; without it there are no templates, and no more.

    An older one prunes a check's fields, and the check would judge by less than was written.
    """
    if live is None:
        return ""
    schema = _part(live, "spec")
    missing = ["spec"] if schema is None else sorted(lacking(schema, _part(ours, "spec") or {}, "spec"))
    if missing:
        remedy = f"apply crds/{TEMPLATE_PLURAL}.yaml of this version of Ekiben"
        return f"the CRD {TEMPLATE_NAME} is older than this operator: it lacks {missing[0]}: {remedy}"
    return ""


def lacking(live: Mapping[str, Any], ours: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield the fields and values of our schema that a live one would drop or refuse."""
    if live.get("x-kubernetes-preserve-unknown-fields"):
        return
    for value in ours.get("enum", ()):
        if "enum" in live and value not in live["enum"]:
            yield f"{path}={value}"
    for name, schema in ours.get("properties", {}).items():
        if name in live.get("properties", {}):
            yield from lacking(live["properties"][name], schema, f"{path}.{name}")
        else:
            yield f"{path}.{name}"
    for keyword in ("items", "additionalProperties"):
        if isinstance(ours.get(keyword), dict):
            yield from lacking(live.get(keyword) or {}, ours[keyword], f"{path}[]")


def _status_schema(crd: Manifest) -> Mapping[str, Any] | None:
    return _part(crd, "status")


def _part(crd: Manifest, part: str) -> Mapping[str, Any] | None:
    """Find the schema of a part of our version's objects; None where that version is not served."""
    for version in crd.get("spec", {}).get("versions", ()):
        if version.get("name") == VERSION and version.get("served"):
            whole = (version.get("schema") or {}).get("openAPIV3Schema") or {}
            found: Mapping[str, Any] = whole.get("properties", {}).get(part) or {}
            return found
    return None

"""Read a Secret for one question: by name, only where the chart allows it, and never into words."""

from __future__ import annotations

import base64
import binascii

from ekiben.asking.asker import Means, UnansweredError
from ekiben.core.calling import SECRETS, SecretKey
from ekiben.kube.client import ApiError
from ekiben.kube.kinds import SECRET


async def read_secret(means: Means, namespace: str, wanted: SecretKey) -> bytes:
    """Return one value of a Secret; raises UnansweredError where it may not be read, or is not there."""
    named = f"Secret {wanted.name}"
    if not means.calls.allows_secrets(namespace):
        raise UnansweredError(
            f"{named} may not be read: list namespace {namespace} in the chart value {SECRETS}, which makes"
            " a Role there that lets the operator get Secrets",
            "SecretForbidden",
        )
    try:
        found = await means.client.get(SECRET, namespace, wanted.name)
    except ApiError as problem:
        if problem.status != 403:
            raise
        raise UnansweredError(
            f"{named} may not be read: create a Role in namespace {namespace} with verb get on secrets,"
            f" resourceNames [{wanted.name}], and bind it to the operator's ServiceAccount",
            "SecretForbidden",
        ) from None
    if found is None:
        raise UnansweredError(f"{named} is not there: create it", "SecretMissing")
    value = (found.get("data") or {}).get(wanted.key)
    if value is None:
        raise UnansweredError(f"{named} has no key {wanted.key}", "SecretMissing")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise UnansweredError(f"key {wanted.key} of {named} can't be decoded", "BadSecret") from None

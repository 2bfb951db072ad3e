"""Read a Secret for one question: by name, only where the chart allows it, and never into words."""

from __future__ import annotations

import base64
import binascii

from ekiben.asking.asker import Means, UnansweredError
from ekiben.core.calling import SECRETS, SecretKey
from ekiben.core.configuring import SecretLook
from ekiben.kube.client import ApiError, Manifest
from ekiben.kube.kinds import SECRET
from ekiben.kube.store import Key


async def read_secret(means: Means, namespace: str, wanted: SecretKey) -> bytes:
    """Return one value of a Secret; raises UnansweredError where it may not be read, or is not there."""
    found = await _read(means, namespace, wanted.name)
    if found is None:
        raise UnansweredError(f"Secret {wanted.name} is not there: create it", "SecretMissing")
    value = (found.get("data") or {}).get(wanted.key)
    if value is None:
        raise UnansweredError(f"Secret {wanted.name} has no key {wanted.key}", "SecretMissing")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise UnansweredError(
            f"key {wanted.key} of Secret {wanted.name} can't be decoded", "BadSecret"
        ) from None


async def is_immutable(means: Means, key: Key, question: SecretLook) -> bool:
    """Tell that a Secret is immutable, or why it can't count as that; what it holds is not looked at.

    The API server says it in no other way: neither an object's metadata nor a table of objects shows it.
    """
    found = await _read(means, key[0], question.name)
    if found is None:
        raise UnansweredError(
            f"Secret {question.name}, which bento.trackedConfig names, does not exist: create it",
            "MissingConfig",
        )
    if found.get("immutable") is not True:
        raise UnansweredError(
            f"Secret {question.name}, which bento.trackedConfig names, is not immutable: set immutable: true"
            " in it, and give each content a new name",
            "SecretNotImmutable",
        )
    return True


async def _read(means: Means, namespace: str, name: str) -> Manifest | None:
    """Read a Secret where the chart allows it; None where there is none of that name."""
    if not means.calls.allows_secrets(namespace):
        raise UnansweredError(
            f"Secret {name} may not be read: list namespace {namespace} in the chart value {SECRETS}, which"
            " makes a Role there that lets the operator get Secrets",
            "SecretForbidden",
        )
    try:
        return await means.client.get(SECRET, namespace, name)
    except ApiError as problem:
        if problem.status != 403:
            raise
        raise UnansweredError(
            f"Secret {name} may not be read: create a Role in namespace {namespace} with verb get on secrets,"
            f" resourceNames [{name}], and bind it to the operator's ServiceAccount",
            "SecretForbidden",
        ) from None

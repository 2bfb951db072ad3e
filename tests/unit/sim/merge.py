"""Server-side apply, as far as one forcing field manager sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Maps that the API declares atomic: they are replaced whole.
WHOLE = frozenset({"selector", "matchLabels", "nodeSelector"})


def merged(live: Mapping[str, Any], before: Mapping[str, Any], intent: Mapping[str, Any]) -> dict[str, Any]:
    """Merge an intent into the live object: what we applied before and don't any more goes away.

    Lists are replaced whole: Ekiben is the only one that applies them.
    """
    result = dict(live)
    for key in before.keys() - intent.keys():
        kept = _disowned(result.pop(key, None), before[key])
        if kept:
            result[key] = kept
    for key, value in intent.items():
        if isinstance(value, Mapping) and key not in WHOLE:
            old, owned = live.get(key), before.get(key)
            result[key] = merged(
                old if isinstance(old, Mapping) else {}, owned if isinstance(owned, Mapping) else {}, value
            )
        else:
            result[key] = value
    return result


def _disowned(live: Any, before: Any) -> Any:
    """Return what stays of a value of which we owned `before`: only what others put beside it."""
    if not isinstance(live, Mapping) or not isinstance(before, Mapping):
        return None
    return merged(live, before, {})

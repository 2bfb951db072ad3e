"""The copies of tracked ConfigMaps: made before a revision's first pod, and kept for as long as the revision.

So pods that are started later, and a revision that is gone back to, find what it was tried with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ekiben.core import names
from ekiben.core.plan import Copy
from ekiben.core.render import build_config_copy
from ekiben.core.snapshot import Ref
from ekiben.core.tracking import digests_of
from ekiben.core.view import View


def copies(view: View, revisions: Iterable[str]) -> tuple[Copy, ...]:
    """Return the copies that are missing, of the revisions that may start a pod."""
    return tuple(
        Copy(source, digest, build_config_copy(view.model, revision, source))
        for revision in dict.fromkeys(revisions)
        for source, digest in lacking(view, revision).items()
        if _ref(view, revision, source) not in view.snapshot.foreign
    )


def lacking(view: View, revision: str) -> dict[str, str]:
    """Return the ConfigMaps that a revision has no copy of, by name, with the digest of their content.

    What others made in a copy's place is none, until it was looked at.
    """
    record = view.record(revision)
    wanted = digests_of(record) if record else {}
    sure = view.live.keys() - view.snapshot.doubtful
    return {source: digest for source, digest in wanted.items() if _ref(view, revision, source) not in sure}


def copies_of(view: View, revision: str) -> Iterator[Ref]:
    """Yield the copies that a revision has."""
    for ref, child in view.live.items():
        if ref.kind == "ConfigMap" and child["metadata"].get("labels", {}).get(names.REVISION) == revision:
            yield ref


def _ref(view: View, revision: str, source: str) -> Ref:
    return Ref("ConfigMap", names.config_copy(view.model.name, revision, source))

"""Everything that one decision may ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ekiben.api.measured import CheckResult, Totals
from ekiben.api.status import Status
from ekiben.core.asking import Question
from ekiben.core.snapshot import Manifest, Ref, Settled


class Child(NamedTuple):
    """A child that the model should have: what it is rendered from beside the model's name, and how."""

    ref: Ref
    made_of: tuple[Any, ...]
    render: Callable[[], Manifest]


@dataclass(frozen=True, slots=True)
class Scale:
    """Set a Deployment's replicas; asked for only where no autoscaler owns them."""

    deployment: str
    replicas: int


@dataclass(frozen=True, slots=True)
class Copy:
    """Make a revision's copy of a ConfigMap: `manifest` with what `source` holds, if that has this digest."""

    source: str
    digest: str
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a child that our uid controls."""

    ref: Ref
    uid: str


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event about the model."""

    type: Literal["Normal", "Warning"]
    reason: str
    action: str
    note: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about a rollout, and by whom or what: one line of the log.

    `old` and `new` are revisions, `old` empty where nothing served before; `by` is a command or `spec` with
    the field manager that wrote it, a check, `checks`, or `operator`; `numbers` are what the checks said.
    """

    decision: str
    rollout: str
    old: str
    new: str
    by: str
    reason: str
    message: str
    numbers: tuple[CheckResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Extras:
    """What of a page is read only where somebody asks for it.

    `batches` and `busy` are for mean-batch-size and concurrency; `buckets` are the bounds in seconds between
    which quantiles are shown; requests to `exclude` and below don't count.
    """

    batches: bool = False
    busy: bool = False
    buckets: tuple[float, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampling:
    """Read the metrics of these pods every `interval` seconds, until a plan no longer asks for it.

    `base` is what the status already counts for `window` (rollout id and step): the sampler adds to it what
    it counts itself. `targets` maps each revision to its pods' (uid, IP); `service` is the runner_name to
    look for, None to count every service; `bounds` maps the name of a latency bound to its seconds; `extras`
    are what costs more to read, and is not always wanted.
    """

    window: str
    interval: float
    service: str | None
    targets: Mapping[str, tuple[tuple[str, str], ...]]
    bounds: Mapping[str, float]
    stable: str
    canary: str
    base: Totals
    extras: Extras = Extras()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now: status, copies, applies, scales, deletes, events; then when to look again.

    `status` None means: nothing new to say. `requeue_after` is in seconds; 0 means at once; None means only
    when something changes. `questions` are asked until a plan no longer names them. `settled` are the
    children that need no write, None where none was looked at. `rests_on` are children that must still be
    as they were seen when the status is written, because something is torn down on its strength. `notes`
    are the reasons, for the log and the golden traces; `decision` is the transition that `status` makes.
    """

    status: Status | None = None
    decision: Decision | None = None
    copies: tuple[Copy, ...] = ()
    applies: tuple[Manifest, ...] = ()
    scales: tuple[Scale, ...] = ()
    deletes: tuple[Delete, ...] = ()
    events: tuple[Event, ...] = ()
    sampling: Sampling | None = None
    questions: tuple[Question, ...] = ()
    requeue_after: float | None = None
    settled: Mapping[Ref, Settled] | None = None
    rests_on: tuple[Ref, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rests(self) -> bool:
        """Tell whether nothing is written, read, asked or waited for: only a change brings the next pass."""
        writes = self.status or self.applies or self.scales or self.deletes
        return not (writes or self.sampling or self.questions) and self.requeue_after is None

"""One ModelDeployment as the API server has it, parsed as far as it can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from ekiben.api.status import Condition, RolloutStatus, Stage, Status
from ekiben.api.v1alpha1 import Spec, parse_spec
from ekiben.core.revision import revision_of
from ekiben.core.snapshot import Content
from ekiben.core.times import parse_time
from ekiben.core.tracking import tracked_maps
from ekiben.core.view import FINISHING

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one model; `spec` is None where this version can't understand it.

    `config` is what is known of the ConfigMaps that it tracks.
    """

    raw: Manifest
    spec: Spec | None
    status: Status
    config: Mapping[str, Content] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.raw["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.raw["metadata"].get("namespace", ""))

    @property
    def uid(self) -> str:
        """Its uid."""
        return str(self.raw["metadata"].get("uid", ""))

    @property
    def resource_version(self) -> str:
        """The version that was read."""
        return str(self.raw["metadata"].get("resourceVersion", ""))

    @property
    def created(self) -> datetime | None:
        """When it was made."""
        return parse_time(self.raw["metadata"].get("creationTimestamp"))

    @property
    def is_observed(self) -> bool:
        """Tell whether the status is about the spec as it is now."""
        return bool(self.status.observed_generation == self.raw["metadata"].get("generation"))

    @property
    def rollout(self) -> RolloutStatus | None:
        """The rollout in flight or in the line, if there is one."""
        rollout = self.status.rollout
        return rollout if rollout and rollout.stage is not Stage.OVER else None

    @property
    def is_finishing(self) -> bool:
        """Tell whether the rollout in flight is past the point of no return."""
        return self.rollout is not None and self.rollout.stage in FINISHING

    @property
    def stable(self) -> str | None:
        """The revision that serves."""
        return self.status.stable.revision if self.status.stable else None

    @property
    def canary(self) -> str | None:
        """The revision under trial; None once it is stable, and while it waits for its turn."""
        rollout = self.rollout
        if rollout is None or rollout.stage is Stage.QUEUED:
            return None
        return rollout.revision if rollout.revision != self.stable else None

    @property
    def wanted(self) -> str | None:
        """The revision that the spec asks for; None where this version can't tell."""
        known = {name for name, content in self.config.items() if content.digest is not None}
        if self.spec is None or not known.issuperset(tracked_maps(self.spec)):
            return None
        return revision_of(self.spec, config=self.config).revision

    def condition(self, kind: str) -> Condition | None:
        """Return one condition."""
        return next((item for item in self.status.conditions if item.type == kind), None)

    def says(self, kind: str, status: str) -> Condition | None:
        """Return a condition if it has this status."""
        found = self.condition(kind)
        return found if found and found.status == status else None


def facts_of(raw: Manifest) -> Facts:
    """Read one object; a status that another version wrote counts as none."""
    try:
        spec = parse_spec(raw.get("spec") or {})
    except ValidationError:
        spec = None
    try:
        status = Status.model_validate(raw.get("status") or {})
    except ValidationError:
        status = Status()
    return Facts(raw=raw, spec=spec, status=status)

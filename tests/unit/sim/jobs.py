"""Runs each Job for a while and then says in its status how it ended, as the Job controller does."""

from __future__ import annotations

from ekiben.core.snapshot import Ref
from unit.sim.apiserver import ApiServer
from unit.sim.clock import Clock

FAILED = {
    "PodFailurePolicy": "Container check for pod shop/x failed with exit code 3 matching FailJob rule",
    "DeadlineExceeded": "Job was active longer than specified deadline",
}


class Jobs:
    """`takes` are the seconds until a Job ends, and `ends` is how: empty for well, else a key of FAILED."""

    def __init__(self, clock: Clock, server: ApiServer) -> None:
        self.clock, self.server = clock, server
        self.takes = 5.0
        self.ends = ""
        self.begun: list[str] = []
        server.watchers.append(self._changed)

    def _changed(self, ref: Ref) -> None:
        if ref.kind != "Job" or ref.name in self.begun or ref not in self.server.objects:
            return
        self.begun.append(ref.name)
        uid = self.server.objects[ref]["metadata"]["uid"]
        self.clock.after(self.takes, lambda: self._end(ref, uid))

    def _end(self, ref: Ref, uid: str) -> None:
        live = self.server.objects.get(ref)
        if live is None or live["metadata"]["uid"] != uid:
            return
        how = {"type": "Complete", "reason": "CompletionsReached"}
        if self.ends:
            how = {"type": "Failed", "reason": self.ends, "message": FAILED[self.ends]}
        self.server.edit(ref, status={"conditions": [{**how, "status": "True"}]})

    def live(self) -> list[str]:
        """Name the Jobs that there are."""
        return sorted(ref.name for ref in self.server.objects if ref.kind == "Job")

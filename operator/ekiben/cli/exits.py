"""Every exit status of `kubectl ekiben`: the help of `status` and docs/kubectl.md come of this table."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    MISUSED = 2
    ROLLED_BACK = 3
    ABORTED = 4
    TIMED_OUT = 5
    INVALID = 6
    NOT_FOUND = 7
    STALLED = 8
    INTERRUPTED = 130


MEANINGS: dict[Exit, str] = {
    Exit.OK: "done; `status`: the last change serves",
    Exit.FAILED: "the request failed, or can't be done now; the sentence says why",
    Exit.MISUSED: "the command line can't be understood",
    Exit.ROLLED_BACK: "`status`: the last change failed and was rolled back; stable serves",
    Exit.ABORTED: "`status`: the last change was aborted by hand; stable serves",
    Exit.TIMED_OUT: "`status`: still on its way after --timeout, or with --watch=false",
    Exit.INVALID: "the spec is invalid, or not allowed",
    Exit.NOT_FOUND: "there is no such ModelDeployment, revision or file",
    Exit.STALLED: "`status`: nothing more happens until somebody acts",
    Exit.INTERRUPTED: "ended by Ctrl-C",
}


class CommandError(Exception):
    """A command that can't be done: one sentence, and the exit status that goes with it."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.code = code

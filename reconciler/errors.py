"""Every error that crosses a module border.

    ReconcilerError            .reason: CamelCase and bounded, an event reason and a metric label
    ├── ManifestError          what a user declared is wrong; .problems says where
    ├── TerminalError          the same input fails the same way: wait for new input
    │   └── HostError          this machine cannot: needs root, or something installed (exit code 3)
    ├── TransientError         may pass by itself; .retry_after_seconds when the other side said so
    └── ConflictError          somebody else holds what we need: a port, a lock, an address

Adapters map what a library or a program says to one of these at the border; nothing
above a border catches anything else. The message is one line: what, where, how to mend it.
"""

from __future__ import annotations

from collections.abc import Sequence


class ReconcilerError(Exception):
    """Base of all. `reason` is bounded (never user text), the message is for people."""

    reason = "Error"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class ManifestError(ReconcilerError):
    """What a user declared is wrong. `problems` are `manifest.problems.Problem`s."""

    reason = "InvalidManifest"

    def __init__(self, message: str, *, problems: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class TerminalError(ReconcilerError):
    """The same input fails the same way."""

    reason = "Failed"


class HostError(TerminalError):
    """This machine cannot do it as it is. The message says what to install or allow."""

    reason = "HostUnfit"


class TransientError(ReconcilerError):
    """May pass by itself."""

    reason = "Unavailable"

    def __init__(self, message: str, *, reason: str | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_seconds = retry_after_seconds


class ConflictError(ReconcilerError):
    """Somebody else holds what we need."""

    reason = "Conflict"

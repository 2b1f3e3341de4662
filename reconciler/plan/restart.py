"""Back-off: when something that failed may be tried again.

Source: the numbers of kubelet (pkg/kubelet/kubelet.go MaxContainerBackOff, images/image_manager.go).
A level is kept with each container, so the delays survive a restart of the daemon.
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.observed import SeenContainer

_BASE_SECONDS = 10.0
_CAP_SECONDS = 300.0
_CLEAN_RUN_SECONDS = 600.0
_SANDBOX_CAP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Steps that failed in a row for one subject: an image, a container name, or "" for the sandbox."""

    reason: str
    message: str
    count: int
    at: float
    retry_after_seconds: float | None = None


def restart_due(dead: SeenContainer) -> float:
    """When a dead container may be started again: at once the first time, then 10, 20, ... 300 s."""
    finished = dead.finished_at if dead.finished_at is not None else dead.created_at
    level = 0 if _ran_clean(dead) else dead.backoff_level
    return finished + (min(_BASE_SECONDS * 2.0 ** (level - 1), _CAP_SECONDS) if level else 0.0)


def next_level(dead: SeenContainer) -> int:
    """The level of the container that takes the place of `dead`. Exit 0 counts too."""
    return 1 if _ran_clean(dead) else dead.backoff_level + 1


def pull_due(failure: Failure) -> float:
    """10 s doubling to 300 s, or what the registry asked for if that is longer."""
    delay = min(_BASE_SECONDS * 2.0 ** (failure.count - 1), _CAP_SECONDS)
    return failure.at + max(delay, failure.retry_after_seconds or 0.0)


def create_due(failure: Failure) -> float:
    """A container or sandbox that could not be made: 1 s doubling to 60 s."""
    return failure.at + min(2.0 ** (failure.count - 1), _SANDBOX_CAP_SECONDS)


def _ran_clean(dead: SeenContainer) -> bool:
    return (
        dead.started_at is not None
        and dead.finished_at is not None
        and dead.finished_at - dead.started_at >= _CLEAN_RUN_SECONDS
    )

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
_CREATE_CAP_SECONDS = 60.0
_DOUBLINGS = 10  # each cap is reached by then, and 2.0 ** 1024 is not a float


@dataclass(frozen=True, slots=True)
class Failure:
    """Steps that failed in a row for one subject: an image, a container name, or "" for the sandbox."""

    reason: str
    message: str
    count: int
    at: float
    retry_after_seconds: float | None = None


def restart_due(dead: SeenContainer, now: float) -> float:
    """When a container that ended, or broke, may be started again."""
    return _due(_ended_at(dead), restart_delay_seconds(dead, now), now)


def restart_delay_seconds(dead: SeenContainer, now: float) -> float:
    """How long it must have been dead: 0 the first time, then 10, 20, ... 300 s; 0 again after a long clean run."""
    if dead.backoff_level == 0 or _ran_clean(dead, now):
        return 0.0
    return _doubled(_BASE_SECONDS, dead.backoff_level - 1, _CAP_SECONDS)


def next_level(dead: SeenContainer, now: float) -> int:
    """The level of the container that takes the place of `dead`. Exit 0 counts too."""
    return 1 if _ran_clean(dead, now) else dead.backoff_level + 1


def pull_due(failure: Failure, now: float) -> float:
    """10 s doubling to 300 s, or what the registry asked for if that is longer."""
    delay = _doubled(_BASE_SECONDS, failure.count - 1, _CAP_SECONDS)
    return _due(failure.at, max(delay, failure.retry_after_seconds or 0.0), now)


def create_due(failure: Failure, now: float) -> float:
    """A container or sandbox that could not be made: 1 s doubling to 60 s."""
    return _due(failure.at, _doubled(1.0, failure.count - 1, _CREATE_CAP_SECONDS), now)


def _doubled(base_seconds: float, times: int, cap_seconds: float) -> float:
    return min(base_seconds * 2.0 ** min(times, _DOUBLINGS), cap_seconds)


def _due(at: float, delay_seconds: float, now: float) -> float:
    """What happened in the future happened before the clock was set back: it is not waited for."""
    return at + delay_seconds if at <= now else now


def _ended_at(dead: SeenContainer) -> float:
    return dead.finished_at if dead.finished_at is not None else dead.created_at


def _ran_clean(dead: SeenContainer, now: float) -> bool:
    """What broke has no end: then it ran until now, as far as anybody knows."""
    ended = dead.finished_at if dead.finished_at is not None else now
    return dead.started_at is not None and ended - dead.started_at >= _CLEAN_RUN_SECONDS

"""What the API shows and does, as one bundle that the daemon fills in.

The API decides nothing about containers: it reads the store's snapshot, looks into
running containers through ports, and hands the few orders it takes to callables.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.control.store import Store
from reconciler.ports import Clock, Containers, Images, Runtime
from reconciler.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Backend:
    """Everything behind the API.

    `health` and `readiness` return "" while all is well, else one sentence.
    """

    store: Store
    runtime: Runtime
    containers: Containers
    images: Images
    clock: Clock
    telemetry: Telemetry
    version: str
    in_sync: Callable[[], bool]
    health: Callable[[], str]  # is the loop alive
    readiness: Callable[[], str]  # has the first convergence been done
    diff: Callable[[Sequence[str]], Awaitable[Mapping[str, Any]]]  # paths -> {"changes": [...], "plan": "..."}
    down: Callable[[Sequence[str], bool], AsyncIterator[str]]  # paths (none is all), volumes too -> progress lines
    sync: Callable[[], Awaitable[None]]  # read the sources again, now
    info: Callable[[], Mapping[str, Any]]  # what `system info` tells of the machine and the instance

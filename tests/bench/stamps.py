"""When the process of a container runs, told by the process itself.

Every subject of the bench runs the same command: it writes a file named after its host, and ends
on TERM. The file's modification time is the moment at which the process ran, set by the kernel, so
that a busy measuring program cannot lie. Times are seconds since the epoch.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

MOUNTED_AT = "/stamps"
COMMAND = (
    "/bin/sh",
    "-c",
    f": > {MOUNTED_AT}/$HOSTNAME; trap 'exit 0' TERM; while :; do sleep 86400 & wait $!; done",
)


class Stamps:
    """A directory of the host that all containers of one measurement write to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        path.chmod(0o777)

    def clear(self) -> None:
        for entry in os.scandir(self.path):
            os.unlink(entry.path)

    def last(self, count: int, timeout_seconds: float) -> float:
        """The moment at which the `count`th process ran. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            entries = list(os.scandir(self.path))
            if len(entries) >= count:
                return max(entry.stat().st_mtime_ns for entry in entries) / 1e9
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(entries)} of {count} processes ran after {timeout_seconds:g} s")
            time.sleep(0.002 if count <= 10 else 0.02)  # looking must not cost the subject its CPU

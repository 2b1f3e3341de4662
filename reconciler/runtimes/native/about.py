"""What `system info` tells of the machine under the engine: facts, and no judgement (that is fitness.py)."""

from __future__ import annotations

import os
import platform
from typing import Any

from reconciler.runtimes.native import cgroups


def about_host() -> dict[str, Any]:
    """operatingSystem, kernel, architecture, cpus, memoryBytes, cgroupVersion, storageDriver."""
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        system = "Linux"
    return {
        "operatingSystem": system,
        "kernel": os.uname().release,
        "architecture": platform.machine(),
        "cpus": os.cpu_count() or 1,
        "memoryBytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "cgroupVersion": cgroups.current().version,
        "storageDriver": "overlay",
    }

"""Programs of the distribution: where they are, and what installs them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from reconciler.errors import HostError
from reconciler.runtimes.native import fitness

_SYSTEM_PATHS = "/usr/local/sbin:/usr/sbin:/sbin"  # not in the PATH of every root shell


def find(program: str) -> str | None:
    """Its path, or None."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATHS}")


def require(program: str) -> str:
    """Its path. Raises: HostError that says what to install."""
    path = find(program)
    if path is None:
        packages = [fitness.PACKAGES.get(program, program)]
        raise HostError(f"{program} is not installed: {fitness.install(distributions(), packages)}")
    return path


def distributions() -> tuple[str, ...]:
    """This distribution and those it is like, nearest first. Source: os-release(5)."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        return ()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return tuple(" ".join(values.get(key, "").strip("\"'") for key in ("ID", "ID_LIKE")).split())

"""After a kill: whatever carries this instance's mark and has no owner in the ledger goes away.

What the ledger has as half made or half removed is taken apart too; its row stays, so that the planner
sees it and removes it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from reconciler.runtimes.native import kernel
from reconciler.runtimes.native.cgroups import Cgroups
from reconciler.runtimes.native.ledger import HALF, Ledger
from reconciler.runtimes.native.oci import Oci
from reconciler.runtimes.native.places import Places
from reconciler.runtimes.native.volumes import remove_parts, remove_tree

_DIE_SECONDS = 5.0


def sweep(places: Places, ledger: Ledger, oci: Oci, groups: Cgroups) -> None:
    """Remove processes, cgroups, mounts and files without an owner. Networks are the network's own.

    Raises: OSError.
    """
    containers = {row.id for row in ledger.containers.values() if row.phase not in HALF}
    sandboxes = set(ledger.sandboxes)
    _end_strays(oci, containers)
    for id in groups.ids() - containers:
        groups.remove(id)
    keep = {str(places.root(id)) for id in containers} | {str(places.ipc / id) for id in sandboxes}
    owned = tuple(f"{places.parts}/{id}/" for id in containers) + tuple(f"{places.memory}/{id}/" for id in sandboxes)
    ours = (f"{places.roots}/", f"{places.parts}/", f"{places.memory}/", f"{places.ipc}/", f"{places.run_dir}/probe-")
    kernel.unmount_all(
        point
        for point in kernel.mount_points(places.run_dir)
        if point.startswith(ours) and point not in keep and not point.startswith(owned)
    )
    for id in (oci.ids() | oci.exit_ids()) - containers:
        oci.forget(id)
    for entry in os.scandir(places.ipc):
        if entry.name not in sandboxes:
            os.unlink(entry.path)
    for entry in os.scandir(places.parts):
        if entry.name not in containers:
            remove_parts(places.parts / entry.name)
    for directory, kept in (
        (places.roots, containers),
        (places.containers, containers),
        (places.memory, sandboxes),
        (places.sandboxes, sandboxes),
    ):
        for entry in os.scandir(directory):
            if entry.name not in kept:
                remove_tree(directory / entry.name)
    for entry in os.scandir(places.run_dir):
        if entry.name.startswith("probe-"):
            with contextlib.suppress(OSError):
                os.rmdir(f"{entry.path}/rootfs")  # never followed: a mount could hide there
                remove_tree(places.run_dir / entry.name)


def _end_strays(oci: Oci, keep: set[str]) -> None:
    """Kill monitors and runtime calls that work on nothing the ledger knows, until none is left."""
    deadline = time.monotonic() + _DIE_SECONDS
    while strays := [pid for pid, id in oci.strays() if id not in keep and kernel.process_started(pid) is not None]:
        for pid in strays:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {strays} do not die")
        time.sleep(0.002)

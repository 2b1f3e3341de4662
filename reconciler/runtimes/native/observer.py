"""Looking at what this instance made: the ledger's rows, beside what the kernel has of them.

One listing of mounts, one of links and one poll of all processes serve every pod; the rest is a
few small reads a container. Looking at a single pod may use listings of up to a second ago, since what
a pass is about to decide is checked again by the next relist.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from reconciler.model.observed import SeenContainer, SeenPod, SeenSandbox, State
from reconciler.model.ref import Ref
from reconciler.runtimes.native import kernel
from reconciler.runtimes.native.cgroups import Cgroups
from reconciler.runtimes.native.exits import Exits
from reconciler.runtimes.native.ledger import ContainerRow, Ledger, SandboxRow
from reconciler.runtimes.native.makers import Makers
from reconciler.runtimes.native.net.network import Network
from reconciler.runtimes.native.oci import Oci
from reconciler.runtimes.native.places import Places
from reconciler.runtimes.native.verdict import Facts, judge_container, judge_sandbox

_LISTING_SECONDS = 1.0
_ADDRESS_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Listing:
    """What serves all pods. `at` is time.monotonic()."""

    at: float
    mounts: frozenset[str]
    network: Mapping[str, str]


class Observer:
    """Sees the pods of one instance; changes nothing."""

    def __init__(
        self,
        places: Places,
        ledger: Ledger,
        network: Network,
        oci: Oci,
        groups: Cgroups,
        makers: Makers,
        exits: Exits,
    ) -> None:
        self._places = places
        self._ledger = ledger
        self._network = network
        self._oci = oci
        self._cgroups = groups
        self._makers = makers
        self._exits = exits
        self._under_way: set[str] = set()
        self._made_at: dict[str, float] = {}
        self._listing = _Listing(-_LISTING_SECONDS, frozenset(), {})
        self._host_address = (-_ADDRESS_SECONDS, "")

    @contextmanager
    def making(self, id: str) -> Iterator[None]:
        """While a step works on `id`, that it is half made is no fault."""
        self._under_way.add(id)
        try:
            yield
        finally:
            self._under_way.discard(id)
            self._made_at[id] = time.monotonic()

    def pods(self, ref: Ref | None) -> Mapping[Ref, SeenPod]:
        """Every pod, or one. Raises: OSError, TransientError."""
        if ref is None or time.monotonic() - self._listing.at > _LISTING_SECONDS:
            mounts = frozenset(kernel.mount_points(self._places.run_dir))
            self._listing = _Listing(time.monotonic(), mounts, self._network.observe())
            self._made_at = {id: at for id, at in self._made_at.items() if at > self._listing.at}
        rows = {pod: self._ledger.of_pod(pod) for pod in ([ref] if ref is not None else sorted(self._ledger.pods()))}
        alive = self._exits.alive(row.id for _, containers in rows.values() for row in containers)
        return MappingProxyType({pod: self._pod(pod, *rows[pod], *alive) for pod in rows if any(rows[pod])})

    def _pod(
        self,
        pod: Ref,
        sandboxes: list[SandboxRow],
        containers: list[ContainerRow],
        processes: set[str],
        monitors: set[str],
    ) -> SeenPod:
        newest = max(sandboxes, key=lambda row: (row.attempt, row.created_at), default=None)
        containers.sort(key=lambda row: (row.name, row.attempt, row.id))
        return SeenPod(
            pod,
            self._sandbox(newest) if newest is not None else None,
            tuple(self._container(row, processes, monitors) for row in containers),
        )

    def host_address(self) -> str:
        """The address by which others reach this host: what it would send from to the outside."""
        at, address = self._host_address
        if time.monotonic() - at > _ADDRESS_SECONDS:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                try:
                    probe.connect(("192.0.2.1", 9))  # sends nothing
                    address = str(probe.getsockname()[0])
                except OSError:  # no way out
                    address = str(self._network.gateway)
            self._host_address = (time.monotonic(), address)
        return address

    def _sandbox(self, row: SandboxRow) -> SeenSandbox:
        fresh = self._fresh(row.id)
        mounts = self._makers.sandbox_mounts(row.id, row.config)
        fault = judge_sandbox(
            row,
            under_way=row.id in self._under_way,
            network="" if fresh else self._listing.network.get(row.id),
            missing=() if fresh else [point for point in mounts if point not in self._listing.mounts],
            files=os.path.isdir(self._places.sandbox(row.id)),
        )
        return SeenSandbox(
            id=row.id,
            spec_hash=row.spec_hash,
            attempt=row.attempt,
            created_at=row.created_at,
            addresses=(row.address or self.host_address(),),
            volume_hashes=MappingProxyType(dict(row.volume_hashes)),
            grace_seconds=row.grace_seconds,
            fault=fault,
        )

    def _container(self, row: ContainerRow, processes: set[str], monitors: set[str]) -> SeenContainer:
        alive = row.id in processes
        frozen = self._cgroups.frozen(row.id) if alive else None
        facts = Facts(
            under_way=row.id in self._under_way,
            alive=alive,
            monitored=row.id in monitors,
            known=self._oci.known(row.id),
            waits=alive and self._oci.waits(row.id),
            frozen=bool(frozen),
            mounted=self._fresh(row.id) or str(self._places.root(row.id)) in self._listing.mounts,
            cgroup=frozen is not None,
        )
        state, fault = judge_container(row, facts)
        return SeenContainer(
            id=row.id,
            name=row.name,
            sandbox_id=row.sandbox_id,
            spec_hash=row.spec_hash,
            state=state,
            attempt=row.attempt,
            backoff_level=row.backoff_level,
            image=row.image,
            image_id=row.image_id,
            pid=row.pid if alive and row.pid else None,
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            exit_code=row.exit_code,
            oom_killed=row.oom_killed,
            message=row.message,
            fault=fault,
            limits_drifted=state is State.RUNNING and self._cgroups.drifted(row.id, row.resources),
        )

    def _fresh(self, id: str) -> bool:
        """Whether it was made after the listing, which so says nothing about it."""
        return self._made_at.get(id, -1.0) > self._listing.at

"""Carrying out the steps of a plan. Every one is idempotent, and leaves the ledger telling the truth
at whatever instruction the daemon is killed: a row is written before its effects and dropped after them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Coroutine
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from reconciler.errors import ConflictError, ReconcilerError, TerminalError
from reconciler.model.sandbox import Files, HostPath, Port
from reconciler.plan import steps
from reconciler.plan.hashing import volume_hash
from reconciler.runtimes.native import bundle, cgroups
from reconciler.runtimes.native.cgroups import Cgroups
from reconciler.runtimes.native.exits import Exits
from reconciler.runtimes.native.images.store import ImageStore
from reconciler.runtimes.native.launcher import Launcher
from reconciler.runtimes.native.ledger import HALF, ContainerRow, Ledger, Phase, SandboxRow, without_contents
from reconciler.runtimes.native.makers import Makers
from reconciler.runtimes.native.net import survey
from reconciler.runtimes.native.net.network import Network
from reconciler.runtimes.native.observer import Observer
from reconciler.runtimes.native.oci import Oci, Process
from reconciler.runtimes.native.places import Places

_MONITOR_SECONDS = 2.0  # how long a monitor may take to end after its container


class Actions:
    """The steps, on the parts that `engine` composes."""

    def __init__(
        self,
        places: Places,
        ledger: Ledger,
        network: Network,
        images: ImageStore,
        oci: Oci,
        launcher: Launcher,
        groups: Cgroups,
        makers: Makers,
        exits: Exits,
        observer: Observer,
    ) -> None:
        self._places = places
        self._ledger = ledger
        self._network = network
        self._images = images
        self._oci = oci
        self._launcher = launcher
        self._cgroups = groups
        self._makers = makers
        self._exits = exits
        self._observer = observer

    def container(self, id: str) -> ContainerRow:
        """Raises: TerminalError(reason="NotFound")."""
        row = self._ledger.containers.get(id)
        if row is None:
            raise TerminalError(f"there is no container {id}", reason="NotFound")
        return row

    def take_up(self, row: ContainerRow) -> None:
        """Watch a container that an earlier run of the daemon made."""
        if row.phase is Phase.MADE and not self._oci.waits(row.id):  # killed between starting it and noting it
            row = self._ledger.put_container(replace(row, phase=Phase.STARTED, started_at=row.created_at))
        if row.phase is not Phase.EXITED:
            self._exits.watch(row.id, Process(row.pid, row.pid_started), Process(row.monitor, row.monitor_started))

    def ended(self, id: str) -> ContainerRow | None:
        """Note how a container ended, once its monitor has; None when it is not ours any more."""
        row = self._ledger.containers.get(id)
        if row is None:
            return None
        self._oci.reap(row.monitor)
        exit = self._oci.exit(id)
        if exit is None or row.phase in (*HALF, Phase.EXITED):
            return row
        code, at = exit
        return self._ledger.put_container(
            replace(
                row,
                phase=Phase.EXITED,
                exit_code=code,
                finished_at=at,
                oom_killed=code == 128 + signal.SIGKILL and self._cgroups.oom_kills(id) > 0,
                message=self._makers.message(id),
            )
        )

    async def create_sandbox(self, action: steps.CreateSandbox) -> str:
        config = action.config
        row = self._ledger.sandboxes.get(action.id)
        if row is not None and row.phase not in HALF:
            return ""
        if config.share_process_namespace:
            raise TerminalError(
                "shareProcessNamespace is not supported: every container has a process namespace of its own; "
                "remove it, or use hostPID",
                reason="CreateContainerConfigError",
            )
        await self._claim(action.id, config.ports)
        now = time.time()
        own = not config.host_network
        address = str(self._ledger.lease(self._network.pod_cidr, config.pod, action.id, now)) if own else ""
        hashes = {v.name: volume_hash(v) for v in config.volumes if isinstance(v, Files)}
        kept = without_contents(config)
        with self._observer.making(action.id):
            row = self._ledger.put_sandbox(
                SandboxRow(
                    id=action.id,
                    pod=config.pod,
                    spec_hash=action.spec_hash,
                    attempt=action.attempt,
                    created_at=now,
                    config=kept,
                    address=address,
                    volume_hashes=hashes,
                    grace_seconds=action.grace_seconds,
                )
            )
            shown = address or self._observer.host_address()
            made = asyncio.to_thread(self._makers.make_sandbox, action.id, config, (shown,))
            await _all(made, *([self._network.attach(action.id, IPv4Address(address))] if own else []))
            self._ledger.put_sandbox(replace(row, phase=Phase.MADE))
        if config.ports:
            await self.publish()
        return f"address {shown}"

    async def update_volume(self, action: steps.UpdateVolume) -> str:
        row = self._ledger.sandboxes.get(action.sandbox_id)
        if row is None:
            raise TerminalError(f"there is no sandbox {action.sandbox_id}", reason="NotFound")
        await asyncio.to_thread(self._makers.volumes.ensure, row.id, action.volume)
        row = self._ledger.sandboxes[row.id]
        self._ledger.put_sandbox(replace(row, volume_hashes={**row.volume_hashes, action.name: action.volume_hash}))
        return f"volume {action.name}"

    async def create_container(self, action: steps.CreateContainer) -> str:
        row = self._ledger.containers.get(action.id)
        if row is not None and row.phase not in HALF:
            return ""
        sandbox = self._ledger.sandboxes.get(action.sandbox_id)
        if sandbox is None:
            raise TerminalError(f"there is no sandbox {action.sandbox_id}", reason="FailedCreatePodSandBox")
        if row is not None:
            await self._unmake(action.id)
        image = await self._images.resolve(action.config.image)
        config = action.config
        settings = image.config.get("config") or {}
        row = ContainerRow(
            id=action.id,
            pod=action.pod,
            sandbox_id=action.sandbox_id,
            name=config.name,
            spec_hash=action.spec_hash,
            attempt=action.attempt,
            backoff_level=action.backoff_level,
            created_at=time.time(),
            image=config.image,
            image_id=image.id,
            resources=config.resources,
            stop_signal=bundle.stop_signal(config.stop_signal, settings),
        )
        own = not sandbox.config.host_network
        with self._observer.making(action.id):
            self._ledger.put_container(row)
            try:
                for volume in sandbox.config.volumes:
                    if isinstance(volume, HostPath):
                        await self._launcher.show(volume.path)
                spec = await asyncio.to_thread(
                    self._makers.make_container,
                    action.id,
                    action.sandbox_id,
                    sandbox.config,
                    config,
                    image.config,
                    image.layers,
                    cgroup=self._cgroups.path(action.id),
                    netns=str(self._network.netns_path(action.sandbox_id)) if own else "",
                    addresses=(sandbox.address or self._observer.host_address(),),
                    host_address=self._observer.host_address(),
                )
                created = await self._launcher.run(
                    self._oci.create,
                    action.id,
                    self._places.bundle(action.id),
                    spec,
                    self._places.log(action.id),
                    stdin=config.stdin,
                    stdin_once=config.stdin_once,
                )
            except (ReconcilerError, OSError):
                with contextlib.suppress(OSError):  # what cannot be undone stays in the ledger, as half made
                    await self._unmake(action.id)
                    self._ledger.drop_container(action.id)
                raise
            cgroups.leave(created.monitor.pid, self._cgroups.layout, self._ledger.instance)
            self._ledger.put_container(
                replace(
                    row,
                    phase=Phase.MADE,
                    pid=created.process.pid,
                    pid_started=created.process.started,
                    monitor=created.monitor.pid,
                    monitor_started=created.monitor.started,
                )
            )
            self._exits.watch(action.id, created.process, created.monitor)
        return f"image {config.image}"

    async def start_container(self, id: str) -> str:
        row = self.container(id)
        if row.phase is not Phase.MADE:
            return ""
        await self._launcher.run(self._oci.start, id)
        row = self._ledger.containers[id]  # it may have ended since
        self._ledger.put_container(
            replace(row, phase=Phase.EXITED if row.phase is Phase.EXITED else Phase.STARTED, started_at=time.time())
        )
        return f"process {row.pid}"

    async def stop_container(self, id: str, grace_seconds: float) -> str:
        row = self._ledger.containers.get(id)
        descriptor = self._exits.descriptor(id)
        if row is None or descriptor is None or row.phase is Phase.EXITED:
            return ""
        if not self._oci.waits(id) and grace_seconds > 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, row.stop_signal)
            if self._cgroups.frozen(id):
                self._cgroups.thaw(id)
            if await self._exits.wait(id, grace_seconds):
                return self._how(id)
        await asyncio.to_thread(self._cgroups.kill, id)
        await self._exits.wait(id, _MONITOR_SECONDS)
        return self._how(id)

    def resume_container(self, id: str) -> str:
        self._cgroups.thaw(self.container(id).id)
        return ""

    def restore_limits(self, id: str) -> str:
        row = self.container(id)
        self._cgroups.restore(id, row.resources)
        return ""

    async def remove_container(self, id: str) -> str:
        row = self._ledger.containers.get(id)
        if row is None:
            return ""
        with self._observer.making(id):
            self._ledger.put_container(replace(row, phase=Phase.REMOVING))
            await self._unmake(id)
            self._exits.drop(id)
            self._ledger.drop_container(id)
        return ""

    async def remove_sandbox(self, id: str) -> str:
        row = self._ledger.sandboxes.get(id)
        if row is None:
            return ""
        with self._observer.making(id):
            self._ledger.put_sandbox(replace(row, phase=Phase.REMOVING))
            removed = asyncio.to_thread(self._makers.remove_sandbox, id)
            await _all(removed, *([] if row.config.host_network else [self._network.detach(id)]))
            self._ledger.drop_sandbox(id, time.time())
        if row.config.ports:
            await self.publish()
        return ""

    async def publish(self) -> None:
        """Have the host ports of all sandboxes lead to them."""
        await self._network.publish(
            {
                row.id: (IPv4Address(row.address), row.config.ports)
                for row in self._ledger.sandboxes.values()
                if row.address and row.config.ports
            }
        )

    async def _unmake(self, id: str) -> None:
        """Take away all there is of a container but its row: processes, monitor, cgroups, mounts, files."""
        row = self._ledger.containers[id]
        await asyncio.to_thread(self._cgroups.kill, id)
        if row.monitor and not await self._exits.wait(id, _MONITOR_SECONDS):
            with contextlib.suppress(ProcessLookupError):
                os.kill(row.monitor, signal.SIGKILL)
        self._oci.reap(row.monitor)
        await asyncio.to_thread(self._unmake_files, id)

    def _unmake_files(self, id: str) -> None:
        self._cgroups.remove(id)
        self._makers.remove_container(id)
        self._oci.forget(id)

    def _how(self, id: str) -> str:
        row = self._ledger.containers.get(id)
        return "" if row is None or row.exit_code is None else f"exit code {row.exit_code}"

    async def _claim(self, id: str, ports: tuple[Port, ...]) -> None:
        """Raises: ConflictError(reason="HostPortConflict") naming who holds one of `ports`."""
        for port in ports:
            holder = await asyncio.to_thread(survey.port_holder, port.host_port, port.protocol, port.host_ip)
            if holder is not None:
                raise _taken(port, holder)
        # last, so that nothing can be claimed between this and the row that claims it
        for other in self._ledger.sandboxes.values():
            for port in ports:
                if other.id != id and any(_clash(port, theirs) for theirs in other.config.ports):
                    raise _taken(port, f"pod {other.pod.namespace}/{other.pod.name}")


async def _all(*calls: Coroutine[Any, Any, None]) -> None:
    """Wait for all of them, also when one fails: nothing must go on working on what is removed next."""
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def _taken(port: Port, holder: str) -> ConflictError:
    return ConflictError(
        f"host port {port.host_port}/{port.protocol} is held by {holder}; choose another hostPort",
        reason="HostPortConflict",
    )


def _clash(one: Port, other: Port) -> bool:
    anywhere = {"", "0.0.0.0", "::"}  # noqa: S104 (compared, not bound)
    return (one.host_port, one.protocol) == (other.host_port, other.protocol) and (
        one.host_ip == other.host_ip or one.host_ip in anywhere or other.host_ip in anywhere
    )

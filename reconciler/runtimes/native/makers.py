"""Making and removing what a sandbox and a container consist of on disk and as mounts.

Blocking, without decisions: called in threads, every function idempotent and safe after a kill half way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.errors import TerminalError
from reconciler.model.sandbox import ContainerConfig, Files, SandboxConfig, Volume
from reconciler.runtimes.native import bundle, etc, kernel, rootfs, users
from reconciler.runtimes.native.bundle import BoundMount
from reconciler.runtimes.native.places import Places
from reconciler.runtimes.native.users import User
from reconciler.runtimes.native.volumes import Volumes, remove_pin, remove_tree

_ETC = (("hosts", "/etc/hosts"), ("hostname", "/etc/hostname"), ("resolv.conf", "/etc/resolv.conf"))
_MESSAGE_BYTES = 4096
_SHM_BYTES = 64 << 20
_RESOLV_CONF = "/etc/resolv.conf"
# systemd-resolved's own resolver sits on loopback; this is what it asks itself
_UPSTREAM_RESOLV_CONF = "/run/systemd/resolve/resolv.conf"


class Makers:
    """The files and mounts of one instance's sandboxes and containers."""

    def __init__(self, places: Places, host: bundle.HostFacts) -> None:
        self._places = places
        self._host = host
        self.volumes = Volumes(places.sandboxes, places.memory, places.parts)

    def make_sandbox(self, id: str, config: SandboxConfig, addresses: Sequence[str]) -> None:
        """Volumes, hosts, hostname and resolv.conf. Raises: TransientError(reason="FailedMount"), OSError."""
        directory = self._places.sandbox(id)
        directory.mkdir(mode=0o700, exist_ok=True)
        for volume in config.volumes:
            self.volumes.ensure(id, volume)
        if not config.host_ipc:
            self._ensure_ipc(id)
        own = not config.host_network
        hosts = (
            etc.render_hosts(addresses, config.hostname, config.hosts)
            if own
            else etc.extend_hosts(_host_text("/etc/hosts"), config.hosts)
        )
        hostname = config.hostname if own else os.uname().nodename
        resolv = etc.render_resolv_conf(config.dns, _host_resolv_conf(own), own_network=own)
        for name, text in (("hosts", hosts), ("hostname", f"{hostname}\n"), ("resolv.conf", resolv)):
            path = directory / ".etc" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def remove_sandbox(self, id: str) -> None:
        """Volumes and files; never what a hostPath holds."""
        self.volumes.remove(id, kernel.mount_points(self._places.memory))
        remove_pin(self._places.ipc / id)

    def sandbox_mounts(self, id: str, config: SandboxConfig) -> list[str]:
        """The mount points that must be there while the sandbox is in order."""
        ipc = [] if config.host_ipc else [str(self._places.ipc / id), str(self._places.shm(id))]
        return [*ipc, *self.volumes.mount_points(id, config.volumes)]

    def make_container(
        self,
        id: str,
        sandbox_id: str,
        sandbox: SandboxConfig,
        config: ContainerConfig,
        image: Mapping[str, Any],
        layers: Sequence[Path],
        *,
        cgroup: str,
        netns: str,
        addresses: tuple[str, ...],
        host_address: str,
    ) -> dict[str, Any]:
        """Mount the root filesystem and what else the container stands on; returns its OCI spec.

        Raises: TerminalError(reason="CreateContainerConfigError"), TransientError(reason="FailedMount"), OSError.
        """
        directory, root = self._places.bundle(id), self._places.root(id)
        directory.mkdir(mode=0o700, exist_ok=True)
        rootfs.ensure(root, layers, directory)
        made = bundle.Made(
            rootfs=str(root),
            cgroup=cgroup,
            user=_user(root, config, image),
            netns=netns,
            addresses=addresses,
            host_address=host_address,
            mounts=(*self._files(id, sandbox_id, sandbox, config), *self._mounts(id, sandbox_id, sandbox, config)),
            ipc="" if sandbox.host_ipc else str(self._places.ipc / sandbox_id),
            seccomp_profile=_profile(config.security.seccomp),
        )
        spec = bundle.render_spec(config, sandbox, image, made, self._host)
        _ensure_directory(root, spec["process"]["cwd"], made.user)
        return spec

    def remove_container(self, id: str) -> None:
        """Unmount its root filesystem and subPaths and remove its directory."""
        rootfs.remove(self._places.root(id))
        if (self._places.parts / id).exists():
            self.volumes.remove_parts(id, kernel.mount_points(self._places.parts))
        remove_tree(self._places.bundle(id))

    def message(self, id: str) -> str:
        """What the container left as its termination message, at most 4096 bytes."""
        try:
            with open(self._places.termination(id), "rb") as file:
                return file.read(_MESSAGE_BYTES).decode(errors="replace")
        except OSError:
            return ""

    def _ensure_ipc(self, id: str) -> None:
        """The containers of a pod share queues, semaphores and memory, one after another and side by side."""
        pin, shm = self._places.ipc / id, self._places.shm(id)
        there = kernel.mount_points(self._places.run_dir)
        if str(pin) not in there:
            pin.touch()
            kernel.pin_new_ipc(str(pin))
        if str(shm) not in there:
            shm.mkdir(parents=True, exist_ok=True)
            flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
            kernel.mount("shm", str(shm), "tmpfs", flags, f"mode=1777,size={_SHM_BYTES}")

    def _files(self, id: str, sandbox_id: str, sandbox: SandboxConfig, config: ContainerConfig) -> list[BoundMount]:
        taken = {mount.path.rstrip("/") for mount in config.mounts}
        directory = self._places.sandbox(sandbox_id) / ".etc"
        found = [BoundMount(str(directory / name), path) for name, path in _ETC if path not in taken]
        if not sandbox.host_ipc and "/dev/shm" not in taken:  # noqa: S108
            found.append(BoundMount(str(self._places.shm(sandbox_id)), "/dev/shm"))  # noqa: S108
        if config.termination_message_path:
            message = self._places.termination(id)
            message.touch()
            message.chmod(0o666)  # whoever the container runs as writes it
            found.append(BoundMount(str(message), config.termination_message_path))
        return found

    def _mounts(self, id: str, sandbox_id: str, sandbox: SandboxConfig, config: ContainerConfig) -> list[BoundMount]:
        by_name: dict[str, Volume] = {volume.name: volume for volume in sandbox.volumes}
        found: list[BoundMount] = []
        for number, mount in enumerate(config.mounts):
            volume = by_name.get(mount.volume)
            if volume is None:
                raise TerminalError(
                    f"the pod has no volume {mount.volume!r}, which {mount.path} mounts",
                    reason="CreateContainerConfigError",
                )
            source = self.volumes.path(sandbox_id, volume)
            if mount.sub_path:
                source = self.volumes.part(id, number, source, mount.sub_path)
            read_only = mount.read_only or isinstance(volume, Files)  # whose content is ours to publish
            found.append(BoundMount(str(source), mount.path, read_only, mount.propagation))
        return found


def _user(root: Path, config: ContainerConfig, image: Mapping[str, Any]) -> User:
    declared = config.security
    of_image = str((image.get("config") or {}).get("User") or "")
    wanted = of_image if declared.user is None else str(declared.user)
    texts = (kernel.read_in_root(str(root), path) for path in ("etc/passwd", "etc/group"))
    user = users.resolve(wanted, *texts)
    return user if declared.group is None else User(user.uid, declared.group, user.groups, user.home)


def _profile(seccomp: str) -> Mapping[str, Any] | None:
    """The profile that a pod names by a path of the host (type Localhost)."""
    if seccomp in ("RuntimeDefault", "Unconfined"):
        return None
    try:
        return dict(json.loads(Path(seccomp).read_bytes()))
    except (OSError, ValueError) as error:
        raise TerminalError(
            f"seccomp profile {seccomp}: {getattr(error, 'strerror', None) or 'is not JSON'}",
            reason="CreateContainerConfigError",
        ) from None


def _ensure_directory(root: Path, path: str, user: User) -> None:
    """Make the working directory if the image lacks it, as Docker does, below a root that is not trusted."""
    base = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    done = "."
    try:
        for name in path.strip("/").split("/"):
            parent = kernel.open_in_root(base, done, os.O_PATH | os.O_DIRECTORY)
            try:
                os.mkdir(name or ".", 0o755, dir_fd=parent)
                os.chown(name, user.uid, user.gid, dir_fd=parent, follow_symlinks=False)
            except FileExistsError:
                pass
            finally:
                os.close(parent)
            done = f"{done}/{name}"
    except OSError:
        pass  # the runtime says what is wrong with it
    finally:
        os.close(base)


def _host_text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _host_resolv_conf(own_network: bool) -> str:
    text = _host_text(_RESOLV_CONF)
    if own_network and "nameserver 127.0.0.53" in text:
        return _host_text(_UPSTREAM_RESOLV_CONF) or text
    return text

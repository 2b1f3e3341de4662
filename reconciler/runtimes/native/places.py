"""Where everything of an instance is: data below the state directory, mounts and sockets below the run directory.

All mounts lie below the run directory, so that one listing finds them and one shared mount
carries them to where the OCI runtime is started.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """The directories of one instance."""

    state_dir: Path
    run_dir: Path

    @classmethod
    def of(cls, state_dir: Path, run_dir: Path) -> Places:
        """With both made absolute: mounts have no working directory."""
        return cls(state_dir.absolute(), run_dir.absolute())

    @property
    def ledger(self) -> Path:
        return self.state_dir / "engine.db"

    @property
    def sandboxes(self) -> Path:
        return self.state_dir / "sandboxes"

    @property
    def containers(self) -> Path:
        return self.state_dir / "containers"

    @property
    def roots(self) -> Path:
        """Of the containers: overlay mounts."""
        return self.run_dir / "rootfs"

    @property
    def memory(self) -> Path:
        """Volumes that are a tmpfs."""
        return self.run_dir / "volumes"

    @property
    def parts(self) -> Path:
        """Bound subPaths."""
        return self.run_dir / "subpaths"

    @property
    def ipc(self) -> Path:
        """Pinned IPC namespaces, one for each sandbox."""
        return self.run_dir / "ipc"

    def shm(self, id: str) -> Path:
        """The shared memory of a sandbox, beside its volumes in memory."""
        return self.memory / id / ".shm"

    def sandbox(self, id: str) -> Path:
        """Its /etc files, and its volumes on disk under `volumes`."""
        return self.sandboxes / id

    def bundle(self, id: str) -> Path:
        """Of a container: config.json, what it wrote (`upper`), its log."""
        return self.containers / id

    def root(self, id: str) -> Path:
        return self.roots / id

    def log(self, id: str) -> Path:
        return self.bundle(id) / "log"

    def termination(self, id: str) -> Path:
        """The file that is the container's termination message."""
        return self.bundle(id) / "termination"

    def ensure(self) -> None:
        """Make the directories, closed to others: secrets pass through them."""
        for directory in (
            self.state_dir,
            self.run_dir,
            self.sandboxes,
            self.containers,
            self.roots,
            self.memory,
            self.parts,
            self.ipc,
        ):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

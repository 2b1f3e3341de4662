"""What the control loop needs from the outside, as Protocols.

Adapters (sources, runtimes) implement them and never see each other; the control
loop and the API are written against them and never see an adapter.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

from reconciler.model.login import Login
from reconciler.model.observed import Observed
from reconciler.model.ref import Ref
from reconciler.plan.garbage import Disk, StoredImage
from reconciler.plan.steps import Step


class Clock(Protocol):
    """Wall clock time in seconds since the epoch. Waiting is the event loop's."""

    def now(self) -> float: ...


@dataclass(frozen=True, slots=True)
class TreeFile:
    """One manifest file. `path` is relative to the source's root, with `/`."""

    path: str
    content: bytes = field(repr=False)
    modified_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Tree:
    """All manifest files of a source at one moment.

    `unreadable` maps paths (files or folders) that exist and could not be read or were refused
    (too big, a loop, leaves the folder) to one line of why. Nothing under them is taken as deleted.
    `revision` is a hash of the content, or the commit.
    """

    revision: str
    files: tuple[TreeFile, ...]
    unreadable: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """Where desired state comes from."""

    name: str

    async def load(self) -> Tree:
        """Read everything. Raises TransientError(reason="SourceUnreadable") when the root
        itself is gone or unreadable: then nothing may be concluded about deletions."""
        ...

    def changes(self) -> AsyncIterator[None]:
        """Yield after something may have changed. Hints, merged; never the data."""
        ...


class Runtime(Protocol):
    """What can run pods. Every step is idempotent and safe to run again after a kill."""

    async def observe(self, ref: Ref | None = None) -> Observed:
        """The world as it is, or only one pod of it. `images` is always whole."""
        ...

    async def execute(self, step: Step) -> str:
        """Carry out one step; returns what to show of it in an event ("" for nothing).

        Raises: TerminalError, TransientError or ConflictError with a known reason:
        ErrImagePull, ErrImageNeverPull, InvalidImageName, CreateContainerConfigError,
        CreateContainerError, RunContainerError, FailedCreatePodSandBox, HostPortConflict,
        FailedMount, FailedKillPod, NoSpace.
        """
        ...

    async def mend(self) -> Sequence[str]:
        """Put right what all pods share and nobody declares (a bridge, firewall rules). Idempotent, and
        cheap when all is well. Returns a sentence for each thing that somebody had taken apart."""
        ...

    def events(self) -> AsyncIterator[Ref]:
        """Refs of pods to which something happened: an exit, an OOM kill. Hints, as in Source."""
        ...

    async def aclose(self) -> None:
        """Let go, and leave the containers running."""
        ...


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line (or part of one) that a container wrote."""

    at: float  # seconds since the epoch
    stream: str  # stdout | stderr
    text: bytes  # without the newline when `complete`
    complete: bool = True


class ExecSession(Protocol):
    """A command that runs inside a container."""

    async def write(self, data: bytes) -> None: ...
    async def close_stdin(self) -> None: ...
    async def resize(self, columns: int, rows: int) -> None: ...
    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """(1 or 2, data) until both ends; with a tty all is 1."""
        ...

    async def wait(self) -> int:
        """The exit code. Ends when the command has."""
        ...

    async def kill(self) -> None: ...


class Containers(Protocol):
    """Looking into running containers, for the API."""

    def logs(
        self,
        container_id: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
    ) -> AsyncIterator[LogLine]:
        """Raises: TerminalError(reason="NotFound")."""
        ...

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool = False, stdin: bool = False
    ) -> ExecSession:
        """Raises: TerminalError(reason="NotFound") or TerminalError(reason="ExecFailed") with the runtime's words."""
        ...

    async def wait_exit(self, container_id: str) -> None:
        """Return once the process of the container has ended."""
        ...

    async def disk_bytes(self) -> Mapping[str, int]:
        """What each container takes on disk, by its id: what it wrote, and its log. Walks all of it."""
        ...


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the store. `id` is the digest of its config, `sha256:...`."""

    id: str
    references: tuple[str, ...]  # normalized; () is dangling
    digest: str  # of the manifest
    created_at: float
    size_bytes: int  # of the blobs, compressed as they are stored
    platform: str = "linux/amd64"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an order has come, of what it has to move."""

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class ImageDetail:
    """All there is to know of one image. `config` is the OCI image config; `layer_bytes` are the sizes of its
    layers on disk, unpacked, bottom first."""

    image: Image
    config: Mapping[str, Any]
    layer_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ImageDisk:
    """What the store takes of its filesystem."""

    blobs_bytes: int
    layers_bytes: int
    filesystem: Disk


class Images(Protocol):
    """The image store.

    An `image` that is asked for is a name (short or full, `latest` when it has no tag), a name with a digest, an id,
    or the beginning of an id that only one image has: TerminalError(reason="NotFound" or "InvalidImageName"),
    ConflictError(reason="AmbiguousId").
    """

    async def list(self) -> Sequence[Image]: ...

    def load(self, archive: str, *, reference: str = "") -> AsyncIterator[str]:
        """Take the images of a docker-archive or oci-archive file, or an OCI layout directory.
        Yields progress lines; `loaded <reference>` for each image."""
        ...

    def pull(
        self, reference: str, *, platform: str = "", verify_tls: bool = True, logins: Sequence[Login] | None = None
    ) -> AsyncIterator[str | Progress]:
        """Fetch from a registry through skopeo, for this machine's platform or another ("linux/arm64"). With None
        the logins are those of docker's config.json. Yields lines and progress."""
        ...

    def push(
        self, reference: str, *, verify_tls: bool = True, logins: Sequence[Login] | None = None
    ) -> AsyncIterator[str | Progress]:
        """Send an image to the registry its name says. Yields lines and progress.
        Raises: TerminalError(reason="NotFound"), TransientError(reason="ErrImagePush")."""
        ...

    def import_root(self, archive: str, reference: str) -> AsyncIterator[str]:
        """Make a one-layer image of a root filesystem tarball (`docker import`)."""
        ...

    def build(
        self,
        context: str,
        *,
        reference: str,
        also: Sequence[str] = (),
        dockerfile: str = "",
        target: str = "",
        build_args: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        no_cache: bool = False,
    ) -> AsyncIterator[str]:
        """Build a Dockerfile through buildah into the store, named `reference` and `also` these.
        `secrets` are files by their ids. Yields its output line by line.
        Raises: TerminalError(reason="BuildFailed")."""
        ...

    async def tag(self, image: str, reference: str) -> None:
        """Give an image another name; one that had that name loses it."""
        ...

    async def remove(self, image: str, *, force: bool = False) -> Sequence[str]:
        """Untag a name, and delete the image with its last one. Returns lines of what was done.

        Raises: ConflictError(reason="ImageInUse") for the last name of what a container uses; with `force` that
        is untagged and kept. ConflictError(reason="SeveralNames") for an id of an image with several names;
        with `force` all of them go.
        """
        ...

    async def inspect(self, image: str) -> ImageDetail: ...

    def save(self, images: Sequence[str], archive: str, *, form: str = "docker") -> AsyncIterator[str]:
        """Write images into a new file: a docker-archive, or (`form` "oci") an oci-archive. The file appears
        when it is whole. Yields progress lines. Raises: TerminalError(reason="SaveFailed")."""
        ...

    async def stored(self) -> Sequence[StoredImage]:
        """What each image is made of, for deciding what goes."""
        ...

    async def in_use(self) -> Set[str]:
        """The ids of images that containers stand on."""
        ...

    async def delete(self, ids: Sequence[str]) -> Sequence[str]:
        """Delete images with all their names, but for those that a container uses. Returns: the ids of those that
        are gone. Idempotent."""
        ...

    async def disk(self) -> ImageDisk:
        """What the images take. Walks what it has not seen before."""
        ...

    async def build_cache_bytes(self) -> int:
        """What builds have kept to be faster the next time. Walks all of it."""
        ...

    async def clear_build_cache(self) -> None:
        """Forget it. Raises: ConflictError(reason="BuildRunning")."""
        ...

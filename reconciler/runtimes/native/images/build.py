"""buildah as our hands: a Dockerfile becomes an image in the store.

buildah keeps its cache in a storage of its own under the state directory. It runs in mount, pid, ipc
and uts namespaces of its own, so that when it ends, however it ends, no mount and no process of a RUN is left;
RUN steps use `--isolation chroot`, which needs neither an OCI runtime nor cgroups nor raised limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import resource
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.errors import HostError, TerminalError, TransientError
from reconciler.runtimes.native.images.dockerfile import HEREDOC, Instruction, line_of_step, parse_dockerfile
from reconciler.runtimes.native.images.programs import Program, Stalled

_NAMESPACES = ("mount", "pid", "ipc", "uts")
_DEFAULT_NAMES = ("Dockerfile", "Containerfile")
_STALL_SECONDS = 3600.0  # a compiler may be silent for long; a build that hangs still ends
_NOISE = re.compile(r'^time="[^"]*" level=|^subprocess exited with status \d+$')
_STEP = re.compile(r"^(?:\[(\d+)/\d+\] )?STEP \d+/\d+: ")
_FAILED_STEP = re.compile(r'building at STEP "((?:[^"\\]|\\.)*)": (.*)', re.DOTALL)
_GO_DUMP = re.compile(r" &imagebuilder\.Step\{.*")


@dataclass(frozen=True, slots=True)
class Order:
    """What to build. `dockerfile` is a path (relative to the context), or "" for the usual names."""

    context: Path
    dockerfile: str = ""
    target: str = ""
    build_args: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False

    def find_dockerfile(self) -> Path:
        """Raises: TerminalError(reason="BuildFailed"). Blocks."""
        if not self.context.is_dir():
            raise TerminalError(f"{self.context} is not a directory to build in", reason="BuildFailed")
        names = (self.dockerfile,) if self.dockerfile else _DEFAULT_NAMES
        for name in names:
            if (self.context / name).is_file():
                return self.context / name
        raise TerminalError(f"{self.context} has no {' or '.join(names)}", reason="BuildFailed")


class Builder:
    """buildah's storage below `path`. Several builds may run at once, in several processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._driver = ""

    async def build(self, order: Order, dockerfile: Path, image_id_file: Path) -> AsyncGenerator[str, None]:
        """Yields buildah's output line by line; then `image_id_file` has the id of the image.

        Raises: TerminalError(reason="BuildFailed") with file and line, TransientError(reason="NoSpace"), HostError.
        """
        instructions = parse_dockerfile(await asyncio.to_thread(dockerfile.read_text, errors="replace"))
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        processes = 32768 if hard == resource.RLIM_INFINITY else min(32768, hard)
        arguments = [
            *("build", "--layers", "--isolation=chroot", "--pull=false", "--force-rm"),
            *(f"--ulimit=nproc={processes}:{processes}", f"--iidfile={image_id_file}", f"--file={dockerfile}"),
            *((f"--target={order.target}",) if order.target else ()),
            *(f"--build-arg={name}={value}" for name, value in order.build_args.items()),
            *(("--no-cache",) if order.no_cache else ()),
            str(order.context),
        ]
        stage: int | None = None
        said: list[str] = []
        async with self._program(*arguments) as program:
            try:
                async for line in program.lines():
                    if _NOISE.match(line):
                        continue
                    if step := _STEP.match(line):
                        stage = int(step[1]) if step[1] else None
                    if line.startswith("Error: "):
                        said.append(line)
                    else:
                        yield line
                code = await program.wait()
            except Stalled as error:
                raise TerminalError(f"{dockerfile.name}: {error}", reason="BuildFailed") from None
        if code != 0:
            raise _failure(dockerfile.name, instructions, stage, "\n".join(said) or " ".join(list(program.tail)[-3:]))

    async def give(self, source: str, name: str) -> None:
        """Hand buildah the image `source` (in skopeo's syntax) under `name`, so that FROM finds it."""
        argv = ("skopeo", "--insecure-policy", "copy", source, f"{await self.storage()}{name}")
        async with Program(argv, namespaces=_NAMESPACES, stall_seconds=_STALL_SECONDS) as program:
            if await program.wait() != 0:
                raise TransientError(f"handing {name} to buildah failed: {' '.join(program.tail)[-300:]}")

    async def storage(self) -> str:
        """How skopeo calls buildah's storage; an image's name, or `@` and its id, follows."""
        return f"containers-storage:[{await self._choose_driver()}@{self.path / 'root'}+{self.path / 'run'}]"

    @contextlib.asynccontextmanager
    async def in_turn(self) -> AsyncIterator[None]:
        """Hold the storage; who comes when nobody else does removes what killed builds left."""
        await asyncio.to_thread(self.path.mkdir, mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                await self._remove_leftovers()
            except BlockingIOError:
                pass  # others build: what is there may be theirs
            await asyncio.to_thread(fcntl.flock, fd, fcntl.LOCK_SH)
            yield
        finally:
            os.close(fd)

    async def _remove_leftovers(self) -> None:
        listed = self.path / "root" / f"{await self._choose_driver()}-containers" / "containers.json"
        if listed.exists() and listed.stat().st_size > len("[]\n"):
            async with self._program("rm", "--all") as program:
                await program.wait()

    async def _choose_driver(self) -> str:
        """overlay where the state directory can carry one, else vfs (copies: slow, but everywhere)."""
        if not self._driver:
            for driver in ("overlay", "vfs"):
                self._driver = driver
                async with self._program("info") as program:
                    if await program.wait() == 0:
                        return driver
            self._driver = ""
            raise HostError(f"buildah does not run on this machine: {' '.join(program.tail)[-300:]}")
        return self._driver

    def _program(self, *arguments: str) -> Program:
        storage = ("--root", str(self.path / "root"), "--runroot", str(self.path / "run"))
        argv = ("buildah", *storage, "--storage-driver", self._driver, *arguments)
        return Program(argv, namespaces=_NAMESPACES, stall_seconds=_STALL_SECONDS)


def _failure(
    file: str, instructions: Sequence[Instruction], stage: int | None, said: str
) -> TerminalError | TransientError:
    """buildah's last words, with the line of the step they are about."""
    if "no space left on device" in said:
        return TransientError(f"{file}: no space left on the device of the image store", reason="NoSpace")
    words = said.removeprefix("Error: ")
    failed = _FAILED_STEP.search(words)
    if failed is None:
        return TerminalError(f"{file}: {words[-500:]}", reason="BuildFailed")
    if "Unknown instruction" in words and (heredoc := next((i for i in instructions if HEREDOC.search(i.text)), None)):
        return TerminalError(
            f"{file}:{heredoc.line}: the buildah of this machine does not know heredocs; write the RUN with && and \\",
            reason="BuildFailed",
        )
    step, why = failed[1].replace('\\"', '"'), _GO_DUMP.sub("", failed[2]).removeprefix("Build error: ")
    line = line_of_step(tuple(instructions), step, stage)
    where = f"{file}:{line}" if line else file
    return TerminalError(f"{where}: {step.strip()}: {why.strip()}"[:500], reason="BuildFailed")

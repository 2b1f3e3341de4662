"""buildah as our hands: a Dockerfile becomes an image in the store.

buildah keeps its cache in a storage of its own under the state directory. It runs in mount, pid, ipc
and uts namespaces of its own, so that when it ends, however it ends, no mount and no process of a RUN is left;
RUN steps use `--isolation chroot`, which needs neither an OCI runtime nor cgroups nor raised limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import re
import resource
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.errors import HostError, TerminalError, TransientError
from reconciler.runtimes.native.images.docker_fields import (
    has_docker_fields,
    render_docker_manifest,
    with_docker_fields,
    with_history,
)
from reconciler.runtimes.native.images.dockerfile import Instruction, line_of_step, parse_dockerfile
from reconciler.runtimes.native.images.layout import Layout
from reconciler.runtimes.native.images.programs import Program, Stalled
from reconciler.runtimes.native.images.spec import Config, Manifest, parse_index, render_index
from reconciler.runtimes.native.images.staging import remove_tree
from reconciler.runtimes.native.images.syntax import find_errors

_NAMESPACES = ("mount", "pid", "ipc", "uts")
_DEFAULT_NAMES = ("Dockerfile", "Containerfile")
_CACHE_MOUNTS = "buildah-cache"  # in its temporary directory: what `RUN --mount=type=cache` keeps
_STALL_SECONDS = 3600.0  # a compiler may be silent for long; a build that hangs still ends
_IGNORE_NAMES = (".containerignore", ".dockerignore")
_NOISE = re.compile(r'^time="[^"]*" level=|^subprocess exited with status \d+$')
_STEP = re.compile(r"^(?:\[(\d+)/\d+\] )?STEP \d+/\d+: ")
_FAILED_STEP = re.compile(r'building at STEP "((?:[^"\\]|\\.)*)": (.*)', re.DOTALL)
_UNRESOLVED_STEP = re.compile(r"resolving step \{.* Original:(.*?) Flags:.* StartLine:(\d+) .*?\}: (.*)", re.DOTALL)
_UNCOMMITTED_STEP = re.compile(r"for step \{.* Original:(.*?)\}: (.*)", re.DOTALL)
_GO_DUMP = re.compile(r" &imagebuilder\.Step\{.*")


@dataclass(frozen=True, slots=True)
class Order:
    """What to build. `dockerfile` is a path (relative to the context), or "" for the usual names."""

    context: Path
    dockerfile: str = ""
    target: str = ""
    build_args: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)  # id -> a file, seen by `RUN --mount=type=secret,id=...`
    no_cache: bool = False

    def find_dockerfile(self) -> Path:
        """Raises: TerminalError(reason="BuildFailed"). Blocks."""
        if not self.context.is_dir():
            raise TerminalError(f"{self.context} is not a directory to build in", reason="BuildFailed")
        names = (self.dockerfile,) if self.dockerfile else _DEFAULT_NAMES
        path = next((self.context / name for name in names if (self.context / name).is_file()), None)
        if path is None:
            raise TerminalError(f"{self.context} has no {' or '.join(names)}", reason="BuildFailed")
        return path

    def find_ignore_file(self, dockerfile: Path) -> Path | None:
        """What says which files the build does not see: one of this Dockerfile, else one of the context. Blocks."""
        own = dockerfile.with_name(dockerfile.name + ".dockerignore")
        candidates = (own, *(self.context / name for name in _IGNORE_NAMES))
        return next((path for path in candidates if path.is_file()), None)

    def read_dockerfile(self) -> Dockerfile:
        """Raises: TerminalError(reason="BuildFailed"), also for what is no Dockerfile, before anything runs. Blocks."""
        path = self.find_dockerfile()
        for name, secret in self.secrets.items():
            if not secret.is_file():
                raise TerminalError(f"secret {name}: there is no file {secret}", reason="BuildFailed")
        instructions = parse_dockerfile(path.read_text(errors="replace"))
        if wrong := find_errors(instructions, path.name):
            more = f" (and {len(wrong) - 1} more: build --check)" if len(wrong) > 1 else ""
            raise TerminalError(f"{wrong[0]}{more}", reason="BuildFailed")
        return Dockerfile(path, self.find_ignore_file(path), instructions)


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A Dockerfile that parses."""

    path: Path
    ignore_file: Path | None
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        return self.path.name


class Builder:
    """buildah's storage below `path`. Several builds may run at once, in several processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = path / "tmp"
        self._driver = ""

    async def build(self, order: Order, dockerfile: Dockerfile, image_id_file: Path) -> AsyncGenerator[str, None]:
        """Yields buildah's output line by line; then `image_id_file` has the id of the image.

        Raises: TerminalError(reason="BuildFailed") with file and line, TransientError(reason="NoSpace"), HostError.
        """
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        processes = 32768 if hard == resource.RLIM_INFINITY else min(32768, hard)
        arguments = [
            *("build", "--layers", "--isolation=chroot", "--pull=false", "--force-rm"),
            *(f"--ulimit=nproc={processes}:{processes}", f"--iidfile={image_id_file}", f"--file={dockerfile.path}"),
            "--format=docker",  # OCI's has no HEALTHCHECK and no ONBUILD
            *((f"--ignorefile={dockerfile.ignore_file}",) if dockerfile.ignore_file else ()),
            *((f"--target={order.target}",) if order.target else ()),
            *(f"--build-arg={name}={value}" for name, value in order.build_args.items()),
            *(f"--secret=id={name},src={file}" for name, file in order.secrets.items()),
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
            raise _failure(dockerfile, stage, "\n".join(said) or " ".join(list(program.tail)[-3:]))

    async def give(self, source: str, name: str) -> None:
        """Hand buildah the image `source` (in skopeo's syntax) under `name`, so that FROM finds it."""
        argv = ("skopeo", "--insecure-policy", "copy", source, f"{await self.storage()}{name}")
        async with Program(argv, namespaces=_NAMESPACES, stall_seconds=_STALL_SECONDS) as program:
            if await program.wait() != 0:
                raise TransientError(f"handing {name} to buildah failed: {' '.join(program.tail)[-300:]}")

    def config(self, image_id: str) -> bytes:
        """The config of an image it built (hex of its digest), as Docker writes it. Blocks.

        Raises: TransientError. Source: containers/storage keeps an image's documents as files of one directory.
        """
        for path in (self.path / "root" / f"{self._driver}-images" / image_id).iterdir():
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == image_id:
                return content
        raise TransientError(f"buildah's storage {self.path} has lost the config of {image_id[:12]}")

    async def storage(self) -> str:
        """How skopeo calls buildah's storage; an image's name, or `@` and its id, follows."""
        return f"containers-storage:[{await self._choose_driver()}@{self.path / 'root'}+{self.path / 'run'}]"

    @contextlib.asynccontextmanager
    async def in_turn(self) -> AsyncIterator[None]:
        """Hold the storage; who comes when nobody else does removes what killed builds left."""
        await asyncio.to_thread(self.path.mkdir, mode=0o700, parents=True, exist_ok=True)
        await asyncio.to_thread(self._temporary.mkdir, mode=0o711, exist_ok=True)
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
        for path in self._temporary.iterdir() if self._temporary.exists() else ():
            if path.name != _CACHE_MOUNTS:
                await asyncio.to_thread(remove_tree, path)
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
        # else what killed builds leave, and what cache mounts hold, would be in /var/tmp, for all instances
        env = {"TMPDIR": str(self._temporary)}
        return Program(argv, env=env, namespaces=_NAMESPACES, stall_seconds=_STALL_SECONDS)


def _failure(dockerfile: Dockerfile, stage: int | None, said: str) -> TerminalError | TransientError:
    """buildah's last words, with the line of the step they are about."""
    file, instructions = dockerfile.name, dockerfile.instructions
    if "no space left on device" in said:
        return TransientError(f"{file}: no space left on the device of the image store", reason="NoSpace")
    words = said.removeprefix("Error: ")
    if unresolved := _UNRESOLVED_STEP.search(words):
        return TerminalError(f"{file}:{unresolved[2]}: {unresolved[1]}: {unresolved[3]}"[:500], reason="BuildFailed")
    if uncommitted := _UNCOMMITTED_STEP.search(words):
        words = f'building at STEP "{uncommitted[1]}": {uncommitted[2]}'
    failed = _FAILED_STEP.search(words)
    if failed is None:
        return TerminalError(f"{file}: {words[:500]}", reason="BuildFailed")
    if "Unknown instruction" in words and (heredoc := next((i for i in instructions if i.heredocs), None)):
        return TerminalError(
            f"{file}:{heredoc.line}: the buildah of this machine does not know heredocs; write the RUN with && and \\",
            reason="BuildFailed",
        )
    step, why = failed[1].replace('\\"', '"'), _GO_DUMP.sub("", failed[2]).removeprefix("Build error: ")
    line = line_of_step(instructions, step, stage)
    where = f"{file}:{line}" if line else file
    return TerminalError(f"{where}: {step.strip()}: {why.strip()}"[:500], reason="BuildFailed")


def docker_source(folder: Path, layout: Layout, manifest: Manifest, config: Config) -> str | None:
    """An image of the layout in skopeo's syntax, such that buildah sees all that Docker's config says;
    None where the layout itself will do. Writes into `folder`, an empty directory. Blocks."""
    value = with_history(config.value, len(manifest.layers))
    if value is config.value and not has_docker_fields(value):
        return None
    content = layout.read_document(manifest.config.digest) if value is config.value else json.dumps(value).encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    document = render_docker_manifest(
        replace(manifest, config=replace(manifest.config, digest=digest, size_bytes=len(content)))
    )
    if document is None:
        return None
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    (folder / "manifest.json").write_bytes(document)
    (folder / digest.removeprefix("sha256:")).write_bytes(content)
    for layer in {layer.digest for layer in manifest.layers}:
        (folder / layer.removeprefix("sha256:")).symlink_to(layout.blob_path(layer))
    return f"dir:{folder}"


def restore_docker_fields(index: Path, layout: Layout, docker_config: bytes) -> None:
    """Put back into the image that the file `index` names what skopeo left out of its config on the way into
    the layout. Blocks. Raises: InvalidImage."""
    (entry,) = parse_index(index.read_bytes())
    manifest = json.loads(layout.read_document(entry.digest))
    config = layout.read_document(manifest["config"]["digest"])
    whole = with_docker_fields(config, docker_config)
    if whole != config:
        manifest["config"] |= {"digest": layout.write_document(whole), "size": len(whole)}
        document = json.dumps(manifest).encode()
        entry = replace(entry, digest=layout.write_document(document), size_bytes=len(document))
        index.write_bytes(render_index([entry]))

"""Images in registries: what there is under a name, fetching it into the layout, and sending one out of it.

skopeo does the talking, so mirrors, insecure registries and certificates are those of
registries.conf and certs.d; logins are ours to choose, and reach it in a file of the staging directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import json
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from reconciler.errors import HostError
from reconciler.model.login import Login, choose_logins, registry_of, render_logins
from reconciler.model.reference import familiar
from reconciler.ports import Progress
from reconciler.runtimes.native.images.names import repository_of
from reconciler.runtimes.native.images.programs import Program
from reconciler.runtimes.native.images.spec import (
    InvalidImage,
    Manifest,
    choose_platform,
    is_index,
    parse_index,
    parse_manifest,
)
from reconciler.runtimes.native.images.staging import Staging
from reconciler.runtimes.native.images.transport import (
    Kind,
    SkopeoFailed,
    failure,
    into_layout,
    registries_conf,
    skopeo,
    staged_bytes,
)

T = TypeVar("T")

_AGAIN_SECONDS = (0.5, 2.0, 5.0)  # pauses before what broke off is tried again
_MEASURE_SECONDS = 0.2
_LOGIN_SECONDS = 60.0
_MAX_MANIFEST_BYTES = 8 << 20
_BLOB = "oci-put-blob"  # how skopeo names the files of blobs under way


@dataclass(frozen=True, slots=True)
class Remote:
    """An image as a registry has it. `digest` is what its name stands for there, which may be an index of several
    platforms; `manifest_digest` and `manifest` are those of the platform that was asked for."""

    digest: str
    manifest_digest: str
    manifest: Manifest


class Registry:
    """One conversation with the registry of `reference` (normalized), about that image."""

    def __init__(
        self, reference: str, staging: Staging, *, logins: Sequence[Login], verify_tls: bool, pushing: bool = False
    ) -> None:
        """`logins` may be for any registries: those that fit are tried, the closest first."""
        self._reference = reference
        self._staging = staging
        self._what = f"{'pushing' if pushing else 'pulling'} {familiar(reference)!r}"
        self._reason = "ErrImagePush" if pushing else "ErrImagePull"
        self._verify_tls = verify_tls and not is_loopback(reference)
        self._all = tuple(logins)
        self._candidates: list[Login | None] = [*choose_logins(logins, reference)] or [None]

    async def find(self, architecture: str, *, os: str = "linux", variant: str = "") -> Remote:
        """Ask what the name stands for, on a platform. Two short requests at most.

        Raises: SkopeoFailed, InvalidImage, TransientError(reason="NoSpace"), HostError.
        """
        repository, wanted = repository_of(self._reference), self._reference.partition("@")[2]
        # skopeo takes a tag or a digest; the digest decides
        name = f"{repository}@{wanted}" if wanted else self._reference
        try:
            raw = await self._logged_in(lambda: self._patiently(lambda: self._manifest(name, wanted)))
            digest = chosen = _digest_of(raw)
            if is_index(raw):
                chosen = choose_platform(parse_index(raw), architecture, os=os, variant=variant).digest
                raw = await self._patiently(lambda: self._manifest(f"{repository}@{chosen}", chosen))
            return Remote(digest, chosen, parse_manifest(raw))
        except InvalidImage as error:
            raise InvalidImage(f"{self._what}: {error}") from None

    async def fetch(
        self, remote: Remote, blobs: Path, say: Callable[[str], None], measure: Callable[[Progress], None]
    ) -> int:
        """Bring what is missing of an image that `find` gave; then `staging / "index.json"` names it. What is
        whole stays when the connection breaks: the next try, or the next pull, goes on from there.

        Returns: the bytes of the layers that were missing. Raises: what `find` does.
        """
        sizes = {layer.digest: layer.size_bytes for layer in remote.manifest.layers}
        there = {digest for digest in sizes if _blob(blobs, digest).exists()}
        missing = {digest: size for digest, size in sizes.items() if digest not in there}
        for digest in sizes:
            if digest in there:
                say(f"{digest[7:19]}: already there")

        def look() -> None:
            for digest in missing.keys() - there:
                if _blob(blobs, digest).exists():
                    there.add(digest)
                    say(f"{digest[7:19]}: fetched {missing[digest]} bytes")
            whole = sum(missing[digest] for digest in missing.keys() & there)
            total = sum(missing.values())
            measure(Progress(min(total, whole + staged_bytes(self._staging.path, _BLOB)), total))

        source = f"docker://{repository_of(self._reference)}@{remote.manifest_digest}"
        options = () if self._verify_tls else ("--src-tls-verify=false",)
        arguments = ("copy", *self._auth(), *options, *into_layout(blobs), source, f"oci:{self._staging.path}")
        async with _repeating(look):
            # it was let in a moment ago: if it is not any more, its token has expired, and it gets another
            await self._patiently(lambda: self._run(arguments), also=Kind.LOGIN)
        look()
        return sum(missing.values())

    async def send(self, source: str, total_bytes: int, measure: Callable[[Progress], None]) -> str:
        """Copy an image (skopeo's syntax) to where the reference says. Returns: its digest there.

        Raises: SkopeoFailed with the reason ErrImagePush, TransientError(reason="NoSpace"), HostError.
        """
        digest_file = self._staging.path / "digest"
        options = () if self._verify_tls else ("--dest-tls-verify=false",)
        running: list[Program] = []

        def look() -> None:
            if running:
                measure(Progress(min(total_bytes, running[-1].written_bytes()), total_bytes))

        async def copy() -> None:
            target = f"docker://{self._reference}"
            await self._run(
                ("copy", *self._auth(), *options, f"--digestfile={digest_file}", source, target), running.append
            )

        async with _repeating(look):
            await self._logged_in(lambda: self._patiently(copy))
        return (await asyncio.to_thread(digest_file.read_text)).strip()

    async def _manifest(self, name: str, digest: str) -> bytes:
        """The manifest of a name, checked against its digest where one is given. Raises: what `find` does."""
        options = () if self._verify_tls else ("--tls-verify=false",)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        fd = os.open(self._staging.path / "manifest", flags, 0o600)
        try:
            await self._run(("inspect", "--raw", *self._auth(), *options, f"docker://{name}"), stdout=fd)
            content = os.pread(fd, _MAX_MANIFEST_BYTES + 1, 0)
        finally:
            os.close(fd)
        if len(content) > _MAX_MANIFEST_BYTES:
            raise InvalidImage(f"its manifest is larger than {_MAX_MANIFEST_BYTES >> 20} MiB")
        if digest.startswith("sha256:") and _digest_of(content) != digest:
            raise InvalidImage("what the registry sent does not match its digest")
        return content

    async def _run(
        self,
        arguments: tuple[str, ...],
        started: Callable[[Program], None] = lambda program: None,
        *,
        stdout: int | None = None,
    ) -> None:
        running = skopeo(arguments, self._staging, self._what, reason=self._reason, stdout=stdout, measured=started)
        async with contextlib.aclosing(running) as lines:
            async for _ in lines:
                pass

    def _auth(self) -> tuple[str, ...]:
        """The login under trial, and those for other registries (mirrors), as a file that skopeo alone reads."""
        registry, chosen = registry_of(self._reference), self._candidates[0]
        others = [login for login in self._all if "*" not in login.scope and registry_of(login.scope) != registry]
        mine = [Login(registry, chosen.username, chosen.password, chosen.identity_token)] if chosen else []
        path = self._staging.path / "auth.json"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            json.dump(render_logins([*mine, *others]), file)
        return (f"--authfile={path}",)

    async def _logged_in(self, work: Callable[[], Awaitable[T]]) -> T:
        """With each login that fits, until one is let in."""
        while True:
            try:
                return await work()
            except SkopeoFailed as error:
                if error.kind is not Kind.LOGIN:
                    raise
                if len(self._candidates) > 1:
                    del self._candidates[0]
                    continue
                registry = registry_of(self._reference)
                hint = f"try `reconciler login {registry}`"
                if self._candidates[0] is not None:
                    hint = f"{registry} knows no such login, or it may not"
                raise SkopeoFailed(f"{error} ({hint})", Kind.LOGIN, reason=self._reason) from None

    async def _patiently(self, work: Callable[[], Awaitable[T]], *, also: Kind = Kind.BREAK) -> T:
        """Again after a break."""
        for pause in _AGAIN_SECONDS:
            try:
                return await work()
            except SkopeoFailed as error:
                if error.kind not in (Kind.BREAK, also):
                    raise
            await asyncio.sleep(pause)
        return await work()


def try_login(login: Login, *, verify_tls: bool) -> None:
    """Ask the registry of a login whether it takes it. Blocks.

    Raises: TransientError(reason="ErrLogin"), HostError.
    """
    what, tls = (
        f"logging in to {login.scope}",
        () if verify_tls and not is_loopback(login.scope) else ("--tls-verify=false",),
    )
    with tempfile.TemporaryDirectory(prefix="reconciler-login-") as folder:
        command = (
            "skopeo",
            *registries_conf(),
            "login",
            *tls,
            f"--authfile={folder}/auth.json",
            "--username",
            login.username,
        )
        try:
            done = subprocess.run(
                (*command, "--password-stdin", login.scope),
                input=login.password,
                capture_output=True,
                text=True,
                timeout=_LOGIN_SECONDS,
                check=False,
            )
        except FileNotFoundError:
            raise HostError("skopeo is not installed; on Debian: apt install skopeo") from None
        except subprocess.TimeoutExpired:
            raise SkopeoFailed(f"{what}: the registry does not answer", Kind.AWAY, reason="ErrLogin") from None
    if done.returncode != 0:
        error = failure(what, done.stderr.strip(), "ErrLogin")
        if isinstance(error, SkopeoFailed) and error.kind is Kind.LOGIN:
            error = SkopeoFailed(f"{what}: wrong user name or password", Kind.LOGIN, reason="ErrLogin")
        raise error


def is_loopback(reference: str) -> bool:
    """Whether a normalized reference names a registry on this machine: it may speak plain HTTP, as Docker has it."""
    registry = registry_of(reference)
    host = registry[1 : registry.index("]")] if registry.startswith("[") else registry.partition(":")[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.asynccontextmanager
async def _repeating(look: Callable[[], None]) -> AsyncIterator[None]:
    """Call `look` every now and then within the block."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(_MEASURE_SECONDS)
            look()

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _blob(blobs: Path, digest: str) -> Path:
    return blobs / digest.replace(":", "/", 1)


def _digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()

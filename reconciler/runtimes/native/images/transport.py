"""skopeo as our hands: running it, and its words made ours.

Blobs go straight into the store's own (skopeo renames them into place when they are whole, and
leaves out what is there); what it would write into index.json goes into a staging directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncGenerator, Callable
from enum import Enum
from pathlib import Path

from reconciler.errors import TransientError
from reconciler.runtimes.native.images.programs import Program, Stalled
from reconciler.runtimes.native.images.staging import Staging

_STALL_SECONDS = 90.0  # without a byte: longer than a TCP connect that nobody answers takes to fail here
_POLICY = Path("/etc/containers/policy.json")
_LOG_MESSAGE = re.compile(r'level=fatal msg="((?:[^"\\]|\\.)*)"')
_ASKED_TO_WAIT = re.compile(r"Too many requests to .*: sleeping for ([0-9.]+) seconds")
_PATIENCE_SECONDS = 10.0  # what a registry may ask for without more ado; for longer its words are an error


class Kind(Enum):
    """What a failure of skopeo means for what comes next."""

    LOGIN = "login"  # another login may do
    BREAK = "break"  # the same again may go well at once: what was whole is kept
    AWAY = "away"  # the registry cannot be reached, or asks for time: the same later
    FINAL = "final"  # the image itself is at fault, or nobody knows


class SkopeoFailed(TransientError):
    """skopeo said no. The message holds what we made of its words."""

    def __init__(
        self, message: str, kind: Kind, *, reason: str = "ErrImagePull", retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, reason=reason, retry_after_seconds=retry_after_seconds)
        self.kind = kind


# what skopeo says -> what we say, and what it means; the first that fits
_MEANINGS = tuple(
    (re.compile(pattern, re.IGNORECASE), meaning, kind)
    for pattern, meaning, kind in (
        (r"blob unknown|registry 404|blob .*StatusCode: 404", "the registry lacks a part of it", Kind.FINAL),
        (r"manifest unknown|name unknown|repository name not known|StatusCode: 404", "no such image", Kind.FINAL),
        (
            r"unauthorized|authentication required|invalid username/password|StatusCode: 401",
            "not logged in, or no such image",
            Kind.LOGIN,
        ),
        (r"denied|forbidden|StatusCode: 403", "the registry denies access", Kind.LOGIN),
        (r"toomanyrequests|too many requests", "the registry has had too many requests", Kind.AWAY),
        (r"no such host|server misbehaving|name resolution", "the registry's host name is not known", Kind.AWAY),
        (r"connection refused", "the registry does not answer: connection refused", Kind.AWAY),
        (r"i/o timeout|deadline exceeded|handshake timeout", "the registry does not answer in time", Kind.AWAY),
        (r"no route to host|network is unreachable", "the registry cannot be reached: no route", Kind.AWAY),
        (
            r"server gave HTTP response to HTTPS client",
            "the registry speaks plain HTTP, which only loopback may; "
            "allow it with insecure = true in /etc/containers/registries.conf, or --tls-verify=false",
            Kind.FINAL,
        ),
        (r"x509|certificate", "the registry's certificate is not trusted", Kind.FINAL),
        (r"no image found in .* for architecture", "the image is not made for this machine's platform", Kind.FINAL),
        (
            r"digest.*(did not|does not) match|digest mismatch|does not match provided manifest digest",
            "what the registry sent does not match its digest",
            Kind.FINAL,
        ),
        (r"unexpected EOF|\bEOF\b|connection reset|broken pipe", "the registry cut the connection", Kind.BREAK),
        (r"(status|code)[^0-9]{0,30}\b5\d\d\b", "the registry failed", Kind.BREAK),
    )
)


async def copy_from_file(source: str, blobs: Path, staging: Staging, *, what: str) -> AsyncGenerator[str, None]:
    """Fetch from an image name in skopeo's syntax on this machine (archive, layout, containers-storage).
    Layers stay uncompressed if they are: nothing is sent anywhere, and unpacking is faster.

    Raises: SkopeoFailed, TransientError(reason="NoSpace"), HostError.
    """
    # containers-storage bind-mounts its directory, and leaves that to whoever comes next
    namespaces = ("mount",) if source.startswith("containers-storage:") else ()
    arguments = ("copy", *into_layout(blobs), source, f"oci:{staging.path}")
    async with contextlib.aclosing(skopeo(arguments, staging, what, namespaces=namespaces)) as lines:
        async for line in lines:
            yield line


def into_layout(blobs: Path) -> tuple[str, ...]:
    """The options of a copy whose blobs go into the store's, as they are."""
    return f"--dest-shared-blob-dir={blobs}", "--dest-oci-accept-uncompressed-layers"


async def skopeo(
    arguments: tuple[str, ...],
    staging: Staging,
    what: str,
    *,
    reason: str = "ErrImagePull",
    namespaces: tuple[str, ...] = (),
    stdout: int | None = None,
    measured: Callable[[Program], None] = lambda program: None,
) -> AsyncGenerator[str, None]:
    """Run it to its end. Yields what it tells; `measured` gets the program once it runs. Errors begin
    with `what` and have `reason`.

    Raises: SkopeoFailed, TransientError(reason="NoSpace"), HostError.
    """
    # who has no policy for signatures wants none checked; without the file skopeo would refuse all
    policy = () if await asyncio.to_thread(_POLICY.exists) else ("--insecure-policy",)
    async with Program(
        # only its debug log tells that a registry asks for time
        ("skopeo", "--debug", *policy, *registries_conf(), *arguments),
        # it would look for logins in docker's config.json too, and it has been told which to use
        env={"TMPDIR": str(staging.path), "DOCKER_CONFIG": str(staging.path)},
        namespaces=namespaces,
        pass_fds=(staging.fd,),
        stall_seconds=_STALL_SECONDS,
        progress=lambda: (staged_bytes(staging.path), program.written_bytes()),
        stdout=stdout,
    ) as program:
        measured(program)
        said: list[str] = []
        try:
            async for line in program.lines():
                if "level=debug" in line:
                    _heed(line, what, reason)
                elif "level=" not in line:
                    said = [line]
                    yield line
                elif "level=fatal" in line:
                    said = [line]
            code = await program.wait()
        except Stalled as error:
            raise SkopeoFailed(f"{what}: {error}", Kind.AWAY, reason=reason) from None
    if code != 0:
        raise failure(what, "".join(said), reason)


def registries_conf() -> tuple[str, ...]:
    """The option for the registries.conf that podman and buildah would read: skopeo does not look at this variable."""
    path = os.environ.get("CONTAINERS_REGISTRIES_CONF")
    return (f"--registries-conf={path}",) if path else ()


def staged_bytes(path: Path, prefix: str = "") -> int:
    """How much skopeo has written so far of the files under way in a staging directory."""
    total = 0
    for entry in os.scandir(path):
        with contextlib.suppress(FileNotFoundError):
            if entry.name.startswith(prefix):
                total += entry.stat(follow_symlinks=False).st_size
    return total


def _heed(line: str, what: str, reason: str) -> None:
    """Give up where a registry asks for more time than a caller should wait. skopeo itself waits up to five times."""
    asked = _ASKED_TO_WAIT.search(line)
    if asked and (seconds := float(asked[1])) > _PATIENCE_SECONDS:
        raise SkopeoFailed(
            f"{what}: the registry has had too many requests; it asks to wait for {seconds:.0f} s",
            Kind.AWAY,
            reason=reason,
            retry_after_seconds=seconds,
        )


def failure(what: str, output: str, reason: str) -> TransientError:
    """skopeo's words as an error of ours. What is not known is shown as it is, without its log format."""
    if "no space left on device" in output or "disk quota exceeded" in output:
        return TransientError(f"{what}: no space left on the device of the image store", reason="NoSpace")
    said = _LOG_MESSAGE.findall(output)
    words = said[-1].replace('\\"', '"') if said else output.rpartition("\n")[2]
    for pattern, meaning, kind in _MEANINGS:
        if pattern.search(words):
            return SkopeoFailed(f"{what}: {meaning}", kind, reason=reason)
    return SkopeoFailed(f"{what}: {words[-300:]}", Kind.FINAL, reason=reason)

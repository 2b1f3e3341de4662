"""skopeo as our hands: images of registries and archives, copied into the layout.

Blobs go straight into the store's own (skopeo renames them into place when they are whole, and
leaves out what is there); what it would write into index.json goes into a staging directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import re
from collections.abc import AsyncGenerator
from pathlib import Path

from reconciler.errors import TransientError
from reconciler.model.reference import familiar
from reconciler.runtimes.native.images.programs import Program, Stalled
from reconciler.runtimes.native.images.staging import Staging

_STALL_SECONDS = 90.0  # without a byte: longer than a TCP connect that nobody answers takes to fail here
_POLICY = Path("/etc/containers/policy.json")
_LOG_MESSAGE = re.compile(r'level=fatal msg="((?:[^"\\]|\\.)*)"')

# what skopeo says -> what we say; the first that fits
_MEANINGS = tuple(
    (re.compile(pattern, re.IGNORECASE), meaning)
    for pattern, meaning in (
        (r"manifest unknown|name unknown|repository name not known|StatusCode: 404", "no such image"),
        (r"unauthorized|authentication required|invalid username/password", "not logged in, or no such image"),
        (r"denied|forbidden|StatusCode: 403", "the registry denies access"),
        (r"toomanyrequests|too many requests", "the registry has had too many requests"),
        (r"no such host|server misbehaving|name resolution", "the registry's host name is not known"),
        (r"connection refused", "the registry does not answer: connection refused"),
        (r"i/o timeout|deadline exceeded|handshake timeout|Client\.Timeout", "the registry does not answer in time"),
        (r"no route to host|network is unreachable", "the registry cannot be reached: no route"),
        (
            r"server gave HTTP response to HTTPS client",
            "the registry speaks plain HTTP, which only loopback may; "
            "allow it with insecure = true in /etc/containers/registries.conf",
        ),
        (r"x509|certificate", "the registry's certificate is not trusted"),
        (r"no image found in .* for architecture", "the image is not made for this machine's platform"),
        (r"digest.*(did not|does not) match|digest mismatch", "what the registry sent does not match its digest"),
        (r"unexpected EOF|connection reset|broken pipe", "the registry cut the connection"),
    )
)


def is_loopback(reference: str) -> bool:
    """Whether a normalized reference names a registry on this machine: it may speak plain HTTP, as Docker has it."""
    registry = reference.partition("/")[0]
    host = registry[1 : registry.index("]")] if registry.startswith("[") else registry.partition(":")[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def copy_from_registry(reference: str, blobs: Path, staging: Staging) -> AsyncGenerator[str, None]:
    """Fetch `reference` (normalized). Yields progress lines; then `staging.path / "index.json"` names the image.

    Raises: TransientError(reason="ErrImagePull" or "NoSpace"), HostError.
    """
    name = reference
    if "@" in reference:  # skopeo takes a tag or a digest; the digest decides
        repository, _, digest = reference.partition("@")
        head, colon, tag = repository.rpartition(":")
        name = f"{head if colon and '/' not in tag else repository}@{digest}"
    options = ("--src-tls-verify=false",) if is_loopback(reference) else ()
    async with contextlib.aclosing(
        _copy(f"docker://{name}", blobs, staging, options, f"pulling {familiar(reference)!r}")
    ) as lines:
        async for line in lines:
            yield line


async def copy_from_file(source: str, blobs: Path, staging: Staging, *, what: str) -> AsyncGenerator[str, None]:
    """Fetch from an image name in skopeo's syntax on this machine (archive, layout, containers-storage).
    Layers stay uncompressed if they are: nothing is sent anywhere, and unpacking is faster.

    Raises: TransientError(reason="ErrImagePull" or "NoSpace"), HostError.
    """
    async with contextlib.aclosing(
        _copy(source, blobs, staging, ("--dest-oci-accept-uncompressed-layers",), what)
    ) as lines:
        async for line in lines:
            yield line


async def _copy(
    source: str, blobs: Path, staging: Staging, options: tuple[str, ...], what: str
) -> AsyncGenerator[str, None]:
    # who has no policy for signatures wants none checked; without the file skopeo would refuse all
    policy = () if await asyncio.to_thread(_POLICY.exists) else ("--insecure-policy",)
    # containers-storage bind-mounts its directory, and leaves that to whoever comes next
    namespaces = ("mount",) if source.startswith("containers-storage:") else ()
    async with Program(
        ("skopeo", *policy, "copy", *options, f"--dest-shared-blob-dir={blobs}", source, f"oci:{staging.path}"),
        env={"TMPDIR": str(staging.path)},
        namespaces=namespaces,
        pass_fds=(staging.fd,),
        stall_seconds=_STALL_SECONDS,
        progress=lambda: _bytes_in(staging.path),
    ) as program:
        try:
            async for line in program.lines():
                if "level=" not in line:
                    yield line
            code = await program.wait()
        except Stalled as error:
            raise TransientError(f"{what}: {error}", reason="ErrImagePull") from None
    if code != 0:
        raise _failure(what, "\n".join(program.tail))


def _failure(what: str, output: str) -> TransientError:
    """skopeo's words as an error of ours. What is not known is shown as it is, without its log format."""
    if "no space left on device" in output or "disk quota exceeded" in output:
        return TransientError(f"{what}: no space left on the device of the image store", reason="NoSpace")
    said = _LOG_MESSAGE.findall(output)
    words = said[-1].replace('\\"', '"') if said else output.rpartition("\n")[2]
    for pattern, meaning in _MEANINGS:
        if pattern.search(words):
            return TransientError(f"{what}: {meaning}", reason="ErrImagePull")
    return TransientError(f"{what}: {words[-300:]}", reason="ErrImagePull")


def _bytes_in(path: Path) -> int:
    """How much skopeo has written so far of the blobs and temporary files under way."""
    total = 0
    for entry in os.scandir(path):
        with contextlib.suppress(FileNotFoundError):
            total += entry.stat(follow_symlinks=False).st_size
    return total

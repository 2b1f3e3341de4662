"""Small images for tests, made in milliseconds of the host's static busybox: no registry, no buildah.

`from tests.images import busybox_archive`: `busybox_archive(tmp_path / "web.tar", "web:1")` is a
docker-archive that `ImageStore.load`, `skopeo`, `podman load` and `docker load` take.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

BUSYBOX = Path("/bin/busybox")
APPLETS = [
    "sh", "ash", "cat", "chmod", "chown", "cp", "date", "dd", "df", "echo", "env", "expr", "false", "find", "grep",
    "head", "hostname", "httpd", "id", "ip", "kill", "ln", "ls", "mkdir", "mknod", "mount", "mv", "nc", "netstat",
    "nslookup", "od", "ping", "printenv", "ps", "pwd", "readlink", "rm", "sed", "seq", "sleep", "sort", "stat",
    "stty", "sync", "tail", "tee", "test", "timeout", "touch", "tr", "true", "umount", "uname", "wc",
    "wget", "whoami", "xargs",
]  # fmt: skip
EPOCH = "2026-01-01T00:00:00Z"


class LayerTar:
    """A layer under construction; every member is owned by root, with a fixed time."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._buffer, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name: str, content: bytes = b"", *, kind: bytes = tarfile.REGTYPE, **fields: Any) -> LayerTar:
        """Add a member; `fields` are attributes of `tarfile.TarInfo` (mode, uid, linkname, pax_headers, ...)."""
        member = tarfile.TarInfo(name)
        member.type, member.size, member.mtime = kind, len(content), 1_767_225_600
        member.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
        for field, value in fields.items():
            setattr(member, field, value)
        self._tar.addfile(member, io.BytesIO(content))
        return self

    def content(self) -> bytes:
        self._tar.close()
        return self._buffer.getvalue()


@lru_cache
def busybox_layer() -> bytes:
    """A root filesystem: busybox with links for its applets, users, and the usual directories."""
    layer = LayerTar()
    for directory in ("bin", "dev", "etc", "home", "proc", "root", "run", "sys", "usr", "var", "var/www"):
        layer.add(directory, kind=tarfile.DIRTYPE)
    layer.add("tmp", kind=tarfile.DIRTYPE, mode=0o1777)
    layer.add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000:web:/home:/bin/sh\n")
    layer.add("etc/group", b"root:x:0:\nweb:x:1000:\nextra:x:2000:web\n")
    layer.add("bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
    for applet in APPLETS:
        layer.add(f"bin/{applet}", kind=tarfile.SYMTYPE, linkname="busybox", mode=0o777)
    return layer.content()


def docker_archive(
    path: Path,
    layers: Sequence[bytes],
    names: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    architecture: str = "amd64",
    *,
    history: bool = True,
) -> Path:
    """Write an archive as `docker save` does, of one image. `layers` are uncompressed, bottom first;
    `config` is the `config` of the image config (Cmd, Env, User, ...)."""
    image: dict[str, Any] = {
        "architecture": architecture,
        "os": "linux",
        "created": EPOCH,
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]},
    }
    if history:
        image["history"] = [{"created": EPOCH, "created_by": f"layer {number}"} for number, _ in enumerate(layers)]
    content = json.dumps(image).encode()
    config_name = f"{hashlib.sha256(content).hexdigest()}.json"
    files = {f"{number}/layer.tar": layer for number, layer in enumerate(layers)}
    manifest = [{"Config": config_name, "RepoTags": list(names), "Layers": list(files)}]
    files |= {config_name: content, "manifest.json": json.dumps(manifest).encode()}
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def busybox_archive(
    path: Path,
    name: str = "busybox:1",
    *,
    config: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
    architecture: str = "amd64",
) -> Path:
    """Write a docker-archive of a busybox image. `config` adds to the default (`Cmd` sh, `PATH`);
    `files` (path without leading `/` -> content) become a second layer."""
    layers = [busybox_layer()]
    if files:
        extra = LayerTar()
        for file, content in files.items():
            extra.add(file, content, mode=0o755 if content.startswith(b"#!") else 0o644)
        layers.append(extra.content())
    default = {"Cmd": ["sh"], "Env": ["PATH=/bin"], "WorkingDir": "/"}
    return docker_archive(path, layers, [name], {**default, **(config or {})}, architecture)

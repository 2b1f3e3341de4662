"""python:3.11-slim, node:18 and nginx:alpine, made of Debian's packages: no registry of the world is asked.

One Debian root stands for all of them: what differs is the name and the config. They are served by a registry
on loopback as docker.io/library/... through a mirror entry in a registries.conf of the tests, so that Dockerfiles
of everyday life build byte for byte as people write them.

The root takes half a minute to make, so the registry's storage is kept in $XDG_CACHE_HOME, under a hash of this file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.registry import serving

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PACKAGES = (
    *("base-files", "base-passwd", "bash", "coreutils", "dash", "debianutils", "findutils", "grep", "libc-bin", "sed"),
    *("python3-pip", "python-is-python3", "nodejs", "npm", "nginx-light"),
)
# "extract" runs no maintainer script: what they would have made and somebody here needs is made here
FINISH = """
set -eu
cd "$1"
ln -sf dash bin/sh
cp usr/share/base-passwd/passwd.master etc/passwd
cp usr/share/base-passwd/group.master etc/group
rm -f usr/lib/python3*/EXTERNALLY-MANAGED
mkdir -p etc/ssl/certs usr/share/nginx/html var/lib/nginx var/log/nginx run proc sys
cp "$CERTIFICATES" etc/ssl/certs/ca-certificates.crt
rm -rf usr/share/doc usr/share/man usr/share/locale usr/share/info var/cache/apt var/lib/apt/lists
rm -rf usr/include usr/lib/*/gconv usr/lib/*/*.a
# Debian's npm depends on much that it does not load
(cd usr/share/nodejs; rm -rf @types @babel core-js core-js-pure web-streams-polyfill es-abstract webpack)
printf '%s' "$NGINX" > etc/nginx/nginx.conf
"""
NGINX = """\
user root;
events {}
http {
  include mime.types;
  access_log /dev/stdout;
  server { listen 80; root /usr/share/nginx/html; }
}
"""
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IMAGES = {
    "python:3.11-slim": {"Env": [PATH, "LANG=C.UTF-8"], "Cmd": ["python3"]},
    # node has certificates of its own, and is told to trust the machine's as well
    "node:18": {"Env": [PATH, f"NODE_EXTRA_CA_CERTS={CERTIFICATES}"], "Cmd": ["node"]},
    "nginx:alpine": {"Env": [PATH], "Cmd": ["nginx", "-e", "stderr", "-g", "daemon off;"]},
}


@contextmanager
def mirrored(home: Path) -> Iterator[None]:
    """Within, docker.io/library/... is a registry on loopback with these images, for skopeo of this process:
    `home` becomes $HOME, where its registries.conf is."""
    storage = _cached()
    (home / "registry").mkdir(parents=True)
    (home / "registry/data").symlink_to(storage)
    with serving(home / "registry") as registry:
        conf = home / ".config/containers/registries.conf"
        conf.parent.mkdir(parents=True)
        conf.write_text(
            '[[registry]]\nprefix = "docker.io/library"\nlocation = "docker.io/library"\n'
            f'[[registry.mirror]]\nlocation = "{registry.host}/library"\ninsecure = true\n'
        )
        before = os.environ.get("HOME")
        os.environ["HOME"] = str(home)
        try:
            yield
        finally:
            if before is None:
                del os.environ["HOME"]
            else:
                os.environ["HOME"] = before


def _cached() -> Path:
    """The storage of a registry that has the images; made when it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reconciler-tests"
    key = hashlib.sha256(Path(__file__).read_bytes() + CERTIFICATES.read_bytes()).hexdigest()[:16]
    storage = cache / f"bases-{key}"
    if not storage.exists():
        for old in cache.glob("bases-*"):
            shutil.rmtree(old)
        making = cache / f"making-{os.getpid()}"
        making.mkdir(parents=True)
        try:
            _make(making)
            (making / "registry/data").rename(storage)
        finally:
            shutil.rmtree(making)
    return storage


def _make(folder: Path) -> None:
    assert shutil.which("mmdebstrap"), "mmdebstrap is not installed; on Debian: apt install mmdebstrap"
    root = folder / "root.tar"
    hook = folder / "finish"
    hook.write_text(f"#!/bin/sh{FINISH}")
    hook.chmod(0o755)
    options = ("--variant=extract", f"--include={','.join(PACKAGES)}", f"--extract-hook={hook}")
    subprocess.run(
        ["mmdebstrap", *options, "bookworm", str(root)],
        check=True,
        timeout=300,
        env={**os.environ, "CERTIFICATES": str(CERTIFICATES), "NGINX": NGINX, "TMPDIR": str(folder)},
    )
    with serving(folder / "registry") as registry:
        layout = folder / "layout"
        blobs = layout / "blobs/sha256"
        blobs.mkdir(parents=True)
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        with open(root, "rb") as file:
            diff_id = hashlib.file_digest(file, "sha256").hexdigest()
        size = root.stat().st_size
        root.rename(blobs / diff_id)
        for name, config in IMAGES.items():
            _write_image(layout, name, config, diff_id, size)
            target = f"docker://{registry.host}/library/{name}"
            options = ("-q", "--dest-tls-verify=false", "--dest-compress-level=1")
            subprocess.run(
                ["skopeo", "--insecure-policy", "copy", *options, f"oci:{layout}:{name}", target],
                check=True,
                timeout=120,
            )


def _write_image(layout: Path, name: str, config: dict[str, list[str]], diff_id: str, size: int) -> None:
    def put(value: object) -> dict[str, object]:
        content = json.dumps(value).encode()
        digest = hashlib.sha256(content).hexdigest()
        (layout / "blobs/sha256" / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    oci = "application/vnd.oci.image"
    image = put(
        {
            "architecture": subprocess.run(
                ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
            ).stdout.strip(),
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        }
    )
    layer = {"mediaType": f"{oci}.layer.v1.tar", "digest": f"sha256:{diff_id}", "size": size}
    manifest = put(
        {
            "schemaVersion": 2,
            "mediaType": f"{oci}.manifest.v1+json",
            "config": {"mediaType": f"{oci}.config.v1+json", **image},
            "layers": [layer],
        }
    )
    index = layout / "index.json"
    entries = json.loads(index.read_text())["manifests"] if index.exists() else []
    names = {"org.opencontainers.image.ref.name": name}
    entries.append({"mediaType": f"{oci}.manifest.v1+json", **manifest, "annotations": names})
    index.write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))

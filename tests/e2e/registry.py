"""A real registry on a loopback port."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Registry:
    """`host` is 127.0.0.1 and a port."""

    host: str
    storage: Path
    log: Path

    def push(self, archive: Path, name: str) -> str:
        """Put the image of a docker-archive into the registry. Returns: its whole reference."""
        reference = f"{self.host}/{name}"
        subprocess.run(
            [
                *("skopeo", "--insecure-policy", "copy", "-q", "--format=oci", "--dest-tls-verify=false"),
                *(f"docker-archive:{archive}", f"docker://{reference}"),
            ],
            check=True,
            timeout=60,
        )
        return reference

    def requests(self, text: str) -> int:
        """How many answered requests mention `text`."""
        return sum(text in line and "http.response.written" in line for line in self.log.read_text().splitlines())


@contextmanager
def serving(home: Path) -> Iterator[Registry]:
    """A registry that keeps its images under `home`."""
    home.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = home / "config.yml"
    config.write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {home / 'data'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    log = home / "log"
    with open(log, "wb") as output:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=1)
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
        yield Registry(f"127.0.0.1:{port}", home / "data", log)
    finally:
        process.kill()
        process.wait()

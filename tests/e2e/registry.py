"""Real registries on loopback ports: plain, or with TLS and a password."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER, PASSWORD = "ci", "s3cret-word"
_HTPASSWD = "ci:$2b$04$YmZRv0ecleNEtgcPrVr5W.N5LkTmOu0yb2ZQabuH3MSz/WKKvVUca\n"  # bcrypt of it, the cheapest there is


@dataclass(frozen=True)
class Registry:
    """`host` is 127.0.0.1 and a port; with TLS `certificate` is one that is valid for it, signed by itself."""

    host: str
    storage: Path
    log: Path
    certificate: Path | None = None

    def push(self, archive: Path, name: str, *, form: str = "oci") -> str:
        """Put the image of a docker-archive into the registry, in OCI's form or docker's (`v2s2`).
        Returns: its whole reference."""
        reference = f"{self.host}/{name}"
        subprocess.run(
            [
                *("skopeo", "--insecure-policy", "copy", "-q", f"--format={form}", "--dest-tls-verify=false"),
                *(("--dest-creds", f"{USER}:{PASSWORD}") if self.certificate else ()),
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
def serving(home: Path, *, guarded: bool = False) -> Iterator[Registry]:
    """A registry that keeps its images under `home`; `guarded` by TLS and the password of USER."""
    home.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config: dict[str, Any] = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(home / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    certificate = None
    context = ssl.create_default_context()
    if guarded:
        certificate, key = home / "certificate.pem", home / "key.pem"
        make_certificate(certificate, key)
        context.load_verify_locations(certificate)
        (home / "htpasswd").write_text(_HTPASSWD)
        config["http"]["tls"] = {"certificate": str(certificate), "key": str(key)}
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(home / "htpasswd")}}
    file = home / "config.yml"
    file.write_text(json.dumps(config))
    log = home / "log"
    with open(log, "wb") as output:
        process = subprocess.Popen(["docker-registry", "serve", str(file)], stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                url = f"{'https' if guarded else 'http'}://127.0.0.1:{port}/v2/"
                urllib.request.urlopen(url, timeout=1, context=context)
                break
            except urllib.error.HTTPError:
                break  # it asks for the password
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
        yield Registry(f"127.0.0.1:{port}", home / "data", log, certificate)
    finally:
        process.kill()
        process.wait()


def make_certificate(certificate: Path, key: Path) -> None:
    """A certificate for 127.0.0.1 and `registry.test`, signed by itself."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=registry.test", "-addext", "subjectAltName=IP:127.0.0.1,DNS:registry.test"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )

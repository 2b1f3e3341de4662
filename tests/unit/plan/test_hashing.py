"""Hashes are pinned: a change here would restart everything that runs on every machine at its next upgrade."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.model.ref import Ref
from reconciler.model.sandbox import (
    ContainerConfig,
    EmptyDir,
    File,
    Files,
    HostPath,
    Mount,
    Port,
    Resources,
    SandboxConfig,
    Security,
)
from reconciler.plan import hashing

POD = Ref("Pod", "default", "web")
FULL = ContainerConfig(
    name="main",
    image="docker.io/library/web:1",
    command=("/bin/web",),
    args=("--port", "80"),
    env=(("A", "1"), ("B", "2")),
    working_dir="/srv",
    mounts=(Mount("data", "/data", read_only=True),),
    resources=Resources(cpu_limit_millicores=500, memory_limit_bytes=1 << 20),
    security=Security(user=1000, capabilities_drop=("ALL",)),
)
SANDBOX = SandboxConfig(
    pod=POD,
    hostname="web",
    ports=(Port(80, 8080),),
    volumes=(EmptyDir("data"), HostPath("logs", "/var/log"), Files("conf", (File("a", b"1"),))),
)


@pytest.mark.parametrize(
    ("found", "pinned"),
    [
        (hashing.container_hash(ContainerConfig("main", "img")), "v1:e0697680f7d9d3ebad818a71"),
        (hashing.container_hash(FULL), "v1:5a1bec7561aae66d960a8bc1"),
        (hashing.sandbox_hash(SandboxConfig(POD)), "v1:34c33e46f5220231a1565b8a"),
        (hashing.sandbox_hash(SANDBOX), "v1:8d10368fd4756a8e702156cc"),
        (hashing.volume_hash(Files("conf", (File("a", b"1"),))), "v1:4ff88d148242e3828072b42e"),
        (hashing.template_hash({"spec": {"containers": [{"name": "a"}]}}), "j6tzfjsjrk"),
        (hashing.generated_name("web-abc", "0"), "web-abc-gwfxt"),
        (hashing.sandbox_id(POD, 0), "9acf5d2d0a120703bc017ccd0e669523"),
        (hashing.container_id("s", "main", 2), "c47667aad1ddaeaabf0c8c8d96e199d3"),
    ],
)
def test_pinned(found: str, pinned: str) -> None:
    assert found == pinned


def test_content_of_files_is_not_in_the_sandbox_hash_but_in_the_container_hash() -> None:
    other = replace(SANDBOX, volumes=(*SANDBOX.volumes[:2], Files("conf", (File("a", b"2"),))))
    assert hashing.sandbox_hash(other) == hashing.sandbox_hash(SANDBOX)
    one, two = (hashing.files_hash([Files("conf", (File("a", c),))]) for c in (b"1", b"2"))
    assert one != two


def test_a_generated_name_is_a_dns_label() -> None:
    name = hashing.generated_name("x" * 80, "0")
    assert len(name) == 63
    assert name != hashing.generated_name("x" * 80, "1")

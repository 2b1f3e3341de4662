"""engine.db: what was written is there after a reopen; no secret is; addresses stay with their pods."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from reconciler.errors import ConflictError
from reconciler.model.ref import Ref
from reconciler.model.sandbox import Dns, EmptyDir, File, Files, HostPath, Port, Resources, SandboxConfig
from reconciler.runtimes.native.ledger import ContainerRow, Ledger, Phase, SandboxRow, without_contents

POD = Ref("Pod", "default", "web")
NETWORK = IPv4Network("10.9.0.0/29")  # 5 for pods: .2 to .6
CONFIG = SandboxConfig(
    pod=POD,
    hostname="web",
    ports=(Port(80, 8080),),
    dns=Dns(nameservers=("1.1.1.1",), options=("ndots:5",)),
    hosts=(("1.2.3.4", ("a", "b")),),
    sysctls=(("net.core.somaxconn", "1"),),
    volumes=(
        EmptyDir("tmp", "Memory", 1024),
        HostPath("host", "/srv", "Directory"),
        Files("keys", (File("key", b"hunter2"),), secret=True),
    ),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "engine.db"


def test_rows_survive_a_reopen(path: Path) -> None:
    sandbox = SandboxRow("s1", POD, "h", 2, 5.5, without_contents(CONFIG), "10.9.0.2", {"keys": "v1"}, Phase.MADE)
    container = ContainerRow(
        "c1", POD, "s1", "web", "h", 1, 2, 6.5, "web:1", "sha256:1", Resources(1, 2, 3, 4), 3, Phase.EXITED, exit_code=7
    )
    book = Ledger(path)
    book.put_sandbox(sandbox)
    book.put_container(container)
    book.put_setting("pod_cidr", "10.9.0.0/29")
    book.close()
    again = Ledger(path)
    assert (again.instance, again.setting("pod_cidr")) == (book.instance, "10.9.0.0/29")
    assert again.sandboxes == {"s1": sandbox}
    assert again.containers == {"c1": container}
    again.drop_container("c1")
    again.drop_sandbox("s1", 7.0)
    again.close()
    empty = Ledger(path)
    assert (empty.sandboxes, empty.containers) == ({}, {})
    empty.close()


def test_contents_of_volumes_are_not_kept(path: Path) -> None:
    book = Ledger(path)
    book.put_sandbox(SandboxRow("s1", POD, "h", 0, 0.0, without_contents(CONFIG)))
    book.close()
    assert b"hunter2" not in b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_two_instances_have_two_ids(tmp_path: Path) -> None:
    one, two = Ledger(tmp_path / "1.db"), Ledger(tmp_path / "2.db")
    assert one.instance != two.instance
    assert len(one.instance) == 8 and int(one.instance, 16) >= 0
    one.close()
    two.close()


def test_an_address_is_kept_and_comes_back_to_its_pod(path: Path) -> None:
    other = Ref("Pod", "default", "other")
    book = Ledger(path)
    book.put_sandbox(SandboxRow("s1", POD, "h", 0, 0.0, CONFIG))
    first = book.lease(NETWORK, POD, "s1", 1.0)
    assert book.lease(NETWORK, POD, "s1", 2.0) == first
    book.drop_sandbox("s1", 3.0)
    assert book.lease(NETWORK, other, "s2", 4.0) != first  # set aside
    book.close()
    again = Ledger(path)
    assert again.lease(NETWORK, POD, "s3", 5.0) == first
    again.close()


def test_addresses_set_aside_are_given_before_there_are_none(path: Path) -> None:
    book = Ledger(path)
    book.lease(NETWORK, POD, "s0", 1.0)
    book.drop_sandbox("s0", 2.0)
    given = {book.lease(NETWORK, Ref("Pod", "d", f"p{n}"), f"s{n}", 3.0) for n in range(1, 6)}
    assert len(given) == 5 and IPv4Address("10.9.0.2") in given
    with pytest.raises(ConflictError):
        book.lease(NETWORK, Ref("Pod", "d", "p9"), "s9", 4.0)
    book.close()


def test_addresses_are_not_set_aside_for_ever(path: Path) -> None:
    book = Ledger(path)
    first = book.lease(NETWORK, POD, "s1", 1.0)
    book.drop_sandbox("s1", 2.0)
    assert book.lease(NETWORK, Ref("Pod", "d", "late"), "s2", 2.0 + 3601) == first
    book.close()

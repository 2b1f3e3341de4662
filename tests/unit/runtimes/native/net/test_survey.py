from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Network

import pytest

from reconciler.runtimes.native.net.survey import host_networks, port_holder


@pytest.fixture
def bound() -> Iterator[object]:
    """Bind, and listen where there is something to listen to; returns the port."""
    sockets: list[socket.socket] = []

    def bind(family: int, kind: int, address: str) -> int:
        sockets.append(socket.socket(family, kind))
        sockets[-1].bind((address, 0))
        if kind == socket.SOCK_STREAM:
            sockets[-1].listen()
        return int(sockets[-1].getsockname()[1])

    yield bind
    for one in sockets:
        one.close()


@pytest.mark.parametrize(
    ("family", "kind", "address", "asked", "held"),
    [
        pytest.param(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", ("TCP", ""), True, id="one of every address"),
        pytest.param(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", ("TCP", "127.0.0.1"), True, id="that one"),
        pytest.param(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", ("TCP", "127.0.0.2"), False, id="another one"),
        pytest.param(socket.AF_INET, socket.SOCK_STREAM, "0.0.0.0", ("TCP", "127.0.0.2"), True, id="every address"),
        pytest.param(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", ("UDP", ""), False, id="another protocol"),
        pytest.param(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", ("SCTP", ""), False, id="sctp"),
        pytest.param(socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1", ("UDP", "127.0.0.1"), True, id="udp"),
        pytest.param(socket.AF_INET6, socket.SOCK_STREAM, "::", ("TCP", "127.0.0.1"), True, id="both families"),
        pytest.param(socket.AF_INET6, socket.SOCK_DGRAM, "::", ("UDP", ""), True, id="both families, udp"),
        pytest.param(socket.AF_INET6, socket.SOCK_STREAM, "::1", ("TCP", "::1"), True, id="ipv6"),
    ],
)
def test_port_holder(bound, family, kind, address, asked, held) -> None:
    holder = port_holder(bound(family, kind, address), *asked)
    assert (holder is not None) == held
    if holder is not None:
        assert holder.endswith(f"(pid {os.getpid()})")


def test_a_past_connection_holds_no_port(bound) -> None:
    port = bound(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1")
    with socket.create_connection(("127.0.0.1", port)) as client:
        ephemeral = client.getsockname()[1]
    assert port_holder(ephemeral, "TCP") is None


def test_host_networks_has_the_loopback_and_no_way_to_everything() -> None:
    networks = host_networks()
    assert IPv4Network("127.0.0.0/8") in networks
    assert all(network.prefixlen >= 8 for network in networks)

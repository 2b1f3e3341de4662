"""Who reaches whom: pods, the host, and the world outside it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from reconciler.model.sandbox import Port

HOST, OUTSIDE = "198.51.100.1", "198.51.100.2"
A, B = "10.230.0.2", "10.230.0.3"


async def ask(machine, address, port, **more):
    return await asyncio.to_thread(machine.ask, address, port, **more)


async def test_pods_reach_each_other_and_the_host(network, pod, host):
    a, b = await pod("a", A), await pod("b", B)
    b.serve(80)
    host.serve(9000)
    assert a.ping(B)
    assert a.ping(network.gateway)
    assert await ask(a, B, 80) == A
    assert await ask(a, network.gateway, 9000) == A
    assert await ask(host, B, 80) == str(network.gateway)


async def test_a_pod_has_its_own_loopback_and_no_ipv6_to_wait_for(network, pod):
    a = await pod("a", A)
    a.serve(80, address="127.0.0.1")
    assert await ask(a, "127.0.0.1", 80) == "127.0.0.1"
    assert "inet6" not in a.ip("addr show eth0")


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
async def test_pods_reach_the_outside_under_the_hosts_address(network, pod, outside, protocol):
    outside.serve(9000, protocol=protocol)
    a = await pod("a", A)
    assert await ask(a, OUTSIDE, 9000, protocol=protocol) == HOST


async def test_links_have_the_mtu_of_the_way_outside(network, pod):
    a = await pod("a", A)
    assert " mtu 1442 " in a.ip("link show eth0")


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
async def test_a_host_port_leads_into_the_pod_from_everywhere(network, pod, host, outside, protocol):
    a, b = await pod("a", A), await pod("b", B)
    a.serve(80, protocol=protocol)
    await network.publish({"a": (IPv4Address(A), (Port(80, 8080, protocol),))})
    gateway = str(network.gateway)
    assert await ask(outside, HOST, 8080, protocol=protocol) == OUTSIDE, "the pod sees who asks"
    assert await ask(host, HOST, 8080, protocol=protocol) == HOST
    assert await ask(host, "127.0.0.1", 8080, protocol=protocol) == gateway
    assert await ask(b, HOST, 8080, protocol=protocol) == gateway
    assert await ask(b, gateway, 8080, protocol=protocol) == gateway
    assert await ask(a, HOST, 8080, protocol=protocol) == gateway, "a pod reaches itself through its host port"


async def test_a_host_port_keeps_to_its_protocol(network, pod, outside):
    a = await pod("a", A)
    a.serve(80)
    await network.publish({"a": (IPv4Address(A), (Port(80, 8080, "UDP"),))})
    with pytest.raises(ConnectionRefusedError):
        await ask(outside, HOST, 8080)


async def test_a_host_port_keeps_to_its_host_address(network, pod, host, outside):
    a = await pod("a", A)
    a.serve(80)
    await network.publish({"a": (IPv4Address(A), (Port(80, 8080, host_ip="127.0.0.1"), Port(80, 8081, host_ip=HOST)))})
    assert await ask(host, "127.0.0.1", 8080) == str(network.gateway)
    assert await ask(outside, HOST, 8081) == OUTSIDE
    with pytest.raises(ConnectionRefusedError):
        await ask(outside, HOST, 8080)
    with pytest.raises(ConnectionRefusedError):
        await ask(host, "127.0.0.1", 8081)


async def test_a_withdrawn_host_port_is_closed(network, pod, outside):
    a = await pod("a", A)
    a.serve(80)
    await network.publish({"a": (IPv4Address(A), (Port(80, 8080),))})
    assert await ask(outside, HOST, 8080) == OUTSIDE
    await network.publish({})
    with pytest.raises(ConnectionRefusedError):
        await ask(outside, HOST, 8080)


async def test_a_pod_cannot_reach_the_hosts_loopback(network, pod, host):
    host.serve(9000, address="127.0.0.1")
    a = await pod("a", A)
    # what a pod with NET_ADMIN can do to try
    for command in ("addr del 127.0.0.1/8 dev lo", f"route add 127.0.0.1/32 via {network.gateway} src {A}"):
        a.ip(command)
    a.run(lambda: Path("/proc/sys/net/ipv4/conf/eth0/route_localnet").write_text("1"))
    with pytest.raises(TimeoutError):
        await ask(a, "127.0.0.1", 9000, timeout_seconds=0.3)


async def test_packets_pass_where_another_engine_drops_what_it_does_not_know(network, pod, outside, remains):
    outside.serve(9000)
    a = await pod("a", A)
    for arguments in ("-P FORWARD DROP", "-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-I FORWARD -j DOCKER-USER"):
        subprocess.run(["iptables", *arguments.split()], check=True)
    with pytest.raises(TimeoutError):
        await ask(a, OUTSIDE, 9000, timeout_seconds=0.3)
    await network.ensure()
    assert await ask(a, OUTSIDE, 9000) == HOST
    before = remains()
    await network.ensure()
    assert remains() == before, "our rules are there once"


@pytest.mark.parametrize("filtered", ["0", "1"])
async def test_a_pod_reaches_itself_with_and_without_bridge_netfilter(network, pod, host, filtered):
    host.run(lambda: Path("/proc/sys/net/bridge/bridge-nf-call-iptables").write_text(filtered))
    a, b = await pod("a", A), await pod("b", B)
    a.serve(80)
    await network.publish({"a": (IPv4Address(A), (Port(80, 8080),))})
    assert await ask(a, HOST, 8080) == str(network.gateway)
    assert await ask(b, HOST, 8080) == str(network.gateway)


async def test_host_ports_work_where_reverse_paths_are_checked(network, pod, host, outside, instance):
    for name in ("all", "default", f"rec-{instance}"):
        host.run(lambda name=name: Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter").write_text("1"))
    a = await pod("a", A)
    a.serve(80)
    await network.publish({"a": (IPv4Address(A), (Port(80, 8080),))})
    assert await ask(host, "127.0.0.1", 8080) == str(network.gateway)
    assert await ask(outside, HOST, 8080) == OUTSIDE
    assert await ask(a, HOST, 8080) == str(network.gateway)


async def test_a_udp_client_that_keeps_its_port_follows_a_host_port_to_another_pod(network, pod, outside):
    a, b = await pod("a", A), await pod("b", B)
    for one in (a, b):
        one.serve(53, protocol="UDP")
    with outside.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        client.settimeout(2)
        client.connect((HOST, 5353))
        client.send(b"before anybody listens")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)
        for sandbox_id, address in (("a", A), ("b", B)):
            await network.publish({sandbox_id: (IPv4Address(address), (Port(53, 5353, "UDP"),))})
            client.send(b"who am I?")
            assert client.recv(100).decode() == OUTSIDE
            await network.detach(sandbox_id)

"""Somebody takes our things apart: what a sandbox owns is reported, what all share is put right."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from reconciler.errors import TransientError
from reconciler.model.sandbox import Port
from reconciler.runtimes.native import kernel
from reconciler.runtimes.native.net import firewall
from reconciler.runtimes.native.net.network import Network

HOST, OUTSIDE = "198.51.100.1", "198.51.100.2"
A, B = "10.230.0.2", "10.230.0.3"


def veth_of(host, instance) -> str:
    (line,) = [line for line in host.ip("-br link show type veth").splitlines() if line.startswith(f"r{instance}")]
    return line.split("@")[0]


async def test_a_whole_sandbox_has_no_fault(network, pod):
    assert network.observe() == {}
    await pod("a", A)
    await pod("b", B)
    assert network.observe() == {"a": "", "b": ""}


FAULTS: list[tuple[str, Callable, str]] = [
    ("link deleted", lambda n, h, i: h.ip(f"link del {veth_of(h, i)}"), "its network link is gone"),
    ("link down", lambda n, h, i: h.ip(f"link set {veth_of(h, i)} down"), "its network link is down"),
    ("link off the bridge", lambda n, h, i: h.ip(f"link set {veth_of(h, i)} nomaster"), "its network link is gone"),
    ("eth0 down", lambda n, h, i: inside(n, "link set eth0 down"), "eth0 is down"),
    ("eth0 deleted", lambda n, h, i: inside(n, "link del eth0"), "its network link is gone"),
    ("address removed", lambda n, h, i: inside(n, "addr flush dev eth0"), "eth0 lost its address"),
    (
        "namespace unmounted",
        lambda n, h, i: kernel.unmount(str(n.netns_path("a"))),
        "its network namespace was unmounted",
    ),
]


def inside(network: Network, command: str) -> None:
    subprocess.run(["nsenter", f"--net={network.netns_path('a')}", "ip", *command.split()], check=True)


@pytest.mark.parametrize(("act", "fault"), [pytest.param(*case[1:], id=case[0]) for case in FAULTS])
async def test_a_broken_sandbox_is_reported_and_attach_mends_it(network, pod, host, instance, act, fault):
    await pod("a", A)
    await pod("b", B)
    # keep both namespaces alive, as containers would, and find a's link alone
    held = os.open(network.netns_path("a"), os.O_RDONLY)
    try:
        await network.detach("b")
        act(network, host, instance)
        assert network.observe() == {"a": fault}
        await network.attach("a", IPv4Address(A))
    finally:
        os.close(held)
    assert network.observe() == {"a": ""}
    assert (await pod("b", B)).ping(A)


async def test_a_removed_pin_leaves_no_network_to_observe(network, pod):
    await pod("a", A)
    kernel.unmount(str(network.netns_path("a")))
    network.netns_path("a").unlink()
    assert network.observe() == {}


async def test_attach_does_not_disturb_what_is_whole(network, pod, host, instance):
    a = await pod("a", A)
    before = a.ip("link show eth0"), os.stat(a.path).st_ino
    await network.attach("a", IPv4Address(A))
    assert (a.ip("link show eth0"), os.stat(a.path).st_ino) == before


async def test_a_deleted_bridge_comes_back_with_its_pods(network, pod, host, instance):
    a = await pod("a", A)
    host.ip(f"link del rec-{instance}")
    assert network.observe() == {"a": "its network link is gone"}
    await network.ensure()
    assert network.observe() == {"a": ""}
    assert a.ping(network.gateway)


@pytest.mark.parametrize(
    "command", ["link set {bridge} down", "addr flush dev {bridge}", "link set {link} down", "link set {link} nomaster"]
)
async def test_a_disturbed_bridge_is_put_right(network, pod, host, instance, command):
    a = await pod("a", A)
    host.ip(command.format(bridge=f"rec-{instance}", link=veth_of(host, instance)))
    assert not a.ping(network.gateway)
    await network.ensure()
    assert a.ping(network.gateway)
    assert network.observe() == {"a": ""}


@pytest.mark.parametrize(
    "command",
    ["delete table ip reconciler_{}", "flush ruleset", "flush chain ip reconciler_{} hostports"],
)
async def test_changed_rules_are_noticed_and_put_right(network, pod, outside, instance, command):
    a = await pod("a", A)
    a.serve(80)
    await network.publish({"a": (IPv4Address(A), (Port(80, 8080),))})
    assert network.table_intact()
    subprocess.run(["nft", *command.format(instance).split()], check=True)
    assert not network.table_intact()
    await network.ensure()
    assert network.table_intact()
    assert outside.ask(HOST, 8080) == OUTSIDE


async def test_rules_of_others_are_none_of_our_business(network):
    subprocess.run(["nft", "add", "table", "inet", "theirs"], check=True)
    assert network.table_intact()


async def test_a_start_leaves_published_ports_alone_until_told(network, pod, outside, instance, tmp_path):
    a = await pod("a", A)
    a.serve(80)
    await network.publish({"a": (IPv4Address(A), (Port(80, 8080),))})
    again = Network(instance, tmp_path, IPv4Network("10.230.0.0/24"))
    await again.ensure()
    assert outside.ask(HOST, 8080) == OUTSIDE
    assert again.observe() == {"a": ""}
    await again.publish({})
    await again.aclose()
    with pytest.raises(ConnectionRefusedError):
        outside.ask(HOST, 8080)


async def test_detach_twice_and_of_nothing(network, pod, remains):
    await pod("a", A)
    await network.detach("a")
    await network.detach("a")
    await network.detach("never was")
    assert network.observe() == {}


async def test_detach_while_somebody_is_still_inside_removes_link_and_pin(network, pod, host, instance):
    await pod("a", A)
    held = os.open(network.netns_path("a"), os.O_RDONLY)
    try:
        await network.detach("a")
        assert network.observe() == {}
        assert f"r{instance}" not in host.ip("-br link")
    finally:
        os.close(held)


async def test_detach_of_what_somebody_mounted_over(network, pod, outside):
    a = await pod("a", A)
    kernel.mount(str(outside.path), str(a.path), flags=kernel.MS_BIND)
    await network.detach("a")
    assert network.observe() == {}


async def test_sweep_keeps_owners_and_removes_the_rest(network, pod, host, instance):
    for number in range(4):
        await pod(f"s{number}", f"10.230.0.{10 + number}")
    await network.sweep({"s1", "s3"})
    assert network.observe() == {"s1": "", "s3": ""}
    assert host.ip("-br link").count(f"r{instance}") == 2


async def test_two_instances_do_not_see_each_other(network, pod, host, tmp_path):
    await pod("a", A)
    other = Network("0badcafe", tmp_path / "other", IPv4Network("10.231.0.0/24"))
    try:
        await other.ensure()
        await other.attach("a", IPv4Address("10.231.0.2"))
        await other.sweep(set())
        assert other.observe() == {}
        assert network.observe() == {"a": ""}
    finally:
        await other.remove()
        await other.aclose()
        (tmp_path / "other").rmdir()
    assert network.table_intact()


async def test_attach_needs_no_ensure_before(network, host, instance, tmp_path):
    again = Network(instance, tmp_path, network.pod_cidr)
    await again.attach("a", IPv4Address(A))
    await again.aclose()
    assert network.observe() == {"a": ""}


async def test_publishing_in_a_crowd_ends_with_what_was_published_last(network, instance, monkeypatch):
    writes = []
    original = firewall._nft
    monkeypatch.setattr(firewall, "_nft", lambda *a, **k: (writes.append(a[0]), original(*a, **k))[1])
    await asyncio.gather(
        *(network.publish({"a": (IPv4Address(A), (Port(80, 8000 + number),))}) for number in range(50))
    )
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    assert rules.count("dnat to") == 1
    assert "tcp dport 8049" in rules
    assert writes.count("-f") < 5


async def test_attach_without_a_bridge_makes_it_and_takes_the_others_back(network, pod, host, instance):
    a = await pod("a", A)
    host.ip(f"link del rec-{instance}")
    b = await pod("b", B)
    assert network.observe() == {"a": "", "b": ""}
    assert b.ping(A)
    assert a.ping(network.gateway)


async def test_attach_says_what_is_in_the_way(network, host, instance):
    host.ip(f"link del rec-{instance}")
    host.ip(f"link add rec-{instance} type veth peer name no-bridge")
    with pytest.raises(TransientError, match="cannot make the network of sandbox a: ") as caught:
        await network.attach("a", IPv4Address(A))
    assert caught.value.reason == "FailedCreatePodSandBox"


async def test_forwarding_that_somebody_turned_off_is_turned_on_again(network, pod, host, outside):
    outside.serve(9000)
    a = await pod("a", A)
    host.run(lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("0"))
    await network.ensure()
    assert a.ask(OUTSIDE, 9000) == HOST

"""What the host has already, told apart from what is ours."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Network

from reconciler.runtimes.native.net.survey import host_networks


async def test_host_networks(network, host, instance):
    for command in (
        "route add 10.77.0.0/16 via 198.51.100.2",
        "route add 0.0.0.0/1 via 198.51.100.2",  # a VPN's halves of everything
        "route add 128.0.0.0/1 via 198.51.100.2",
        "addr add 203.0.113.9/28 dev cable",
    ):
        host.ip(command)
    loopback = IPv4Network("127.0.0.0/8")
    others = [IPv4Network("10.77.0.0/16"), IPv4Network("198.51.100.0/24"), IPv4Network("203.0.113.0/28")]
    assert await asyncio.to_thread(host_networks, but=f"rec-{instance}") == sorted([loopback, *others])
    assert await asyncio.to_thread(host_networks) == sorted([loopback, *others, network.pod_cidr])
    assert await asyncio.to_thread(host_networks, but="nobody") == sorted([loopback, *others, network.pod_cidr])

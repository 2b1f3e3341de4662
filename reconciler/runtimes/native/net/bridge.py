"""What all sandboxes of an instance share on the host: the bridge, forwarding, and the host's own networks."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from socket import AF_INET
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

_EXISTS, _NO_DEVICE = 17, 19
_LOCAL_ROUTE_TABLE = 255
DEFAULT_MTU = 1500


def mac_of(address: IPv4Address) -> str:
    """Derived, so that an address that is leased again answers with the same MAC: no neighbour entry goes stale."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in address.packed)


def ensure_bridge(ip: IPRoute, name: str, address: IPv4Interface, mtu: int) -> None:
    """Make the bridge, up and with `address`. Idempotent. Raises: NetlinkError."""
    try:
        # without its own MAC a bridge takes the lowest of its ports', and changes it as they come and go
        ip.link("add", ifname=name, kind="bridge", address=mac_of(address.ip), br_forward_delay=0, br_mcast_snooping=0)
    except NetlinkError as error:
        if error.code != _EXISTS:
            raise
    ifindex = ip.link_lookup(ifname=name)[0]
    write_sysctl(f"ipv6/conf/{name}/disable_ipv6", "1")  # nothing waits for duplicate address detection
    ip.addr("replace", index=ifindex, address=str(address.ip), prefixlen=address.network.prefixlen)
    ip.link("set", index=ifindex, mtu=mtu, state="up")


def ensure_forwarding(name: str) -> None:
    """Let the host forward, and host ports on 127.0.0.1 lead to the bridge. Idempotent. Raises: OSError."""
    write_sysctl("ipv4/ip_forward", "1")
    write_sysctl(f"ipv4/conf/{name}/route_localnet", "1")


def remove_bridge(ip: IPRoute, name: str) -> None:
    """Delete the bridge. Nothing to do is fine. Raises: NetlinkError."""
    try:
        ip.link("del", ifname=name)
    except NetlinkError as error:
        if error.code != _NO_DEVICE:
            raise


def default_mtu(ip: IPRoute) -> int:
    """Bytes; of the device that leads outside, so that nothing a pod sends has to be fragmented."""
    for route in ip.get_default_routes(family=AF_INET):
        index = route.get_attr("RTA_OIF")
        if index is not None:
            return int(ip.get_links(index)[0].get_attr("IFLA_MTU"))
    return DEFAULT_MTU


def networks(ip: IPRoute, *, but: str = "") -> Iterator[IPv4Network]:
    """Networks that the host has or knows a way to, but for those of the link named `but`.

    Default routes, also in halves (as VPNs write them), say nothing about a network and are left out.
    """
    skipped = set(ip.link_lookup(ifname=but)) if but else set()
    for address in ip.get_addr(family=AF_INET):
        if address["index"] not in skipped:
            yield IPv4Network((address.get_attr("IFA_ADDRESS"), address["prefixlen"]), strict=False)
    for route in ip.get_routes(family=AF_INET):
        destination: Any = route.get_attr("RTA_DST")
        if (
            destination
            and route["dst_len"] >= 8
            and route.get_attr("RTA_TABLE") != _LOCAL_ROUTE_TABLE
            and route.get_attr("RTA_OIF") not in skipped
        ):
            yield IPv4Network((destination, route["dst_len"]), strict=False)


def write_sysctl(name: str, value: str) -> None:
    """Set one sysctl of `net/` in the namespace of this thread. Raises: OSError."""
    path = Path("/proc/sys/net", name)
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except FileNotFoundError:
        pass  # a kernel without IPv6

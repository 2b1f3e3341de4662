"""Our nftables table as text: masquerading, host ports, and what pods may not reach. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

from reconciler.model.sandbox import Port

Published = Mapping[str, tuple[IPv4Address, tuple[Port, ...]]]
"""Sandbox id -> its address and its host ports."""


def render(table: str, bridge: str, pod_cidr: IPv4Network, published: Published) -> str:
    """Input for `nft -f -` that replaces the whole table in one transaction.

    The same inputs give the same text. A host port with an IPv6 `host_ip` gets no rule: pods have IPv4.
    Source: nft(8). `add` first makes `delete` safe when the table is absent.
    """
    host_ports = "\n".join(f"\t\t{rule}" for rule in _host_ports(published))
    return f"""\
add table ip {table}
delete table ip {table}
table ip {table} {{
	chain guard {{
		type filter hook prerouting priority raw; policy accept;
		iifname "{bridge}" ip daddr 127.0.0.0/8 drop
	}}
	chain prerouting {{
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local jump hostports
	}}
	chain output {{
		type nat hook output priority -100; policy accept;
		fib daddr type local jump hostports
	}}
	chain postrouting {{
		type nat hook postrouting priority srcnat; policy accept;
		oifname != "{bridge}" ip saddr {pod_cidr} ip daddr != {pod_cidr} masquerade
		oifname "{bridge}" ip saddr 127.0.0.0/8 masquerade
		oifname "{bridge}" ip saddr {pod_cidr} ct status dnat masquerade
	}}
	chain hostports {{
{host_ports}
	}}
}}
"""


def render_removal(table: str) -> str:
    """Input for `nft -f -` after which there is no table of ours, whether there was one or not."""
    return f"add table ip {table}\ndelete table ip {table}\n"


def moved_udp_ports(before: Published, after: Published) -> list[int]:
    """UDP host ports that lead elsewhere than before, or are new or gone."""
    was, now = _udp_targets(before), _udp_targets(after)
    return sorted({host_port for host_port, *_ in was ^ now})


_ANY = IPv4Address(0)


def _udp_targets(published: Published) -> set[tuple[int, str, IPv4Address, int]]:
    return {
        (port.host_port, port.host_ip, address, port.container_port)
        for address, ports in published.values()
        for port in ports
        if port.protocol == "UDP"
    }


def _host_address(port: Port) -> IPv4Address | None:
    if port.host_ip in ("", "::"):
        return _ANY
    try:
        return IPv4Address(port.host_ip)
    except ValueError:
        return None


def _host_ports(published: Published) -> Iterator[str]:
    """One rule a port, those of one address before those of every address."""
    rules: list[tuple[bool, int, str, IPv4Address, str, IPv4Address, int]] = []
    for sandbox_id, (address, ports) in published.items():
        for port in ports:
            where = _host_address(port)
            if where is not None:
                rules.append(
                    (where == _ANY, port.host_port, port.protocol, where, sandbox_id, address, port.container_port)
                )
    for everywhere, host_port, protocol, where, _, address, container_port in sorted(rules):
        here = "" if everywhere else f"ip daddr {where} "
        yield f"{here}{protocol.lower()} dport {host_port} dnat to {address}:{container_port}"

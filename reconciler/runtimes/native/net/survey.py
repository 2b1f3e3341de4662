"""What the host has already: networks that pods must keep away from, and listeners on ports they ask for."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Network, ip_address
from pathlib import Path

from pyroute2 import IPRoute

from reconciler.runtimes.native.net import bridge

_LISTENING = {"TCP": "0A", "UDP": "07"}


def host_networks(*, but: str = "") -> list[IPv4Network]:
    """Networks of this host's addresses and routes, but for those of the link named `but` (our own bridge).

    Not for a thread that runs an event loop: pyroute2 runs one itself.
    """
    with IPRoute() as ip:
        return sorted(set(bridge.networks(ip, but=but)))


def port_holder(port: int, protocol: str, host_ip: str = "") -> str | None:
    """Who listens on a port of the host, as "nginx (pid 12)"; None when nobody does.

    `host_ip` empty means on any address. SCTP is not looked at. Raises: OSError.
    """
    if protocol not in _LISTENING or _is_free(port, protocol, host_ip):
        return None
    for inode in _listeners(port, protocol, host_ip):
        return _process_with(f"socket:[{inode}]") or "a process that cannot be seen"
    return None  # only the near end of a connection


def _is_free(port: int, protocol: str, host_ip: str) -> bool:
    """Ask the kernel by binding, without listening. Free is certain; taken may be by the near end of a connection."""
    kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET6 if ":" in host_ip else socket.AF_INET, kind) as probe:
        if protocol == "TCP":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host_ip, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            if error.errno != errno.EADDRNOTAVAIL:
                raise
    return True


def _listeners(port: int, protocol: str, host_ip: str) -> Iterator[int]:
    """Inodes of the sockets that hold the port. Source: proc_net_tcp(5)."""
    anywhere = not any(ip_address(host_ip or "::").packed)
    wanted = {bytes(4), ip_address(host_ip or "::").packed[-4:]}
    for table in (protocol.lower(), f"{protocol.lower()}6"):
        try:
            lines = Path(f"/proc/thread-self/net/{table}").read_text().splitlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            _, local, _, state, *rest = line.split()
            address, _, held = local.rpartition(":")
            # each word of the address is in the machine's order; the last is the IPv4 part
            word = int(address[-8:], 16).to_bytes(4, "little")
            if int(held, 16) == port and state == _LISTENING[protocol] and (anywhere or word in wanted):
                yield int(rest[5])


def _process_with(link: str) -> str:
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and any(target == link for target in _descriptors(process)):
            try:
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
            except OSError:
                continue
    return ""


def _descriptors(process: Path) -> Iterator[str]:
    """What a process has open; processes and descriptors may go while we look."""
    try:
        descriptors = list((process / "fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        try:
            yield os.readlink(descriptor)
        except OSError:
            continue

"""UDP flows that the kernel remembers, forgotten when a host port leads elsewhere.

A flow keeps the destination it was given first, for as long as packets come. TCP gets over
that by connecting anew; a UDP client that keeps its port would talk to a pod that is gone.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from pyroute2 import Conntrack
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

_GONE = 2


def forget_udp(host_ports: Sequence[int]) -> None:
    """Forget all flows to those ports: their next packet meets the rules again. Raises: NetlinkError, OSError."""
    if not host_ports:
        return
    with Conntrack() as conntrack:
        for port in host_ports:
            wanted = NFCTAttrTuple(proto=socket.IPPROTO_UDP, dport=port)
            for flow in list(conntrack.dump_entries(tuple_orig=wanted)):
                try:
                    conntrack.delete(flow)
                except NetlinkError as error:
                    if error.code != _GONE:
                        raise

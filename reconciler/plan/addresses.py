"""Which addresses pods get. Pure: who holds what is an argument."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv4Network
from itertools import chain

from reconciler.errors import ConflictError

_CANDIDATES = (
    *(IPv4Network(f"10.{second}.0.0/16") for second in range(201, 255)),
    *(IPv4Network(f"172.{second}.0.0/16") for second in range(30, 18, -1)),
    *(IPv4Network(f"192.168.{third}.0/20") for third in range(240, 0, -16)),
)
"""Away from what Docker (172.17 and on), podman (10.88), and usual clusters (10.42, 10.96, 10.244) take."""


def gateway_of(network: IPv4Network) -> IPv4Address:
    """The host's own address in a pod network: the first."""
    return network.network_address + 1


def pick(network: IPv4Network, taken: Collection[IPv4Address], preferred: IPv4Address | None = None) -> IPv4Address:
    """The first free address at or after `preferred` (else from the start), wrapping around once.

    Never the network's own, the gateway's, the broadcast's, or one of `taken`.
    Raises: ConflictError(reason="AddressesExhausted").
    """
    first, last = int(network.network_address) + 2, int(network.broadcast_address) - 1
    held = {int(address) for address in taken}
    start = int(preferred) if preferred is not None and first <= int(preferred) <= last else first
    for number in chain(range(start, last + 1), range(first, start)):
        if number not in held:
            return IPv4Address(number)
    raise ConflictError(
        f"all {max(0, last - first + 1)} pod addresses of {network} are leased: "
        "remove pods, or use a larger --pod-cidr",
        reason="AddressesExhausted",
    )


def settle_pod_cidr(
    kept: IPv4Network | None, preferred: IPv4Network | None, taken: Sequence[IPv4Network], *, has_pods: bool
) -> IPv4Network:
    """The pod network of an instance that had `kept` before, or None.

    Running pods have addresses of it, so it stays while there are any; without pods it makes way for whoever
    uses it by now. Raises: ConflictError as `choose_pod_cidr`.
    """
    if kept is not None and preferred in (None, kept) and (has_pods or not any(kept.overlaps(t) for t in taken)):
        return kept
    return choose_pod_cidr(preferred, taken)


def choose_pod_cidr(preferred: IPv4Network | None, taken: Sequence[IPv4Network]) -> IPv4Network:
    """A pod network that the host does not use yet: `preferred`, or else the first free of our candidates.

    Raises: ConflictError(reason="PodCidrConflict") naming what is in the way.
    """
    if preferred is not None:
        for other in taken:
            if preferred.overlaps(other):
                raise ConflictError(
                    f"--pod-cidr {preferred} overlaps {other}, which this host uses: choose another",
                    reason="PodCidrConflict",
                )
        return preferred
    for candidate in _CANDIDATES:
        if not any(candidate.overlaps(other) for other in taken):
            return candidate
    raise ConflictError(
        "this host has routes to every private network that pods could have: name a free one with --pod-cidr",
        reason="PodCidrConflict",
    )

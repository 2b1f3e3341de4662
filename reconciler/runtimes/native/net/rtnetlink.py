"""Kernel messages of the paths that run for every sandbox, spoken without a library.

Making one sandbox's network takes pyroute2 5.8 ms of CPU, and these messages 1 ms, of
which most is the kernel's own; looking at 50 sandboxes takes 1 ms instead of 12. So what
runs once per sandbox or per relist is here, and all else goes through pyroute2 (bridge.py).

Builders return one message; `Socket.request` sends any number of them in one system call.
Source: rtnetlink(7), linux/if_link.h, linux/netlink.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface
from typing import NamedTuple

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

UP = 0x1
LOWER_UP = 0x10000

_SOL_NETLINK, _CAP_ACK, _EXT_ACK, _STRICT_CHECK = 270, 10, 11, 12
_PATIENCE_SECONDS = 10
_BATCH = 64  # acknowledgements that surely fit the receive buffer
_REQUEST, _ACK, _EXCLUSIVE, _CREATE, _DUMP = 0x1, 0x4, 0x200, 0x400, 0x300
_INTERRUPTED, _ACK_HAS_ATTRIBUTES = 0x10, 0x200
_ATTEMPTS = 10
_ERROR, _DONE = 2, 3
_NEW_LINK, _DELETE_LINK, _GET_LINK, _NEW_ADDRESS, _GET_ADDRESS, _NEW_ROUTE = 16, 17, 18, 20, 22, 24
_NESTED = 0x8000
# attributes, by linux/if_link.h, if_addr.h, rtnetlink.h, veth.h and nf_tables.h
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
_IFLA_AF_SPEC, _IFLA_GROUP, _IFLA_NET_NS_FD, _IFLA_EXT_MASK, _IFLA_LINK_NETNSID = 26, 27, 28, 29, 37
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _IFLA_INFO_SLAVE_KIND, _IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
_VETH_INFO_PEER, _IFLA_BRPORT_MODE, _IFLA_INET6_ADDR_GEN_MODE = 1, 4, 8
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_TARGET_NETNSID = 1, 2, 4, 10
_RTA_OIF, _RTA_GATEWAY = 4, 5
_NFTA_GEN_ID, _NLMSGERR_ATTR_MSG = 1, 1
_SKIP_STATISTICS = 8
_LINK_NUMBERS = frozenset({_IFLA_MASTER, _IFLA_LINK, _IFLA_LINK_NETNSID})
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_U32 = struct.Struct("=I")
_I32 = struct.Struct("=i")
_GET_GENERATION = 10 << 8 | 16  # nfnetlink: subsystem nftables, NFT_MSG_GETGEN


class Link(NamedTuple):
    """`master` is the ifindex of its bridge, 0 for none; `peer` that of a veth's other end, and `peer_namespace`
    the kernel's number, here, for the namespace where that lives, -1 for this one."""

    ifindex: int
    name: str
    flags: int
    master: int
    peer: int
    peer_namespace: int


class Socket:
    """A netlink socket in the network namespace of the thread that makes it, and it stays there
    whoever uses it. One user at a time."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            for option in (_CAP_ACK, _EXT_ACK, _STRICT_CHECK):
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("=qq", _PATIENCE_SECONDS, 0))
            self._socket.bind((0, 0))
        except OSError:
            self._socket.close()
            raise
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, *messages: bytes) -> None:
        """Carry out `messages` in order, and wait for the kernel's word on each.

        Raises: OSError, of the first that was refused, after all were tried.
        """
        refused: OSError | None = None
        for start in range(0, len(messages), _BATCH):
            batch = bytearray()
            waiting = {self._append(batch, message, _ACK) for message in messages[start : start + _BATCH]}
            self._socket.send(batch)
            while waiting:
                for kind, flags, sequence, body in self._receive():
                    if kind == _ERROR and sequence in waiting:
                        waiting.remove(sequence)
                        refused = refused or _refusal(flags, body)
        if refused is not None:
            raise refused

    def links(self, *, master: int = 0, kind: str = "") -> list[Link]:
        """All links, or those of a bridge, or of one kind."""
        attributes = _attribute(_IFLA_EXT_MASK, _U32.pack(_SKIP_STATISTICS))
        if master:
            attributes += _attribute(_IFLA_MASTER, _U32.pack(master))
        if kind:
            attributes += _nest(_IFLA_LINKINFO, _text(_IFLA_INFO_KIND, kind))
        request = _message(_GET_LINK, _LINK.pack(0, 0, 0, 0, 0) + attributes)
        return [_parse_link(body) for body in self._ask(request, _DUMP)]

    def link(self, name: str) -> Link | None:
        """One link by name, or None."""
        try:
            return _parse_link(self._ask(_message(_GET_LINK, _link(name)), 0)[0])
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def addresses(self, ifindex: int, namespace: int = -1) -> list[IPv4Address]:
        """IPv4 addresses of a link, here or in the namespace that has this number here."""
        request = _ADDRESS.pack(socket.AF_INET, 0, 0, 0, ifindex)
        if namespace >= 0:
            request += _attribute(_IFA_TARGET_NETNSID, _I32.pack(namespace))
        return [
            IPv4Address(value)
            for answer in self._ask(_message(_GET_ADDRESS, request), _DUMP)
            for kind, value in _attributes(answer, _ADDRESS.size)
            if kind == _IFA_LOCAL
        ]

    def generation(self) -> int:
        """Changes whenever anybody changes any rule of nftables. Of a NETLINK_NETFILTER socket."""
        (body,) = self._ask(_message(_GET_GENERATION, bytes(4)), 0)
        return next(int.from_bytes(value, "big") for kind, value in _attributes(body, 4) if kind == _NFTA_GEN_ID)

    def _ask(self, message: bytes, flags: int) -> list[bytes]:
        """All answers to one question, and asked again when things changed while the kernel listed them."""
        for _ in range(_ATTEMPTS):
            answers, whole = self._ask_once(message, flags)
            if whole:
                return answers
        raise OSError(errno.EAGAIN, "links change faster than they can be listed")

    def _ask_once(self, message: bytes, flags: int) -> tuple[list[bytes], bool]:
        batch = bytearray()
        asked = self._append(batch, message, flags)
        self._socket.send(batch)
        answers: list[bytes] = []
        whole = True
        while True:  # to the end: what is not read now would be in the way of the next question
            for kind, answer_flags, sequence, body in self._receive():
                if sequence != asked:
                    continue
                whole = whole and not answer_flags & _INTERRUPTED
                if kind == _DONE:
                    return answers, whole
                if kind == _ERROR:
                    raise _refusal(answer_flags, body) or OSError(errno.EPROTO, "an answer without content")
                answers.append(body)
                if not flags:
                    return answers, True

    def _append(self, batch: bytearray, message: bytes, flags: int) -> int:
        self._sequence = self._sequence % 0x7FFFFFFF + 1
        length, kind, own_flags, _, _ = _HEADER.unpack_from(message)
        batch += _HEADER.pack(length, kind, own_flags | flags, self._sequence, 0) + message[_HEADER.size :]
        return self._sequence

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        data = self._socket.recv(1 << 18)
        at = 0
        while at < len(data):
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
            yield kind, flags, sequence, data[at + _HEADER.size : at + length]
            at += length + 3 & ~3


def create_veth(name: str, *, mtu: int, bridge: int, peer: str, peer_namespace: int, peer_mac: bytes) -> bytes:
    """A veth, down, already a port of `bridge`, whose `peer` is born in the namespace of that file descriptor."""
    other_end = (
        _link(peer)
        + _attribute(4, _U32.pack(mtu))
        + _attribute(1, peer_mac)
        + _attribute(28, _U32.pack(peer_namespace))
    )
    return _message(
        _NEW_LINK,
        _link(name)
        + _attribute(_IFLA_MTU, _U32.pack(mtu))
        + _attribute(_IFLA_MASTER, _U32.pack(bridge))
        + _nest(
            _IFLA_LINKINFO, _text(_IFLA_INFO_KIND, "veth") + _nest(_IFLA_INFO_DATA, _nest(_VETH_INFO_PEER, other_end))
        ),
        _CREATE | _EXCLUSIVE,
    )


def set_port(name: str, bridge: int) -> bytes:
    """Make it a port of `bridge`."""
    return _message(_NEW_LINK, _link(name) + _attribute(_IFLA_MASTER, _U32.pack(bridge)))


def set_hairpin(name: str) -> bytes:
    """Let a bridge port send back what came from it (a pod that calls its own host port), and
    give it no IPv6 address: then nothing waits for duplicate address detection."""
    return _message(
        _NEW_LINK,
        _link(name)
        + _nest(
            _IFLA_LINKINFO,
            _text(_IFLA_INFO_SLAVE_KIND, "bridge") + _nest(_IFLA_INFO_SLAVE_DATA, _attribute(_IFLA_BRPORT_MODE, b"\1")),
        )
        + _nest(_IFLA_AF_SPEC, _nest(socket.AF_INET6, _attribute(_IFLA_INET6_ADDR_GEN_MODE, b"\1"))),
    )


def set_up(name: str) -> bytes:
    return _message(_NEW_LINK, _link(name, flags=UP))


def set_group(name: str, group: int) -> bytes:
    return _message(_NEW_LINK, _link(name) + _attribute(_IFLA_GROUP, _U32.pack(group)))


def delete_link(name: str) -> bytes:
    return _message(_DELETE_LINK, _link(name))


def delete_group(group: int) -> bytes:
    """Delete all links of a group: the kernel waits once for all, instead of 15 ms for each."""
    return _message(_DELETE_LINK, _LINK.pack(0, 0, 0, 0, 0) + _attribute(_IFLA_GROUP, _U32.pack(group)))


def add_address(ifindex: int, address: IPv4Interface) -> bytes:
    return _message(
        _NEW_ADDRESS,
        _ADDRESS.pack(socket.AF_INET, address.network.prefixlen, 0, 0, ifindex)
        + _attribute(_IFA_LOCAL, address.ip.packed)
        + _attribute(_IFA_ADDRESS, address.ip.packed)
        + _attribute(_IFA_BROADCAST, address.network.broadcast_address.packed),
        _CREATE | _EXCLUSIVE,
    )


def add_default_route(ifindex: int, gateway: IPv4Address) -> bytes:
    main_table, boot, universe, unicast = 254, 3, 0, 1
    return _message(
        _NEW_ROUTE,
        struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, main_table, boot, universe, unicast, 0)
        + _attribute(_RTA_GATEWAY, gateway.packed)
        + _attribute(_RTA_OIF, _U32.pack(ifindex)),
        _CREATE | _EXCLUSIVE,
    )


def _message(kind: int, body: bytes, flags: int = 0) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 0, 0) + body


def _link(name: str, *, flags: int = 0) -> bytes:
    return _LINK.pack(0, 0, 0, flags, flags) + _text(_IFLA_IFNAME, name)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _nest(kind: int, value: bytes) -> bytes:
    return _attribute(kind | _NESTED, value)


def _attributes(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at < len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += length + 3 & ~3


def _parse_link(body: bytes) -> Link:
    _, _, ifindex, flags, _ = _LINK.unpack_from(body)
    found: dict[int, int] = {}
    name = ""
    at, end, unpack = _LINK.size, len(body), _ATTRIBUTE.unpack_from
    while at < end:  # not _attributes(): this runs 40 times for every link
        length, kind = unpack(body, at)
        if kind in _LINK_NUMBERS:
            (found[kind],) = _I32.unpack_from(body, at + 4)
            if kind == _IFLA_LINK_NETNSID:
                break  # what follows is long, and none of ours
        elif kind == _IFLA_IFNAME:
            name = body[at + 4 : at + length - 1].decode(errors="replace")
        at += length + 3 & ~3
    return Link(
        ifindex,
        name,
        flags,
        found.get(_IFLA_MASTER, 0),
        found.get(_IFLA_LINK, 0),
        found.get(_IFLA_LINK_NETNSID, -1),
    )


def _refusal(flags: int, body: bytes) -> OSError | None:
    (code,) = _I32.unpack_from(body)
    if not code:
        return None
    words = os.strerror(-code)
    if flags & _ACK_HAS_ATTRIBUTES:
        for kind, value in _attributes(body, 4 + _HEADER.size):
            if kind == _NLMSGERR_ATTR_MSG:
                words = f"{words}: {value.rstrip(bytes(1)).decode(errors='replace')}"
    return OSError(-code, words)

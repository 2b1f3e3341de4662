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
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ATTRIBUTE = struct.Struct("=HH")
_U32 = struct.Struct("=I")
_I32 = struct.Struct("=i")
_GET_GENERATION = 10 << 8 | 16  # nfnetlink: subsystem nftables, NFT_MSG_GETGEN


class Link(NamedTuple):
    """`master` is the ifindex of its bridge, 0 for none; `peer_namespace` the kernel's number, here, for the
    namespace in which its other end lives, -1 for this one."""

    ifindex: int
    name: str
    flags: int
    mtu: int
    master: int
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
        attributes = _attribute(29, _U32.pack(8))  # IFLA_EXT_MASK: without statistics
        if master:
            attributes += _attribute(10, _U32.pack(master))
        if kind:
            attributes += _nest(18, _text(1, kind))
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

    def addresses(self, namespace: int) -> list[IPv4Address]:
        """IPv4 addresses in the namespace that has this number here."""
        body = struct.pack("=BBBBI", socket.AF_INET, 0, 0, 0, 0) + _attribute(10, _U32.pack(namespace))
        return [
            IPv4Address(value)
            for answer in self._ask(_message(_GET_ADDRESS, body), _DUMP)
            for kind, value in _attributes(answer, 8)
            if kind == 2  # IFA_LOCAL; 10 above is IFA_TARGET_NETNSID
        ]

    def generation(self) -> int:
        """Changes whenever anybody changes any rule of nftables. Of a NETLINK_NETFILTER socket."""
        (body,) = self._ask(_message(_GET_GENERATION, bytes(4)), 0)
        return next(int.from_bytes(value, "big") for kind, value in _attributes(body, 4) if kind == 1)

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
        + _attribute(4, _U32.pack(mtu))
        + _attribute(10, _U32.pack(bridge))
        + _nest(18, _text(1, "veth") + _nest(2, _attribute(1 | _NESTED, other_end))),
        _CREATE | _EXCLUSIVE,
    )


def set_port(name: str, bridge: int) -> bytes:
    """Make it a port of `bridge`."""
    return _message(_NEW_LINK, _link(name) + _attribute(10, _U32.pack(bridge)))


def set_hairpin(name: str) -> bytes:
    """Let a bridge port send back what came from it (a pod that calls its own host port), and
    give it no IPv6 address: then nothing waits for duplicate address detection."""
    return _message(
        _NEW_LINK,
        _link(name)
        + _nest(18, _text(4, "bridge") + _nest(5, _attribute(4, b"\1")))
        + _nest(26, _nest(socket.AF_INET6, _attribute(8, b"\1"))),
    )


def set_up(name: str) -> bytes:
    return _message(_NEW_LINK, _link(name, flags=UP))


def set_group(name: str, group: int) -> bytes:
    return _message(_NEW_LINK, _link(name) + _attribute(27, _U32.pack(group)))


def delete_link(name: str) -> bytes:
    return _message(_DELETE_LINK, _link(name))


def delete_group(group: int) -> bytes:
    """Delete all links of a group: the kernel waits once for all, instead of 15 ms for each."""
    return _message(_DELETE_LINK, _LINK.pack(0, 0, 0, 0, 0) + _attribute(27, _U32.pack(group)))


def add_address(index: int, address: IPv4Interface) -> bytes:
    return _message(
        _NEW_ADDRESS,
        struct.pack("=BBBBI", socket.AF_INET, address.network.prefixlen, 0, 0, index)
        + _attribute(2, address.ip.packed)
        + _attribute(1, address.ip.packed)
        + _attribute(4, address.network.broadcast_address.packed),
        _CREATE | _EXCLUSIVE,
    )


def add_default_route(index: int, gateway: IPv4Address) -> bytes:
    main_table, boot, universe, unicast = 254, 3, 0, 1
    return _message(
        _NEW_ROUTE,
        struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, main_table, boot, universe, unicast, 0)
        + _attribute(5, gateway.packed)
        + _attribute(4, _U32.pack(index)),
        _CREATE | _EXCLUSIVE,
    )


def _message(kind: int, body: bytes, flags: int = 0) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 0, 0) + body


def _link(name: str, *, flags: int = 0) -> bytes:
    return _LINK.pack(0, 0, 0, flags, flags) + _text(3, name)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _nest(kind: int, value: bytes) -> bytes:
    return _attribute(kind | _NESTED, value)


def _attributes(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += max(4, length + 3 & ~3)


def _parse_link(body: bytes) -> Link:
    _, _, ifindex, flags, _ = _LINK.unpack_from(body)
    name, mtu, master, peer_namespace = "", 0, 0, -1
    at = _LINK.size
    while at + 4 <= len(body):  # not _attributes(): this runs 40 times for every link
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if kind == 3:
            name = body[at + 4 : at + length - 1].decode(errors="replace")
        elif kind == 4:
            (mtu,) = _U32.unpack_from(body, at + 4)
        elif kind == 10:
            (master,) = _U32.unpack_from(body, at + 4)
        elif kind == 37:
            (peer_namespace,) = _I32.unpack_from(body, at + 4)
            break  # what follows is long, and none of ours
        at += max(4, length + 3 & ~3)
    return Link(ifindex, name, flags, mtu, master, peer_namespace)


def _refusal(flags: int, body: bytes) -> OSError | None:
    (code,) = _I32.unpack_from(body)
    if not code:
        return None
    words = os.strerror(-code)
    if flags & _ACK_HAS_ATTRIBUTES:
        for kind, value in _attributes(body, 4 + _HEADER.size):
            if kind == 1:
                words = f"{words}: {value.rstrip(bytes(1)).decode(errors='replace')}"
    return OSError(-code, words)

"""Machines to play with: network namespaces that stand for a host and for the world outside it.

The test's own thread moves into the host, and with it every thread and program that it starts,
so the real machine is not touched.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TypeVar

import pytest

from reconciler.runtimes.native import kernel
from reconciler.runtimes.native.net.network import Network

R = TypeVar("R")

CLONE_NEWNET = 0x40000000
HOST, OUTSIDE = IPv4Address("198.51.100.1"), IPv4Address("198.51.100.2")


def enter(path: Path) -> None:
    """Move the calling thread."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        kernel.setns(descriptor, CLONE_NEWNET)
    finally:
        os.close(descriptor)


class Machine:
    """A network namespace with sockets in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._servers: list[socket.socket] = []

    def run(self, work: Callable[[], R]) -> R:
        """Call `work` inside."""
        results: list[R] = []
        errors: list[BaseException] = []

        def inside() -> None:
            try:
                enter(self.path)
                results.append(work())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def ip(self, command: str) -> str:
        done = subprocess.run(
            ["nsenter", f"--net={self.path}", "ip", *command.split()], capture_output=True, text=True, check=True
        )
        return done.stdout

    def serve(self, port: int, *, address: str = "0.0.0.0", protocol: str = "TCP") -> None:
        """Answer everybody with the address they come from."""
        kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
        server = self.run(lambda: socket.socket(socket.AF_INET, kind))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        self._servers.append(server)
        if protocol == "TCP":
            server.listen()
        threading.Thread(target=_answer_stream if protocol == "TCP" else _answer_datagrams, args=(server,)).start()

    def ask(self, address: object, port: int, *, protocol: str = "TCP", timeout_seconds: float = 3) -> str:
        """What the server there says: the address that it saw us come from."""
        kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
        with self.run(lambda: socket.socket(socket.AF_INET, kind)) as client:
            client.settimeout(timeout_seconds)
            client.connect((str(address), port))
            client.send(b"who am I?")
            return client.recv(100).decode()

    def ping(self, address: object) -> bool:
        """One ICMP echo, answered within 2 s."""
        with self.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)) as raw:
            raw.settimeout(2)
            raw.sendto(bytes((8, 0, 0xF7, 0xFD, 0, 1, 0, 1)), (str(address), 0))
            try:
                while raw.recv(100)[20] != 0:  # 0 is an echo reply
                    pass
            except TimeoutError:
                return False
            return True

    def close(self) -> None:
        for server in self._servers:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()


def _answer_stream(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, (address, _) = server.accept()
            with client:
                client.recv(100)
                client.send(address.encode())


def _answer_datagrams(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            data, client = server.recvfrom(100)
            if not data:
                return
            server.sendto(client[0].encode(), client)


@contextlib.contextmanager
def made_machine() -> Iterator[Machine]:
    name = f"test-{secrets.token_hex(4)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    machine = Machine(Path("/run/netns", name))
    try:
        machine.ip("link set lo up")
        yield machine
    finally:
        machine.close()
        subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.fixture
def outside() -> Iterator[Machine]:
    """The world: OUTSIDE on a cable to the host."""
    with made_machine() as machine:
        yield machine


@pytest.fixture
def host(outside: Machine) -> Iterator[Machine]:
    """The machine under test: HOST on a cable with an odd MTU, the world as its default route."""
    with made_machine() as machine:
        machine.ip(f"link add cable mtu 1442 type veth peer name cable mtu 1442 netns {outside.path.name}")
        for one, address in ((machine, HOST), (outside, OUTSIDE)):
            one.ip(f"addr add {address}/24 dev cable")
            one.ip("link set cable up")
        machine.ip(f"route add default via {OUTSIDE}")
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        enter(machine.path)
        try:
            yield machine
        finally:
            kernel.setns(home, CLONE_NEWNET)
            os.close(home)


@pytest.fixture
def instance() -> str:
    return secrets.token_hex(4)


@pytest.fixture
async def network(host: Machine, instance: str, tmp_path: Path) -> AsyncIterator[Network]:
    """A network of its own on the host; removed, and nothing may be left of it."""
    made = Network(instance, tmp_path, IPv4Network("10.230.0.0/24"))
    try:
        await made.ensure()
        yield made
    finally:
        await made.remove()
        await made.aclose()
    assert leftovers(host, instance, tmp_path) == []


def leftovers(host: Machine, instance: str, run_dir: Path) -> list[str]:
    """Everything on the host that carries the instance's name, and everything in its run directory."""
    links = [line for line in host.ip("-br link").splitlines() if instance in line]
    rules = [line for line in _output("nft", "list", "ruleset").splitlines() if instance in line]
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(run_dir) in line]
    return links + rules + mounts + [str(path) for path in run_dir.rglob("*")]


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def remains(host: Machine, instance: str, tmp_path: Path) -> Callable[[], list[str]]:
    """What is left of the instance right now."""
    return lambda: leftovers(host, instance, tmp_path)


class Pods:
    """Attached sandboxes, as machines."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._machines: list[Machine] = []

    async def __call__(self, sandbox_id: str, address: str) -> Machine:
        await self._network.attach(sandbox_id, IPv4Address(address))
        machine = Machine(self._network.netns_path(sandbox_id))
        self._machines.append(machine)
        return machine

    def close(self) -> None:
        for machine in self._machines:
            machine.close()


@pytest.fixture
def pod(network: Network) -> Iterator[Pods]:
    pods = Pods(network)
    yield pods
    pods.close()

"""Killed with -9 before any of its effects, a network is swept clean, or made whole by asking again."""

from __future__ import annotations

import asyncio
import os
import signal
import traceback
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.sandbox import Port
from reconciler.runtimes.native import kernel
from reconciler.runtimes.native.net import bridge, firewall, rtnetlink
from reconciler.runtimes.native.net.network import Network

CIDR = IPv4Network("10.230.0.0/24")
A, B = IPv4Address("10.230.0.2"), IPv4Address("10.230.0.3")
EFFECTS = [
    (kernel, "mount"),
    (kernel, "unmount"),
    (os, "open"),
    (Path, "unlink"),
    (Path, "mkdir"),
    (bridge, "write_sysctl"),
    (rtnetlink.Socket, "request"),
    (bridge.IPRoute, "__getattr__"),  # link(), addr() and so on are found there
    (firewall, "_nft"),
]


def dies(run: Callable[[], Awaitable[None]], effect: int) -> bool:
    """Run in a child that is killed right before its effect of that number. Whether it came to that."""
    child = os.fork()
    if child == 0:
        try:
            _arm(effect)
            asyncio.run(run())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "it failed before it was killed"
    return os.WIFSIGNALED(status)


def _arm(effect: int) -> None:
    left = effect

    def armed(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        return call

    for owner, name in EFFECTS:
        setattr(owner, name, armed(getattr(owner, name)))


def with_network(
    instance: str, run_dir: Path, work: Callable[[Network], Awaitable[None]]
) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        network = Network(instance, run_dir, CIDR)
        try:
            await network.ensure()
            await work(network)
        finally:
            await network.aclose()

    return run


async def attach(network: Network) -> None:
    await network.attach("a", A)
    await network.attach("b", B)
    await network.publish({"a": (A, (Port(80, 8080),))})


async def attach_and_detach(network: Network) -> None:
    await network.attach("a", A)
    await network.detach("a")


async def remove(network: Network) -> None:
    await network.attach("a", A)
    await network.remove()


async def whole(network: Network) -> None:
    await attach(network)
    assert network.observe() == {"a": "", "b": ""}
    assert network.table_intact()


async def swept(network: Network) -> None:
    await network.sweep(set())
    assert network.observe() == {}


def kills(instance: str, run_dir: Path, work: Callable[[Network], Awaitable[None]]) -> Iterator[int]:
    """Yields after every kill, one effect later each time, until the work comes to its end."""
    effect = 0
    while dies(with_network(instance, run_dir, work), effect):
        yield effect
        effect += 1
    assert effect > 15, "too few effects were seen"


@pytest.mark.parametrize("work", [attach, attach_and_detach, remove])
def test_after_a_kill_anywhere_a_sweep_leaves_nothing(instance, remains, tmp_path, work):
    for effect in kills(instance, tmp_path, work):
        asyncio.run(with_network(instance, tmp_path, swept)())
        links = [line for line in remains() if line.startswith(f"r{instance}")]
        assert links == [], f"killed before effect {effect}"
        assert list(tmp_path.glob("netns/*")) == [], f"killed before effect {effect}"
        asyncio.run(with_network(instance, tmp_path, Network.remove)())
        assert remains() == [], f"killed before effect {effect}"
    asyncio.run(with_network(instance, tmp_path, Network.remove)())


@pytest.mark.parametrize("work", [attach, attach_and_detach])
def test_after_a_kill_anywhere_asking_again_makes_it_whole(instance, remains, tmp_path, work):
    try:
        for _ in kills(instance, tmp_path, work):
            asyncio.run(with_network(instance, tmp_path, whole)())
            asyncio.run(with_network(instance, tmp_path, Network.remove)())
    finally:
        asyncio.run(with_network(instance, tmp_path, Network.remove)())
    assert remains() == []

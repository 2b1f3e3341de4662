"""Processes seen ending, by pidfd."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator

import pytest

from reconciler.runtimes.native import kernel
from reconciler.runtimes.native.exits import Exits
from reconciler.runtimes.native.oci import Process


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def named(process: subprocess.Popen[bytes]) -> Process:
    return Process(process.pid, kernel.process_started(process.pid) or 0)


async def test_an_end_is_reported_once(child: subprocess.Popen[bytes]) -> None:
    ended: list[str] = []
    exits = Exits(ended.append)
    exits.watch("c1", named(child), named(child))
    assert exits.alive(["c1", "c2"]) == ({"c1"}, {"c1"})
    assert not await exits.wait("c1", 0.01)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    # not before it is reported: between the two it would be neither running nor ended
    assert exits.alive(["c1", "c2"]) == (set(), {"c1"})
    assert await exits.wait("c1", 5)
    assert ended == ["c1"]
    assert exits.alive(["c1", "c2"]) == (set(), set())
    exits.close()
    await asyncio.sleep(0)
    assert ended == ["c1"]


async def test_what_ended_before_is_reported_too(child: subprocess.Popen[bytes]) -> None:
    process = named(child)
    child.kill()
    child.wait()
    ended: list[str] = []
    exits = Exits(ended.append)
    exits.watch("c1", process, process)
    assert await exits.wait("c1", 5)
    assert ended == ["c1"]
    exits.close()


async def test_another_process_with_the_same_id_is_not_ours(child: subprocess.Popen[bytes]) -> None:
    exits = Exits(lambda id: None)
    impostor = Process(child.pid, named(child).started - 1)
    exits.watch("c1", impostor, named(child))
    assert exits.alive(["c1", "c2"]) == (set(), {"c1"})
    assert exits.descriptor("c1") is None
    exits.close()


async def test_dropping_wakes_those_who_wait_and_leaks_nothing(child: subprocess.Popen[bytes]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    exits = Exits(lambda id: None)
    exits.watch("c1", named(child), named(child))
    waiting = asyncio.create_task(exits.wait("c1"))
    await asyncio.sleep(0)
    exits.drop("c1")
    assert await waiting
    assert await exits.wait("c1")
    assert len(os.listdir("/proc/self/fd")) == before

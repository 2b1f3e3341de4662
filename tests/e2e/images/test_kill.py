"""kill -9 in the middle of a load or a build: what is there is whole, what is not is gone, and it can be done again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reconciler.runtimes.native.images.store import ImageStore
from tests.images import BUSYBOX, LayerTar, busybox_layer, docker_archive

WEB = "docker.io/library/web:1"
PROGRAM = """
import asyncio, sys
from pathlib import Path
from reconciler.runtimes.native.images.store import ImageStore

async def main(state, verb, source):
    store = await ImageStore.open(Path(state))
    print("open", flush=True)
    lines = store.load(source) if verb == "load" else store.build(source, reference="built:1")
    async for line in lines:
        print(line, flush=True)
    print("done", flush=True)
    await store.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


def start(state: Path, verb: str, source: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", PROGRAM, str(state), verb, str(source)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def processes_with(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in command:
                found.append(command)
    return found


async def assert_whole(state: Path) -> ImageStore:
    """Open the store again: nothing is left over, and everything that has a name can be mounted."""
    store = await ImageStore.open(state)
    assert processes_with(str(state)) == []
    assert list(store.layout.staging.iterdir()) == []
    assert list((state / "layers/.work").iterdir()) == []
    for reference in store.references():
        resolved = await store.resolve(reference)
        for layer, diff_id in zip(resolved.layers, resolved.config["rootfs"]["diff_ids"], strict=True):
            assert layer.is_dir(), diff_id
    needed = {layer.name for r in store.references() for layer in (await store.resolve(r)).layers}
    assert store.layers.chain_ids() == needed
    assert f" {state}" not in Path("/proc/self/mountinfo").read_text()
    return store


async def test_a_load_that_is_killed_at_any_moment(tmp_path: Path) -> None:
    rng = random.Random(5)
    layers = [busybox_layer()]
    for number in range(3):
        layer = LayerTar()
        for index in range(300):
            layer.add(f"many/{number}/{index}", rng.randbytes(5000))
        layer.add(f"large{number}", rng.randbytes(5 << 20))
        layers.append(layer.content())
    archive = docker_archive(tmp_path / "a.tar", layers, ["web:1"])
    whole = start(tmp_path / "whole", "load", archive)
    begun = time.monotonic()
    assert whole.communicate(timeout=60)[0].endswith("done\n")
    seconds = time.monotonic() - begun
    interrupted = 0
    for round_number in range(16):
        state = tmp_path / f"state{round_number % 2}"
        process = start(state, "load", archive)
        time.sleep(seconds * (round_number + rng.random()) / 16)
        process.send_signal(signal.SIGKILL)
        output = process.communicate(timeout=20)[0]
        interrupted += "open" in output and "done" not in output
        store = await assert_whole(state)
        if round_number % 5 == 4:  # and the work can be taken up again
            async for _ in store.load(str(archive)):
                pass
            bottom, *_ = (await store.resolve(WEB)).layers
            assert (bottom / "bin/busybox").read_bytes() == BUSYBOX.read_bytes()
            await store.remove(WEB)
        await store.aclose()
    assert interrupted >= 4, "the moments must lie inside the work"


async def test_a_build_that_is_killed_leaves_no_process_and_no_mount(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "busybox").write_bytes(BUSYBOX.read_bytes())
    (context / "busybox").chmod(0o755)
    sleep = f"sleep {10_000_000 + os.getpid()}"
    (context / "Dockerfile").write_text(
        "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n"
        f"RUN (/bin/busybox setsid /bin/busybox {sleep} &) ; /bin/busybox {sleep}\n"
    )
    state = tmp_path / "state"
    process = start(state, "build", context)
    deadline = time.monotonic() + 30
    while len([line for line in processes_with(sleep) if line.startswith("/bin/busybox")]) < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while left := processes_with(str(state)) + processes_with(sleep):
        assert time.monotonic() < deadline, left
        time.sleep(0.01)
    store = await assert_whole(state)
    (context / "Dockerfile").write_text("FROM scratch\nCOPY busybox /bin/sh\n")
    async for _ in store.build(str(context), reference="built:1"):
        pass
    assert list(store.references()) == ["docker.io/library/built:1"]
    containers = json.loads((state / "build/root/overlay-containers/containers.json").read_bytes())
    assert containers == [], "what the killed build left is removed by the next"
    await store.aclose()


@pytest.mark.parametrize("victim", ["index.json", "blobs"])
async def test_a_store_that_lost_files_says_so_and_goes_on(tmp_path: Path, victim: str) -> None:
    archive = docker_archive(tmp_path / "a.tar", [busybox_layer()], ["web:1"])
    store = await ImageStore.open(tmp_path / "state")
    async for _ in store.load(str(archive)):
        pass
    await store.aclose()
    if victim == "index.json":
        (store.layout.path / victim).unlink()
    else:
        for blob in (store.layout.path / "blobs/sha256").iterdir():
            blob.unlink()
    store = await ImageStore.open(tmp_path / "state")
    assert store.references() == {}
    async for _ in store.load(str(archive)):
        pass
    assert list(store.references()) == [WEB]
    assert (await store.resolve(WEB)).layers[0].is_dir()
    await store.aclose()

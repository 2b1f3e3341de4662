"""Pulls from a real registry, and every way in which one can disappoint."""

import asyncio
import gzip
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import TerminalError, TransientError
from reconciler.ports import Progress
from reconciler.runtimes.native.images import registry as registry_module
from reconciler.runtimes.native.images import transport
from reconciler.runtimes.native.images.store import ImageStore
from tests.e2e.registry import Registry
from tests.images import BUSYBOX, busybox_archive


async def test_an_image_is_pulled_and_unpacked(store: ImageStore, registry: Registry, tmp_path: Path) -> None:
    reference = registry.push(busybox_archive(tmp_path / "a.tar"), "team/web:1")
    result = await store.pull_image(reference)
    resolved = await store.resolve(reference)
    assert (resolved.layers[0] / "bin/busybox").read_bytes() == BUSYBOX.read_bytes()
    assert store.references() == {reference: resolved.id}
    assert result.bytes > 500_000
    assert result.seconds > 0


async def test_pulling_again_brings_nothing(store: ImageStore, registry: Registry, tmp_path: Path) -> None:
    reference = registry.push(busybox_archive(tmp_path / "a.tar"), "again:1")
    await store.pull_image(reference)
    stamp = store.layout.stamp()
    assert (await store.pull_image(reference)).bytes == 0
    assert store.layout.stamp() == stamp


async def test_a_pull_by_digest(store: ImageStore, registry: Registry, tmp_path: Path) -> None:
    reference = registry.push(busybox_archive(tmp_path / "a.tar"), "digest:1")
    await store.pull_image(reference)
    digest = (await store.resolve(reference)).digest
    for name in (f"{registry.host}/digest@{digest}", f"{registry.host}/digest:1@{digest}"):
        await store.pull_image(name)
        assert (await store.resolve(name)).digest == digest
    with pytest.raises(TransientError, match="no such image"):
        await store.pull_image(f"{registry.host}/digest@sha256:{'0' * 64}")


async def test_an_image_in_dockers_form_has_the_digest_of_its_registry(
    store: ImageStore, registry: Registry, tmp_path: Path
) -> None:
    reference = registry.push(busybox_archive(tmp_path / "a.tar"), "form:1", form="v2s2")
    request = urllib.request.Request(f"http://{registry.host}/v2/form/manifests/1", method="HEAD")
    request.add_header("Accept", "application/vnd.docker.distribution.manifest.v2+json")
    with urllib.request.urlopen(request) as answer:
        digest = answer.headers["Docker-Content-Digest"]
    await store.pull_image(reference)
    assert [image.digest for image in await store.list()] == [digest]
    assert (await store.pull_image(reference)).bytes == 0
    await store.pull_image(f"{registry.host}/form@{digest}")
    assert (await store.inspect(f"{registry.host}/form:any@{digest}")).image.digest == digest


async def test_callers_share_one_pull(store: ImageStore, registry: Registry, tmp_path: Path) -> None:
    reference = registry.push(busybox_archive(tmp_path / "a.tar"), "shared:1")
    before = registry.requests("shared/manifests/1")

    async def lines() -> list[str | Progress]:
        return [line async for line in store.pull(reference)]

    *results, told = await asyncio.gather(*(store.pull_image(reference) for _ in range(5)), lines())
    assert len(set(results)) == 1
    assert str(told[-1]).startswith(f"pulled {reference} in ")
    assert any("fetched" in line for line in told if isinstance(line, str))
    assert registry.requests("shared/manifests/1") - before == 1


async def test_a_caller_that_goes_away_does_not_stop_the_others(
    store: ImageStore, registry: Registry, tmp_path: Path
) -> None:
    reference = registry.push(busybox_archive(tmp_path / "a.tar"), "away:1")
    first = asyncio.create_task(store.pull_image(reference))
    second = asyncio.create_task(store.pull_image(reference))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).bytes > 0


@pytest.fixture
def broken_registry() -> Iterator[tuple[str, socket.socket]]:
    """A port on which somebody listens and says nothing that helps."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}", listener


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def test_an_image_that_does_not_exist(store: ImageStore, registry: Registry, tmp_path: Path) -> None:
    registry.push(busybox_archive(tmp_path / "a.tar"), "exists:1")
    for name in ("exists:2", "nothing:1"):
        with pytest.raises(TransientError) as caught:
            await store.pull_image(f"{registry.host}/{name}")
        assert caught.value.reason == "ErrImagePull"
        assert str(caught.value) == f"pulling '{registry.host}/{name}': no such image"
    assert store.references() == {}


async def test_a_registry_that_is_down(store: ImageStore) -> None:
    with pytest.raises(TransientError, match="the registry does not answer: connection refused") as caught:
        await store.pull_image(f"{closed_port()}/web:1")
    assert caught.value.reason == "ErrImagePull"


async def test_a_registry_that_cuts_the_connection(
    store: ImageStore, broken_registry: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "_AGAIN_SECONDS", (0.01,))
    host, listener = broken_registry

    def cut() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.close()

    threading.Thread(target=cut, daemon=True).start()
    with pytest.raises(TransientError) as caught:
        await store.pull_image(f"{host}/web:1")
    assert caught.value.reason == "ErrImagePull"
    listener.shutdown(socket.SHUT_RDWR)


async def test_a_registry_that_never_answers(
    store: ImageStore, broken_registry: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_STALL_SECONDS", 1.0)
    with pytest.raises(TransientError, match="skopeo did nothing for 1 s and was stopped") as caught:
        async with asyncio.timeout(20):
            await store.pull_image(f"{broken_registry[0]}/web:1")
    assert caught.value.reason == "ErrImagePull"
    assert list(store.layout.staging.iterdir()) == []


async def test_a_name_that_is_none(store: ImageStore) -> None:
    for name in ("UPPER", "a//b", "http://x/y", "web:", ""):
        with pytest.raises(TerminalError) as caught:
            await store.pull_image(name)
        assert caught.value.reason == "InvalidImageName"


async def test_a_host_that_is_none(store: ImageStore) -> None:
    with pytest.raises(TransientError, match="pulling") as caught:
        await store.pull_image("registry.invalid/web:1")
    assert caught.value.reason == "ErrImagePull"
    assert len(str(caught.value)) < 200


async def test_a_wrong_blob_is_not_taken(store: ImageStore, registry: Registry, tmp_path: Path) -> None:
    archive = busybox_archive(tmp_path / "a.tar", files={"unique": b"only in this test"})
    reference = registry.push(archive, "spoilt:1")
    (small,) = (
        path
        for path in registry.storage.rglob("data")
        if path.read_bytes()[:2] == b"\x1f\x8b" and b"only in this test" in gzip.decompress(path.read_bytes())
    )
    original = small.read_bytes()
    small.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    try:
        with pytest.raises(TransientError) as caught:
            await store.pull_image(reference)
    finally:
        small.write_bytes(original)
    assert caught.value.reason == "ErrImagePull"
    assert reference not in store.references()
    await store.pull_image(reference)


async def test_closing_stops_a_pull(tmp_path: Path, broken_registry: tuple[str, socket.socket]) -> None:
    store = await ImageStore.open(tmp_path / "closing")
    pull = asyncio.create_task(store.pull_image(f"{broken_registry[0]}/web:1"))
    deadline = asyncio.get_running_loop().time() + 10
    while not list(store.layout.staging.iterdir()):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.005)
    await store.aclose()
    with pytest.raises(asyncio.CancelledError):
        await pull
    assert list(store.layout.staging.iterdir()) == []

"""An image store on a disk of its own, and a registry for all tests here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from reconciler.runtimes.native.images.store import ImageStore
from tests.e2e.registry import Registry, serving
from tests.images import BUSYBOX


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[ImageStore]:
    store = await ImageStore.open(tmp_path / "state")
    yield store
    await store.aclose()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serving(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
def context(tmp_path: Path) -> Callable[..., Path]:
    """Writes a Dockerfile and files beside it (`__` stands for a dot); returns the directory."""

    def write(dockerfile: str, **files: str) -> Path:
        path = tmp_path / "context"
        path.mkdir(exist_ok=True)
        (path / "Dockerfile").write_text(dockerfile)
        (path / "busybox").write_bytes(BUSYBOX.read_bytes())
        (path / "busybox").chmod(0o755)
        for name, content in files.items():
            (path / name.replace("__", ".")).write_text(content)
        return path

    return write

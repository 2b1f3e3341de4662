"""Dockerfiles through the real buildah."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.errors import TerminalError, TransientError
from reconciler.runtimes.native.images.store import ImageStore
from tests.e2e.registry import Registry
from tests.images import busybox_archive

Context = Callable[..., Path]


async def build(store: ImageStore, context: Path, reference: str = "built:1", **more: object) -> list[str]:
    return [line async for line in store.build(str(context), reference=reference, **more)]  # type: ignore[arg-type]


def merged(layers: tuple[Path, ...], name: str) -> str | None:
    """A file as the top-most layer that has it shows it."""
    return next(((layer / name).read_text() for layer in reversed(layers) if (layer / name).exists()), None)


async def has_base(store: ImageStore, tmp_path: Path) -> None:
    async for _ in store.load(str(busybox_archive(tmp_path / "base.tar", "web-base:1", files={"marker": b"base\n"}))):
        pass


async def test_from_scratch(store: ImageStore, context: Context) -> None:
    lines = await build(
        store,
        context('FROM scratch\nCOPY busybox /bin/busybox\nCOPY f /\nENV A=b\nCMD ["/bin/busybox", "sh"]\n', f="hello"),
    )
    assert any("COPY busybox /bin/busybox" in line for line in lines)
    assert lines[-1] == "built built:1"
    resolved = await store.resolve("docker.io/library/built:1")
    assert merged(resolved.layers, "f") == "hello"
    assert resolved.config["config"]["Cmd"] == ["/bin/busybox", "sh"]
    assert "A=b" in resolved.config["config"]["Env"]


async def test_a_base_that_only_our_store_has(store: ImageStore, context: Context, tmp_path: Path) -> None:
    await has_base(store, tmp_path)
    lines = await build(store, context("FROM web-base:1\nRUN cat /marker; echo made > /made; id -u\n"))
    assert "base" in lines
    assert "0" in lines
    resolved = await store.resolve("docker.io/library/built:1")
    assert merged(resolved.layers, "made") == "made\n"
    assert resolved.layers[0] == (await store.resolve("docker.io/library/web-base:1")).layers[0], "layers are shared"


async def test_a_base_that_was_replaced_is_the_new_one(store: ImageStore, context: Context, tmp_path: Path) -> None:
    await has_base(store, tmp_path)
    where = context("FROM web-base:1\nRUN cat /marker\n")
    assert "base" in await build(store, where)
    async for _ in store.load(str(busybox_archive(tmp_path / "b.tar", "web-base:1", files={"marker": b"newer\n"}))):
        pass
    assert "newer" in await build(store, where)


async def test_several_stages_arguments_and_a_target(store: ImageStore, context: Context, tmp_path: Path) -> None:
    await has_base(store, tmp_path)
    where = context(
        "ARG BASE=nothing:1\n"
        "FROM ${BASE} AS maker\n"
        "ARG WORD=none\n"
        "RUN echo $WORD > /word\n"
        "FROM scratch AS final\n"
        "COPY --from=maker /word /word\n"
        "COPY --from=web-base:1 /marker /marker\n"
    )
    arguments = {"BASE": "web-base:1", "WORD": "said"}
    await build(store, where, build_args=arguments)
    layers = (await store.resolve("docker.io/library/built:1")).layers
    assert (merged(layers, "word"), merged(layers, "marker"), merged(layers, "bin/sh")) == ("said\n", "base\n", None)
    await build(store, where, reference="maker:1", build_args=arguments, target="maker")
    assert merged((await store.resolve("docker.io/library/maker:1")).layers, "word") == "said\n"


async def test_dockerignore(store: ImageStore, context: Context) -> None:
    await build(store, context("FROM scratch\nCOPY . /\n", keep="1", secret="2", __dockerignore="secret\nbusybox\n"))
    layers = (await store.resolve("docker.io/library/built:1")).layers
    assert (merged(layers, "keep"), merged(layers, "secret"), merged(layers, "busybox")) == ("1", None, None)


async def test_an_unchanged_tree_runs_nothing_again(store: ImageStore, context: Context, tmp_path: Path) -> None:
    await has_base(store, tmp_path)
    where = context("FROM web-base:1\nCOPY f /f\nRUN echo has-run-$(cat /f)\n", f="1")
    assert "has-run-1" in await build(store, where)
    again = await build(store, where)
    assert not [line for line in again if line.startswith("has-run")]
    assert any("Using cache" in line for line in again)
    assert "has-run-1" in await build(store, where, no_cache=True)
    (where / "f").write_text("2")
    assert "has-run-2" in await build(store, where)


@pytest.mark.parametrize(
    ("dockerfile", "output", "words"),
    [
        pytest.param(
            "FROM web-base:1\n\n# comment\nRUN echo begin && \\\n    false\n",
            "begin",
            "Dockerfile:4: RUN echo begin",
            id="a RUN that fails",
        ),
        pytest.param("FROM web-base:1\nRUN exit 7\n", None, "Dockerfile:2: RUN exit 7: exit status 7", id="its code"),
        pytest.param("FROM web-base:1\nRUM x\n", None, "Dockerfile:2: RUM is no instruction; did", id="a typo"),
        pytest.param("FROM web-base:1\nARG\n", None, "Dockerfile:2: ARG needs a name", id="what kills buildah"),
        pytest.param("FROM web-base:1\nENV A=b c\n", None, "Dockerfile:2: ENV needs NAME=VALUE; 'c'", id="an operand"),
        pytest.param(
            "FROM web-base:1\nUSER 1\nENV A=${B:?no}\n",
            None,
            "Dockerfile:3: ENV A=.*: Unsupported modifier",
            id="what buildah finds between steps",
        ),
        pytest.param("FROM web-base:1\nCOPY nothing /\n", None, "Dockerfile:2: COPY nothing /", id="a file missing"),
        pytest.param("FROM web-base:1\nRUN <<E\necho\nE\n", None, "Dockerfile:2: .*heredocs", id="heredoc"),
        pytest.param("\nRUN x\n", None, "Dockerfile:2: RUN comes before FROM", id="no FROM"),
        pytest.param("", None, "Dockerfile:1: no instruction", id="empty"),
    ],
)
async def test_what_fails_says_where(
    store: ImageStore, context: Context, tmp_path: Path, dockerfile: str, output: str | None, words: str
) -> None:
    await has_base(store, tmp_path)
    before = store.references()
    lines = []
    with pytest.raises(TerminalError, match=words) as caught:
        async for line in store.build(str(context(dockerfile)), reference="built:1"):
            lines.append(line)
    assert caught.value.reason == "BuildFailed"
    assert output is None or output in lines
    assert "\n" not in str(caught.value)
    assert "imagebuilder" not in str(caught.value)
    assert store.references() == before


async def test_where_there_is_nothing_to_build(store: ImageStore, tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none", "not a directory"), (tmp_path, "has no Dockerfile or Containerfile")):
        with pytest.raises(TerminalError, match=words) as caught:
            await build(store, path)
        assert caught.value.reason == "BuildFailed"


async def test_a_base_from_a_registry(store: ImageStore, context: Context, registry: Registry, tmp_path: Path) -> None:
    base = registry.push(busybox_archive(tmp_path / "a.tar", files={"marker": b"far\n"}), "base:1")
    lines = await build(store, context(f"FROM {base}\nRUN cat /marker\n"))
    assert f"pulling {base}" in lines
    assert "far" in lines
    with pytest.raises(TransientError, match="no such image") as caught:
        await build(store, context(f"FROM {registry.host}/nothing:1\n"))
    assert caught.value.reason == "ErrImagePull"


async def test_builds_at_the_same_time(store: ImageStore, tmp_path: Path) -> None:
    await has_base(store, tmp_path)
    for number in range(3):
        where = tmp_path / f"c{number}"
        where.mkdir()
        (where / "Dockerfile").write_text(f"FROM web-base:1\nRUN echo {number} > /number\n")
    await asyncio.gather(*(build(store, tmp_path / f"c{number}", f"built:{number}") for number in range(3)))
    for number in range(3):
        layers = (await store.resolve(f"docker.io/library/built:{number}")).layers
        assert merged(layers, "number") == f"{number}\n"


async def test_a_build_that_is_given_up_leaves_nothing(store: ImageStore, context: Context, tmp_path: Path) -> None:
    await has_base(store, tmp_path)
    lines = store.build(str(context("FROM web-base:1\nRUN echo go; sleep 1000\n")), reference="built:1")
    async for line in lines:
        if line == "go":
            break
    await lines.aclose()  # type: ignore[attr-defined]
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(tmp_path) not in mounts
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in running
    assert list(store.layout.staging.iterdir()) == []


async def test_skopeo_reads_what_was_built(store: ImageStore, context: Context) -> None:
    await build(store, context("FROM scratch\nLABEL a=b\nCOPY f /\n", f="x"))
    shown = subprocess.run(
        ["skopeo", "inspect", f"oci:{store.layout.path}:docker.io/library/built:1"], capture_output=True, check=True
    )
    assert json.loads(shown.stdout)["Labels"]["a"] == "b"

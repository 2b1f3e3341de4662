"""What Dockerfiles ask for beyond steps: health checks, triggers, secrets, cache mounts, users, names."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.errors import TerminalError
from reconciler.runtimes.native.images.store import ImageStore
from tests.images import busybox_archive, busybox_layer, docker_archive

Context = Callable[..., Path]


@pytest.fixture
async def base(store: ImageStore, tmp_path: Path) -> None:
    async for _ in store.load(str(busybox_archive(tmp_path / "base.tar", "web-base:1"))):
        pass


async def build(store: ImageStore, context: Path, reference: str = "built:1", **more: object) -> list[str]:
    return [line async for line in store.build(str(context), reference=reference, **more)]  # type: ignore[arg-type]


async def test_a_health_check_is_kept(store: ImageStore, base: None, context: Context) -> None:
    where = context('FROM web-base:1\nSHELL ["/bin/sh", "-ec"]\nHEALTHCHECK --interval=5s --retries=2 CMD wget -q x\n')
    await build(store, where)
    config = (await store.resolve("docker.io/library/built:1")).config["config"]
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "wget -q x"], "Interval": 5_000_000_000, "Retries": 2}
    assert config["Shell"] == ["/bin/sh", "-ec"]
    shown = subprocess.run(
        ["skopeo", "inspect", "--raw", "--config", f"oci:{store.layout.path}:docker.io/library/built:1"],
        capture_output=True,
        check=True,
    )
    assert json.loads(shown.stdout)["config"]["Healthcheck"]["Retries"] == 2, "others see it too"
    await build(store, context("FROM built:1\nLABEL a=b\n"), "child:1")
    assert (await store.resolve("docker.io/library/child:1")).config["config"]["Healthcheck"]["Retries"] == 2


async def test_triggers_run_where_the_image_is_a_base(store: ImageStore, base: None, context: Context) -> None:
    where = context("FROM web-base:1\nONBUILD COPY f /f\nONBUILD RUN echo trigger-$(cat /f)\n", f="1")
    assert not [line for line in await build(store, where) if line.startswith("trigger")]
    assert "trigger-1" in await build(store, context("FROM built:1\nRUN echo own\n"), "child:1")
    assert not (await store.resolve("docker.io/library/child:1")).config["config"].get("OnBuild")


async def test_a_secret_is_seen_by_its_step_and_kept_nowhere(
    store: ImageStore, base: None, context: Context, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("sesame-1234")
    where = context(
        "FROM web-base:1\n"
        "RUN --mount=type=secret,id=token test $(wc -c < /run/secrets/token) = 11 && echo opened\n"
        "RUN ls /run/secrets 2>&1; true\n"
    )
    assert "opened" in await build(store, where, secrets={"token": str(tmp_path / "token")})
    held = subprocess.run(["grep", "-rl", "sesame-1234", str(tmp_path / "state")], capture_output=True, text=True)
    assert held.stdout == ""
    with pytest.raises(TerminalError, match="secret token: there is no file"):
        await build(store, where, secrets={"token": str(tmp_path / "nothing")})


async def test_cache_mounts_last_and_belong_to_the_store(
    store: ImageStore, base: None, context: Context, tmp_path: Path
) -> None:
    step = "RUN --mount=type=cache,target=/cache echo x >> /cache/log; echo times-$(wc -l < /cache/log)"
    assert "times-1" in await build(store, context(f"FROM web-base:1\n{step}\n"))
    assert "times-2" in await build(store, context(f"FROM web-base:1\nENV A=b\n{step}\n"))
    layers = (await store.resolve("docker.io/library/built:1")).layers
    assert not [layer for layer in layers if (layer / "cache/log").exists()], "no part of the image"
    other = await ImageStore.open(tmp_path / "other")
    async for _ in other.load(str(tmp_path / "base.tar")):
        pass
    assert "times-1" in await build(other, context(f"FROM web-base:1\n{step}\n"))
    await other.aclose()


async def test_several_names_for_one_image(store: ImageStore, base: None, context: Context) -> None:
    lines = await build(store, context("FROM web-base:1\nLABEL a=b\n"), also=["built:2", "registry.test/built"])
    assert lines[-3:] == ["built built:1", "built built:2", "built registry.test/built:latest"]
    names = store.references()
    assert names["docker.io/library/built:1"] == names["docker.io/library/built:2"]
    assert names["docker.io/library/built:2"] == names["registry.test/built:latest"]
    with pytest.raises(TerminalError) as caught:
        await build(store, context("FROM web-base:1\n"), also=["No Name"])
    assert caught.value.reason == "InvalidImageName"


async def test_steps_run_as_the_user_and_the_image_keeps_it(
    store: ImageStore, base: None, context: Context, tmp_path: Path
) -> None:
    lines = await build(store, context("FROM web-base:1\nUSER web\nWORKDIR /home\nRUN id -u; pwd\n"))
    assert "1000" in lines and "/home" in lines
    assert (await store.resolve("docker.io/library/built:1")).config["config"]["User"] == "web"


async def test_an_ignore_file_of_one_dockerfile(store: ImageStore, base: None, context: Context) -> None:
    where = context("FROM scratch\nCOPY . /\n", a="1", b="2", __dockerignore="a\nbusybox\n")
    (where / "small.Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (where / "small.Dockerfile.dockerignore").write_text("b\nbusybox\n")
    await build(store, where, dockerfile="small.Dockerfile")
    (layer,) = (await store.resolve("docker.io/library/built:1")).layers
    assert (layer / "a").exists() and not (layer / "b").exists()


async def test_a_dockerfile_outside_the_context(
    store: ImageStore, base: None, context: Context, tmp_path: Path
) -> None:
    (tmp_path / "other").write_text("FROM web-base:1\nCOPY f /f\n")
    await build(store, context("no Dockerfile", f="here"), dockerfile=str(tmp_path / "other"))
    assert ((await store.resolve("docker.io/library/built:1")).layers[-1] / "f").read_text() == "here"


async def test_each_line_comes_as_it_is_written(store: ImageStore, base: None, context: Context) -> None:
    """The step waits for what only its reader can do, having seen its first line."""
    where = context(
        "FROM web-base:1\nRUN --mount=type=cache,target=/cache echo first; "
        "timeout 60 sh -c 'until test -e /cache/go; do sleep 0.05; done' && echo second\n"
    )
    seen = []
    async for line in store.build(str(where), reference="built:1"):
        seen.append(line)
        if line == "first":
            (cache,) = (store.layout.path.parent / "build/tmp/buildah-cache").iterdir()
            (cache / "go").touch()
    assert "second" in seen


async def test_nothing_is_left_in_the_temporary_directories(
    store: ImageStore, base: None, context: Context, tmp_path: Path
) -> None:
    lines = store.build(str(context("FROM web-base:1\nRUN echo go; sleep 1000\n")), reference="built:1")
    async for line in lines:
        if line == "go":
            break
    await lines.aclose()  # type: ignore[attr-defined]
    await build(store, context("FROM web-base:1\nRUN true\n"))
    left = {path.name for path in (tmp_path / "state/build/tmp").iterdir()}
    assert left <= {"buildah-cache"}


async def test_an_image_with_a_health_check_is_a_docker_image_again(
    store: ImageStore, base: None, context: Context, tmp_path: Path
) -> None:
    await build(store, context("FROM web-base:1\nHEALTHCHECK CMD true\n"))
    archive = tmp_path / "out.tar"
    source = f"oci:{store.layout.path}:docker.io/library/built:1"
    subprocess.run(["skopeo", "copy", "-q", source, f"oci-archive:{archive}:built:2"], check=True)
    with tarfile.open(archive) as tar:
        assert any("blobs" in name for name in tar.getnames())
    async for _ in store.load(str(archive), reference="built:2"):
        pass
    assert "Healthcheck" in (await store.resolve("docker.io/library/built:2")).config["config"]


async def test_a_base_that_tells_no_history(store: ImageStore, context: Context, tmp_path: Path) -> None:
    """OCI lets it be left out, and tools that make small images do."""
    archive = docker_archive(
        tmp_path / "bare.tar", [busybox_layer()], ["bare:1"], {"Env": ["PATH=/bin"]}, history=False
    )
    async for _ in store.load(str(archive)):
        pass
    where = context("FROM bare:1\nCOPY f /f\nRUN cat /f\n", f="made\n")
    assert "made" in await build(store, where)
    assert "made" not in await build(store, where), "it is found in the cache as any other"


async def test_a_loaded_image_keeps_what_only_docker_says(store: ImageStore, context: Context, tmp_path: Path) -> None:
    check = {"Test": ["CMD", "true"], "Retries": 3}
    config = {"Healthcheck": check, "OnBuild": ["RUN echo triggered"]}
    async for _ in store.load(str(busybox_archive(tmp_path / "saved.tar", "saved:1", config=config))):
        pass
    assert (await store.resolve("docker.io/library/saved:1")).config["config"]["Healthcheck"] == check
    assert "triggered" in await build(store, context("FROM saved:1\nLABEL a=b\n"))


async def test_a_cleared_cache_runs_all_again(store: ImageStore, base: None, context: Context) -> None:
    where = context("FROM web-base:1\nRUN --mount=type=cache,target=/c echo x >> /c/log; echo n-$(wc -l < /c/log)\n")
    assert "n-1" in await build(store, where)
    await store.clear_build_cache()
    assert "n-1" in await build(store, where), "what cache mounts held is gone too"

"""Registries that want a password or a certificate, mirrors, and where logins come from."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import TerminalError, TransientError
from reconciler.model.login import Login
from reconciler.ports import Progress
from reconciler.runtimes.native.images import registry as registries
from reconciler.runtimes.native.images.store import ImageStore
from tests.e2e.faulty import in_front_of, status
from tests.e2e.registry import PASSWORD, USER, Registry, serving
from tests.images import busybox_archive


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """TLS and a password, with team/web:1 in it."""
    home = tmp_path_factory.mktemp("guarded")
    with serving(home, guarded=True) as registry:
        registry.push(busybox_archive(home / "web.tar"), "team/web:1")
        yield registry


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where config.json is to be; there is none yet."""
    folder = tmp_path / "docker"
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder / "config.json"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, docker_config: Path) -> None:
    monkeypatch.setattr(registries, "_AGAIN_SECONDS", (0.01,))


def auth(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


@pytest.fixture
def registries_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registries.conf of the test's own."""
    path = tmp_path / "registries.conf"
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(path))
    return path


async def refused(store: ImageStore, reference: str, logins: tuple[Login, ...] = ()) -> str:
    with pytest.raises(TransientError) as caught:
        await store.pull_image(reference, logins)
    assert caught.value.reason == "ErrImagePull"
    assert PASSWORD not in str(caught.value)
    assert store.references() == {}
    assert list(store.layout.staging.iterdir()) == []
    return str(caught.value)


async def test_without_a_login(store: ImageStore, guarded: Registry, docker_config: Path) -> None:
    said = await refused(store, f"{guarded.host}/team/web:1")
    assert "not logged in, or no such image" in said
    assert f"try `reconciler login {guarded.host}`" in said
    write(docker_config, {"auths": {guarded.host: auth()}})
    with pytest.raises(TransientError, match="not logged in"):  # whoever brings logins has no others
        [_ async for _ in store.pull(f"{guarded.host}/team/web:1", logins=())]


async def test_with_a_login_that_is_wrong(store: ImageStore, guarded: Registry) -> None:
    said = await refused(store, f"{guarded.host}/team/web:1", (Login(guarded.host, USER, "wrong"),))
    assert f"{guarded.host} knows no such login" in said


async def test_the_login_that_fits(store: ImageStore, guarded: Registry) -> None:
    """The closest is tried first, then the next."""
    logins = (
        Login("elsewhere.example.com", "x", "x"),
        Login(guarded.host, USER, PASSWORD),
        Login(f"{guarded.host}/team", USER, "wrong"),
    )
    await store.pull_image(f"{guarded.host}/team/web:1", logins)


async def test_logins_of_this_machine(store: ImageStore, guarded: Registry, docker_config: Path) -> None:
    write(docker_config, {"auths": {f"https://{guarded.host}/v2/": auth()}})
    await store.pull_image(f"{guarded.host}/team/web:1")


async def test_a_credential_helper(
    store: ImageStore, guarded: Registry, docker_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(docker_config, {"auths": {guarded.host: {}}, "credsStore": "other", "credHelpers": {guarded.host: "nowhere"}})
    assert "docker-credential-nowhere is not installed" in await refused(store, f"{guarded.host}/team/web:1")

    write(docker_config, {"auths": {guarded.host: {}}, "credsStore": "other", "credHelpers": {guarded.host: "test"}})
    helper = tmp_path / "bin/docker-credential-test"
    write(helper, f"#!/bin/sh\necho {PASSWORD}; exit 3\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:{os.environ['PATH']}")
    assert "failed to get (exit code 3)" in await refused(store, f"{guarded.host}/team/web:1")
    write(helper, "#!/bin/sh\necho credentials not found in native keychain; exit 1\n")
    assert "not logged in" in await refused(store, f"{guarded.host}/team/web:1")

    answer = json.dumps({"ServerURL": guarded.host, "Username": USER, "Secret": PASSWORD})
    write(helper, f'#!/bin/sh\n[ "$1" = get ] && [ "$(cat)" = {guarded.host} ] && echo \'{answer}\'\n')
    await store.pull_image(f"{guarded.host}/team/web:1")


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"auths": [1]}', f'{{"auths": {{"127.0.0.1": {{"auth": "{PASSWORD}!"}}}}}}']
)
async def test_a_config_that_is_broken(store: ImageStore, guarded: Registry, docker_config: Path, content: str) -> None:
    write(docker_config, content)
    said = await refused(store, f"{guarded.host}/team/web:1")
    assert str(docker_config) in said


async def test_certificates(
    store: ImageStore, guarded: Registry, registries_conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is not of loopback: then only what is trusted, or said to be insecure, will do."""
    place = f'[[registry]]\nprefix = "registry.test"\nlocation = "{guarded.host}"\n'
    login = (Login(guarded.host, USER, PASSWORD),)
    registries_conf.write_text(place)
    assert "the registry's certificate is not trusted" in await refused(store, "registry.test/team/web:1", login)

    assert [said async for said in store.pull("registry.test/team/web:1", verify_tls=False, logins=login)]
    await store.remove("registry.test/team/web:1")
    registries_conf.write_text(place + "insecure = true\n")
    await store.pull_image("registry.test/team/web:1", login)
    await store.remove("registry.test/team/web:1")
    registries_conf.write_text(place)
    monkeypatch.setenv("SSL_CERT_FILE", str(guarded.certificate))
    await store.pull_image("registry.test/team/web:1", login)


async def test_plain_http_is_for_loopback_only(
    store: ImageStore, registry: Registry, registries_conf: Path, tmp_path: Path
) -> None:
    registry.push(busybox_archive(tmp_path / "a.tar"), "plain:1")
    place = f'[[registry]]\nprefix = "registry.test"\nlocation = "{registry.host}"\n'
    registries_conf.write_text(place)
    said = await refused(store, "registry.test/plain:1")
    assert "speaks plain HTTP" in said and "insecure = true" in said
    registries_conf.write_text(place + "insecure = true\n")
    await store.pull_image("registry.test/plain:1")


async def test_a_mirror(store: ImageStore, registry: Registry, registries_conf: Path, tmp_path: Path) -> None:
    registry.push(busybox_archive(tmp_path / "a.tar"), "library/nginx:latest")
    registries_conf.write_text(
        f'[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "{registry.host}"\ninsecure = true\n'
    )
    await store.pull_image("nginx")
    assert store.references().keys() == {"docker.io/library/nginx:latest"}


async def send(store: ImageStore, reference: str, **options: Any) -> list[str | Progress]:
    return [said async for said in store.push(reference, **options)]


async def test_a_push_and_a_pull(store: ImageStore, registry: Registry, guarded: Registry, tmp_path: Path) -> None:
    archive = busybox_archive(tmp_path / "a.tar", files={"pushed": os.urandom(100_000)})
    other = await ImageStore.open(tmp_path / "other")
    for host, logins in ((registry.host, ()), (guarded.host, (Login(guarded.host, USER, PASSWORD),))):
        reference = f"{host}/pushed/web:2"
        [_ async for _ in store.load(str(archive), reference=reference)]
        told = await send(store, reference, logins=logins)
        assert str(told[-1]).startswith(f"pushed {reference} in ")
        digest = str(told[-1]).rpartition(" ")[2]
        await other.pull_image(f"{host}/pushed/web@{digest}", logins)
        await other.pull_image(reference, logins)
        assert {image.id for image in await other.list()} == {image.id for image in await store.list()}
    assert list(store.layout.staging.iterdir()) == []
    await other.aclose()


async def test_pushes_that_fail(store: ImageStore, registry: Registry, guarded: Registry, tmp_path: Path) -> None:
    archive = busybox_archive(tmp_path / "a.tar")
    with in_front_of(registry) as faulty:
        for reference, message in (
            (f"{guarded.host}/nobody/web:1", "not logged in"),
            (f"{faulty.host}/web:1", "the registry failed"),
            ("127.0.0.1:1/web:1", "connection refused"),
        ):
            faulty.on("", status(500))
            [_ async for _ in store.load(str(archive), reference=reference)]
            with pytest.raises(TransientError) as caught:
                await send(store, reference)
            assert caught.value.reason == "ErrImagePush"
            assert str(caught.value).startswith(f"pushing '{reference}': ")
            assert message in str(caught.value)
            assert list(store.layout.staging.iterdir()) == []
    for reference, reason in (("nothing:1", "NotFound"), (f"web@sha256:{'0' * 64}", "InvalidImageName")):
        with pytest.raises(TerminalError) as terminal:
            await send(store, reference)
        assert terminal.value.reason == reason

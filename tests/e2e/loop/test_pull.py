"""What the loop pulls: with the Secrets of a pod, once for all who need it, and nothing that is there."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.instance import Instance, deployment, pod
from tests.e2e.registry import PASSWORD, USER, Registry, serving
from tests.images import busybox_archive


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serving(tmp_path_factory.mktemp("guarded"), guarded=True) as registry:
        yield registry


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serving(tmp_path_factory.mktemp("plain")) as registry:
        yield registry


def pull_secret(host: str, password: str) -> str:
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    content = json.dumps({"auths": {host: {"auth": auth}}}).encode()
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "registry"},
            "type": "kubernetes.io/dockerconfigjson",
            "data": {".dockerconfigjson": base64.b64encode(content).decode()},
        }
    )


def message(one: Instance, name: str) -> str:
    """Why the pod's container waits."""
    return str(one.container(name)["state"]["waiting"]["message"])


def ready(one: Instance) -> int:
    """How many pods are."""
    return sum(one.ready(name) for name in one.pods())


def test_the_secrets_of_a_pod(one: Instance, guarded: Registry, tmp_path: Path) -> None:
    reference = guarded.push(busybox_archive(tmp_path / "a.tar"), "private:1")
    one.put("web.yaml", pod("web", image=reference, imagePullSecrets=[{"name": "registry"}]))
    one.until(lambda: one.waiting("web") == "ErrImagePull", "there is no secret")
    assert "not logged in" in message(one, "web")
    one.put("secret.yaml", pull_secret(guarded.host, "wrong-word"))
    one.until(lambda: "knows no such login" in message(one, "web"), "a wrong secret")
    one.put("secret.yaml", pull_secret(guarded.host, PASSWORD))
    one.until(lambda: one.ready("web"), "the right one, at once", 8)
    before = one.id("web")
    one.put("secret.yaml", pull_secret(guarded.host, "another-word"))
    one.steady(lambda: one.ready("web") and one.id("web") == before, 1)
    verbs = (("events",), ("describe", "pod", "web"), ("diff", str(one.folder)), ("get", "pods", "-o", "yaml"))
    told = one.daemon_log() + "".join(one.run(*verb).stdout for verb in verbs)
    secret = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert PASSWORD not in told and secret not in told and "another-word" not in told
    assert "imagePullSecrets" not in one.daemon_log(), "it is carried out, so nothing is said of it"


def test_one_pull_for_all_who_need_it(measured: Instance, plain: Registry, tmp_path: Path) -> None:
    reference = plain.push(busybox_archive(tmp_path / "a.tar", files={"shared": b"1"}), "shared:1")
    before = plain.requests("shared/blobs")
    template = {"image": reference, "container": {"imagePullPolicy": "Always"}}
    measured.put("web.yaml", deployment("web", 3, **template))
    measured.until(lambda: ready(measured) == 3, "three pods")
    fetched = plain.requests("shared/blobs") - before
    assert fetched == 3, "two layers and a config, once"

    first = sorted((row["id"], row["pid"]) for row in measured.containers())
    measured.put("web.yaml", deployment("web", 4, **template))
    measured.until(lambda: ready(measured) == 4, "a fourth")
    assert plain.requests("shared/blobs") - before == fetched, "the digest is unchanged: nothing is downloaded"
    assert set(first) < {(row["id"], row["pid"]) for row in measured.containers()}, "and nothing restarted"

    told = [e["message"] for e in measured.objects("events") if e["reason"] == "Pulled"]
    assert any("bytes fetched. Image size: " in message for message in told)
    assert any("it was up to date. Image size: " in message for message in told)
    assert all(message.startswith(f'Successfully pulled image "{reference}" in ') for message in told)
    assert measured.metric("reconciler_image_pull_bytes_total") > 500_000
    assert measured.metric("reconciler_image_pull_seconds_count") >= 2


def test_a_moved_tag_is_taken_by_the_next_container_only(one: Instance, plain: Registry, tmp_path: Path) -> None:
    reference = plain.push(busybox_archive(tmp_path / "a.tar", files={"version": b"1"}), "moving:latest")
    one.put("web.yaml", pod("web", "cat /version; exec sleep 1000000", image=reference))
    one.until(lambda: one.ready("web"))
    first = one.id("web")
    plain.push(busybox_archive(tmp_path / "b.tar", files={"version": b"2"}), "moving:latest")
    one.steady(lambda: one.id("web") == first, 2.5)
    one.put("other.yaml", pod("other", "cat /version; exec sleep 1000000", image=reference))
    one.until(lambda: one.ready("other"))
    one.until(lambda: "2" in one.cli("logs", "other"))
    assert one.cli("logs", "web").strip() == "1"
    assert one.id("web") == first

"""The API of a real daemon over real containers: what it passes through, and how it lets go."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from reconciler.api.client import ApiError, Client
from tests.e2e.instance import Instance, pod

PODS = "/api/v1/namespaces/default/pods"
TALKER = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done"


@pytest.fixture
def client(one: Instance) -> Client:
    return Client(one.run_dir / "api.sock")


def test_all_that_lasts_ends_when_the_daemon_stops_and_the_container_runs_on(one: Instance, client: Client) -> None:
    one.put("web.yaml", pod("web", TALKER))
    one.until(lambda: one.phase("web") == "Running", "it runs")
    pid = one.pid("web")
    begun = threading.Barrier(4)

    def watch() -> int:
        version = client.get(PODS)["metadata"]["resourceVersion"]
        begun.wait(10)
        return sum(1 for _ in client.stream("GET", PODS, watch=True, resourceVersion=version))

    def follow() -> int:
        lines = client.lines(f"{PODS}/web/log", follow=True, tailLines=1)
        assert next(lines).startswith(b"line ")
        begun.wait(10)
        return sum(1 for _ in lines)

    def execute() -> int:
        with client.exec("default", "web", ["sleep", "1000"]) as connection:
            begun.wait(10)
            return sum(1 for _ in connection.output())

    with ThreadPoolExecutor(3) as pool:
        watching, following, executing = (pool.submit(work) for work in (watch, follow, execute))
        begun.wait(10)
        began = time.monotonic()
        assert one.stop() == 0
        assert following.result(5) >= 0
        assert watching.result(5) >= 0
        with pytest.raises(ApiError, match="the daemon stops"):
            executing.result(5)
        assert time.monotonic() - began < 5
    os.kill(pid, 0)  # it is still there
    one.start()
    assert one.pid("web") == pid


def test_hanging_up_ends_the_command(one: Instance, client: Client) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.phase("web") == "Running", "it runs")

    def running() -> str:
        return one.cli("exec", "web", "--", "ps")

    with client.exec("default", "web", ["/bin/sh", "-c", "echo up; exec sleep 4242"]) as connection:
        assert next(connection.output()) == (1, b"up\n")
        assert "sleep 4242" in running()
    one.until(lambda: "sleep 4242" not in running(), "the command is gone")


def test_exec_passes_everything_through_unchanged(one: Instance, client: Client) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.phase("web") == "Running", "it runs")
    sent = os.urandom(3_000_000)
    received = hashlib.sha256()
    with client.exec("default", "web", ["cat"], stdin=True) as connection:

        def feed() -> None:
            for at in range(0, len(sent), 50_000):
                connection.write(sent[at : at + 50_000])
            connection.close_stdin()

        feeding = threading.Thread(target=feed)
        feeding.start()
        for channel, data in connection.output():
            assert channel == 1
            received.update(data)
        feeding.join(10)
        assert connection.exit_code == 0
    assert received.digest() == hashlib.sha256(sent).digest()


def test_a_watch_of_before_a_kill_is_told_to_list_again(one: Instance, client: Client) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.phase("web") == "Running", "it runs")
    version = client.get(PODS)["metadata"]["resourceVersion"]
    one.kill()
    one.start()
    with pytest.raises(ApiError) as caught:
        list(client.stream("GET", PODS, watch=True, resourceVersion=version, timeoutSeconds=5))
    assert caught.value.code == 410
    listed = client.get(PODS)["metadata"]["resourceVersion"]
    assert int(listed) > int(version)
    one.put("two.yaml", pod("two"))
    events = client.stream("GET", PODS, watch=True, resourceVersion=listed, fieldSelector="metadata.name=two")
    assert next(events)["type"] == "ADDED"
    events.close()  # type: ignore[attr-defined]


def test_the_log_of_the_run_before(one: Instance, client: Client) -> None:
    command = "test -e /data/again && { echo second; sleep 1000; }; touch /data/again; echo first; exit 3"
    volumes: dict[str, Any] = {"volumes": [{"name": "data", "emptyDir": {}}]}
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    one.put("web.yaml", pod("web", command, container=mounts, **volumes))
    one.until(lambda: one.phase("web") == "Running" and one.container("web")["restartCount"] == 1, "it runs again")
    one.until(lambda: list(client.lines(f"{PODS}/web/log")) == [b"second\n"], "the second run has spoken")
    assert list(client.lines(f"{PODS}/web/log", previous=True)) == [b"first\n"]

"""Images and commands that do not exist: said as Kubernetes says it, tried again with back-off, mended by the file."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.instance import Instance, free_port, pod
from tests.e2e.registry import serving
from tests.images import busybox_archive


def waits_for(one: Instance, name: str, reason: str) -> str:
    """Wait until the pod's container waits for `reason`; returns the message."""
    one.until(lambda: one.waiting(name) == reason, f"{name}: {reason}")
    return str(one.container(name)["state"]["waiting"]["message"])


def test_an_image_that_does_not_exist(one: Instance, tmp_path: Path) -> None:
    with serving(tmp_path / "registry") as registry:
        refusing = f"127.0.0.1:{free_port()}/web:1"
        one.put("nothing.yaml", pod("nothing", image=f"{registry.host}/web:1"))
        one.put("refused.yaml", pod("refused", image=refusing))
        one.put("local.yaml", pod("local", image="localhost/nothing:1"))
        one.put("policy.yaml", pod("policy", image=refusing, container={"imagePullPolicy": "Never"}))
        one.put("name.yaml", pod("name", image="UPPER/case::1"))
        one.put("good.yaml", pod("good"))

        assert "no such image" in waits_for(one, "nothing", "ErrImagePull")
        assert "connection refused" in waits_for(one, "refused", "ErrImagePull")
        one.until(lambda: one.ready("good"), "the rest converges")
        assert waits_for(one, "policy", "ErrImageNeverPull")
        assert "localhost/nothing:1" in waits_for(one, "local", "ErrImageNeverPull")
        assert waits_for(one, "name", "InvalidImageName")
        message = waits_for(one, "nothing", "ImagePullBackOff")
        assert f'Back-off pulling image "{registry.host}/web:1"' in message
        assert "ImagePullBackOff" in one.cli("get", "pods")
        assert "no such image" in one.events("nothing")["Failed"]
        assert {row["pod"] for row in one.containers()} == {"good"}, "nothing half made"
        assert all(one.phase(name) == "Pending" for name in ("nothing", "refused", "policy", "local", "name"))

        registry.push(busybox_archive(tmp_path / "web.tar"), "web:1")
        one.until(lambda: one.ready("nothing"), "tried again after 10 s")
        one.put("policy.yaml", pod("policy"))
        one.until(lambda: one.ready("policy"), "mended by its file")
        one.load(busybox_archive(tmp_path / "nothing.tar", "localhost/nothing:1"))
        one.until(lambda: one.ready("local"), "an image that was loaded is noticed")


def test_a_new_image_that_does_not_exist_takes_nothing_down(one: Instance) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    first, pid = one.id("web"), one.pid("web")
    one.put("web.yaml", pod("web", image=f"127.0.0.1:{free_port()}/web:2"))
    one.until(lambda: "Failed" in one.events("web"))
    one.steady(lambda: [(row["id"], row["pid"]) for row in one.containers()] == [(first, pid)], 1)


def test_a_command_that_does_not_exist(one: Instance) -> None:
    command = {"command": ["/no/such/program"]}
    one.put("missing.yaml", pod("missing", container=command))
    one.put("plain.yaml", pod("plain", container={"command": ["/etc/passwd"]}))
    one.put("folder.yaml", pod("folder", container={"workingDir": "/etc/passwd"}))
    one.put("never.yaml", pod("never", container=command, restartPolicy="Never"))
    one.put("good.yaml", pod("good"))
    one.until(lambda: one.ready("good"), "the rest converges")
    said = waits_for(one, "missing", "CreateContainerError")
    assert "/no/such/program" in said
    assert "not found" in said or "no such file" in said.lower()
    assert "\n" not in said
    assert "permission denied" in waits_for(one, "plain", "CreateContainerError").lower()
    assert "/etc/passwd" in waits_for(one, "folder", "CreateContainerError")
    waits_for(one, "never", "CreateContainerError")
    assert "CreateContainerError" in one.cli("get", "pods")
    assert said in one.events("missing")["Failed"]
    assert {row["pod"] for row in one.containers()} == {"good"}, "nothing half made"

    def tries() -> int:
        return sum(
            item["count"]
            for item in one.objects("events")
            if (item["involvedObject"]["name"], item["reason"]) == ("missing", "Failed")
        )

    one.until(lambda: tries() >= 2, "tried again")
    seen = tries()
    one.steady(lambda: tries() <= seen + 2, 3)  # at 1, 2, 4, 8 s
    one.put("missing.yaml", pod("missing"))
    one.until(lambda: one.ready("missing"), "mended by its file", 5)

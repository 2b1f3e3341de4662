"""What crashes is restarted; what somebody took apart by hand is put right."""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.request

from tests.e2e.instance import Instance, cgroup_of, free_port, pod


def test_a_crash_is_restarted_at_once_and_the_second_backs_off(one: Instance) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    os.kill(one.pid("web"), signal.SIGKILL)
    one.until(lambda: one.container("web")["restartCount"] == 1 and one.ready("web"), seconds=3)
    assert one.container("web")["lastState"]["terminated"]["exitCode"] == 137
    os.kill(one.pid("web"), signal.SIGKILL)
    one.until(lambda: one.waiting("web") == "CrashLoopBackOff", seconds=3)
    assert "CrashLoopBackOff" in one.cli("get", "pods")
    one.until(lambda: one.container("web")["restartCount"] == 2 and one.ready("web"), seconds=15)


def test_restart_policies(one: Instance) -> None:
    one.put("never.yaml", pod("never", "exit 3", restartPolicy="Never"))
    one.put("done.yaml", pod("done", "exit 0", restartPolicy="OnFailure"))
    one.put("always.yaml", pod("always", "exit 0"))
    one.until(lambda: one.phase("never") == "Failed")
    one.until(lambda: one.phase("done") == "Succeeded")
    one.until(lambda: one.container("always")["restartCount"] >= 1)
    one.steady(lambda: one.container("never")["restartCount"] == one.container("done")["restartCount"] == 0, 1)
    assert (
        one.container("never")["state"]["terminated"] | {"exitCode": 3, "reason": "Error"}
        == one.container("never")["state"]["terminated"]
    )


def test_a_pod_ends_with_its_grace_and_then_is_killed(one: Instance) -> None:
    one.put("keep.yaml", "# nothing\n")
    one.put("deaf.yaml", pod("deaf", "trap '' TERM; while true; do sleep 1; done", terminationGracePeriodSeconds=2))
    one.put("polite.yaml", pod("polite", "trap 'exit 0' TERM; while true; do sleep 0.1; done"))
    one.until(lambda: one.ready("deaf") and one.ready("polite"))
    one.delete("deaf.yaml")
    one.delete("polite.yaml")
    one.until(lambda: "polite" not in one.pods(), seconds=2)
    assert "Terminating" in one.cli("get", "pods")
    one.until(lambda: "deaf" not in one.pods(), seconds=5)


def test_a_paused_container_is_thawed(one: Instance) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    freezer = cgroup_of(one.pid("web"), "freezer")
    state = freezer / "freezer.state"
    if state.exists():
        state.write_text("FROZEN")
        thawed = lambda: state.read_text().strip() == "THAWED"  # noqa: E731
    else:
        (freezer / "cgroup.freeze").write_text("1")
        thawed = lambda: (freezer / "cgroup.freeze").read_text().strip() == "0"  # noqa: E731
    one.until(thawed, "thawed")
    assert one.container("web")["restartCount"] == 0
    assert "Resumed" in one.events("web")


def test_limits_changed_by_hand_are_restored(one: Instance) -> None:
    limits = {"resources": {"limits": {"memory": "64Mi", "cpu": "500m"}}}
    one.put("web.yaml", pod("web", container=limits))
    one.until(lambda: one.ready("web"))
    group = cgroup_of(one.pid("web"), "memory")
    limit = next(p for p in (group / "memory.max", group / "memory.limit_in_bytes") if p.exists())
    assert limit.read_text().strip() == str(64 << 20)
    limit.write_text(str(32 << 20))
    one.until(lambda: limit.read_text().strip() == str(64 << 20), "the declared limit")
    assert one.container("web")["restartCount"] == 0


def test_a_removed_container_comes_back(one: Instance) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    first, pid = one.id("web"), one.pid("web")
    state = one.run_dir / "oci" / first
    assert state.exists()
    subprocess.run(["rm", "-rf", str(state)], check=True)  # as `runc delete -f` by hand would
    os.kill(pid, signal.SIGKILL)
    one.until(lambda: one.id("web") != first and one.ready("web"))


def test_a_container_without_its_monitor_is_replaced(one: Instance) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    first = one.id("web")
    subprocess.run(["pkill", "-9", "-f", f"conmon.*{first}"], check=True)
    one.until(lambda: one.id("web") != first and one.ready("web"))


def test_a_destroyed_network_namespace_rebuilds_the_pod(one: Instance) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    first = one.id("web")
    (netns,) = (one.run_dir / "netns").iterdir()
    subprocess.run(["umount", str(netns)], check=True)
    netns.unlink()
    one.until(lambda: one.id("web") != first and one.ready("web"))
    assert one.container("web")["restartCount"] == 1


def test_a_removed_link_rebuilds_the_pod(one: Instance) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    first, links = one.id("web"), [n for n in os.listdir("/sys/class/net") if n.startswith(f"r{one.instance_id()}")]
    subprocess.run(["ip", "link", "delete", *links], check=True)
    one.until(lambda: one.id("web") != first and one.ready("web"))


def test_an_unmounted_root_replaces_the_container(one: Instance) -> None:
    one.put("web.yaml", pod("web"))
    one.until(lambda: one.ready("web"))
    first = one.id("web")
    subprocess.run(["umount", "-l", str(one.run_dir / "rootfs" / first)], check=True)
    one.until(lambda: one.id("web") != first and one.ready("web"))


def test_out_of_memory_is_named(one: Instance) -> None:
    eat = "x=a; while true; do x=$x$x$x; done"
    limits = {"resources": {"limits": {"memory": "16Mi"}}}
    one.put("eater.yaml", pod("eater", eat, restartPolicy="Never", container=limits))
    one.until(lambda: one.phase("eater") == "Failed")
    assert one.container("eater")["state"]["terminated"]["reason"] == "OOMKilled"


def test_the_termination_message_and_the_last_log_are_kept(one: Instance) -> None:
    one.put("web.yaml", pod("web", "echo first words; echo why > /dev/termination-log; exit 1"))
    one.until(lambda: one.container("web")["restartCount"] >= 1 and one.waiting("web") == "CrashLoopBackOff")
    assert one.container("web")["lastState"]["terminated"]["message"] == "why\n"
    assert "first words" in one.cli("logs", "web", "-p")


def test_flushed_firewall_rules_come_back(one: Instance) -> None:
    container = {"command": ["/bin/sh", "-c", "mkdir /w; echo hello > /w/index.html; exec httpd -f -p 80 -h /w"]}
    port = free_port()
    container["ports"] = [{"containerPort": 80, "hostPort": port}]
    one.put("web.yaml", pod("web", container=container))
    one.until(lambda: one.ready("web") and fetch(port) == "hello\n")
    subprocess.run(["nft", "delete", "table", "ip", f"reconciler_{one.instance_id()}"], check=True)
    one.until(lambda: fetch(port) == "hello\n", seconds=5)
    one.until(lambda: "NetworkMended" in one.events("default"))
    assert one.container("web")["restartCount"] == 0


def fetch(port: int) -> str:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).read().decode()
    except OSError:
        return ""

"""What a process in a container may do and use, as the kernel says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.instance import Instance, cgroup_of, pod

CAPABILITIES = {"CHOWN": 0, "NET_ADMIN": 12, "NET_RAW": 13, "SYS_ADMIN": 21}


def status_of(pid: int | str) -> dict[str, str]:
    """/proc/<pid>/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def status(one: Instance, name: str) -> dict[str, str]:
    """Of the container's first process."""
    return status_of(one.pid(name))


def has(one: Instance, name: str, capability: str) -> bool:
    return bool(int(status(one, name)["CapEff"], 16) >> CAPABILITIES[capability] & 1)


def secured(name: str, pod_wide: dict[str, Any] | None = None, **context: Any) -> str:
    return pod(name, container={"securityContext": context}, securityContext=pod_wide or {})


def test_who_a_process_is_and_what_it_may(one: Instance) -> None:
    one.put("plain.yaml", secured("plain"))
    one.put("user.yaml", secured("user", {"runAsUser": 7, "runAsGroup": 8, "supplementalGroups": [9]}, runAsUser=1000))
    drop = {"drop": ["ALL"], "add": ["NET_RAW"]}
    one.put(
        "less.yaml", secured("less", capabilities=drop, readOnlyRootFilesystem=True, allowPrivilegeEscalation=False)
    )
    one.put("more.yaml", secured("more", capabilities={"add": ["NET_ADMIN"], "drop": ["CHOWN"]}))
    one.put("free.yaml", secured("free", seccompProfile={"type": "Unconfined"}))
    one.put("all.yaml", secured("all", privileged=True))
    one.put("root.yaml", secured("root", runAsNonRoot=True))
    names = ("plain", "user", "less", "more", "free", "all")
    one.until(lambda: all(one.ready(name) for name in names))

    plain = status(one, "plain")
    assert (plain["Seccomp"], plain["NoNewPrivs"]) == ("2", "0")
    assert [has(one, "plain", c) for c in CAPABILITIES] == [True, False, True, False]
    assert one.run("exec", "plain", "--", "mount", "-t", "tmpfs", "none", "/tmp").returncode != 0
    assert one.cli("exec", "plain", "--", "grep", "-h", "Seccomp:", "/proc/self/status").split() == ["Seccomp:", "2"]

    user = status(one, "user")
    assert user["Uid"].split() == ["1000"] * 4, "the container's wins over the pod's"
    assert user["Gid"].split() == ["8"] * 4
    assert "9" in user["Groups"].split()
    assert int(user["CapEff"], 16) == 0
    assert one.cli("exec", "user", "--", "id", "-u") == "1000\n"

    less = status(one, "less")
    assert (less["NoNewPrivs"], int(less["CapEff"], 16)) == ("1", 1 << CAPABILITIES["NET_RAW"])
    assert one.run("exec", "less", "--", "touch", "/x").returncode != 0, "a read-only root"
    one.cli("exec", "less", "--", "touch", "/dev/shm/x")

    assert [has(one, "more", c) for c in CAPABILITIES] == [False, True, True, False]
    assert status(one, "free")["Seccomp"] == "0"

    full = status(one, "all")
    assert full["Seccomp"] == "0"
    assert int(full["CapEff"], 16) == int(status_of("self")["CapEff"], 16), "all that we have"
    one.cli("exec", "all", "--", "mount", "-t", "tmpfs", "none", "/tmp")

    one.until(lambda: one.waiting("root") == "CreateContainerConfigError")
    assert "runAsNonRoot" in one.container("root")["state"]["waiting"]["message"]


def test_resources_are_in_the_cgroup(one: Instance) -> None:
    limits = {"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "32Mi"}}
    one.put("web.yaml", pod("web", container={"resources": limits}))
    one.put("free.yaml", pod("free"))
    one.until(lambda: one.ready("web") and one.ready("free"))

    def value(name: str, controller: str, v1: str, v2: str) -> str:
        group = cgroup_of(one.pid(name), controller)
        return next(path for path in (group / v2, group / v1) if path.exists()).read_text().strip()

    assert value("web", "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert value("web", "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "25000"
    assert value("web", "cpu", "cpu.shares", "cpu.weight") in ("102", "4"), "of the request"
    assert value("free", "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] in ("-1", "max")
    busy = "timeout 2 sh -c 'while true; do :; done'; true"
    one.cli("exec", "web", "--", "sh", "-c", busy)
    throttled = dict(line.split() for line in value("web", "cpu", "cpu.stat", "cpu.stat").splitlines())
    assert int(throttled["nr_throttled"]) > 5, "the kernel enforces it"
    status = one.pods()["web"]["status"]
    assert status["qosClass"] == "Burstable"

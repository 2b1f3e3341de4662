"""The default profile: what it lets through depends on capabilities and machine."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.runtimes.native.bundle import DEFAULT_CAPABILITIES
from reconciler.runtimes.native.seccomp import default_profile


def allowed(profile: dict[str, Any]) -> set[str]:
    """Calls that pass whatever their arguments are."""
    return {
        name
        for rule in profile["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule
        for name in rule["names"]
    }


DEFAULT = default_profile("x86_64", DEFAULT_CAPABILITIES)


@pytest.mark.parametrize("name", ["read", "openat", "execve", "futex", "chroot", "mknod", "arch_prctl", "ptrace"])
def test_usual_calls_pass(name: str) -> None:
    assert name in allowed(DEFAULT)


@pytest.mark.parametrize(
    "name",
    [
        "mount",
        "umount2",
        "unshare",
        "setns",
        "bpf",
        "keyctl",
        "add_key",
        "request_key",
        "kexec_load",
        "init_module",
        "open_by_handle_at",
        "reboot",
        "swapon",
        "userfaultfd",
        "io_uring_setup",
        "perf_event_open",
        "clone",
        "socket",
    ],
)
def test_dangerous_calls_do_not(name: str) -> None:
    assert name not in allowed(DEFAULT)


def test_namespaces_need_a_capability() -> None:
    conditional = {rule["names"][0]: rule for rule in DEFAULT["syscalls"] if "args" in rule}
    assert conditional["clone"]["args"] == [
        {"index": 0, "value": 0x7E020000, "op": "SCMP_CMP_MASKED_EQ", "valueTwo": 0}
    ]
    clone3 = next(rule for rule in DEFAULT["syscalls"] if rule["names"] == ["clone3"])
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert {"mount", "clone", "clone3", "unshare", "socket"} <= allowed(default_profile("x86_64", ["SYS_ADMIN"]))


def test_machines() -> None:
    assert DEFAULT["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    arm = default_profile("aarch64", [])
    assert "set_tls" in allowed(arm) and "arch_prctl" not in allowed(arm)
    assert "chroot" not in allowed(arm)
    assert default_profile("s390x", [])["syscalls"][-2]["args"][0]["index"] == 1  # clone's flags come second

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.runtimes.native.fitness import GIB, PROGRAMS, Check, Facts, Room, Verdict, install, judge, refusal

FIT = Facts(
    root=True,
    capabilities=frozenset({"SYS_ADMIN", "NET_ADMIN", "MKNOD", "SETUID", "SETGID", "CHOWN", "SYS_RESOURCE"}),
    kernel="6.1.0-18-amd64",
    distributions=("debian",),
    programs=dict.fromkeys(PROGRAMS, "1.2.3"),
    cgroup_version="v2",
    cgroup_controllers=frozenset({"cpu", "memory", "pids", "io"}),
    user_namespaces=1000,
    ip_forward=True,
    pod_cidr="10.201.0.0/16",
    inotify_watches=65536,
    inotify_instances=128,
    rooms=(Room("/var/lib/reconciler", "ext4", 50 * GIB, 1_000_000),),
)


def without(*names: str) -> dict[str, str]:
    return {name: version for name, version in FIT.programs.items() if name not in names}


def bad(facts: Facts) -> list[Check]:
    return [check for check in judge(facts) if check.verdict is not Verdict.OK]


def test_a_fit_host_has_nothing_to_mend() -> None:
    assert bad(FIT) == []
    assert all(check.mend == "" for check in judge(FIT))
    assert refusal(FIT) == ""


CASES = [
    ("root", {"root": False}, Verdict.FAILED, "use sudo"),
    ("root", {"capabilities": FIT.capabilities - {"NET_ADMIN"}}, Verdict.FAILED, "capabilities"),
    ("kernel", {"kernel": "5.4.0-150"}, Verdict.FAILED, "5.8 or newer"),
    ("cgroups", {"cgroup_version": ""}, Verdict.FAILED, "mount -t cgroup2"),
    ("cgroups", {"cgroup_controllers": frozenset({"cpu", "pids"})}, Verdict.WARNING, "cgroup_enable=memory"),
    ("cgroups", {"cgroup_controllers": frozenset({"cpu", "memory"})}, Verdict.WARNING, "subtree_control"),
    ("OCI runtime", {"programs": without("crun", "runc")}, Verdict.FAILED, "apt install crun"),
    ("conmon", {"programs": without("conmon")}, Verdict.FAILED, "apt install conmon"),
    ("nft", {"programs": without("nft")}, Verdict.FAILED, "apt install nftables"),
    ("skopeo", {"programs": without("skopeo")}, Verdict.WARNING, "apt install skopeo"),
    ("buildah", {"programs": without("buildah")}, Verdict.WARNING, "apt install buildah"),
    ("dnsmasq", {"programs": without("dnsmasq")}, Verdict.WARNING, "apt install dnsmasq"),
    ("overlayfs", {"overlay_refusal": "mounting one failed"}, Verdict.FAILED, "modprobe overlay"),
    ("overlayfs", {"overlay_refusal": None}, Verdict.WARNING, "sudo"),
    ("nftables", {"rules_refusal": "no such protocol"}, Verdict.FAILED, "modprobe nf_tables"),
    ("forwarding", {"forward_drops": ("inet firewalld filter_FORWARD",)}, Verdict.WARNING, "rec-*"),
    ("pod addresses", {"pod_cidr": ""}, Verdict.WARNING, "--pod-cidr"),
    ("disk", {"rooms": (Room("/s", "ext4", GIB, None),)}, Verdict.WARNING, "--state-dir"),
    ("disk", {"rooms": (Room("/s", "ext4", 9 * GIB, 12),)}, Verdict.WARNING, "small files"),
    ("inotify", {"inotify_watches": 100}, Verdict.WARNING, "max_user_watches"),
    ("inotify", {"inotify_instances": 10}, Verdict.WARNING, "max_user_instances"),
    ("limits", {"capabilities": FIT.capabilities - {"SYS_RESOURCE"}}, Verdict.WARNING, "CAP_SYS_RESOURCE"),
    ("user namespaces", {"user_namespaces": 0}, Verdict.WARNING, "max_user_namespaces"),
]


@pytest.mark.parametrize(("name", "change", "verdict", "mend"), CASES)
def test_one_lack_is_one_finding_with_its_mend(name, change, verdict, mend) -> None:
    (check,) = bad(replace(FIT, **change))
    assert (check.name, check.verdict) == (name, verdict)
    assert mend in check.mend


def test_one_oci_runtime_is_enough() -> None:
    assert bad(replace(FIT, programs=without("runc"))) == []
    assert bad(replace(FIT, programs=without("crun"))) == []


def test_a_filesystem_that_makes_inodes_as_it_goes_has_enough() -> None:
    assert bad(replace(FIT, rooms=(Room("/s", "btrfs", 9 * GIB, None),))) == []


def test_dockers_dropping_is_no_lack_for_our_rule_lets_pods_pass() -> None:
    assert bad(replace(FIT, forward_drops=("ip filter FORWARD",))) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"root": False}, "it needs root: use sudo", id="no root"),
        pytest.param({"programs": without("conmon")}, "conmon not installed: apt install conmon", id="no monitor"),
        pytest.param(
            {"programs": without("crun", "runc")}, "crun or runc not installed: apt install crun", id="no runtime"
        ),
        pytest.param(
            {"programs": without("crun", "runc", "conmon", "nft")},
            "crun or runc, conmon and nft not installed: apt install crun conmon nftables",
            id="one command for all",
        ),
        pytest.param({"programs": without("skopeo", "buildah")}, "", id="wanted is not needed"),
        pytest.param({"overlay_refusal": "modprobe overlay"}, "no overlayfs: modprobe overlay", id="no overlayfs"),
        pytest.param(
            {"root": False, "programs": without("nft")},
            "it needs root: use sudo; nft not installed: apt install nftables",
            id="all reasons at once",
        ),
    ],
)
def test_refusal(change, expected) -> None:
    assert refusal(replace(FIT, **change)) == expected


@pytest.mark.parametrize(
    ("distributions", "expected"),
    [
        (("debian",), "apt install crun nftables"),
        (("linuxmint", "ubuntu", "debian"), "apt install crun nftables"),
        (("rocky", "rhel", "centos", "fedora"), "dnf install crun nftables"),
        (("alpine",), "apk add crun nftables"),
        (("nixos",), "install the packages crun nftables"),
        ((), "install the packages crun nftables"),
    ],
)
def test_install(distributions, expected) -> None:
    assert install(distributions, ["crun", "nftables"]) == expected

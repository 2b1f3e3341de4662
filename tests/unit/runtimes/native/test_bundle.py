"""config.json of a container: Docker's defaults, Kubernetes' words, the host's limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.errors import TerminalError
from reconciler.model.ref import Ref
from reconciler.model.sandbox import (
    HOST_IP,
    POD_IP,
    POD_IPS,
    ContainerConfig,
    Mount,
    Resources,
    SandboxConfig,
    Security,
)
from reconciler.runtimes.native import bundle
from reconciler.runtimes.native.bundle import BoundMount, HostFacts, Made, render_spec
from reconciler.runtimes.native.users import User

CAPABILITIES = (*bundle.DEFAULT_CAPABILITIES, "NET_ADMIN", "SYS_ADMIN", "SYS_TIME")
HOST = HostFacts(capabilities=CAPABILITIES)
SANDBOX = SandboxConfig(pod=Ref("Pod", "default", "web"), hostname="web-0")
MADE = Made(
    rootfs="/run/r",
    cgroup="/reconciler-1/c1",
    user=User(0, 0, (), "/root"),
    netns="/run/netns/s1",
    addresses=("10.0.0.9",),
    host_address="192.168.1.2",
)
WEB = ContainerConfig(name="web", image="docker.io/library/web:1")
IMAGE = {
    "config": {
        "Entrypoint": ["/entry"],
        "Cmd": ["serve"],
        "Env": ["PATH=/opt/bin", "LANG=C"],
        "WorkingDir": "/srv",
        "StopSignal": "SIGQUIT",
    }
}


def spec(
    config: ContainerConfig = WEB,
    sandbox: SandboxConfig = SANDBOX,
    image: dict[str, Any] = IMAGE,
    made: Made = MADE,
    host: HostFacts = HOST,
) -> dict[str, Any]:
    return render_spec(config, sandbox, image, made, host)


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        pytest.param((), (), ["/entry", "serve"], id="the image's"),
        pytest.param((), ("-v",), ["/entry", "-v"], id="args replace cmd"),
        pytest.param(("/sh",), (), ["/sh"], id="command drops cmd too"),
        pytest.param(("/sh",), ("-c", "x"), ["/sh", "-c", "x"], id="both"),
    ],
)
def test_arguments(command: tuple[str, ...], args: tuple[str, ...], expected: list[str]) -> None:
    assert spec(replace(WEB, command=command, args=args))["process"]["args"] == expected


def test_nothing_to_run_says_so() -> None:
    with pytest.raises(TerminalError, match="neither entrypoint nor cmd") as caught:
        spec(image={"config": {}})
    assert caught.value.reason == "CreateContainerConfigError"


def test_environment_of_image_then_pod_with_addresses_put_in() -> None:
    env = (("LANG", "de"), ("ME", f"http://{POD_IP}:80"), ("ALL", POD_IPS), ("NODE", HOST_IP), ("EMPTY", ""))
    made = replace(MADE, addresses=("10.0.0.9", "fd00::9"))
    found = spec(replace(WEB, env=env), made=made)["process"]["env"]
    assert found == [
        "PATH=/opt/bin",
        "HOSTNAME=web-0",
        "LANG=de",
        "ME=http://10.0.0.9:80",
        "ALL=10.0.0.9,fd00::9",
        "NODE=192.168.1.2",
        "EMPTY=",
        "HOME=/root",
    ]


def test_a_pod_in_the_hosts_network_keeps_its_name_and_network() -> None:
    found = spec(sandbox=replace(SANDBOX, host_network=True))
    kinds = {entry["type"] for entry in found["linux"]["namespaces"]}
    assert kinds == {"mount", "pid", "ipc", "cgroup"}
    assert "hostname" not in found


def test_namespaces_of_a_pod() -> None:
    namespaces = spec()["linux"]["namespaces"]
    assert {"type": "network", "path": "/run/netns/s1"} in namespaces
    assert {entry["type"] for entry in namespaces} == {"mount", "pid", "ipc", "uts", "network", "cgroup"}
    shared = spec(sandbox=replace(SANDBOX, host_pid=True, host_ipc=True), host=replace(HOST, cgroup_version="v1"))
    assert {entry["type"] for entry in shared["linux"]["namespaces"]} == {"mount", "uts", "network"}


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        pytest.param(Security(), set(bundle.DEFAULT_CAPABILITIES), id="Docker's"),
        pytest.param(Security(capabilities_drop=("ALL",)), set(), id="drop all"),
        pytest.param(
            Security(capabilities_drop=("ALL",), capabilities_add=("NET_BIND_SERVICE",)),
            {"NET_BIND_SERVICE"},
            id="drop all, add one",
        ),
        pytest.param(
            Security(capabilities_add=("CAP_NET_ADMIN",), capabilities_drop=("mknod",)),
            {*bundle.DEFAULT_CAPABILITIES, "NET_ADMIN"} - {"MKNOD"},
            id="any spelling",
        ),
        pytest.param(Security(capabilities_add=("ALL",)), set(CAPABILITIES), id="add all"),
        pytest.param(Security(privileged=True), set(CAPABILITIES), id="privileged"),
    ],
)
def test_capabilities(security: Security, expected: set[str]) -> None:
    found = spec(replace(WEB, security=security))["process"]["capabilities"]
    assert {name.removeprefix("CAP_") for name in found["bounding"]} == expected
    assert found["bounding"] == found["effective"] == found["permitted"]
    assert "inheritable" not in found and "ambient" not in found


def test_a_capability_that_the_host_lacks_is_an_error() -> None:
    with pytest.raises(TerminalError, match="cannot give the capability SYS_RESOURCE"):
        spec(replace(WEB, security=Security(capabilities_add=("SYS_RESOURCE",))))


def test_a_default_capability_that_the_host_lacks_is_left_out() -> None:
    found = spec(host=replace(HOST, capabilities=("CHOWN", "KILL", "SYS_ADMIN")))
    assert found["process"]["capabilities"]["bounding"] == ["CAP_CHOWN", "CAP_KILL"]


def test_root_is_refused_when_the_pod_wants_none() -> None:
    config = replace(WEB, security=Security(run_as_non_root=True))
    with pytest.raises(TerminalError, match="would run as root") as caught:
        spec(config)
    assert caught.value.reason == "CreateContainerConfigError"
    assert spec(config, made=replace(MADE, user=User(33, 33)))["process"]["user"]["uid"] == 33


def test_groups_of_image_and_pod() -> None:
    config = replace(WEB, security=Security(supplemental_groups=(2000, 33)))
    assert spec(config, made=replace(MADE, user=User(33, 33, (4,))))["process"]["user"] == {
        "uid": 33,
        "gid": 33,
        "additionalGids": [4, 2000],
    }


def test_what_the_host_does_not_allow_is_clamped() -> None:
    poor = replace(HOST, open_files_hard=20000, may_raise_limits=False, own_oom_score_adj=100)
    process = spec(replace(WEB, oom_score_adj=-997), host=poor)["process"]
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "hard": 20000, "soft": 20000}]
    assert process["oomScoreAdj"] == 100
    assert spec(replace(WEB, oom_score_adj=-997))["process"]["oomScoreAdj"] == -997


def test_limits() -> None:
    config = replace(WEB, resources=Resources(250, 500, 64 << 20, 100))
    found = spec(config, host=replace(HOST, swap_limit=True))["linux"]["resources"]
    assert found["cpu"] == {"shares": 256, "quota": 50_000, "period": 100_000}
    assert found["memory"] == {"limit": 64 << 20, "swap": 64 << 20}
    assert found["pids"] == {"limit": 100}
    assert found["devices"] == [{"allow": False, "access": "rwm"}]


def test_proc_is_masked_unless_told_otherwise() -> None:
    assert "/proc/kcore" in spec()["linux"]["maskedPaths"]
    assert "/proc/sys" in spec()["linux"]["readonlyPaths"]
    assert "maskedPaths" not in spec(replace(WEB, security=Security(unmasked_proc=True)))["linux"]
    privileged = spec(replace(WEB, security=Security(privileged=True)))["linux"]
    assert {"maskedPaths", "readonlyPaths", "seccomp"}.isdisjoint(privileged)


def test_seccomp_is_there_unless_told_otherwise() -> None:
    assert spec()["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert "seccomp" not in spec(replace(WEB, security=Security(seccomp="Unconfined")))["linux"]
    made = replace(MADE, seccomp_profile={"defaultAction": "SCMP_ACT_LOG"})
    own = spec(replace(WEB, security=Security(seccomp="/p.json")), made=made)
    assert own["linux"]["seccomp"] == {"defaultAction": "SCMP_ACT_LOG"}


def test_a_mount_inside_another_comes_after_it() -> None:
    mounts = (
        BoundMount("/v/b", "/data/inner", read_only=True),
        BoundMount("/v/a", "/data", propagation="HostToContainer"),
        BoundMount("/v/shm", "/dev/shm"),
    )
    found = spec(made=replace(MADE, mounts=mounts))
    places = [mount["destination"] for mount in found["mounts"]]
    assert places.index("/data") < places.index("/data/inner")
    assert places.count("/dev/shm") == 1
    by_place = {mount["destination"]: mount for mount in found["mounts"]}
    assert by_place["/data"]["options"] == ["rbind", "rslave", "rw"]
    assert by_place["/data/inner"]["options"] == ["rbind", "rprivate", "ro"]
    assert found["linux"]["rootfsPropagation"] == "rslave"


def test_mounts_of_a_container_cannot_always_reach_the_host() -> None:
    config = replace(WEB, mounts=(Mount("v", "/data", propagation="Bidirectional"),))
    spec(config)
    with pytest.raises(TerminalError, match="RECONCILER_OCI_RUNTIME=runc") as caught:
        spec(config, host=replace(HOST, propagates=False))
    assert caught.value.reason == "CreateContainerConfigError"


@pytest.mark.parametrize(
    ("declared", "image", "expected"),
    [
        ("", {}, 15),
        ("", {"StopSignal": "SIGQUIT"}, 3),
        ("SIGUSR1", {"StopSignal": "SIGQUIT"}, 10),
        ("int", {}, 2),
        ("", {"StopSignal": "9"}, 9),
        ("RTMIN+3", {}, 37),
    ],
)
def test_stop_signal(declared: str, image: dict[str, str], expected: int) -> None:
    assert bundle.stop_signal(declared, image) == expected


def test_no_such_signal() -> None:
    with pytest.raises(TerminalError, match="SIGNOPE is no signal"):
        bundle.stop_signal("SIGNOPE", {})

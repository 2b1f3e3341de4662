"""The native engine on the real kernel: what it makes, what it sees, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from reconciler.errors import ConflictError, HostError, ReconcilerError, TerminalError
from reconciler.model.observed import SeenContainer, SeenPod, State
from reconciler.model.ref import Ref
from reconciler.model.sandbox import (
    POD_IP,
    ContainerConfig,
    EmptyDir,
    File,
    Files,
    HostPath,
    Mount,
    Port,
    Resources,
    SandboxConfig,
    Security,
)
from reconciler.plan import hashing
from reconciler.plan.steps import (
    Action,
    CreateContainer,
    CreateSandbox,
    RemoveContainer,
    RemoveSandbox,
    RestoreLimits,
    ResumeContainer,
    StartContainer,
    Step,
    StopContainer,
    UpdateVolume,
    Why,
)
from reconciler.runtimes.native import cgroups, kernel, logs, rootfs
from reconciler.runtimes.native.engine import NativeRuntime
from tests.images import busybox_archive

IMAGE = "docker.io/library/busybox:1"
REFUSALS = ("permission denied", "not permitted", "Read-only file system")
SLEEP = ("sleep", "1000")
_networks = itertools.count(os.getpid() % 200)


class World:
    """One instance, and short ways to ask it for things."""

    def __init__(self, directory: Path) -> None:
        number = next(_networks)
        self.state_dir, self.run_dir = directory / "state", directory / "run"
        self.cidr = IPv4Network(f"10.{130 + number % 50}.{os.getpid() % 256}.0/24")
        self.engine: NativeRuntime

    async def open(self) -> NativeRuntime:
        self.engine = await NativeRuntime.open(self.state_dir, self.run_dir, pod_cidr=self.cidr)
        return self.engine

    async def load(self) -> None:
        archive = busybox_archive(self.state_dir / "busybox.tar", "busybox:1")
        async for _ in self.engine.images.load(str(archive)):
            pass

    async def do(self, action: Action) -> str:
        return await self.engine.execute(Step(1, action, Why.ABSENT))

    async def sandbox(self, name: str, **settings: object) -> None:
        config = SandboxConfig(pod=pod(name), **{"hostname": name, **settings})  # type: ignore[arg-type]
        await self.do(CreateSandbox(f"s-{name}", config, "h", 0))

    async def container(self, name: str, command: tuple[str, ...] = SLEEP, **settings: object) -> None:
        config = ContainerConfig(**{"name": "main", "image": IMAGE, "command": command, **settings})  # type: ignore[arg-type]
        await self.do(CreateContainer(f"c-{name}", pod(name), f"s-{name}", config, "h", 0))

    async def run(self, name: str, command: tuple[str, ...] = SLEEP, **settings: object) -> SeenContainer:
        await self.sandbox(name)
        await self.container(name, command, **settings)
        await self.do(StartContainer(f"c-{name}"))
        return await self.seen(name)

    async def pod(self, name: str) -> SeenPod:
        return (await self.engine.observe()).pods[pod(name)]

    async def seen(self, name: str) -> SeenContainer:
        (container,) = (await self.pod(name)).containers
        return container

    async def ended(self, name: str) -> SeenContainer:
        async with asyncio.timeout(20):
            await self.engine.wait_exit(f"c-{name}")
        return await self.seen(name)

    async def output(self, name: str) -> list[str]:
        """All its lines; one that it wrote in pieces is logged in pieces."""
        await self.ended(name)
        logged = self.engine.logs(f"c-{name}")
        return b"".join([line.text + b"\n" * line.complete async for line in logged]).decode().splitlines()

    async def said(self, name: str, *command: str) -> str:
        session = await self.engine.exec(f"c-{name}", command)
        text = b"".join([data async for _, data in session.output()]).decode()
        await session.wait()
        return text

    async def remove(self, name: str) -> None:
        await self.do(RemoveContainer(f"c-{name}"))
        await self.do(RemoveSandbox(f"s-{name}"))

    def path(self, name: str, hierarchy: str, file: str) -> Path:
        """A file of the container's cgroup, of version 1 or 2."""
        layout = cgroups.current()
        root = layout.controllers.get(hierarchy, layout.unified)
        return Path(root, f"reconciler-{self.engine.instance}", f"c-{name}", file)

    def left(self) -> list[str]:
        """Everything on this host that carries the instance's mark or lies below its run directory."""
        instance = self.engine.instance
        found = [f"mount {point}" for point in kernel.parse_mounts(Path("/proc/self/mountinfo").read_text())]
        found = [mount for mount in found if str(self.run_dir) in mount]
        found += [f"link {name}" for name in os.listdir("/sys/class/net") if instance in name]
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        found += [f"table {line}" for line in tables.splitlines() if instance in line]
        for root in cgroups.current().roots():
            for pattern in (f"*{instance}*", f"*{instance}*/*"):
                found += [f"cgroup {path}" for path in Path(root).glob(pattern) if path.is_dir()]
        for directory in ("containers", "sandboxes"):
            found += [f"directory {path}" for path in (self.state_dir / directory).iterdir()]
        for directory in ("rootfs", "volumes", "subpaths", "oci", "exits", "netns", "ipc"):
            path = self.run_dir / directory
            found += [f"file {entry}" for entry in (path.iterdir() if path.exists() else ())]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    command = (entry / "cmdline").read_bytes()
                    if str(self.run_dir).encode() in command and int(entry.name) != os.getpid():
                        found.append(f"process {command.replace(bytes(1), b' ').decode()}")
        return found


def pod(name: str) -> Ref:
    return Ref("Pod", "default", name)


async def until(what: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Poll until it is true."""
    async with asyncio.timeout(seconds):
        while not await what():
            await asyncio.sleep(0.01)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.open()
    await world.load()
    try:
        yield world
    finally:
        await world.engine.remove_all()
        await world.engine.aclose()
        assert world.left() == []


# making and ending


async def test_a_pod_from_nothing_to_nothing(world: World) -> None:
    container = await world.run("web")
    assert container.state is State.RUNNING and container.pid and container.started_at
    seen = await world.pod("web")
    assert seen.sandbox is not None and seen.sandbox.fault == ""
    assert IPv4Address(seen.sandbox.addresses[0]) in world.cidr
    assert await world.said("web", "hostname") == "web\n"
    assert seen.sandbox.addresses[0] in await world.said("web", "ip", "addr", "show", "eth0")
    await world.remove("web")
    assert pod("web") not in (await world.engine.observe()).pods
    assert [thing for thing in world.left() if "web" in thing] == []


async def test_every_step_may_be_done_twice(world: World) -> None:
    for _ in range(2):
        await world.sandbox("web")
    for _ in range(2):
        await world.container("web")
    assert (await world.seen("web")).state is State.CREATED
    for _ in range(2):
        await world.do(StartContainer("c-web"))
    pid = (await world.seen("web")).pid
    assert pid == (await world.seen("web")).pid
    for _ in range(2):
        await world.do(StopContainer("c-web", 0))
    for _ in range(2):
        await world.remove("web")


async def test_created_then_removed_without_a_start(world: World) -> None:
    await world.sandbox("web")
    await world.container("web")
    await world.remove("web")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("true",), 0),
        (("sh", "-c", "exit 3"), 3),
        (("sh", "-c", "kill -TERM 1; exit 9"), 9),
    ],
)
async def test_exit_codes(world: World, command: tuple[str, ...], code: int) -> None:
    await world.run("web", command)
    container = await world.ended("web")
    assert (container.state, container.exit_code, container.oom_killed) == (State.EXITED, code, False)
    assert container.finished_at and abs(container.finished_at - time.time()) < 20


async def test_stop_signal_and_grace(world: World) -> None:
    gentle = ("sh", "-c", "trap 'exit 42' USR1; echo up; while :; do sleep 0.02; done")
    await world.run("gentle", gentle, stop_signal="SIGUSR1")
    await until(lambda: _logged(world, "gentle", "up"))
    await world.do(StopContainer("c-gentle", 10))
    assert (await world.seen("gentle")).exit_code == 42
    await world.run("deaf", ("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.02; done"))
    await until(lambda: _logged(world, "deaf", "up"))
    before = time.monotonic()
    await world.do(StopContainer("c-deaf", 0.3))
    assert 0.3 <= time.monotonic() - before < 5
    assert (await world.seen("deaf")).exit_code == 137


async def _logged(world: World, name: str, word: str) -> bool:
    return word in [line.text.decode() async for line in world.engine.logs(f"c-{name}")]


async def test_an_exit_is_announced(world: World) -> None:
    events = world.engine.events()
    first = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    container = await world.run("web")
    assert container.pid
    before = time.monotonic()
    os.kill(container.pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        assert await first == pod("web")
    seen = await world.seen("web")
    assert (seen.state, seen.exit_code, seen.oom_killed) == (State.EXITED, 137, False)
    assert time.monotonic() - before < 1
    await events.aclose()  # type: ignore[attr-defined]


async def test_the_kernel_kills_for_memory(world: World) -> None:
    hungry = ("sh", "-c", "x=a; while :; do x=$x$x; done")
    await world.run("web", hungry, resources=Resources(memory_limit_bytes=16 << 20))
    container = await world.ended("web")
    assert (container.exit_code, container.oom_killed) == (137, True)


async def test_termination_message(world: World) -> None:
    await world.run("web", ("sh", "-c", "seq 1 2000 > /dev/termination-log; exit 1"))
    message = (await world.ended("web")).message
    assert message.startswith("1\n2\n") and len(message) == 4096


# what cannot be made


@pytest.mark.parametrize(
    ("settings", "reason", "words"),
    [
        ({"command": ("nosuch",)}, "CreateContainerError", 'exec: "nosuch": executable file not found in $PATH'),
        ({"image": "docker.io/library/none:1"}, "ErrImageNeverPull", "none"),
        ({"security": Security(run_as_non_root=True)}, "CreateContainerConfigError", "root"),
        ({"mounts": (Mount("none", "/x"),)}, "CreateContainerConfigError", "no volume 'none'"),
        ({"stop_signal": "SIGNOPE"}, "CreateContainerConfigError", "SIGNOPE is no signal"),
        ({"security": Security(seccomp="/nonexistent.json")}, "CreateContainerConfigError", "/nonexistent.json"),
    ],
)
async def test_a_container_that_cannot_be_made(
    world: World, settings: dict[str, object], reason: str, words: str
) -> None:
    await world.sandbox("web")
    with pytest.raises(ReconcilerError) as caught:
        await world.container("web", **settings)  # type: ignore[arg-type]
    assert caught.value.reason == reason
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert (await world.pod("web")).containers == ()
    assert [thing for thing in world.left() if "c-web" in thing] == []


async def test_a_shared_process_namespace_is_refused(world: World) -> None:
    with pytest.raises(TerminalError, match="shareProcessNamespace is not supported") as caught:
        await world.sandbox("web", share_process_namespace=True)
    assert caught.value.reason == "CreateContainerConfigError"


async def test_a_full_disk(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere")

    await world.sandbox("web")
    monkeypatch.setattr("reconciler.runtimes.native.rootfs.ensure", full)
    with pytest.raises(TerminalError) as caught:
        await world.container("web")
    assert caught.value.reason == "NoSpace"
    assert (await world.pod("web")).containers == ()


# what a container gets


async def test_environment_user_limits_and_files(world: World) -> None:
    script = "echo $ME; id; ulimit -n; pwd; cat /etc/hostname; grep -c web /etc/hosts; grep Seccomp: /proc/self/status"
    await world.run(
        "web",
        ("sh", "-c", script),
        env=(("ME", POD_IP),),
        working_dir="/not/there/yet",
        security=Security(user=1000, supplemental_groups=(7,), no_new_privileges=True),
    )
    address, ids, files, directory, hostname, hosts, seccomp = await world.output("web")
    sandbox = (await world.pod("web")).sandbox
    assert sandbox is not None and address == sandbox.addresses[0]
    assert ids.startswith("uid=1000(web) gid=1000(web) groups=") and "2000(extra)" in ids and "7" in ids
    assert int(files) > 1000
    assert (directory, hostname, hosts) == ("/not/there/yet", "web", "1")
    assert seccomp.split() == ["Seccomp:", "2"]


async def test_what_is_not_allowed(world: World) -> None:
    script = "mount -t tmpfs x /tmp; echo 1 > /proc/sys/vm/swappiness; mknod /tmp/d b 254 0 && cat /tmp/d"
    await world.run("web", ("sh", "-c", f"({script}) 2>&1"))
    refused = await world.output("web")
    assert [line for line in refused if any(word in line for word in REFUSALS)] == refused
    assert len(refused) == 3


async def test_volumes(world: World, tmp_path: Path) -> None:
    host = tmp_path / "host"
    (host / "inner").mkdir(parents=True)
    (host / "inner" / "file").write_text("from the host")
    (host / "escape").symlink_to("/etc")
    volumes = (
        EmptyDir("disk"),
        EmptyDir("ram", "Memory", 1 << 20),
        HostPath("host", str(host)),
        Files("conf", (File("a.conf", b"one"),)),
        Files("keys", (File("key", b"hunter2", 0o400),), secret=True),
    )
    await world.sandbox("web", volumes=volumes)
    mounts = (
        Mount("disk", "/disk"),
        Mount("ram", "/ram"),
        Mount("host", "/host", read_only=True),
        Mount("host", "/part", sub_path="inner"),
        Mount("host", "/one/file", sub_path="inner/file"),
        Mount("host", "/made", sub_path="new/dir"),
        Mount("conf", "/conf", read_only=True),
        Mount("keys", "/keys", read_only=True),
    )
    await world.container("web", mounts=mounts)
    await world.do(StartContainer("c-web"))
    assert await world.said("web", "cat", "/part/file", "/one/file", "/conf/a.conf", "/keys/key") == (
        "from the hostfrom the hostonehunter2"
    )
    assert "ead-only" in await world.said("web", "sh", "-c", "touch /host/x 2>&1")
    assert await world.said("web", "sh", "-c", "echo w > /disk/f; cat /disk/f; touch /made/x") == "w\n"
    assert (host / "new" / "dir" / "x").exists()
    assert "tmpfs" in await world.said("web", "grep", " /keys ", "/proc/mounts")
    assert "size=1024k" in await world.said("web", "grep", " /ram ", "/proc/mounts")
    assert b"hunter2" not in _all_bytes(world.state_dir)

    new = Files("conf", (File("a.conf", b"two"),))
    await world.do(UpdateVolume("s-web", new, "conf", hashing.volume_hash(new)))
    assert await world.said("web", "cat", "/conf/a.conf") == "two"
    sandbox = (await world.pod("web")).sandbox
    assert sandbox is not None and sandbox.volume_hashes["conf"] == hashing.volume_hash(new)

    kernel.unmount(str(world.run_dir / "volumes" / "s-web" / "ram"))
    sandbox = (await world.pod("web")).sandbox
    assert sandbox is not None and sandbox.fault.endswith("/volumes/s-web/ram was unmounted")
    await world.remove("web")
    assert (host / "inner" / "file").read_text() == "from the host"


def _all_bytes(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file() and "images" not in path.parts)


async def test_a_sub_path_does_not_lead_out(world: World, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "escape").symlink_to("/")
    await world.sandbox("web", volumes=(HostPath("host", str(host)),))
    await world.container("web", mounts=(Mount("host", "/out", sub_path="escape/etc"),))
    await world.do(StartContainer("c-web"))
    assert await world.said("web", "ls", "/out") == ""
    assert (host / "etc").is_dir()


async def test_mounts_that_the_host_makes_later_are_seen(world: World, tmp_path: Path) -> None:
    await world.run("first")
    late = tmp_path / "host" / "late"
    late.mkdir(parents=True)
    kernel.mount("tmpfs", str(late), "tmpfs")
    try:
        (late / "file").write_text("from a late mount")
        for number, path in enumerate((late, late.parent)):
            name = f"web{number}"
            await world.sandbox(name, volumes=(HostPath("host", str(path)),))
            await world.container(name, mounts=(Mount("host", "/host"),))
            await world.do(StartContainer(f"c-{name}"))
            assert (
                await world.said(name, "sh", "-c", "cat /host/file /host/late/file 2>/dev/null") == "from a late mount"
            )
            await world.remove(name)
    finally:
        kernel.unmount(str(late))


async def test_containers_of_a_pod_share_memory(world: World) -> None:
    await world.run("web", ("sh", "-c", "echo shared > /dev/shm/x; sleep 1000"))
    config = ContainerConfig(name="side", image=IMAGE, command=SLEEP)
    await world.do(CreateContainer("c-side", pod("web"), "s-web", config, "h", 0))
    await world.do(StartContainer("c-side"))
    assert await world.said("side", "cat", "/dev/shm/x") == "shared\n"
    pids = [container.pid for container in (await world.pod("web")).containers]
    assert len({os.readlink(f"/proc/{pid}/ns/ipc") for pid in pids}) == 1
    assert len({os.readlink(f"/proc/{pid}/ns/pid") for pid in pids}) == 2
    assert os.readlink(f"/proc/{pids[0]}/ns/ipc") != os.readlink("/proc/self/ns/ipc")
    await world.do(RemoveContainer("c-side"))


async def test_128_layers(tmp_path: Path) -> None:
    layers = [tmp_path / "layers" / f"{number:064x}" for number in range(128)]
    for number, layer in enumerate(layers):
        layer.mkdir(parents=True)
        (layer / f"f{number}").touch()
        (layer / "top").write_text(str(number))
    target = tmp_path / "root"
    try:
        for _ in range(2):
            rootfs.ensure(target, layers, tmp_path)
        assert len(os.listdir(target)) == 129
        assert (target / "top").read_text() == "127"
        (target / "new").touch()
        assert (tmp_path / "upper" / "new").exists()
    finally:
        rootfs.remove(target)
    rootfs.remove(target)
    assert not target.exists()


async def test_no_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_OCI_RUNTIME", "nosuchruntime")
    world = World(tmp_path)
    with pytest.raises(HostError, match=r"nosuchruntime is not installed.*apt install crun"):
        await world.open()
    assert not any(str(tmp_path) in mount for mount in kernel.parse_mounts(Path("/proc/self/mountinfo").read_text()))


async def test_the_hosts_network(world: World) -> None:
    await world.sandbox("web", host_network=True)
    await world.container("web")
    await world.do(StartContainer("c-web"))
    pid = (await world.seen("web")).pid
    assert os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net")


async def test_host_ports(world: World) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        with pytest.raises(ConflictError, match="is held by") as caught:
            await world.sandbox("web", ports=(Port(80, taken),))
        assert caught.value.reason == "HostPortConflict"
        assert "pid" in str(caught.value)
    await world.sandbox("web", ports=(Port(80, taken),))
    with pytest.raises(ConflictError, match=r"is held by pod default/web"):
        await world.sandbox("other", ports=(Port(81, taken),))
    await world.container("web", ("sh", "-c", "while :; do echo hello | nc -l -p 80; done"))
    await world.do(StartContainer("c-web"))

    async def answers() -> bool:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", taken)
            try:
                return await asyncio.wait_for(reader.read(5), 1) == b"hello"
            finally:
                writer.close()
        return False

    await until(answers)


# exec and logs


async def test_exec(world: World) -> None:
    await world.run("web")
    session = await world.engine.exec("c-web", ["sh", "-c", "cat; echo err >&2; exit 5"], stdin=True)
    await session.write(b"hello")
    await session.close_stdin()
    found = [chunk async for chunk in session.output()]
    assert sorted(found) == [(1, b"hello"), (2, b"err\n")]
    assert await session.wait() == 5
    with pytest.raises(TerminalError, match="executable file not found") as caught:
        await world.engine.exec("c-web", ["nosuch"])
    assert caught.value.reason == "ExecFailed"
    with pytest.raises(TerminalError) as caught:
        await world.engine.exec("c-none", ["true"])
    assert caught.value.reason == "NotFound"


async def test_exec_with_a_terminal(world: World) -> None:
    await world.run("web")
    script = "read x; stty size; echo got $x; exit 7"
    session = await world.engine.exec("c-web", ["sh", "-c", script], tty=True, stdin=True)
    await session.resize(111, 44)
    await session.write(b"hey\n")
    text = b"".join([data async for _, data in session.output()]).replace(b"\r", b"")
    assert text == b"hey\n44 111\ngot hey\n"
    assert await session.wait() == 7


async def test_exec_that_is_killed(world: World) -> None:
    await world.run("web")
    session = await world.engine.exec("c-web", ["sleep", "1000"])
    await session.kill()
    assert await session.wait() == 137


async def test_logs_follow_to_the_end_and_through_a_rotation(world: World) -> None:
    await world.run("web", ("sh", "-c", "for i in $(seq 1 50); do echo $i; sleep 0.01; done; echo err >&2"))
    log = world.state_dir / "containers" / "c-web" / "log"
    found = []
    async with asyncio.timeout(20):
        async for line in world.engine.logs("c-web", follow=True):
            found.append((line.stream, line.text.decode()))
            if len(found) == 20:
                assert logs.rotate(log, log.with_name("ctl"), max_bytes=1)
    assert found == [*(("stdout", str(number)) for number in range(1, 51)), ("stderr", "err")]
    assert log.with_name("log.1").exists()
    with pytest.raises(TerminalError) as caught:
        await anext(aiter(world.engine.logs("c-none")))
    assert caught.value.reason == "NotFound"


# what somebody did by hand


async def test_paused_and_resumed(world: World) -> None:
    await world.run("web")
    freezer = world.path("web", "freezer", "freezer.state")
    if freezer.exists():
        freezer.write_text("FROZEN")
    else:
        world.path("web", "", "cgroup.freeze").write_text("1")
    await until(lambda: _is(world, "web", State.PAUSED))
    await world.do(ResumeContainer("c-web"))
    await until(lambda: _is(world, "web", State.RUNNING))


async def test_a_paused_container_is_stopped_and_removed(world: World) -> None:
    await world.run("web")
    freezer = world.path("web", "freezer", "freezer.state")
    (freezer if freezer.exists() else world.path("web", "", "cgroup.freeze")).write_text(
        "FROZEN" if freezer.exists() else "1"
    )
    await world.do(StopContainer("c-web", 0.2))
    assert (await world.seen("web")).state is State.EXITED


async def _is(world: World, name: str, state: State) -> bool:
    return (await world.seen(name)).state is state


async def test_limits_changed_by_hand(world: World) -> None:
    await world.run("web", resources=Resources(200, 500, 64 << 20, 50))
    assert not (await world.seen("web")).limits_drifted
    world.path("web", "pids", "pids.max").write_text("7")
    assert (await world.seen("web")).limits_drifted
    await world.do(RestoreLimits("c-web"))
    assert not (await world.seen("web")).limits_drifted
    assert world.path("web", "pids", "pids.max").read_text().strip() == "50"


async def test_removed_by_hand(world: World) -> None:
    await world.run("web")
    runtime = world.engine.oci_runtime
    if runtime == "runc":
        subprocess.run(["runc", "--root", str(world.run_dir / "oci"), "delete", "-f", "c-web"], check=True)
    else:
        os.kill((await world.seen("web")).pid or 0, signal.SIGKILL)
        subprocess.run(["rm", "-r", str(world.run_dir / "oci" / "c-web")], check=True)
    await until(lambda: _is(world, "web", State.BROKEN))
    assert (await world.seen("web")).fault == "removed by hand"


async def test_what_it_stands_on_is_taken_away(world: World) -> None:
    await world.run("mount")
    kernel.unmount(str(world.run_dir / "rootfs" / "c-mount"))
    container = await world.seen("mount")
    assert (container.state, container.fault) == (State.BROKEN, "its root filesystem was unmounted")

    await world.run("netns")
    kernel.unmount(str(world.run_dir / "netns" / "s-netns"))
    (world.run_dir / "netns" / "s-netns").unlink()
    sandbox = (await world.pod("netns")).sandbox
    assert sandbox is not None and sandbox.fault

    monitor = await world.run("monitor")
    assert monitor.pid
    parent = int(Path(f"/proc/{monitor.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    await until(lambda: _is(world, "monitor", State.BROKEN))
    assert "monitor" in (await world.seen("monitor")).fault
    for name in ("mount", "netns", "monitor"):
        await world.remove(name)
    assert [thing for thing in world.left() if "-mount" in thing or "-netns" in thing or "-monitor" in thing] == []


# taking up again


async def test_containers_run_on_while_nobody_looks(world: World) -> None:
    before = await world.run("runs")
    await world.run("ends", ("sh", "-c", "sleep 0.2; exit 6"))
    address = (await world.pod("runs")).sandbox
    await world.engine.aclose()
    await asyncio.sleep(0.4)
    await world.open()
    after = await world.seen("runs")
    assert after == before
    assert (await world.pod("runs")).sandbox == address
    ended = await world.seen("ends")
    assert (ended.state, ended.exit_code) == (State.EXITED, 6)
    assert before.pid
    os.kill(before.pid, signal.SIGKILL)
    assert (await world.ended("runs")).exit_code == 137
    await world.remove("runs")
    await world.sandbox("runs")
    again = (await world.pod("runs")).sandbox
    assert again is not None and address is not None and again.addresses == address.addresses


async def test_two_instances_side_by_side(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    await other.open()
    try:
        await other.load()
        assert other.engine.instance != world.engine.instance
        await world.run("web")
        await other.run("web")
        await other.remove("web")
        assert (await world.seen("web")).state is State.RUNNING
        sandbox = (await world.pod("web")).sandbox
        assert sandbox is not None and sandbox.fault == ""
    finally:
        await other.engine.remove_all()
        await other.engine.aclose()
        assert other.left() == []
    assert (await world.seen("web")).state is State.RUNNING


async def test_what_has_no_owner_is_swept(world: World) -> None:
    await world.run("kept")
    await world.run("lost")
    ledger = world.engine._ledger
    ledger.drop_container("c-lost")
    ledger.drop_sandbox("s-lost", 0)
    await world.engine.aclose()
    await world.open()
    assert [thing for thing in world.left() if "lost" in thing] == []
    assert (await world.seen("kept")).state is State.RUNNING


async def test_a_runtime_call_that_nobody_waits_for_is_ended(world: World, tmp_path: Path) -> None:
    """Killed before its container has a cgroup, only its command line says whose it is."""

    def call(run_dir: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sh", "-c", "sleep 1000; :", "crun", str(run_dir / "oci")], start_new_session=True)

    ours, others = call(world.run_dir), call(tmp_path / "other")
    try:
        await world.engine.aclose()
        await world.open()
        assert await asyncio.to_thread(ours.wait, 5) == -signal.SIGKILL
        assert others.poll() is None
    finally:
        for process in (ours, others):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


_WORKER = """
import asyncio, sys
from pathlib import Path
from tests.contract.test_native_engine import World
world = World(Path(sys.argv[1]))
from ipaddress import IPv4Network
world.cidr = IPv4Network(sys.argv[2])

async def churn(name):
    while True:
        await world.run(name)
        await world.remove(name)

async def main():
    await world.open()
    print("ready", flush=True)
    await asyncio.gather(*(churn(f"p{n}") for n in range(3)))

asyncio.run(main())
"""


@pytest.mark.parametrize("seed", range(3))
async def test_killed_at_any_moment_it_leaves_only_what_it_knows(world: World, tmp_path: Path, seed: int) -> None:
    steady = await world.run("steady")
    dice = random.Random(seed)
    for _ in range(4):
        await world.engine.aclose()
        worker = subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(tmp_path), str(world.cidr)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert worker.stdout is not None
        try:
            assert await asyncio.to_thread(worker.stdout.readline) == b"ready\n"
            await asyncio.sleep(dice.uniform(0, 0.25))
        finally:
            worker.kill()
            worker.wait()
            worker.stdout.close()
        await world.open()
        seen = (await world.engine.observe()).pods
        assert (await world.seen("steady")) == steady
        for ref, one in seen.items():
            if ref == pod("steady"):
                continue
            for container in one.containers:
                if container.state is State.BROKEN:
                    assert container.fault.startswith("half ")
            await world.remove(ref.name)
        assert [thing for thing in world.left() if "c-p" in thing or "s-p" in thing] == []
        assert len(list((world.run_dir / "netns").iterdir())) == 1
        assert len([link for link in os.listdir("/sys/class/net") if world.engine.instance in link]) == 2

"""emptyDir and hostPath, and how long what is in them lives."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

from tests.e2e.instance import Instance, pod


def test_an_empty_dir_outlives_containers_and_not_the_pod(one: Instance) -> None:
    volumes: list[dict[str, Any]] = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ]
    mounts = [{"name": v["name"], "mountPath": f"/{v['name']}"} for v in volumes]
    count = "echo started >> /disk/starts; echo started >> /memory/starts; exec sleep 1000000"
    second = {
        "name": "second",
        "image": "localhost/busybox:1",
        "command": ["/bin/sleep", "1000000"],
        "volumeMounts": [{"name": "disk", "mountPath": "/shared"}],
        "securityContext": {"runAsUser": 1000},
    }
    one.put("pod.yaml", pod("web", count, volumes=volumes, container={"volumeMounts": mounts}))
    text = pod("web", count, volumes=volumes, container={"volumeMounts": mounts})
    one.put("pod.yaml", text.replace('"containers": [', f'"containers": [{str(second).replace(chr(39), chr(34))}, '))
    one.until(lambda: one.ready("web") and len(one.containers()) == 2)
    looks = "cat /disk/starts /memory/starts; df -k /memory | tail -n 1; stat -fc %T /memory; stat -c %a /disk"
    seen = one.cli("exec", "-c", "main", "web", "--", "sh", "-c", looks).split()
    assert seen[:2] == ["started", "started"]
    assert seen[3] == "1024", "the limit in KiB"
    assert seen[-2:] == ["tmpfs", "777"]
    assert one.run("exec", "-c", "main", "web", "--", "dd", "if=/dev/zero", "of=/memory/x", "bs=2M").returncode != 0
    one.cli("exec", "-c", "second", "web", "--", "sh", "-c", "cat /shared/starts; echo by web > /shared/other")
    assert one.cli("exec", "-c", "main", "web", "--", "cat", "/disk/other") == "by web\n"

    os.kill(one.pid("web"), signal.SIGKILL)
    one.until(lambda: one.container("web")["restartCount"] == 1 and one.ready("web"))
    looks = "cat /disk/starts | wc -l; cat /memory/starts | wc -l"
    one.until(lambda: one.cli("exec", "-c", "main", "web", "--", "sh", "-c", looks).split() == ["2", "2"])

    one.put("pod.yaml", "# gone\n")
    one.until(lambda: not one.pods())
    assert list((one.state_dir / "sandboxes").iterdir()) == []
    one.put("pod.yaml", text)
    one.until(lambda: one.ready("web"))
    one.until(lambda: one.cli("exec", "web", "--", "sh", "-c", looks).split() == ["1", "1"])


def test_host_paths(one: Instance, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "there").mkdir(parents=True)
    (data / "there" / "file").write_text("of the host\n")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(data / "socket"))
        good = {
            "there": ("there", "Directory"),
            "made": ("made/deep", "DirectoryOrCreate"),
            "file": ("there/file", "File"),
            "new": ("new", "FileOrCreate"),
            "any": ("there", ""),
            "socket": ("socket", "Socket"),
        }
        volumes = [{"name": n, "hostPath": {"path": f"{data}/{p}", "type": t}} for n, (p, t) in good.items()]
        volumes.append({"name": "null", "hostPath": {"path": "/dev/null", "type": "CharDevice"}})
        mounts: list[dict[str, Any]] = [{"name": v["name"], "mountPath": f"/v/{v['name']}"} for v in volumes]
        mounts[4]["readOnly"] = True
        one.put("good.yaml", pod("good", volumes=volumes, container={"volumeMounts": mounts}))
        bad = {"directory": ("nowhere", "Directory"), "file": ("there", "File"), "device": ("socket", "BlockDevice")}
        for name, (path, kind) in bad.items():
            volume = {"name": "v", "hostPath": {"path": f"{data}/{path}", "type": kind}}
            mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
            one.put(f"{name}.yaml", pod(f"bad-{name}", volumes=[volume], container=mount))
        one.until(lambda: one.ready("good"))
        assert one.cli("exec", "good", "--", "cat", "/v/there/file", "/v/file") == "of the host\n" * 2
        one.cli(
            "exec", "good", "--", "sh", "-c", "echo x > /v/made/x; echo y > /v/new; [ -S /v/socket ]; [ -c /v/null ]"
        )
        assert (data / "made/deep/x").read_text() == "x\n"
        assert (data / "new").read_text() == "y\n"
        assert one.run("exec", "good", "--", "touch", "/v/any/x").returncode != 0, "read-only"
        for name, (path, _) in bad.items():
            said = one.until(lambda: one.events(f"bad-{name}").get("FailedMount", ""), name)  # noqa: B023
            assert f"{data}/{path}" in said
            assert one.phase(f"bad-{name}") == "Pending"
    (data / "nowhere").mkdir()
    one.until(lambda: one.ready("bad-directory"), "tried again")
    for name in ("good", "directory", "file", "device"):
        one.put(f"{name}.yaml", "# gone\n")
    one.until(lambda: not one.pods())
    assert (data / "there/file").read_text() == "of the host\n", "what is the host's stays"

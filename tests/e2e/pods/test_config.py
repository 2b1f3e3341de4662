"""ConfigMaps and Secrets in pods: as environment and as files, followed when they change, and secrets kept secret."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.instance import Instance, pod

SECRET = "swordfish-2716"
NEW_SECRET = "marlin-8281"


def config(kind: str, name: str, data: dict[str, str]) -> str:
    field = "stringData" if kind == "Secret" else "data"
    return json.dumps({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, field: data})


def inside(one: Instance, name: str, script: str, container: str = "main") -> str:
    """What a shell command in the container prints."""
    return one.cli("exec", "-c", container, name, "--", "sh", "-c", script)


def from_key(kind: str, name: str, key: str, **more: Any) -> dict[str, Any]:
    return {"valueFrom": {kind: {"name": name, "key": key, **more}}}


def test_environment(one: Instance) -> None:
    env = [
        {"name": "PLAIN", "value": "a $(COLOUR) $$(COLOUR) $(UNKNOWN)"},
        {"name": "COLOUR"} | from_key("configMapKeyRef", "settings", "colour"),
        {"name": "AFTER", "value": "a $(COLOUR)"},
        {"name": "PASSWORD"} | from_key("secretKeyRef", "login", "password"),
        {"name": "ABSENT"} | from_key("configMapKeyRef", "nowhere", "k", optional=True),
        {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "NOISE", "value": "env wins"},
    ]
    env_from = [{"configMapRef": {"name": "settings"}}, {"prefix": "L_", "secretRef": {"name": "login"}}]
    command = ["/bin/sh", "-c", 'echo "$0 $1"; env | sort; exec sleep 1000000', "for $(NAME) at $(ADDRESS)"]
    container = {"env": env, "envFrom": env_from, "command": command, "args": ["$(COLOUR) $(UNKNOWN) $$(NAME)"]}
    one.put("pod.yaml", pod("web", container=container))
    one.until(lambda: one.waiting("web") == "CreateContainerConfigError")
    assert 'configmap "settings" not found' in one.container("web")["state"]["waiting"]["message"]
    one.put("settings.yaml", config("ConfigMap", "settings", {"colour": "blue", "NOISE": "from"}))
    one.put("login.yaml", config("Secret", "login", {"password": SECRET}))
    one.until(lambda: one.ready("web"), "once all that it refers to is there")
    address = one.pods()["web"]["status"]["podIP"]
    said = one.until(lambda: one.cli("logs", "web").splitlines())
    assert said[0] == f"for web at {address} blue $(UNKNOWN) $(NAME)"
    found = dict(line.split("=", 1) for line in said[1:])
    assert found["PLAIN"] == "a $(COLOUR) $(COLOUR) $(UNKNOWN)"
    assert found["COLOUR"] == found["colour"] == "blue"
    assert found["AFTER"] == "a blue"
    assert found["PASSWORD"] == found["L_password"] == SECRET
    assert "ABSENT" not in found
    assert found["ADDRESS"] == address
    assert found["NOISE"] == "env wins"
    assert found["HOSTNAME"] == "web"

    first = one.id("web")
    one.put("settings.yaml", config("ConfigMap", "settings", {"colour": "green", "NOISE": "from"}))
    one.until(lambda: one.ready("web") and one.id("web") != first, "new content is a new container")
    assert inside(one, "web", "echo $COLOUR") == "green\n"


def test_files(one: Instance) -> None:
    items = {"items": [{"key": "colour", "path": "deep/er", "mode": 0o400}], "defaultMode": 0o440}
    volumes = [
        {"name": "all", "configMap": {"name": "settings"}},
        {"name": "some", "configMap": {"name": "settings", **items}},
        {"name": "login", "secret": {"secretName": "login", "defaultMode": 0o400}},
        {"name": "none", "secret": {"secretName": "nowhere", "optional": True}},
        {
            "name": "both",
            "projected": {"sources": [{"configMap": {"name": "settings"}}, {"secret": {"name": "login"}}]},
        },
        {"name": "me", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    mounts = [{"name": v["name"], "mountPath": f"/v/{v['name']}"} for v in volumes]
    mounts.append({"name": "all", "mountPath": "/etc/colour", "subPath": "colour"})
    one.put("settings.yaml", config("ConfigMap", "settings", {"colour": "blue", "size": "9"}))
    one.put("login.yaml", config("Secret", "login", {"password": SECRET}))
    one.put("pod.yaml", pod("web", volumes=volumes, container={"volumeMounts": mounts}))
    one.put("other.yaml", pod("other"))
    one.until(lambda: one.ready("web") and one.ready("other"))
    first, other = one.id("web"), one.id("other")
    listing = (
        "cd /v; for f in */* */*/*; do [ -f $f ] && echo $f $(stat -Lc %a $f) $(cat $f); done; readlink all/..data"
    )
    *lines, generation = inside(one, "web", listing).splitlines()
    assert sorted(lines) == [
        "all/colour 644 blue",
        "all/size 644 9",
        "both/colour 644 blue",
        f"both/password 644 {SECRET}",
        "both/size 644 9",
        f"login/password 400 {SECRET}",
        "me/name 644 web",
        "some/deep/er 400 blue",
    ]
    assert (
        inside(one, "web", "cat /etc/colour; echo; ls /v/none; stat -fc %T /v/login /v/both") == "blue\ntmpfs\ntmpfs\n"
    )
    assert one.run("exec", "web", "--", "touch", "/v/all/x").returncode != 0, "read-only"

    one.put("settings.yaml", config("ConfigMap", "settings", {"colour": "green"}))
    one.until(lambda: one.ready("web") and one.id("web") != first, "new content is a new container")
    assert inside(one, "web", "cat /v/all/colour /v/some/deep/er /etc/colour") == "green" * 3
    assert inside(one, "web", "ls /v/all") == "colour\n"
    assert inside(one, "web", "readlink /v/all/..data").strip() != generation
    assert one.id("other") == other, "who does not use it is left alone"


def test_secrets_are_told_to_nobody(one: Instance) -> None:
    env = [{"name": "PASSWORD"} | from_key("secretKeyRef", "login", "password")]
    volumes = [{"name": "login", "secret": {"secretName": "login"}}]
    container = {"env": env, "volumeMounts": [{"name": "login", "mountPath": "/login"}]}
    one.put("login.yaml", config("Secret", "login", {"password": SECRET}))
    one.put("pod.yaml", pod("web", volumes=volumes, container=container))
    broken = container | {"command": ["/no/such", "$(PASSWORD)"]}
    one.put("broken.yaml", pod("broken", volumes=volumes, container=broken))
    one.until(lambda: one.ready("web") and one.waiting("broken") == "CreateContainerError")

    other = one.base / "other"
    other.mkdir()
    (other / "all.yaml").write_text(config("Secret", "login", {"password": NEW_SECRET}))
    told = [
        one.daemon_log(),
        one.run("diff", str(other)).stdout,
        *(one.cli(*verb.split()) for verb in ("ps -a", "events", "describe pod web", "get pods -o yaml")),
        one.cli("describe", "secret", "login"),
        one.run("validate", str(one.folder)).stdout,
    ]
    one.put("login.yaml", config("Secret", "login", {"password": NEW_SECRET}).replace('"stringData"', '"strungData"'))
    one.until(lambda: one.problems())
    told += [one.daemon_log(), json.dumps(one.problems()), one.run("validate", str(one.folder)).stdout]
    assert [text for text in told if SECRET in text or NEW_SECRET in text] == []
    with open(f"/proc/{one.daemon.pid}/cmdline") as file:  # type: ignore[union-attr]
        assert SECRET not in file.read()

    holding = [path for path in files(one.state_dir, one.run_dir) if SECRET.encode() in path.read_bytes()]
    for path in holding:
        if filesystem(path) != "tmpfs":  # what must outlive the daemon: the last good files, and a container's process
            assert path.name.startswith("state.db") or path.name == "config.json", f"{path} is on the disk"
            assert path.stat().st_mode & 0o077 == 0, f"{path} may be read by others"
    assert any(filesystem(path) == "tmpfs" for path in holding), "the volume"


def files(*roots: Path) -> list[Path]:
    """All regular files but those of images: logs, bundles, volumes, what containers wrote, databases."""
    found = []
    for root in roots:
        for parent, folders, names in os.walk(root):
            folders[:] = [
                name
                for name in folders
                if parent not in map(str, roots) or name not in ("layers", "images", "rootfs", "netns", "ipc")
            ]
            found += [Path(parent, name) for name in names if Path(parent, name).is_file()]
    return found


def filesystem(path: Path) -> str:
    shown = subprocess.run(["stat", "-fc", "%T", str(path)], capture_output=True, text=True, check=True)
    return shown.stdout.strip()

"""Daemons as a whole: how they end, and several of them on one machine."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import urllib.request
from pathlib import Path

from tests.e2e.instance import IMAGE, Instance, deployment, free_port, pod

VERSION = re.compile(r"resourceVersion\W+\d+")  # only ever grows, over restarts too
DEFAULT_METRICS = "127.0.0.1:9850"


def test_term_leaves_containers_running_and_down_ends_all(one: Instance) -> None:
    one.put("web.yaml", deployment("web", 2))
    one.put("deaf.yaml", pod("deaf", "trap '' TERM; while true; do sleep 1; done"))
    one.until(lambda: len(one.pods()) == 3 and all(one.ready(name) for name in one.pods()))
    before = {(row["id"], row["pid"]) for row in one.containers()}
    assert one.stop() == 0
    assert {(row["id"], row["pid"]) for row in one.containers() if row["state"] == "running"} == before
    assert all(Path(f"/proc/{pid}").exists() for _, pid in before)
    one.start()
    one.until(lambda: all(one.ready(name) for name in one.pods()))
    assert {(row["id"], row["pid"]) for row in one.containers()} == before

    second = one.run("watch", str(one.folder), "--metrics-address", "off")
    assert second.returncode == 3
    assert f"pid {one.daemon.pid}" in second.stderr, "who has it"  # type: ignore[union-attr]
    refused = one.run("down", str(one.folder))
    assert refused.returncode == 1, refused.stderr
    assert "watched" in refused.stderr, "it would start them again"
    assert {(row["id"], row["pid"]) for row in one.containers()} == before

    done = one.cli("down")
    assert {line for line in done.splitlines() if "Pod/default/deaf" in line} == {"removed Pod/default/deaf"}
    assert one.daemon is not None
    assert one.daemon.wait(timeout=10) == 0, "the daemon ends with what it looked after"
    assert list(one.leftovers()) == []
    assert not (one.run_dir / "api.sock").exists()
    assert one.cli("down") == "", "again, without a daemon"
    one.start()
    one.until(lambda: len(one.pods()) == 3 and all(one.ready(name) for name in one.pods()), "up again")


def test_two_instances_on_one_machine(tmp_path: Path) -> None:
    """With nothing set but their directories: they differ in all that they make, and the second has no metrics."""
    first, second = Instance(tmp_path / "first"), Instance(tmp_path / "second")
    for one in (first, second):
        one.metrics_address = DEFAULT_METRICS
    with first, second:
        assert "127.0.0.1:9850 is already taken" in second.daemon_log()
        assert "WARNING" in second.daemon_log()
        for one in (first, second):
            one.put("web.yaml", pod("web"))
            one.until(lambda: one.ready("web"))  # noqa: B023
        assert first.instance_id() != second.instance_id()
        addresses = [one.pods()["web"]["status"]["podIP"] for one in (first, second)]
        assert addresses[0].rsplit(".", 2)[0] != addresses[1].rsplit(".", 2)[0], "networks of their own"
        assert first.id("web") == second.id("web"), "names are derived: only the directories keep them apart"

        for one in (first, second):
            port = free_port()
            serve = f"mkdir /www; echo {one.base.name} > /www/index.html; exec httpd -f -p 80 -h /www"
            one.put("port.yaml", pod("port", serve, container={"ports": [{"containerPort": 80, "hostPort": port}]}))
            one.until(lambda: fetch(port) == one.base.name)  # noqa: B023
        kept = [(row["id"], row["pid"]) for row in second.containers()]
        first.cli("down")
        second.steady(lambda: [(row["id"], row.get("pid")) for row in second.containers()] == kept, 2.5)
        assert fetch(port) == "second"
        assert second.ready("web")


def fetch(port: int) -> str:
    try:
        return str(urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).read().decode().strip())
    except OSError:
        return ""


def test_a_metrics_address_that_was_chosen_must_be_free(tmp_path: Path) -> None:
    one = Instance(tmp_path)
    with socket.socket() as holder, contextlib.ExitStack() as stack:
        stack.callback(one.clean_up)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = f"127.0.0.1:{holder.getsockname()[1]}"
        done = one.run("watch", str(one.folder), "--metrics-address", taken)
        assert done.returncode == 3, done.stderr
        assert taken in done.stderr
        assert one.run("watch", str(one.folder), "--metrics-address", "nonsense").returncode in (2, 3)
        assert one.run("watch", str(tmp_path / "nowhere")).returncode == 2


def test_health_and_readiness(tmp_path: Path) -> None:
    def code(one: Instance, path: str) -> int:
        try:
            return int(urllib.request.urlopen(f"http://{one.metrics_address}{path}", timeout=2).status)
        except urllib.error.HTTPError as e:
            return e.code

    one = Instance(tmp_path, metrics=True)
    one.put("web.yaml", pod("web"))
    with one:  # its image comes after it
        assert code(one, "/healthz") == 200
        one.until(lambda: code(one, "/readyz") == 200)
        assert one.ready("web")


def test_verbs_say_the_same_with_and_without_a_daemon(one: Instance) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "v"}}
    one.put("web.yaml", deployment("web", 2, "echo hello from $HOSTNAME; exec sleep 1000000"))
    one.put("config.json", json.dumps(config))
    one.put("job.yaml", pod("job", "echo done; exit 3", restartPolicy="Never"))
    one.until(lambda: one.phase("job") == "Failed" and sum(one.ready(name) for name in one.pods()) == 2)
    first = min(name for name in one.pods() if name != "job")
    verbs = [
        ["get", "pods", "-o", "json"],
        ["get", "deployments,replicasets", "-o", "yaml"],
        ["get", "cm", "c", "-o", "json"],
        ["get", "pod", "nothing"],
        ["ps", "-a", "-o", "json"],
        ["images", "-o", "json"],
        ["logs", "deploy/web", "--tail", "1"],
        ["logs", "job"],
        ["exec", first, "--", "sh", "-c", "hostname; exit 5"],
        ["exec", "job", "true"],
        ["diff", str(one.folder)],
        ["events", "-o", "name"],
    ]

    def answers() -> list[tuple[list[str], int, str, str]]:
        ran = [(verb, one.run(*verb)) for verb in verbs]
        return [(verb, done.returncode, done.stdout, done.stderr) for verb, done in ran]

    def described() -> str:
        """Without ages, which go on."""
        told = [one.cli(*verb.split()) for verb in (f"describe pod {first}", "describe deploy web", "events")]
        return re.sub(r"[ (]*\b\d+[smh](\d+s)?\b[ )]*", " ", "".join(told))

    with_daemon, told = answers(), described()
    assert one.stop() == 0
    without = answers()
    for there, alone in zip(with_daemon, without, strict=True):
        assert VERSION.sub("", str(there)) == VERSION.sub("", str(alone))
    assert described() == told
    codes = {" ".join(verb): code for verb, code, _, _ in with_daemon}
    assert codes["get pod nothing"] == codes["exec job true"] == 1
    assert codes[f"exec {first} -- sh -c hostname; exit 5"] == 5
    assert codes[f"diff {one.folder}"] == 0
    assert all("Traceback" not in err for *_, err in without)
    printed = {" ".join(verb): out for verb, _, out, _ in with_daemon}
    assert printed["logs deploy/web --tail 1"].startswith("hello from web-")
    assert [row["references"] for row in json.loads(printed["images -o json"])] == [[IMAGE]]


def test_logs_over_a_restart(one: Instance) -> None:
    """Following ends with the container, as kubectl's does; the log of the one before is kept."""
    one.put("web.yaml", pod("web", "echo start; until [ -e /end ]; do sleep 0.1; done; echo end; exit 2"))
    one.until(lambda: one.ready("web") and one.cli("logs", "web"))
    program = [*one._program(), "logs", "-f", "web"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as following, contextlib.ExitStack() as stack:
        assert following.stdout is not None
        stack.callback(following.kill)
        assert following.stdout.readline() == "start\n"
        one.cli("exec", "web", "touch", "/end")
        assert following.stdout.read() == "end\n"
        assert following.wait(timeout=10) == 0
    one.until(lambda: one.container("web")["restartCount"] == 1 and one.ready("web"))
    one.until(lambda: one.cli("logs", "web") == "start\n")
    assert one.cli("logs", "-p", "web") == "start\nend\n"

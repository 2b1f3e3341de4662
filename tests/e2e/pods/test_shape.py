"""What a pod is made of: several containers, init containers, and where its declaration stands."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.instance import IMAGE, Instance, pod


def container(name: str, command: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": IMAGE, "command": ["/bin/sh", "-c", command], **more}


def test_documents_lists_and_namespaces(one: Instance) -> None:
    spaced = json.loads(pod("web"))
    spaced["metadata"]["namespace"] = "shop"
    listed = {"apiVersion": "v1", "kind": "List", "items": [json.loads(pod("a")), json.loads(pod("b")), spaced]}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    one.put("all.yaml", f"{pod('web')}\n---\n# nothing here\n---\n{json.dumps(namespace)}\n...\n---\n{pod('c')}\n")
    one.put("list.json", json.dumps(listed))
    names = [("default", n) for n in ("a", "b", "c", "web")] + [("shop", "web")]

    def running() -> list[tuple[str, str]]:
        return sorted((row["namespace"], row["pod"]) for row in one.containers() if row["state"] == "running")

    one.until(lambda: running() == names)
    assert one.cli("get", "pods", "-n", "shop", "-o", "name") == "pod/web\n"
    assert one.get("namespace", "shop")["status"]["phase"] == "Active"
    one.cli("exec", "-n", "shop", "web", "true")
    one.put("all.yaml", json.dumps(namespace))
    one.until(lambda: running() == [("default", "a"), ("default", "b"), ("shop", "web")])
    one.put("list.json", pod("a"))
    one.until(lambda: running() == [("default", "a")])


def test_containers_share_network_and_volumes(one: Instance) -> None:
    serve = container("serve", "echo hello > /www/index.html; exec httpd -f -p 127.0.0.1:80 -h /www")
    ask = container("ask", "exec sleep 1000000")
    for each in (serve, ask):
        each["volumeMounts"] = [{"name": "www", "mountPath": "/www"}]
    one.put("pod.yaml", pod("web", containers=[serve, ask], volumes=[{"name": "www", "emptyDir": {}}]))
    one.until(lambda: one.ready("web"))
    fetch = ("exec", "-c", "ask", "web", "--", "wget", "-qO-", "http://127.0.0.1/")
    assert one.until(lambda: one.run(*fetch).stdout) == "hello\n"
    one.cli("exec", "-c", "ask", "web", "--", "sh", "-c", "echo changed > /www/index.html")
    assert one.cli(*fetch) == "changed\n"
    inside = ("sh", "-c", "hostname; tr '\\0' ' ' < /proc/1/cmdline")
    assert one.cli("exec", "-c", "ask", "web", "--", *inside) == "web\nsleep 1000000 ", "processes are its own"


def test_init_containers_run_one_after_another(one: Instance) -> None:
    volumes = [{"name": "v", "emptyDir": {}}]
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    inits = [
        container("first", "[ ! -e /v/log ] && sleep 0.5 && echo first >> /v/log", **mount),
        container("second", "echo second >> /v/log; [ -e /v/again ] || { touch /v/again; exit 4; }", **mount),
    ]
    main = container("main", "echo main >> /v/log; exec sleep 1000000", **mount)
    one.put("pod.yaml", pod("web", containers=[main], initContainers=inits, volumes=volumes))
    one.until(lambda: one.phase("web") == "Pending" and one.waiting("web") == "PodInitializing")
    one.until(lambda: one.ready("web"))
    assert one.cli("exec", "web", "cat", "/v/log").split() == ["first", "second", "second", "main"]
    statuses = {s["name"]: s for s in one.pods()["web"]["status"]["initContainerStatuses"]}
    assert (statuses["first"]["restartCount"], statuses["second"]["restartCount"]) == (0, 1)
    assert all(s["state"]["terminated"]["reason"] == "Completed" for s in statuses.values())
    first = one.id("web")
    one.kill()
    one.start()
    one.until(lambda: one.ready("web"))
    one.steady(lambda: one.id("web") == first, 2.5)
    assert one.cli("logs", "web", "-c", "second") == ""


def test_init_containers_that_fail(one: Instance) -> None:
    main = container("main", "touch /never; exec sleep 1000000")
    failing = [container("setup", "echo no; exit 5")]
    one.put("always.yaml", pod("always", containers=[main], initContainers=failing))
    one.put("never.yaml", pod("never", containers=[main], initContainers=failing, restartPolicy="Never"))
    one.until(lambda: one.phase("never") == "Failed")

    def setup(name: str) -> Any:
        return one.pods()[name]["status"]["initContainerStatuses"][0]

    assert setup("never")["state"]["terminated"]["exitCode"] == 5
    one.until(lambda: setup("always")["state"]["waiting"]["reason"] == "CrashLoopBackOff")
    assert setup("always")["restartCount"] == 1
    assert one.phase("always") == "Pending"
    assert "Init:CrashLoopBackOff" in one.cli("get", "pods")
    assert {row["name"] for row in one.containers()} == {"setup"}, "the main container never ran"
    one.put("always.yaml", pod("always", containers=[main], initContainers=[container("setup", "exit 0")]))
    one.until(lambda: one.ready("always"), "mended by its file")

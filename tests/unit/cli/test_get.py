"""Objects in kubectl's tables and in the -o formats."""

from __future__ import annotations

import json

import yaml

PODS = "GET /api/v1/namespaces/default/pods"


def test_pods(run, daemon, make) -> None:
    crashing = make.pod("db-0", containerStatuses=[make.container_status(ready=False, restarts=3)])
    daemon.on(PODS, make.listing("Pod", [crashing, make.pod("web-0")]))
    result = run("get", "po")
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        "NAME    READY   STATUS             RESTARTS   AGE\n"
        "db-0    0/1     CrashLoopBackOff   3          60s\n"
        "web-0   1/1     Running            0          60s\n"
    )
    assert run("get", "pods,po").out == result.out
    assert "IP" in run("get", "pods", "-o", "wide").out.splitlines()[0]
    assert run("get", "pod", "--no-headers").out.splitlines()[0].startswith("db-0")


def test_every_namespace_names_them(run, daemon, make) -> None:
    daemon.on("GET /api/v1/pods", make.listing("Pod", [make.pod("web-0", "shop")]))
    assert run("get", "pods", "-A").out == (
        "NAMESPACE   NAME    READY   STATUS    RESTARTS   AGE\nshop        web-0   1/1     Running   0          60s\n"
    )


def test_all_has_a_table_for_each_kind_that_is_there(run, daemon, make) -> None:
    daemon.on(PODS, make.listing("Pod", [make.pod("web-0")]))
    daemon.on("GET /apis/apps/v1/namespaces/default/deployments", make.listing("Deployment", [make.deployment("web")]))
    daemon.on("GET /apis/apps/v1/namespaces/default/replicasets", make.listing("ReplicaSet", []))
    assert run("get", "all").out == (
        "NAME        READY   STATUS    RESTARTS   AGE\n"
        "pod/web-0   1/1     Running   0          60s\n"
        "\n"
        "NAME                  READY   UP-TO-DATE   AVAILABLE   AGE\n"
        "deployment.apps/web   2/2     2            2           60s\n"
    )


def test_nothing_is_a_sentence_and_success(run, daemon, make) -> None:
    daemon.on(PODS, make.listing("Pod", []))
    result = run("get", "pods")
    assert (result.code, result.out, result.err) == (0, "", "No resources found in default namespace.\n")
    daemon.on("GET /api/v1/pods", make.listing("Pod", []))
    assert run("get", "pods", "-A").err == "No resources found.\n"


def test_what_is_not_there_does_not_hide_what_is(run, daemon, make) -> None:
    daemon.on(f"{PODS}/web-0", make.single("Pod", make.pod("web-0")))
    result = run("get", "pod", "x", "web-0")
    assert result.code == 1
    assert result.out.splitlines()[1].startswith("web-0")
    assert result.err == 'Error: pods "x" not found\n'


def test_several_kinds_by_name(run, daemon, make) -> None:
    daemon.on(f"{PODS}/web-0", make.single("Pod", make.pod("web-0")))
    daemon.on("GET /apis/apps/v1/namespaces/default/deployments/web", make.single("Deployment", make.deployment("web")))
    assert run("get", "po/web-0", "deploy/web", "-o", "name").out == "pod/web-0\ndeployment.apps/web\n"


def test_one_object_stands_alone_and_several_in_a_list(run, daemon, make) -> None:
    daemon.on(f"{PODS}/web-0", make.single("Pod", make.pod("web-0")))
    daemon.on(PODS, make.listing("Pod", [make.pod("web-0")]))
    alone = json.loads(run("get", "pod", "web-0", "-o", "json").out)
    assert (alone["kind"], alone["metadata"]["name"]) == ("Pod", "web-0")
    listed = json.loads(run("get", "pods", "-o", "json").out)
    assert listed["kind"] == "List"
    assert [(item["apiVersion"], item["kind"]) for item in listed["items"]] == [("v1", "Pod")]
    assert yaml.safe_load(run("get", "pods", "-o", "yaml").out) == listed


def test_the_selector_is_the_servers(run, daemon, make) -> None:
    daemon.on(PODS, make.listing("Pod", []))
    run("get", "pods", "-l", "app=web,tier!=db")
    assert daemon.requests[-1].query["labelSelector"] == "app=web,tier!=db"


def test_names_without_a_namespace_and_kinds_without_one(run, daemon, make) -> None:
    space = {"metadata": {"name": "shop", "creationTimestamp": make.born}, "status": {"phase": "Active"}}
    daemon.on("GET /api/v1/namespaces", make.listing("Namespace", [space]))
    assert run("get", "ns").out == "NAME   STATUS   AGE\nshop   Active   60s\n"
    assert run("get", "ns", "-A").out == "NAME   STATUS   AGE\nshop   Active   60s\n"


def test_usage_errors(run, daemon) -> None:
    unknown = run("get", "pdos")
    assert unknown.code == 2
    assert "did you mean 'pods'?" in unknown.err
    assert "deployments (deploy)" in unknown.err
    assert len(unknown.err.splitlines()) == 2
    for arguments in (("pod", "x", "-A"), ("pod", "x", "-l", "a=b"), ("pod/x", "web"), ("all", "-w"), ()):
        result = run("get", *arguments)
        assert result.code == 2, arguments
        assert len(result.err.splitlines()) <= 2, arguments
    assert daemon.requests == []


def test_watching_prints_what_is_there_and_what_changes(run, daemon, make) -> None:
    def answer(request):
        if "watch" not in request.query:
            return make.listing("Pod", [make.pod("web-0-with-a-long-name")])(request)
        assert request.query["resourceVersion"] == "7"
        gone = make.pod("web-1")
        gone["metadata"]["deletionTimestamp"] = make.born
        tables = [make.listing("Pod", [item])(request) for item in (make.pod("web-1"), gone)]
        return make.lines([{"type": "ADDED", "object": tables[0]}, {"type": "MODIFIED", "object": tables[1]}])

    daemon.on(PODS, answer)
    assert run("get", "pods", "-w").out == (
        "NAME                     READY   STATUS    RESTARTS   AGE\n"
        "web-0-with-a-long-name   1/1     Running   0          60s\n"
        "web-1                    1/1     Running   0          60s\n"
        "web-1                    1/1     Terminating   0          60s\n"
    )
    assert run("get", "pod", "web-1", "-w").out.count("web-0") == 0


def test_yaml_reads_back_as_it_was(run, daemon, make) -> None:
    values = [
        "yes",
        "1e3",
        "0o17",
        "22:22",
        "",
        "a: b",
        "line\nline\n",
        "\ttab",
        "null",
        "1_000",
        ".5",
        "0x1F",
        "~",
        "=",
        "ä",
    ]
    item = {"metadata": make.meta("c"), "data": {f"k{n:02}": value for n, value in enumerate(values)}}
    daemon.on("GET /api/v1/namespaces/default/configmaps/c", make.single("ConfigMap", item))
    out = run("get", "cm", "c", "-o", "yaml").out
    assert list(yaml.safe_load(out)["data"].values()) == values
    assert 'k01: "1e3"' in out, "another YAML would read a number"
    assert "k06: |\n    line\n    line\n" in out

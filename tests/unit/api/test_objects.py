"""Reading objects over the socket: one, lists, pages, tables, refusals."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from reconciler.api.client import ApiError
from reconciler.model.ref import Ref

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
async def pods(world: Any) -> Any:
    world.declare(
        world.pod("a", labels={"app": "web"}),
        world.pod("b", labels={"app": "db"}),
        world.pod("c", labels={"app": "web"}, namespace="other"),
    )
    world.store.set_status(Ref("Pod", "default", "a"), world.running("a"))
    return world


def names(answer: Any) -> list[str]:
    return [item["metadata"]["name"] for item in answer["items"]]


async def test_one_object_is_as_kubernetes_shows_it(pods: Any) -> None:
    pod = await pods.get(f"{PODS}/a")
    assert (pod["apiVersion"], pod["kind"]) == ("v1", "Pod")
    assert pod["metadata"]["creationTimestamp"] == "2026-11-23T12:00:00Z"
    assert pod["metadata"]["resourceVersion"].isdecimal()
    assert "managedFields" not in pod["metadata"]
    assert pod["spec"]["restartPolicy"] == "Always"
    assert pod["status"]["phase"] == "Running"


async def test_list(pods: Any) -> None:
    answer = await pods.get(PODS)
    assert (answer["kind"], answer["apiVersion"]) == ("PodList", "v1")
    assert answer["metadata"] == {"resourceVersion": str(pods.store.resource_version)}
    assert names(answer) == ["a", "b"]
    assert not any("kind" in item or "apiVersion" in item for item in answer["items"])


async def test_list_of_all_namespaces(pods: Any) -> None:
    assert names(await pods.get("/api/v1/pods")) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"labelSelector": "app=web"}, ["a"]),
        ({"labelSelector": "app!=web"}, ["b"]),
        ({"fieldSelector": "status.phase=Running"}, ["a"]),
        ({"fieldSelector": "metadata.name=b"}, ["b"]),
        ({"labelSelector": "app=web", "fieldSelector": "metadata.name=b"}, []),
    ],
)
async def test_selectors(pods: Any, query: dict[str, str], expected: list[str]) -> None:
    assert names(await pods.get(PODS, **query)) == expected


async def test_pages_together_are_the_whole(pods: Any) -> None:
    first = await pods.get("/api/v1/pods", limit=2)
    assert names(first) == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 1
    rest = await pods.get("/api/v1/pods", limit=2, **{"continue": first["metadata"]["continue"]})
    assert names(rest) == ["c"]
    assert "continue" not in rest["metadata"]


async def test_a_page_remembers_its_version_so_that_a_watch_from_it_misses_nothing(pods: Any) -> None:
    first = await pods.get("/api/v1/pods", limit=1)
    pods.declare(pods.pod("later"))
    rest = await pods.get("/api/v1/pods", limit=9, **{"continue": first["metadata"]["continue"]})
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_pages_of_a_selection_do_not_count_the_rest(pods: Any) -> None:
    answer = await pods.get("/api/v1/pods", limit=1, labelSelector="app=web")
    assert names(answer) == ["a"]
    assert "remainingItemCount" not in answer["metadata"]
    rest = await pods.get("/api/v1/pods", labelSelector="app=web", **{"continue": answer["metadata"]["continue"]})
    assert names(rest) == ["c"]


async def test_table(pods: Any) -> None:
    answer = await pods.get(PODS, table=True)
    assert (answer["kind"], answer["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [row["cells"][:3] for row in answer["rows"]] == [["a", "1/1", "Running"], ["b", "0/1", "Unknown"]]
    assert answer["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    one = await pods.get(f"{PODS}/a", table=True, includeObject="Object")
    assert one["rows"][0]["object"]["kind"] == "Pod"


async def test_workloads_and_config_have_their_paths(world: Any) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    world.declare(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}, "spec": spec},
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r", "namespace": "n"}, "spec": spec},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}, "data": {"k": "v"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}, "data": {"k": "dg=="}},
    )
    assert (await world.get("/apis/apps/v1/namespaces/n/deployments/d"))["spec"]["replicas"] == 1
    assert (await world.get("/apis/apps/v1/replicasets"))["kind"] == "ReplicaSetList"
    assert (await world.get("/api/v1/namespaces/n/configmaps/c"))["data"] == {"k": "v"}
    assert names(await world.get("/api/v1/secrets", fieldSelector="type=Opaque")) == ["s"]
    assert names(await world.get("/api/v1/namespaces")) == ["default", "n"]
    assert (await world.get("/api/v1/namespaces/n"))["kind"] == "Namespace"


async def test_events_of_one_object(pods: Any) -> None:
    pods.store.event(Ref("Pod", "default", "a"), "Started", "Started container app")
    pods.store.event(Ref("Pod", "default", "b"), "BackOff", "Back-off", warning=True)
    path = "/api/v1/namespaces/default/events"
    answer = await pods.get(path, fieldSelector="involvedObject.name=b,type=Warning")
    (event,) = answer["items"]
    assert (event["reason"], event["involvedObject"]["name"]) == ("BackOff", "b")
    assert (await pods.get(f"{path}/{event['metadata']['name']}"))["message"] == "Back-off"
    assert [e["reason"] for e in (await pods.get(path))["items"]] == ["Started", "BackOff"]
    page = await pods.get(path, limit=1)
    rest = await pods.get(path, limit=1, **{"continue": page["metadata"]["continue"]})
    assert [e["reason"] for e in page["items"] + rest["items"]] == ["Started", "BackOff"]


@pytest.mark.parametrize(
    ("path", "code", "reason", "sentence"),
    [
        (f"{PODS}/gone", 404, "NotFound", 'pods "gone" not found'),
        ("/apis/apps/v1/namespaces/default/deployments/x", 404, "NotFound", 'deployments.apps "x" not found'),
        (f"{PODS}/..%2f..%2fetc", 404, "NotFound", 'pods "../../etc" not found'),
        ("/api/v1/namespaces/default/services", 404, "NotFound", "the server could not find the requested resource"),
        ("/openapi/v2", 404, "NotFound", "the server could not find the requested resource"),
        (f"{PODS}?labelSelector=a+b", 400, "BadRequest", "unable to parse requirement"),
        (f"{PODS}?includeObject=x", 400, "BadRequest", "includeObject"),
    ],
)
async def test_refusals_are_status_objects(pods: Any, path: str, code: int, reason: str, sentence: str) -> None:
    with pytest.raises(ApiError, match=r".") as caught:
        await pods.get(path)
    assert (caught.value.code, caught.value.reason) == (code, reason)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", [PODS, f"{PODS}/a", "/apis/apps/v1/deployments"])
async def test_objects_are_read_only(pods: Any, method: str, path: str) -> None:
    with pytest.raises(ApiError, match="change the manifests") as caught:
        await asyncio.to_thread(pods.client.request, method, path, {})
    assert (caught.value.code, caught.value.reason) == (405, "MethodNotAllowed")


async def test_nothing_but_json(pods: Any) -> None:
    connector = aiohttp.UnixConnector(str(pods.socket))
    async with aiohttp.ClientSession("http://api", connector=connector) as session:
        async with session.get(PODS, headers={"Accept": "application/yaml"}) as answer:
            assert (answer.status, (await answer.json())["kind"]) == (406, "Status")
        async with session.get(PODS, headers={"Accept": "application/vnd.kubernetes.protobuf, */*"}) as answer:
            assert answer.content_type == "application/json"


async def test_discovery(world: Any) -> None:
    assert (await world.get("/api"))["versions"] == ["v1"]
    assert (await world.get("/apis"))["groups"][0]["name"] == "apps"
    assert (await world.get("/apis/apps"))["kind"] == "APIGroup"
    assert (await world.get("/api/v1"))["groupVersion"] == "v1"
    assert (await world.get("/apis/apps/v1"))["groupVersion"] == "apps/v1"
    assert (await world.get("/version"))["gitVersion"].endswith("+reconciler.0.1.0")

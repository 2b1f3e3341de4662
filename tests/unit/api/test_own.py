"""Our own paths: containers, images, problems, and orders."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest

from reconciler.api.client import OWN, ApiError
from reconciler.errors import ConflictError, ManifestError, TerminalError, TransientError
from reconciler.manifest.problems import Problem, Severity
from reconciler.model.login import Login
from reconciler.model.observed import Observed, SeenContainer, SeenPod, SeenSandbox, State
from reconciler.model.ref import Ref

WEB = Ref("Pod", "default", "web")


async def order(world: Any, path: str, body: Any, method: str = "POST") -> list[Any]:
    return await asyncio.to_thread(lambda: list(world.client.stream(method, f"{OWN}/{path}", body)))


async def test_status(world: Any) -> None:
    world.problems = (Problem("a.yaml", 3, "spec", "wrong"), Problem("a.yaml", 4, "", "idle", Severity.NOTE))
    world.declare(world.pod("web"))
    world.faults["readiness"] = "the first pass is not done"
    assert await world.get(f"{OWN}/status") == {
        "version": "0.1.0",
        "revision": "r1",
        "inSync": True,
        "ready": False,
        "pruneBlocked": "",
        "resourceVersion": str(world.store.resource_version),
        "problems": {"error": 1, "note": 1},
    }
    assert (await world.get(f"{OWN}/problems"))[0] == {
        "file": "a.yaml",
        "line": 3,
        "field": "spec",
        "message": "wrong",
        "severity": "error",
    }


async def test_containers(world: Any) -> None:
    world.declare(world.pod("web"))
    sandbox = SeenSandbox("s1", "v1:a", addresses=("10.88.0.2",))
    container = SeenContainer("c1", "app", "s1", "v1:b", State.RUNNING, created_at=1795435200.5)
    world.runtime.observed = Observed({WEB: SeenPod(WEB, sandbox, (container,))})
    (row,) = await world.get(f"{OWN}/containers")
    assert (row["id"], row["pod"], row["createdAt"]) == ("c1", "web", "2026-11-23T12:00:00.500000Z")


async def test_images(world: Any) -> None:
    assert await world.get(f"{OWN}/images") == [
        {
            "id": "sha256:aa",
            "references": ["docker.io/library/web:1"],
            "digest": "sha256:bb",
            "createdAt": "2026-11-23T12:00:00.000000Z",
            "sizeBytes": 4096,
            "platform": "linux/amd64",
        }
    ]


@pytest.mark.parametrize(
    ("path", "body", "asked"),
    [
        ("images/load", {"archive": "/a.tar"}, ("load", "/a.tar", "")),
        ("images/load", {"archive": "/a.tar", "reference": "x:1"}, ("load", "/a.tar", "x:1")),
        ("images/import", {"archive": "/a.tar", "reference": "x:1"}, ("import", "/a.tar", "x:1")),
        (
            "images/push",
            {"reference": "x:1", "verifyTls": False},
            ("push", "x:1", {"verify_tls": False, "logins": None}),
        ),
        (
            "images/build",
            {
                "context": "/c",
                "reference": "x:1",
                "also": ["x:2"],
                "dockerfile": "",
                "buildArgs": {"A": "1"},
                "secrets": {"token": "/t"},
                "noCache": True,
            },
            (
                "build",
                "/c",
                {
                    "reference": "x:1",
                    "also": ["x:2"],
                    "dockerfile": "",
                    "target": "",
                    "build_args": {"A": "1"},
                    "secrets": {"token": "/t"},
                    "no_cache": True,
                },
            ),
        ),
    ],
)
async def test_orders_about_images(world: Any, path: str, body: Any, asked: tuple[Any, ...]) -> None:
    assert await order(world, path, body) == [{"line": "one"}, {"line": "two"}, {"done": True}]
    assert world.images.asked == [asked]


async def test_a_pull_has_options_and_progress(world: Any) -> None:
    auths = {"r.example.com": {"auth": b64encode(b"me:secret").decode()}}
    told = await order(world, "images/pull", {"reference": "x:1", "platform": "linux/arm64", "auths": auths})
    assert told[0] == {"progress": {"doneBytes": 1, "totalBytes": 2}}
    assert told[1:] == [{"line": "one"}, {"line": "two"}, {"done": True}]
    logins = (Login("r.example.com", "me", "secret"),)
    options = {"platform": "linux/arm64", "verify_tls": True, "logins": logins}
    assert world.images.asked == [("pull", "x:1", options)]
    assert "secret" not in repr(logins)


async def test_logins_that_make_no_sense_are_not_shown(world: Any) -> None:
    for auths in ("secret", {"r": {"auth": "secret!"}}):
        with pytest.raises(ApiError, match="auths") as caught:
            await order(world, "images/pull", {"reference": "x:1", "auths": auths})
        assert caught.value.code == 400
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "code", "reason", "message"),
    [
        (TerminalError("step 3 failed", reason="BuildFailed"), 500, "BuildFailed", "step 3 failed"),
        (ConflictError("taken"), 409, "Conflict", "taken"),
        (RuntimeError("a secret"), 500, "InternalError", "Internal error occurred: the daemon's log has more"),
    ],
)
async def test_an_order_that_fails_in_the_middle(
    world: Any, error: Exception, code: int, reason: str, message: str
) -> None:
    world.images.fails = error
    seen: list[Any] = []

    def read() -> None:
        seen.extend(world.client.stream("POST", f"{OWN}/images/push", {"reference": "x"}))

    with pytest.raises(ApiError) as caught:
        await asyncio.to_thread(read)
    assert (caught.value.code, caught.value.reason, str(caught.value)) == (code, reason, message)
    assert seen == [{"line": "one"}]


async def test_an_order_that_the_daemon_cuts_short_is_not_done(world: Any) -> None:
    async def forever(paths: Any, volumes: bool) -> AsyncIterator[str]:
        yield "begun"
        await asyncio.sleep(60)

    object.__setattr__(world.backend, "down", forever)
    seen: list[Any] = []

    def read() -> None:
        seen.extend(world.client.stream("POST", f"{OWN}/down", {}))

    ordering = asyncio.ensure_future(asyncio.to_thread(read))
    await world.eventually(lambda: seen == [{"line": "begun"}])
    await world.listener.aclose()
    with pytest.raises(TransientError, match="it stopped before this was done"):
        await asyncio.wait_for(ordering, 5)


async def test_down_diff_and_sync(world: Any) -> None:
    assert await order(world, "down", {"paths": ["/m"], "volumes": True}) == [
        {"line": "removed pod default/web"},
        {"done": True},
    ]
    await order(world, "down", None)
    assert await order(world, "diff", {"paths": ["/m"]}) == [{"changes": [], "plan": "nothing to do"}]
    assert await order(world, "sync", None) == [{"revision": ""}]
    assert world.orders == [("down", "/m", True), ("down", False), ("diff", "/m"), ("sync",)]


async def test_problems_of_a_diff_are_the_causes_of_its_refusal(world: Any) -> None:
    problem = Problem("a.yaml", 7, "spec.x", "no such field")

    async def diff(paths: Any) -> Any:
        raise ManifestError("1 file has errors", problems=[problem])

    object.__setattr__(world.backend, "diff", diff)
    with pytest.raises(ApiError, match="1 file has errors") as caught:
        await order(world, "diff", {"paths": ["/m"]})
    assert (caught.value.code, caught.value.causes) == (422, ("a.yaml:7: spec.x: no such field",))


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("images/load", {}, "archive: expected a string"),
        ("images/load", {"archive": ""}, "archive: expected a string"),
        ("images/load", {"archive": "a.tar"}, "archive: expected an absolute path"),
        ("images/load", {"archive": "/a\0b"}, "archive: expected a string without NUL"),
        ("images/push", {"reference": "x", "verifyTls": "no"}, "verifyTls: expected true or false"),
        ("images/pull", {"reference": 1}, "reference: expected a string"),
        ("images/build", {"context": "/c", "reference": "x", "dockerfile": "D"}, "dockerfile: expected an absolute"),
        ("images/build", {"context": "/c", "reference": "x", "buildArgs": {"a": 1}}, "buildArgs: expected an object"),
        ("images/build", {"context": "/c", "reference": "x", "noCache": "yes"}, "noCache: expected true or false"),
        ("down", {"paths": "/m"}, "paths: expected a list"),
        ("down", {"paths": ["m"]}, "paths: expected an absolute path"),
        ("diff", {"paths": [""]}, "paths: expected a list of paths"),
        ("images/build", {"context": "/c", "reference": "x", "also": [1]}, "also: expected a list of strings"),
        ("diff", [], "the body is not a JSON object"),
    ],
)
async def test_orders_that_make_no_sense(world: Any, path: str, body: Any, sentence: str) -> None:
    with pytest.raises(ApiError) as caught:
        await order(world, path, body)
    assert caught.value.code == 400
    assert sentence in str(caught.value)
    assert not world.orders and not world.images.asked


async def test_a_body_that_is_too_large(world: Any) -> None:
    with pytest.raises(ApiError, match="too large") as caught:
        await order(world, "diff", {"paths": ["/" + "m" * (1 << 20)]})
    assert caught.value.code == 413
    assert not world.orders

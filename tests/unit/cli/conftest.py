"""A daemon that is not there: canned answers over a real unix socket, and the program run against it."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from reconciler.api.tables import render_table


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    accept: str
    body: Any


@dataclass
class FakeDaemon:
    """Answers `METHOD path` with a JSON value, bytes, or a list of chunks; anything else is 404 in kubectl's words."""

    socket_path: Path
    answers: dict[str, Any] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def on(self, what: str, answer: Any) -> None:
        self.answers[what] = answer

    def reply(self, request: Request) -> tuple[int, list[bytes]]:
        self.requests.append(request)
        answer = self.answers.get(f"{request.method} {request.path}")
        if callable(answer):
            answer = answer(request)
        match answer:
            case None:
                *_, plural, name = ["", *request.path.strip("/").split("/")]
                return 404, [status(404, "NotFound", f'{plural} "{name}" not found')]
            case Failure():
                return answer.code, [status(answer.code, answer.reason, answer.message)]
            case bytes():
                return 200, [answer]
            case Lines():
                return 200, [json.dumps(value).encode() + b"\n" for value in answer.values]
            case _:
                return 200, [json.dumps(answer).encode()]


@dataclass
class Failure:
    code: int
    reason: str
    message: str


@dataclass
class Lines:
    values: list[Any]


def status(code: int, reason: str, message: str) -> bytes:
    return json.dumps({"kind": "Status", "code": code, "reason": reason, "message": message}).encode()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    fake = FakeDaemon(run_dir / "api.sock")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(fake.socket_path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    answer(fake, connection)
                except OSError:
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield fake
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(timeout=5)


def answer(fake: FakeDaemon, connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65536)
        if not received:
            return
        data += received
    head, body = data.split(b"\r\n\r\n", 1)
    lines = head.decode().split("\r\n")
    method, target, _ = lines[0].split(" ")
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    url = urlsplit(target)
    query = {key: values[-1] for key, values in parse_qs(url.query).items()}
    request = Request(method, url.path, query, headers.get("accept", ""), json.loads(body) if body else None)
    code, chunks = fake.reply(request)
    connection.sendall(f"HTTP/1.1 {code} X\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    for chunk in chunks:
        connection.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
    connection.sendall(b"0\r\n\r\n")


@dataclass
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The program with these arguments, on this test's own directories."""
    from reconciler.cli import main

    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("RECONCILER_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # which the program replaces

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["reconciler", *arguments])
        with pytest.raises(SystemExit) as exit:
            main()
        sys.stdout.flush()
        out, err = capfd.readouterr()
        return Result(int(exit.value.code or 0), out, re.sub(r"\x1b\[[0-9;]*m", "", err))

    return run


NOW = 1_000_000.0
BORN = "1970-01-12T13:45:40Z"  # a minute before NOW
Json = dict[str, Any]


class Objects:
    """Kubernetes objects, and answers that hold them as the server gives them."""

    now = NOW
    born = BORN
    lines = Lines
    failure = Failure

    @staticmethod
    def meta(name: str, namespace: str = "default", **more: Any) -> Json:
        return {"name": name, "namespace": namespace, "creationTimestamp": BORN, "uid": f"uid-{name}"} | more

    @staticmethod
    def container_status(name: str = "main", *, ready: bool = True, restarts: int = 0, **more: Any) -> Json:
        state = {"running": {"startedAt": BORN}} if ready else {"waiting": {"reason": "CrashLoopBackOff"}}
        return {"name": name, "ready": ready, "restartCount": restarts, "state": state} | more

    @staticmethod
    def pod(name: str, namespace: str = "default", *, owner: tuple[str, str] | None = None, **status: Any) -> Json:
        owners = [{"kind": owner[0], "name": owner[1], "uid": f"uid-{owner[1]}", "controller": True}] if owner else []
        return {
            "metadata": Objects.meta(name, namespace, ownerReferences=owners),
            "spec": {"containers": [{"name": "main", "image": "web:1"}], "nodeName": "here"},
            "status": {
                "phase": "Running",
                "podIP": "10.88.0.2",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": BORN}],
                "containerStatuses": [Objects.container_status()],
            }
            | status,
        }

    @staticmethod
    def deployment(name: str, *, ready: int = 2, wanted: int = 2, **status: Any) -> Json:
        return {
            "metadata": Objects.meta(name, generation=1),
            "spec": {
                "replicas": wanted,
                "selector": {"matchLabels": {"app": name}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "main", "image": "web:1"}]},
                },
            },
            "status": {
                "replicas": wanted,
                "updatedReplicas": wanted,
                "readyReplicas": ready,
                "availableReplicas": ready,
                "observedGeneration": 1,
            }
            | status,
        }

    @staticmethod
    def event(about: str, reason: str, message: str, at: str = BORN, **more: Any) -> Json:
        kind, name = about.split("/")
        return {
            "metadata": {"name": f"{name}.1", "namespace": "default"},
            "involvedObject": {"kind": kind, "namespace": "default", "name": name},
            "type": "Normal",
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "source": {"component": "reconciler"},
        } | more

    @staticmethod
    def listing(kind: str, items: Sequence[Json]) -> Callable[[Any], Json]:
        """A list, or the Table of it, as the request asks."""

        def answer(request: Any) -> Json:
            if "as=Table" in request.accept:
                include = request.query.get("includeObject", "Metadata")
                return render_table(kind, items, now=NOW, list_metadata={"resourceVersion": "7"}, include=include)
            return {
                "kind": f"{kind}List",
                "apiVersion": "v1",
                "metadata": {"resourceVersion": "7"},
                "items": list(items),
            }

        return answer

    @staticmethod
    def single(kind: str, item: Json) -> Callable[[Any], Json]:
        """One object, or the Table of it, as the request asks."""

        def answer(request: Any) -> Json:
            if "as=Table" in request.accept:
                return render_table(kind, [item], now=NOW, list_metadata={})
            return {"kind": kind, "apiVersion": "v1", **item}

        return answer


@pytest.fixture
def make() -> type[Objects]:
    return Objects


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> float:
    """The time stands still at a minute after every object was made."""
    monkeypatch.setattr("time.time", lambda: NOW)
    return NOW

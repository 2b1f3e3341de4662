"""Dockerfiles as people write them, byte for byte: built, built again out of the cache, and run."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.dockerfiles.bases import mirrored
from tests.e2e.instance import Instance, free_port

AGAIN_SECONDS = 8.0  # a build of an unchanged tree: some seconds, on two busy cores

PYTHON = {
    "Dockerfile": """\
FROM python:3.11-slim

WORKDIR /app

COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt

COPY . .

EXPOSE 8000

CMD ["uvicorn", "main:app", "--host", "0.0.0.0", "--port", "8000"]
""",
    "requirements.txt": "fastapi\nuvicorn\n",
    "main.py": """\
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def hello():
    return {"said": 1}
""",
    ".dockerignore": "*.secret\n",
    "key.secret": "not for the image",
}
MUSTACHE = "sha512-71ippSywq5Yb7/tVYyGbkBggbU8H3u5Rz56fH60jGFgr8uHwxs+aSKeqmluIVzM0m0kB7xQjKS6qPfd0b2ZoqQ=="
NODE = {
    "Dockerfile": """\
# Build stage
FROM node:18 AS builder
WORKDIR /app
COPY package*.json ./
RUN npm ci
COPY . .
RUN npm run build

# Production stage
FROM nginx:alpine
COPY --from=builder /app/dist /usr/share/nginx/html
EXPOSE 80
""",
    "package.json": json.dumps(
        {
            "name": "front",
            "version": "1.0.0",
            "private": True,
            "scripts": {"build": "mkdir -p dist && mustache view.json index.mustache > dist/index.html"},
            "dependencies": {"mustache": "4.2.0"},
        }
    ),
    "package-lock.json": json.dumps(
        {
            "name": "front",
            "version": "1.0.0",
            "lockfileVersion": 3,
            "requires": True,
            "packages": {
                "": {"name": "front", "version": "1.0.0", "dependencies": {"mustache": "4.2.0"}},
                "node_modules/mustache": {
                    "version": "4.2.0",
                    "integrity": MUSTACHE,
                    "bin": {"mustache": "bin/mustache"},
                },
            },
        }
    ),
    "view.json": '{"name": "front"}',
    "index.mustache": "<h1>built by {{name}}</h1>\n",
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A daemon that finds the base images under their names."""
    base = tmp_path_factory.mktemp("dockerfiles")
    with ExitStack() as stack:
        stack.enter_context(mirrored(base / "home"))
        yield stack.enter_context(Instance(base / "instance"))


def write(folder: Path, files: dict[str, str]) -> str:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    return str(folder)


def serving(machine: Instance, name: str, image: str, port: int) -> str:
    """Run an image as it is, and return what it answers."""
    published = free_port()
    container = {"name": "main", "image": image, "ports": [{"containerPort": port, "hostPort": published}]}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    machine.put(
        f"{name}.yaml", json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    )

    def answer() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{published}/", timeout=2) as response:
                return str(response.read().decode())
        except OSError:
            return ""

    return machine.until(answer, f"{name} answers", seconds=60)


def test_a_service_in_python(machine: Instance, tmp_path: Path) -> None:
    folder = write(tmp_path / "api", PYTHON)
    first = machine.cli("build", "-t", "api:1", folder)
    assert "pulling python:3.11-slim" in first
    assert "Successfully installed" in first
    started = time.monotonic()
    again = machine.cli("build", "-t", "api:1", "-t", "api:stable", folder)
    took = time.monotonic() - started
    assert "Successfully installed" not in again and "Collecting" not in again
    steps, cached = again.count("STEP "), again.count("Using cache")
    assert cached == steps - 1, again  # FROM is no step that could run
    assert took < AGAIN_SECONDS
    assert json.loads(serving(machine, "api", "api:stable", 8000)) == {"said": 1}
    assert machine.run("exec", "api", "--", "ls", "/app").stdout.split() == sorted(
        ["Dockerfile", "__pycache__", "main.py", "requirements.txt"]
    )


def test_a_front_end_of_two_stages(machine: Instance, tmp_path: Path) -> None:
    folder = write(tmp_path / "front", NODE)
    assert "added 1 package" in machine.cli("build", "-t", "front:1", folder)
    again = machine.cli("build", "-t", "front:1", folder)
    assert "added" not in again
    assert serving(machine, "front", "front:1", 80) == "<h1>built by front</h1>\n"
    assert machine.run("exec", "front", "--", "ls", "/app").returncode != 0, "the first stage is not in the image"
    (Path(folder) / "view.json").write_text('{"name": "another"}')
    changed = machine.cli("build", "-t", "front:2", folder)
    assert "added" not in changed, "what comes before the change is not run again"
    assert serving(machine, "front2", "front:2", 80) == "<h1>built by another</h1>\n"
    machine.cli("build", "-t", "builder:1", "--target", "builder", folder)
    assert "nginx" not in machine.cli("build", "-t", "builder:1", "--target", "builder", folder)

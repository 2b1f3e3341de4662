"""What the tables of rules share: reading a manifest, and a pod to put a field into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reconciler.manifest.kube import read_document
from reconciler.manifest.problems import errors
from reconciler.manifest.yamldoc import Document


@pytest.fixture
def faults() -> Callable[[dict[str, Any]], list[str]]:
    """The errors of a manifest, as "field: message"."""

    def read(manifest: dict[str, Any]) -> list[str]:
        _, problems = read_document(Document(manifest, "f.yaml", 1, {}))
        return [f"{problem.field}: {problem.message}" for problem in errors(problems)]

    return read


@pytest.fixture
def check(faults: Callable[[dict[str, Any]], list[str]]) -> Callable[..., None]:
    """Each of `expected` is the beginning of one fault, below `prefix`; there are no others."""

    def compare(manifest: dict[str, Any], prefix: str, *expected: str) -> None:
        found = [fault.removeprefix(prefix) for fault in faults(manifest)]
        assert len(found) == len(expected), found
        for fault, start in zip(found, expected, strict=True):
            assert fault.startswith(start)

    return compare


@pytest.fixture
def pod() -> Callable[..., dict[str, Any]]:
    """A Pod of one container, with more fields of the container and of the spec."""

    def build(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
        containers = [{"name": "c", "image": "i", **(container or {})}]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p"},
            "spec": {"containers": containers, **spec},
        }

    return build

"""Fixtures of the scenarios: a machine to run on is the real one, an instance is the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.instance import Instance


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Instance]:
    """A running daemon on an empty folder, with busybox in its store."""
    with Instance(tmp_path) as instance:
        yield instance


@pytest.fixture
def measured(tmp_path: Path) -> Iterator[Instance]:
    """The same, with metrics."""
    with Instance(tmp_path, metrics=True) as instance:
        yield instance

"""The name of an object: what queues, plans, events and logs talk about."""

from __future__ import annotations

from typing import NamedTuple


class Ref(NamedTuple):
    """One object. `namespace` is empty for kinds that have none (Namespace)."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"

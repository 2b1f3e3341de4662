"""Namespaces, and the configuration that pods use."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from reconciler.model.fields import Base64Map, Flag, Text, TextMap, Texts
from reconciler.model.meta import Declared, KubeObject


class NamespaceSpec(Declared):
    finalizers: Texts = ("kubernetes",)


class Namespace(KubeObject):
    api_version: Literal["v1"] = "v1"
    kind: Literal["Namespace"] = "Namespace"
    spec: NamespaceSpec = Field(default_factory=NamespaceSpec)

    @classmethod
    def complete(cls, data: dict[str, Any]) -> None:
        metadata = data.get("metadata")
        if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
            return
        labels = metadata.get("labels") or {}
        if isinstance(labels, dict):
            data["metadata"] = {**metadata, "labels": {**labels, "kubernetes.io/metadata.name": metadata["name"]}}


class ConfigMap(KubeObject):
    api_version: Literal["v1"] = "v1"
    kind: Literal["ConfigMap"] = "ConfigMap"
    immutable: Flag | None = None
    data: TextMap = Field(default_factory=dict)
    binary_data: Base64Map = Field(default_factory=dict)

    def contents(self) -> dict[str, bytes]:
        """Every key with its bytes, those of `binaryData` too."""
        return {key: text.encode() for key, text in self.data.items()} | _decoded(self.binary_data)


class Secret(KubeObject):
    """`data` is base64, and has what was written as `stringData` too once it was read from a manifest."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["Secret"] = "Secret"
    immutable: Flag | None = None
    data: Base64Map = Field(default_factory=dict, repr=False)
    string_data: TextMap = Field(default_factory=dict, repr=False)
    type: Text = "Opaque"

    def contents(self) -> dict[str, bytes]:
        """Every key with its bytes; `stringData` wins over `data`."""
        return _decoded(self.data) | {key: text.encode() for key, text in self.string_data.items()}

    def folded(self) -> "Secret":
        """As the API server keeps it: `stringData` inside `data`. Idempotent."""
        if not self.string_data:
            return self
        encoded = {key: b64encode(text.encode()).decode() for key, text in self.string_data.items()}
        return self.model_copy(update={"data": {**self.data, **encoded}, "string_data": {}})


def _decoded(data: Mapping[str, str]) -> dict[str, bytes]:
    return {key: b64decode(text) for key, text in data.items()}

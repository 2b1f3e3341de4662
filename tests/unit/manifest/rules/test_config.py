"""Metadata, ConfigMaps and Secrets are held to the API server's rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reconciler.model.kinds import KINDS

Check = Callable[..., None]


def config(kind: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, **fields}


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (config("ConfigMap", data={"a/b": ""}), ['data[a/b]: "a/b" is no key']),
        (config("ConfigMap", data={"..": ""}), ['data[..]: ".." is no key']),
        (config("ConfigMap", data={"a": ""}, binaryData={"a": ""}), ["data.a: this key is in binaryData too"]),
        (config("ConfigMap", data={"a": "x" * 2**20}), []),
        (config("ConfigMap", data={"a": "ü" * (2**19 + 1)}), ["data: too long: 1048578 bytes"]),
        (config("Secret", stringData={"a": "x" * (2**20 + 1)}), ["data: too long: 1048577 bytes"]),
        (config("Secret", data={"a": "###"}), ["data.a: not base64"]),
        (config("Secret", type="kubernetes.io/tls"), ["data[tls.crt]: required", "data[tls.key]: required"]),
        (config("Secret", type="kubernetes.io/basic-auth"), ["data: required"]),
        (config("Secret", type="kubernetes.io/basic-auth", stringData={"username": "u"}), []),
        (
            config("Secret", type="kubernetes.io/dockerconfigjson", stringData={".dockerconfigjson": "{"}),
            ["data[.dockerconfigjson]: is not JSON"],
        ),
        (config("Secret", metadata={"name": "my_secret"}), ['metadata.name: "my_secret" must consist']),
        (
            config("Namespace", metadata={"name": "a.b"}),
            ['metadata.name: "a.b" must consist of lower case letters, digits and'],
        ),
        (config("ConfigMap", metadata={"name": "a.b"}), []),
        (config("ConfigMap", metadata={}), ["metadata.name: required"]),
        (config("ConfigMap", metadata={"name": "../../etc"}), ['metadata.name: "../../etc" must consist']),
        (config("ConfigMap", metadata={"name": "a\x00b"}), ["metadata.name: 'a\\x00b' must consist"]),
        (config("ConfigMap", metadata={"name": "a" * 300}), [f'metadata.name: "{"a" * 60}..." has 300 characters']),
        (config("ConfigMap", metadata={"name": "x", "namespace": "a.b"}), ['metadata.namespace: "a.b" must consist']),
        (
            config("ConfigMap", metadata={"name": "x", "labels": {"a": "_"}}),
            ['metadata.labels.a: "_" is no label value'],
        ),
        (
            config("ConfigMap", metadata={"name": "x", "labels": {"a/b/c": ""}}),
            ['metadata.labels[a/b/c]: "a/b/c" has a prefix'],
        ),
        (
            config("ConfigMap", metadata={"name": "x", "annotations": {"A b": ""}}),
            ['metadata.annotations[A b]: "A b" is no key'],
        ),
        (
            config("ConfigMap", metadata={"name": "x", "annotations": {"a": "x" * 2**18}}),
            ["metadata.annotations: too long"],
        ),
        (
            config("ConfigMap", metadata={"name": "x", "finalizers": ["a.b"]}),
            ['metadata.finalizers[0]: "a.b" is no finalizer'],
        ),
        (
            config("ConfigMap", metadata={"name": "x", "ownerReferences": [{"kind": "Pod"}]}),
            [f"metadata.ownerReferences[0].{f}: required" for f in ("apiVersion", "name", "uid")],
        ),
    ],
)
def test_configuration_and_metadata(manifest: dict[str, Any], expected: list[str], check: Check) -> None:
    check(manifest, "", *expected)


@pytest.mark.parametrize("kind", [kind for _, kind in KINDS])
def test_an_empty_object_of_every_kind_is_told_what_it_needs(
    kind: str, faults: Callable[[dict[str, Any]], list[str]]
) -> None:
    version = next(version for version, each in KINDS if each == kind)
    assert faults({"apiVersion": version, "kind": kind})[0].startswith("metadata.name: required")

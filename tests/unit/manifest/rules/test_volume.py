"""Volumes and their mounts are held to the API server's rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Check = Callable[..., None]
Pod = Callable[..., dict[str, Any]]

ITEM = {"key": "k", "path": "p"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({}, []),
        ({"hostPath": {}}, ["hostPath.path: required"]),
        ({"hostPath": {"path": "/a/../b"}}, ["hostPath.path: \"/a/../b\" must not contain '..'"]),
        ({"hostPath": {"path": "/a"}, "emptyDir": {}}, [": has hostPath and emptyDir, and a volume can have one"]),
        ({"emptyDir": {"sizeLimit": "-1"}}, ["emptyDir.sizeLimit: "]),
        ({"configMap": {}}, ["configMap.name: required"]),
        ({"configMap": {"name": "c", "defaultMode": 0o1000}}, ["configMap.defaultMode: 512 must be between 0 and 511"]),
        (
            {"configMap": {"name": "c", "items": [{}]}},
            ["configMap.items[0].key: required", "configMap.items[0].path: required"],
        ),
        ({"configMap": {"name": "c", "items": [{"key": "k", "path": "/etc"}]}}, ["configMap.items[0].path: "]),
        ({"configMap": {"name": "c", "items": [{"key": "k", "path": "a/../b"}]}}, ["configMap.items[0].path: "]),
        ({"configMap": {"name": "c", "items": [{"key": "k", "path": "..data"}]}}, ["configMap.items[0].path: "]),
        ({"secret": {"items": [ITEM]}}, ["secret.secretName: required"]),
        ({"downwardAPI": {"items": [{"path": "a"}]}}, ["downwardAPI.items[0].fieldRef: required"]),
        ({"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.labels"}}]}}, []),
        (
            {"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "status.podIP"}}]}},
            ["downwardAPI.items[0].fieldRef.fieldPath: "],
        ),
        (
            {"downwardAPI": {"items": [{"path": "a", "resourceFieldRef": {"resource": "limits.cpu"}}]}},
            ["downwardAPI.items[0].resourceFieldRef.containerName: required"],
        ),
        ({"projected": {"sources": [{}]}}, ["projected.sources[0]: says nothing"]),
        (
            {
                "projected": {
                    "sources": [
                        {"secret": {"name": "s", "items": [ITEM]}},
                        {"configMap": {"name": "c", "items": [ITEM]}},
                    ]
                }
            },
            ['projected.sources[1].configMap.items[0].path: "p" is the path of another file'],
        ),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            ["projected.sources[0].serviceAccountToken: needs"],
        ),
        ({"persistentVolumeClaim": {}}, ["persistentVolumeClaim.claimName: required"]),
        ({"nfs": {"server": "s", "path": "a"}}, ['nfs.path: "a" must be an absolute path']),
        ({"ephemeral": {}}, ["ephemeral.volumeClaimTemplate: required"]),
        ({"awsElasticBlockStore": {}}, ["awsElasticBlockStore.volumeID: required"]),
        ({"azureDisk": {}}, ["azureDisk.diskName: required", "azureDisk.diskURI: required"]),
    ],
)
def test_volumes(source: dict[str, Any], expected: list[str], pod: Pod, check: Check) -> None:
    manifest = pod(volumes=[{"name": "v", **source}])
    check(manifest, "spec.volumes[0]", *(each if each[0] == ":" else f".{each}" for each in expected))


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        ({"mountPath": ""}, ["mountPath: required"]),
        ({"name": "w"}, ['name: the pod has no volume "w"; its volumes are v']),
        ({"subPath": "/a"}, ["subPath: "]),
        ({"subPath": "../a"}, ["subPath: "]),
        ({"subPath": "a", "subPathExpr": "b"}, ["subPathExpr: must be left out when subPath is given"]),
        ({"mountPropagation": "Bidirectional"}, ["mountPropagation: Bidirectional is for privileged containers only"]),
        ({"recursiveReadOnly": "Enabled"}, ["recursiveReadOnly: needs readOnly: true"]),
    ],
)
def test_mounts(mount: dict[str, Any], expected: list[str], pod: Pod, check: Check) -> None:
    mounts = [{"name": "v", "mountPath": "/v", **mount}]
    check(pod({"volumeMounts": mounts}, volumes=[{"name": "v"}]), "spec.containers[0].volumeMounts[0].", *expected)

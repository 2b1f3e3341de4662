"""Rules of ConfigMaps and Secrets. Nothing here may show a value."""

from __future__ import annotations

import json

from reconciler.manifest.rules import formats
from reconciler.manifest.rules.report import Report
from reconciler.model.config import ConfigMap, Secret

_MOST_BYTES = 1024 * 1024
_NEEDED_KEYS = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_ACCOUNT = "kubernetes.io/service-account.name"


def check_config_map(config: ConfigMap, report: Report) -> None:
    size = 0
    for field, data in (("data", config.data), ("binaryData", config.binary_data)):
        for key, value in data.items():
            report.check((field, key), key, formats.config_key(key))
            size += len(value)
    for key in config.data.keys() & config.binary_data.keys():
        report.error(("data", key), "this key is in binaryData too: it can be in one of them only")
    if size > _MOST_BYTES // 4:
        _check_size(config.contents(), "data", report)


def check_secret(secret: Secret, report: Report) -> None:
    size = 0
    for key, value in secret.data.items():
        report.check(("data", key), key, formats.config_key(key))
        size += len(value)
    if size > _MOST_BYTES:
        _check_size(secret.contents(), "data", report)
    for key in _NEEDED_KEYS.get(secret.type, ()):
        if key not in secret.data:
            report.required(("data", key), f"a Secret of type {secret.type} has it")
        elif key.startswith(".docker") and not _is_json(secret.contents()[key]):
            report.error(("data", key), "is not JSON")
    if secret.type == "kubernetes.io/basic-auth" and not {"username", "password"} & secret.data.keys():
        report.required(("data",), "a Secret of type kubernetes.io/basic-auth has username, password or both")
    if secret.type == "kubernetes.io/service-account-token" and not secret.metadata.annotations.get(_ACCOUNT):
        report.required(("metadata", "annotations", _ACCOUNT), "the token of which service account it is")


def _check_size(contents: dict[str, bytes], field: str, report: Report) -> None:
    size = sum(map(len, contents.values()))
    if size > _MOST_BYTES:
        report.error((field,), f"too long: {size} bytes, and all values together have at most {_MOST_BYTES}")


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True

"""The environment of a container: envFrom, env, field references, `$(VAR)`.

Source: kubelet's makeEnvironmentVariables and k8s.io/kubernetes/third_party/forked/golang/expansion.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reconciler.model.container import Container
from reconciler.model.kinds import ConfigMap, Object, Pod, Secret
from reconciler.model.quantity import parse_bytes, parse_millicores
from reconciler.model.ref import Ref
from reconciler.model.sandbox import HOST_IP, POD_IP, POD_IPS

Lookup = Callable[[Ref], Object | None]

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.*)'\]$")


class Unresolved(Exception):
    """Something that a pod refers to is not there. `reason` is kubelet's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Node:
    """This machine, as far as pods can ask about it."""

    name: str
    cpu_millicores: int
    memory_bytes: int


def environment(pod: Pod, uid: str, container: Container, lookup: Lookup, node: Node) -> dict[str, str]:
    """Every variable of a container. envFrom comes first, env wins, and an entry sees those before it.

    Raises: Unresolved, reason CreateContainerConfigError, in kubelet's words.
    """
    out: dict[str, str] = {}
    for source in container.env_from or ():
        out |= {f"{source.prefix or ''}{key}": value for key, value in _env_from(pod, source, lookup).items()}
    for entry in container.env or ():
        if entry.value_from is None:
            out[entry.name] = expand_references(entry.value or "", out)
            continue
        value = _value_from(pod, uid, container, entry.value_from, lookup, node)
        if value is not None:
            out[entry.name] = value
    return out


def expand_references(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)`; `$$(NAME)` is `$(NAME)`, an unknown name stays, values are not expanded again."""

    def one(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return "$"
        return variables.get(name, match.group(0))

    return _REFERENCE.sub(one, text)


def field_value(pod: Pod, uid: str, path: str, node: Node) -> str:
    """The value of a `fieldRef`. Addresses are placeholders: model/sandbox.py."""
    meta, spec = pod.metadata, pod.spec
    if match := _SUBSCRIPT.match(path):
        return ((meta.labels if match.group(1) == "labels" else meta.annotations) or {}).get(match.group(2), "")
    values: dict[str, str] = {
        "metadata.name": meta.name or "",
        "metadata.namespace": meta.namespace or "",
        "metadata.uid": uid,
        "metadata.labels": _lines(meta.labels),
        "metadata.annotations": _lines(meta.annotations),
        "spec.nodeName": node.name,
        "spec.serviceAccountName": spec.service_account_name or "default",
        "status.hostIP": HOST_IP,
        "status.hostIPs": HOST_IP,
        "status.podIP": POD_IP,
        "status.podIPs": POD_IPS,
    }
    if path not in values:
        raise Unresolved("CreateContainerConfigError", f"unsupported fieldPath: {path}")
    return values[path]


def resource_value(container: Container, resource: str, divisor: str | None, node: Node) -> str:
    """The value of a `resourceFieldRef`, in units of `divisor`, rounded up. A missing limit is the node's."""
    scope, _, name = resource.partition(".")
    resources = container.resources
    declared = (resources.limits if scope == "limits" else resources.requests) if resources else None
    text = (declared or {}).get(name)
    unit = divisor if divisor not in (None, "", "0") else "1"
    if name == "cpu":
        amount = parse_millicores(text) if text is not None else node.cpu_millicores if scope == "limits" else 0
        return str(-(-amount // parse_millicores(unit)))
    amount = (
        parse_bytes(text) if text is not None else node.memory_bytes if (scope, name) == ("limits", "memory") else 0
    )
    return str(-(-amount // parse_bytes(unit)))


def contents(pod: Pod, kind: str, name: str, lookup: Lookup, *, optional: bool | None) -> Mapping[str, bytes] | None:
    """All keys of a ConfigMap or Secret of the pod's namespace; None when it is absent and may be."""
    found = lookup(Ref(kind, pod.metadata.namespace or "", name))
    if isinstance(found, ConfigMap | Secret):
        return found.contents()
    if optional:
        return None
    raise Unresolved("CreateContainerConfigError", f'{kind.lower()} "{name}" not found')


def _env_from(pod: Pod, source: object, lookup: Lookup) -> dict[str, str]:
    for kind in ("ConfigMap", "Secret"):
        reference = getattr(source, "config_map_ref" if kind == "ConfigMap" else "secret_ref")
        if reference is not None:
            keys = contents(pod, kind, reference.name, lookup, optional=reference.optional) or {}
            return {key: value.decode("utf-8", "surrogateescape") for key, value in sorted(keys.items())}
    return {}


def _value_from(pod: Pod, uid: str, container: Container, source: object, lookup: Lookup, node: Node) -> str | None:
    if (field := getattr(source, "field_ref", None)) is not None:
        return field_value(pod, uid, field.field_path, node)
    if (resource := getattr(source, "resource_field_ref", None)) is not None:
        return resource_value(
            _named(pod, resource.container_name, container), resource.resource, resource.divisor, node
        )
    for kind, attribute in (("ConfigMap", "config_map_key_ref"), ("Secret", "secret_key_ref")):
        reference = getattr(source, attribute, None)
        if reference is None:
            continue
        keys = contents(pod, kind, reference.name, lookup, optional=reference.optional)
        if keys is not None and reference.key in keys:
            return keys[reference.key].decode("utf-8", "surrogateescape")
        if reference.optional:
            return None
        raise Unresolved(
            "CreateContainerConfigError",
            f"couldn't find key {reference.key} in {kind} {pod.metadata.namespace}/{reference.name}",
        )
    raise Unresolved("CreateContainerConfigError", "this kind of valueFrom is not supported")


def _named(pod: Pod, name: str | None, default: Container) -> Container:
    every = (*(pod.spec.init_containers or ()), *pod.spec.containers)
    return next((c for c in every if c.name == name), default)


def _lines(pairs: Mapping[str, str] | None) -> str:
    """Labels or annotations as the downward API writes them: `key="escaped"`, a line each."""
    quoted = (f'{key}="{_escape(value)}"' for key, value in sorted((pairs or {}).items()))
    return "\n".join(quoted)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

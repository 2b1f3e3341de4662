"""The volumes of a pod: which directories its sandbox has, and the files in them.

Source of the file rules (items, modes, optional): kubelet's pkg/volume/{configmap,secret,projected,downwardapi}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.model.kinds import Pod
from reconciler.model.quantity import parse_bytes
from reconciler.model.sandbox import EmptyDir, File, Files, HostPath, Volume
from reconciler.model.volume import Volume as DeclaredVolume
from reconciler.plan.environment import Lookup, Node, Unresolved, contents, field_value, resource_value

_DEFAULT_MODE = 0o644


def resolve_volumes(pod: Pod, uid: str, lookup: Lookup, node: Node) -> tuple[Volume, ...]:
    """All volumes of a pod. Raises: Unresolved, reason FailedMount."""
    return tuple(_volume(pod, uid, volume, lookup, node) for volume in pod.spec.volumes or ())


def _volume(pod: Pod, uid: str, volume: DeclaredVolume, lookup: Lookup, node: Node) -> Volume:
    name = volume.name
    try:
        if volume.empty_dir is not None:
            size = volume.empty_dir.size_limit
            return EmptyDir(name, volume.empty_dir.medium or "", parse_bytes(size) if size is not None else None)
        if volume.host_path is not None:
            return HostPath(name, volume.host_path.path, volume.host_path.type or "")
        if volume.config_map is not None:
            source = volume.config_map
            mode = _mode(source.default_mode)
            return Files(name, tuple(_keys(pod, "ConfigMap", source.name, source, mode, lookup)))
        if volume.secret is not None:
            secret = volume.secret
            mode = _mode(secret.default_mode)
            return Files(name, tuple(_keys(pod, "Secret", secret.secret_name, secret, mode, lookup)), secret=True)
        if volume.downward_api is not None:
            mode = _mode(volume.downward_api.default_mode)
            return Files(name, tuple(_downward(pod, uid, volume.downward_api.items, mode, node)))
        if volume.projected is not None:
            return _projected(pod, uid, volume, lookup, node)
    except Unresolved as e:
        raise Unresolved("FailedMount", f'MountVolume.SetUp failed for volume "{name}": {e}') from e
    raise Unresolved("FailedMount", f'volume "{name}": {_type_of(volume)} volumes are not supported yet')


def _projected(pod: Pod, uid: str, volume: DeclaredVolume, lookup: Lookup, node: Node) -> Files:
    projected = volume.projected
    assert projected is not None
    mode = _mode(projected.default_mode)
    files: dict[str, File] = {}  # a later source wins over an earlier one at the same path
    secret = False
    for source in projected.sources or ():
        found: Iterable[File] = ()
        if source.config_map is not None:
            found = _keys(pod, "ConfigMap", source.config_map.name, source.config_map, mode, lookup)
        elif source.secret is not None:
            secret = True
            found = _keys(pod, "Secret", source.secret.name, source.secret, mode, lookup)
        elif source.downward_api is not None:
            found = _downward(pod, uid, source.downward_api.items, mode, node)
        else:
            raise Unresolved("FailedMount", f"a projected source of type {_type_of(source)} is not supported yet")
        files |= {file.path: file for file in found}
    return Files(volume.name, tuple(files[path] for path in sorted(files)), secret=secret)


def _keys(pod: Pod, kind: str, name: str | None, source: object, mode: int, lookup: Lookup) -> list[File]:
    """The chosen (or all) keys of a ConfigMap or Secret as files."""
    optional = getattr(source, "optional", None)
    keys: Mapping[str, bytes] | None = contents(pod, kind, name or "", lookup, optional=optional)
    if keys is None:
        return []
    items = getattr(source, "items", None)
    if not items:
        return [File(key, value, mode) for key, value in sorted(keys.items())]
    files = []
    for item in items:
        if item.key in keys:
            files.append(File(item.path, keys[item.key], _mode(item.mode, mode)))
        elif not optional:
            raise Unresolved("FailedMount", f"{kind.lower()} references non-existent config key: {item.key}")
    return sorted(files, key=lambda f: f.path)


def _downward(pod: Pod, uid: str, items: Iterable[object] | None, mode: int, node: Node) -> list[File]:
    files = []
    for item in items or ():
        field, resource = getattr(item, "field_ref", None), getattr(item, "resource_field_ref", None)
        if field is not None:
            text = field_value(pod, uid, field.field_path, node)
        elif resource is not None:
            container = next((c for c in pod.spec.containers if c.name == resource.container_name), None)
            if container is None:
                raise Unresolved("FailedMount", f'container "{resource.container_name}" not found in pod')
            text = resource_value(container, resource.resource, resource.divisor, node)
        else:
            continue
        files.append(File(getattr(item, "path", ""), text.encode(), _mode(getattr(item, "mode", None), mode)))
    return sorted(files, key=lambda f: f.path)


def _mode(declared: int | None, default: int = _DEFAULT_MODE) -> int:
    return declared if declared is not None else default


def _type_of(volume: object) -> str:
    """The name of the field that is set, as it is written in a manifest."""
    fields = getattr(type(volume), "model_fields", {})
    return next(
        (str(f.alias or n) for n, f in fields.items() if n != "name" and getattr(volume, n) is not None), "unknown"
    )

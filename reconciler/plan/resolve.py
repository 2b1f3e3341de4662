"""A declared Pod, with the ConfigMaps and Secrets it uses, to what a runtime is told to make.

This is where references become values. What cannot be resolved blocks the container (or the
sandbox) that needs it, with kubelet's reason, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from reconciler.model.container import Container
from reconciler.model.kinds import Pod, Secret
from reconciler.model.login import Login, parse_logins
from reconciler.model.quantity import parse_bytes, parse_millicores
from reconciler.model.ref import Ref
from reconciler.model.reference import normalize
from reconciler.model.sandbox import (
    ContainerConfig,
    Dns,
    Files,
    Mount,
    Port,
    Resources,
    SandboxConfig,
    Security,
    Volume,
)
from reconciler.plan import hashing
from reconciler.plan.environment import Lookup, Node, Unresolved, environment, expand_references
from reconciler.plan.pods import Blocked, Want, WantContainer
from reconciler.plan.volumes import resolve_volumes


def resolve(pod: Pod, uid: str, lookup: Lookup, node: Node, *, deleting: bool = False) -> Want:
    """Everything the node planner needs of one pod. Never raises."""
    spec = pod.spec
    ref = Ref("Pod", pod.metadata.namespace or "default", pod.metadata.name or "")
    blocked: Blocked | None = None
    volumes: tuple[Volume, ...] = ()
    try:
        volumes = resolve_volumes(pod, uid, lookup, node)
    except Unresolved as e:
        blocked = Blocked(e.reason, str(e))
    sandbox = _sandbox(pod, ref, volumes)
    files = {v.name: v for v in volumes if isinstance(v, Files)}
    inits = tuple(_container(pod, uid, c, files, lookup, node) for c in spec.init_containers or ())
    return Want(
        ref=ref,
        sandbox=sandbox,
        sandbox_hash=hashing.sandbox_hash(sandbox, [init.spec_hash for init in inits]),
        volume_hashes={name: hashing.volume_hash(volume) for name, volume in files.items()},
        containers=tuple(_container(pod, uid, c, files, lookup, node) for c in spec.containers),
        init_containers=inits,
        restart_policy=spec.restart_policy or "Always",
        grace_seconds=_grace_seconds(spec.termination_grace_period_seconds),
        logins=_logins(pod, ref.namespace, lookup),
        blocked=blocked,
        deleting=deleting,
    )


def uses(pod: Pod) -> frozenset[Ref]:
    """The ConfigMaps and Secrets whose content becomes part of the pod, or helps to pull its images."""
    return frozenset(_uses(pod))


def _uses(pod: Pod) -> Iterator[Ref]:
    spec, namespace = pod.spec, pod.metadata.namespace or "default"
    for secret in spec.image_pull_secrets:
        yield Ref("Secret", namespace, secret.name or "")
    for container in (*(spec.init_containers or ()), *spec.containers):
        for source in container.env_from or ():
            if source.config_map_ref is not None:
                yield Ref("ConfigMap", namespace, source.config_map_ref.name)
            if source.secret_ref is not None:
                yield Ref("Secret", namespace, source.secret_ref.name)
        for entry in container.env or ():
            if entry.value_from is not None and entry.value_from.config_map_key_ref is not None:
                yield Ref("ConfigMap", namespace, entry.value_from.config_map_key_ref.name)
            if entry.value_from is not None and entry.value_from.secret_key_ref is not None:
                yield Ref("Secret", namespace, entry.value_from.secret_key_ref.name)
    for volume in spec.volumes or ():
        if volume.config_map is not None:
            yield Ref("ConfigMap", namespace, volume.config_map.name)
        if volume.secret is not None:
            yield Ref("Secret", namespace, volume.secret.secret_name or "")
        for projection in (volume.projected.sources if volume.projected else None) or ():
            if projection.config_map is not None:
                yield Ref("ConfigMap", namespace, projection.config_map.name)
            if projection.secret is not None:
                yield Ref("Secret", namespace, projection.secret.name)


def _logins(pod: Pod, namespace: str, lookup: Lookup) -> tuple[Login, ...]:
    """What its imagePullSecrets hold. One that is not there or cannot be read is passed over, as kubelet does:
    the image may need none."""
    found: list[Login] = []
    for reference in pod.spec.image_pull_secrets:
        secret = lookup(Ref("Secret", namespace, reference.name or ""))
        for key in (".dockerconfigjson", ".dockercfg"):
            content = secret.contents().get(key) if isinstance(secret, Secret) else None
            with suppress(ValueError):
                found += parse_logins(content) if content else ()
    return tuple(found)


def _grace_seconds(declared: int | None) -> float:
    """The API takes a negative period, and makes it 1."""
    return 30.0 if declared is None else float(declared) if declared >= 0 else 1.0


def _sandbox(pod: Pod, ref: Ref, volumes: tuple[Volume, ...]) -> SandboxConfig:
    spec = pod.spec
    host_network = bool(spec.host_network)
    ports = tuple(
        Port(port.container_port, port.host_port, port.protocol or "TCP", port.host_ip or "")
        for container in spec.containers
        for port in container.ports or ()
        if port.host_port and not host_network
    )
    security = spec.security_context
    return SandboxConfig(
        pod=ref,
        hostname="" if host_network else (spec.hostname or ref.name)[:63].rstrip("-."),
        host_network=host_network,
        host_pid=bool(spec.host_pid),
        host_ipc=bool(spec.host_ipc),
        share_process_namespace=bool(spec.share_process_namespace),
        ports=ports,
        dns=_dns(pod),
        hosts=tuple((alias.ip, tuple(alias.hostnames or ())) for alias in spec.host_aliases or ()),
        sysctls=tuple((s.name, s.value) for s in (security.sysctls if security else None) or ()),
        volumes=volumes,
    )


def _dns(pod: Pod) -> Dns:
    config = pod.spec.dns_config
    if config is None:
        return Dns(from_host=pod.spec.dns_policy != "None")
    return Dns(
        from_host=pod.spec.dns_policy != "None",
        nameservers=tuple(config.nameservers or ()),
        searches=tuple(config.searches or ()),
        options=tuple(f"{o.name}:{o.value}" if o.value is not None else o.name for o in config.options or ()),
    )


def _container(
    pod: Pod, uid: str, container: Container, files: dict[str, Files], lookup: Lookup, node: Node
) -> WantContainer:
    blocked: Blocked | None = None
    variables: dict[str, str] = {}
    image = container.image or ""
    try:
        image = normalize(image)
        variables = environment(pod, uid, container, lookup, node)
    except ValueError as e:
        blocked = Blocked("InvalidImageName", str(e))
    except Unresolved as e:
        blocked = Blocked(e.reason, str(e))
    mounts = tuple(
        Mount(
            volume=mount.name,
            path=mount.mount_path,
            read_only=bool(mount.read_only),
            sub_path=mount.sub_path or expand_references(mount.sub_path_expr or "", variables),
            propagation=mount.mount_propagation or "None",
        )
        for mount in container.volume_mounts or ()
    )
    config = ContainerConfig(
        name=container.name,
        image=image,
        command=tuple(expand_references(word, variables) for word in container.command or ()),
        args=tuple(expand_references(word, variables) for word in container.args or ()),
        env=tuple(variables.items()),
        working_dir=container.working_dir or "",
        mounts=mounts,
        resources=_resources(container),
        security=_security(pod, container),
        stdin=bool(container.stdin),
        stdin_once=bool(container.stdin_once),
        tty=bool(container.tty),
        stop_signal=_stop_signal(container),
        termination_message_path=container.termination_message_path or "/dev/termination-log",
        files_hash=hashing.files_hash(files[name] for name in sorted({m.volume for m in mounts} & files.keys())),
    )
    return WantContainer(config, hashing.container_hash(config), _pull_policy(container, image), blocked)


def _pull_policy(container: Container, image: str) -> str:
    return "Never" if image.startswith("localhost/") else container.image_pull_policy or "IfNotPresent"


def _stop_signal(container: Container) -> str:
    lifecycle = container.lifecycle
    return str((lifecycle.stop_signal if lifecycle else None) or "")


def _resources(container: Container) -> Resources:
    requests = (container.resources.requests if container.resources else None) or {}
    limits = (container.resources.limits if container.resources else None) or {}
    return Resources(
        cpu_request_millicores=parse_millicores(requests["cpu"]) if "cpu" in requests else None,
        cpu_limit_millicores=parse_millicores(limits["cpu"]) if "cpu" in limits else None,
        memory_limit_bytes=parse_bytes(limits["memory"]) if "memory" in limits else None,
    )


def _security(pod: Pod, container: Container) -> Security:
    """The container's securityContext over the pod's."""
    outer, inner = pod.spec.security_context, container.security_context

    def either(name: str) -> object:
        value = getattr(inner, name, None)
        return value if value is not None else getattr(outer, name, None)

    groups = list((outer.supplemental_groups if outer else None) or ())
    if outer is not None and outer.fs_group is not None:
        groups.append(outer.fs_group)
    user, group, profile = either("run_as_user"), either("run_as_group"), either("seccomp_profile")
    capabilities = inner.capabilities if inner else None
    return Security(
        user=user if isinstance(user, int) else None,
        group=group if isinstance(group, int) else None,
        supplemental_groups=tuple(dict.fromkeys(groups)),
        run_as_non_root=bool(either("run_as_non_root")),
        privileged=bool(inner and inner.privileged),
        read_only_root=bool(inner and inner.read_only_root_filesystem),
        no_new_privileges=bool(inner and inner.allow_privilege_escalation is False),
        capabilities_add=_capabilities(capabilities.add if capabilities else None),
        capabilities_drop=_capabilities(capabilities.drop if capabilities else None),
        seccomp=_seccomp(profile),
        unmasked_proc=bool(inner and inner.proc_mount == "Unmasked"),
    )


def _capabilities(names: Iterable[str] | None) -> tuple[str, ...]:
    return tuple(sorted({name.upper().removeprefix("CAP_") for name in names or ()}))


def _seccomp(profile: object) -> str:
    kind = str(getattr(profile, "type", None) or "RuntimeDefault")
    return str(getattr(profile, "localhost_profile", "")) if kind == "Localhost" else kind

"""Rules of one container: its environment, ports, mounts and security context."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from reconciler.manifest.rules import formats
from reconciler.manifest.rules.probe import check_lifecycle, check_probes
from reconciler.manifest.rules.report import Report, shown
from reconciler.manifest.rules.resources import check_resources
from reconciler.manifest.yamltree import Location
from reconciler.model import quantity
from reconciler.model.container import (
    Container,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    ResourceFieldSelector,
    VolumeMount,
)
from reconciler.model.pod import PodSpec
from reconciler.model.security import AppArmorProfile, SeccompProfile, SecurityContext
from reconciler.model.volume import Volume

_ENV_FIELDS = frozenset(
    {
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
        "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
    }
)  # fmt: skip
VOLUME_FIELDS = frozenset(
    {"metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations"}
)
_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")
_DIVISORS = {
    "cpu": ("1m", "1"),
    "memory": ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"),
}
_PVC_SOURCES = ("persistent_volume_claim", "ephemeral")


def check_container(
    container: Container,
    spec: PodSpec,
    volumes: Mapping[str, Volume],
    at: Location,
    report: Report,
    *,
    is_pod: bool,
) -> None:
    """`volumes` are those of the pod, by name. Its own name is checked where all of the pod's are known."""
    if not container.image:
        report.required((*at, "image"), f"the image that container {shown(container.name)} runs")
    elif is_pod and container.image != container.image.strip():
        report.refuse((*at, "image"), container.image, "must not begin or end with white space")
    _check_ports(container, at, report)
    for index, variable in enumerate(container.env):
        _check_env(variable, spec, (*at, "env", index), report)
    for index, source in enumerate(container.env_from):
        _check_env_from(source, (*at, "envFrom", index), report)
    check_mounts(container, volumes, at, report)
    claims = {claim.name for claim in spec.resource_claims}
    check_resources(container.resources, (*at, "resources"), report, claims=claims)
    for index, policy in enumerate(container.resize_policy):
        if policy.resource_name not in ("cpu", "memory"):
            report.refuse((*at, "resizePolicy", index, "resourceName"), policy.resource_name, "must be cpu or memory")
        if policy.restart_policy is None:
            report.required((*at, "resizePolicy", index, "restartPolicy"), "one of NotRequired, RestartContainer")
    check_probes(container, at, report)
    if container.lifecycle is not None:
        check_lifecycle(container.lifecycle, spec, (*at, "lifecycle"), report)
    if container.security_context is not None:
        check_security(container.security_context, spec, (*at, "securityContext"), report)
    if container.restart_policy_rules and container.restart_policy is None:
        report.required((*at, "restartPolicy"), "restartPolicyRules are exceptions to it")


def _check_ports(container: Container, at: Location, report: Report) -> None:
    names: set[str] = set()
    for index, port in enumerate(container.ports):
        here = (*at, "ports", index)
        if port.name:
            report.check((*here, "name"), port.name, formats.port_name(port.name))
            if port.name in names:
                report.refuse((*here, "name"), port.name, "is the name of another port of this container")
            names.add(port.name)
        if not port.container_port:
            report.required((*here, "containerPort"), "the port that the container listens on")
        else:
            report.between((*here, "containerPort"), port.container_port, 1, 65535)
        if port.host_port:
            report.between((*here, "hostPort"), port.host_port, 1, 65535)
        if port.host_ip:
            report.check((*here, "hostIP"), port.host_ip, formats.ip(port.host_ip))


def _check_env(variable: EnvVar, spec: PodSpec, at: Location, report: Report) -> None:
    if not variable.name:
        report.required((*at, "name"), "the name of the variable")
    else:
        report.check((*at, "name"), variable.name, formats.env_name(variable.name))
    if variable.value_from is None:
        return
    if variable.value:
        report.error((*at, "valueFrom"), "must be left out when value is given")
        return
    _check_value_from(variable.value_from, spec, (*at, "valueFrom"), report)


def _check_value_from(source: EnvVarSource, spec: PodSpec, at: Location, report: Report) -> None:
    if not exactly_one(source, at, "where the value comes from", report):
        return
    if source.field_ref is not None:
        check_field_path(source.field_ref.field_path, _ENV_FIELDS, (*at, "fieldRef", "fieldPath"), report)
    elif source.resource_field_ref is not None:
        check_resource_field(source.resource_field_ref, (*at, "resourceFieldRef"), report)
    elif source.file_key_ref is not None:
        for field, value in (
            ("volumeName", source.file_key_ref.volume_name),
            ("path", source.file_key_ref.path),
            ("key", source.file_key_ref.key),
        ):
            if not value:
                report.required((*at, "fileKeyRef", field), "which variable of which env file it is")
    else:
        where, ref = (
            ("configMapKeyRef", source.config_map_key_ref)
            if source.config_map_key_ref is not None
            else ("secretKeyRef", source.secret_key_ref)
        )
        if ref is None:
            return
        _check_reference(ref.name, (*at, where), report)
        if not ref.key:
            report.required((*at, where, "key"), "the key whose value it is")
        else:
            report.check((*at, where, "key"), ref.key, formats.config_key(ref.key))


def exactly_one(source: object, at: Location, what: str, report: Report) -> bool:
    """Whether one field of a union is set; reports when none is, or several are."""
    fields = type(source).model_fields  # type: ignore[attr-defined]
    given = [field.alias or name for name, field in fields.items() if getattr(source, name) is not None]
    if len(given) == 1:
        return True
    if not given:
        choices = ", ".join(field.alias or name for name, field in fields.items())
        report.error(at, f"says nothing: {what} must be one of {choices}")
    else:
        report.error(at, f"has {' and '.join(given)}, and only one of them can be used")
    return False


def check_field_path(path: str, known: frozenset[str], at: Location, report: Report) -> None:
    """A path of the downward API."""
    if not path:
        report.required(at, "the field of the pod, such as metadata.name")
    elif keyed := _KEYED.fullmatch(path):
        fault = formats.qualified(keyed[2].lower() if keyed[1] == "annotations" else keyed[2])
        if fault:
            report.refuse(at, path, f"has a key that {fault}")
    elif path not in known:
        keyed_paths = ["metadata.labels['KEY']", "metadata.annotations['KEY']"]
        report.refuse(at, path, f"is not one of {', '.join([*sorted(known), *keyed_paths])}")


def check_resource_field(ref: ResourceFieldSelector, at: Location, report: Report) -> None:
    side, _, resource = ref.resource.partition(".")
    if not ref.resource:
        report.required((*at, "resource"), "a request or limit, such as limits.memory")
        return
    huge = resource.startswith("hugepages-")
    if side not in ("limits", "requests") or not (huge or resource in ("cpu", "memory", "ephemeral-storage")):
        report.refuse(
            (*at, "resource"),
            ref.resource,
            "is not limits. or requests. with cpu, memory, ephemeral-storage or hugepages-",
        )
        return
    if ref.divisor != "0":
        allowed = _DIVISORS["cpu" if resource == "cpu" else "memory"]
        if not any(quantity.compare(ref.divisor, each) == 0 for each in allowed):
            report.refuse((*at, "divisor"), ref.divisor, f"is not one of {', '.join(allowed)}")


def _check_env_from(source: EnvFromSource, at: Location, report: Report) -> None:
    if source.prefix:
        report.check((*at, "prefix"), source.prefix, formats.env_name(source.prefix))
    config, secret = source.config_map_ref, source.secret_ref
    if config is not None and secret is not None:
        report.error(at, "has configMapRef and secretRef, and only one of them can be used")
    elif config is None and secret is None:
        report.error(at, "says nothing: the variables come from a configMapRef or a secretRef")
    elif config is not None:
        _check_reference(config.name, (*at, "configMapRef"), report)
    elif secret is not None:
        _check_reference(secret.name, (*at, "secretRef"), report)


def _check_reference(name: str, at: Location, report: Report) -> None:
    """The name of a ConfigMap or Secret that the field at `at` refers to."""
    if not name:
        report.required((*at, "name"), "the name of the " + ("Secret" if str(at[-1])[0] == "s" else "ConfigMap"))
    else:
        report.check((*at, "name"), name, formats.subdomain(name))


def check_mounts(container: Container, volumes: Mapping[str, Volume], at: Location, report: Report) -> None:
    paths: set[str] = set()
    for index, mount in enumerate(container.volume_mounts):
        here = (*at, "volumeMounts", index)
        _check_mount(mount, container, volumes, here, report)
        if mount.mount_path:
            if mount.mount_path in paths:
                report.refuse((*here, "mountPath"), mount.mount_path, "is the path of another mount of this container")
            paths.add(mount.mount_path)
    mounted = {mount.name for mount in container.volume_mounts}
    for index, device in enumerate(container.volume_devices):
        here = (*at, "volumeDevices", index)
        volume = volumes.get(device.name)
        if not device.name:
            report.required((*here, "name"), "the name of a volume of the pod")
        elif volume is None:
            report.error((*here, "name"), _no_volume(device.name, volumes))
        elif not any(getattr(volume, source) is not None for source in _PVC_SOURCES):
            report.refuse((*here, "name"), device.name, "must be a persistentVolumeClaim to be used as a device")
        if device.name in mounted:
            report.refuse((*here, "name"), device.name, "is mounted already, and cannot be a device too")
        if not device.device_path:
            report.required((*here, "devicePath"), "the path of the device in the container")
        else:
            if device.device_path in paths:
                report.refuse((*here, "devicePath"), device.device_path, "is the path of another volume")
            report.check((*here, "devicePath"), device.device_path, formats.no_dot_dot(device.device_path))


def _check_mount(
    mount: VolumeMount, container: Container, volumes: Mapping[str, Volume], at: Location, report: Report
) -> None:
    if not mount.name:
        report.required((*at, "name"), "the name of a volume of the pod")
    elif mount.name not in volumes:
        report.error((*at, "name"), _no_volume(mount.name, volumes))
    if not mount.mount_path:
        report.required((*at, "mountPath"), "the path in the container")
    if mount.sub_path and mount.sub_path_expr:
        report.error((*at, "subPathExpr"), "must be left out when subPath is given")
    for field, path in (("subPath", mount.sub_path), ("subPathExpr", mount.sub_path_expr)):
        if path:
            report.check((*at, field), path, formats.local(path))
    security = container.security_context
    if mount.mount_propagation == "Bidirectional" and not (security and security.privileged):
        report.error((*at, "mountPropagation"), "Bidirectional is for privileged containers only")
    if mount.recursive_read_only in ("IfPossible", "Enabled"):
        if not mount.read_only:
            report.error((*at, "recursiveReadOnly"), "needs readOnly: true")
        if mount.mount_propagation not in (None, "None"):
            report.error((*at, "recursiveReadOnly"), "needs mountPropagation None")


def _no_volume(name: str, volumes: Mapping[str, Volume]) -> str:
    known = f"its volumes are {', '.join(sorted(volumes))}" if volumes else "it declares none"
    return f"the pod has no volume {shown(name)}; {known}"


def check_security(security: SecurityContext, spec: PodSpec, at: Location, report: Report) -> None:
    check_ids(security.run_as_user, security.run_as_group, at, report)
    privileged = security.privileged is True
    added = security.capabilities.add if security.capabilities else ()
    if security.allow_privilege_escalation is False:
        if privileged:
            report.error((*at, "allowPrivilegeEscalation"), "must not be false when privileged is true")
        if "CAP_SYS_ADMIN" in added:
            report.error((*at, "allowPrivilegeEscalation"), "must not be false when CAP_SYS_ADMIN is added")
    if security.proc_mount == "Unmasked" and spec.host_users is not False:
        report.error((*at, "procMount"), "Unmasked needs hostUsers: false in the pod")
    check_profiles(security.seccomp_profile, security.app_armor_profile, at, report)


def check_ids(user: int | None, group: int | None, at: Location, report: Report) -> None:
    report.between((*at, "runAsUser"), user, 0, formats.MOST_UID)
    report.between((*at, "runAsGroup"), group, 0, formats.MOST_UID)


def check_profiles(
    seccomp: SeccompProfile | None, app_armor: AppArmorProfile | None, at: Location, report: Report
) -> None:
    profiles: Sequence[tuple[str, SeccompProfile | AppArmorProfile | None]] = (
        ("seccompProfile", seccomp),
        ("appArmorProfile", app_armor),
    )
    for field, profile in profiles:
        if profile is None:
            continue
        if profile.type is None:
            report.required((*at, field, "type"), "one of Localhost, RuntimeDefault, Unconfined")
        elif profile.type == "Localhost":
            if not profile.localhost_profile:
                report.required((*at, field, "localhostProfile"), "the profile to use")
            elif field == "seccompProfile":
                here = (*at, field, "localhostProfile")
                report.check(here, profile.localhost_profile, formats.local(profile.localhost_profile))
        elif profile.localhost_profile is not None:
            report.error((*at, field, "localhostProfile"), "must be left out when the type is not Localhost")

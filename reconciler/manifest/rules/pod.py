"""Rules of the spec of a pod: what its parts must agree on."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.manifest.rules import formats
from reconciler.manifest.rules.container import check_container, check_ids, check_profiles
from reconciler.manifest.rules.metadata import check_labels
from reconciler.manifest.rules.report import Report
from reconciler.manifest.rules.resources import check_resources
from reconciler.manifest.rules.scheduling import check_scheduling
from reconciler.manifest.rules.volume import check_volumes
from reconciler.manifest.yamltree import Location
from reconciler.model.container import Container
from reconciler.model.pod import PodSpec

_MOST_NAMESERVERS = 3
_MOST_SEARCHES = 32
_MOST_SEARCH_CHARACTERS = 2048
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "fs.mqueue.", "kernel.sem")


def check_pod_spec(spec: PodSpec, at: Location, report: Report, *, is_pod: bool) -> None:
    """`is_pod` is False for a template."""
    volumes = check_volumes(spec, at, report, is_pod=is_pod)
    if not spec.containers:
        report.required((*at, "containers"), "a pod has at least one container")
    names: set[str] = set()
    for container, here in _containers(spec, at):
        if not container.name:
            report.required((*here, "name"), "every container has a name")
        else:
            report.check((*here, "name"), container.name, formats.label(container.name))
            if container.name in names:
                report.refuse((*here, "name"), container.name, "is the name of another container of this pod")
            names.add(container.name)
        check_container(container, spec, volumes, here, report, is_pod=is_pod)
    for index, container in enumerate(spec.init_containers):
        if container.restart_policy != "Always":
            _check_ends(container, (*at, "initContainers", index), report)
    if spec.ephemeral_containers:
        report.error((*at, "ephemeralContainers"), "must be left out: they are added to running pods only")
    _check_host_ports(spec, at, report, is_pod=is_pod)
    _check_security(spec, at, report)
    _check_network(spec, at, report)
    _check_names(spec, at, report)
    check_scheduling(spec, at, report)
    report.between((*at, "activeDeadlineSeconds"), spec.active_deadline_seconds, 1, 2**31 - 1)
    claims: set[str] = set()
    for index, claim in enumerate(spec.resource_claims):
        here = (*at, "resourceClaims", index)
        report.check((*here, "name"), claim.name, formats.label(claim.name))
        if claim.name in claims:
            report.refuse((*here, "name"), claim.name, "is the name of another claim of this pod")
        claims.add(claim.name)
        if (claim.resource_claim_name is None) == (claim.resource_claim_template_name is None):
            report.error(here, "needs either resourceClaimName or resourceClaimTemplateName")
    if spec.resources is not None:
        check_resources(spec.resources, (*at, "resources"), report, claims=frozenset())


def _containers(spec: PodSpec, at: Location) -> Iterator[tuple[Container, Location]]:
    for field, containers in (("initContainers", spec.init_containers), ("containers", spec.containers)):
        for index, container in enumerate(containers):
            yield container, (*at, field, index)


def _check_ends(container: Container, at: Location, report: Report) -> None:
    """An init container that is no sidecar ends before the others begin."""
    for field, given in (
        ("livenessProbe", container.liveness_probe),
        ("readinessProbe", container.readiness_probe),
        ("startupProbe", container.startup_probe),
        ("lifecycle", container.lifecycle),
    ):
        if given is not None:
            report.error((*at, field), "must be left out of init containers without restartPolicy: Always")


def _check_host_ports(spec: PodSpec, at: Location, report: Report, *, is_pod: bool) -> None:
    """Not of init containers, of which only one runs at a time."""
    taken: set[tuple[str, str, int]] = set()
    for number, container in enumerate(spec.containers):
        for index, port in enumerate(container.ports):
            place = (*at, "containers", number, "ports", index, "hostPort")
            if spec.host_network and (is_pod or port.host_port) and port.host_port != port.container_port:
                report.refuse(place, port.host_port, "must equal containerPort, because the pod uses hostNetwork")
            if port.host_port:
                key = (port.protocol, port.host_ip, port.host_port)
                if key in taken:
                    report.refuse(place, port.host_port, "is used by another port of this pod")
                taken.add(key)


def _check_security(spec: PodSpec, at: Location, report: Report) -> None:
    security, here = spec.security_context, (*at, "securityContext")
    if spec.share_process_namespace and spec.host_pid:
        report.error((*at, "shareProcessNamespace"), "must not be true together with hostPID")
    if spec.host_users is False:
        for field, shared in (
            ("hostNetwork", spec.host_network),
            ("hostPID", spec.host_pid),
            ("hostIPC", spec.host_ipc),
        ):
            if shared:
                report.error((*at, "hostUsers"), f"must not be false when {field} is true")
    check_ids(security.run_as_user, security.run_as_group, here, report)
    report.between((*here, "fsGroup"), security.fs_group, 0, formats.MOST_UID)
    for index, group in enumerate(security.supplemental_groups):
        report.between((*here, "supplementalGroups", index), group, 0, formats.MOST_UID)
    check_profiles(security.seccomp_profile, security.app_armor_profile, here, report)
    names: set[str] = set()
    for index, sysctl in enumerate(security.sysctls):
        place = (*here, "sysctls", index, "name")
        name = sysctl.name.replace("/", ".")
        if not name:
            report.required(place, "the name of the sysctl")
            continue
        report.check(place, sysctl.name, formats.sysctl(sysctl.name))
        if name in names:
            report.refuse(place, sysctl.name, "is set twice")
        names.add(name)
        if spec.host_network and name.startswith("net."):
            report.refuse(place, sysctl.name, "belongs to the host, because the pod uses hostNetwork")
        if spec.host_ipc and name.startswith(_IPC_SYSCTLS):
            report.refuse(place, sysctl.name, "belongs to the host, because the pod uses hostIPC")


def _check_network(spec: PodSpec, at: Location, report: Report) -> None:
    for index, alias in enumerate(spec.host_aliases):
        here = (*at, "hostAliases", index)
        report.check((*here, "ip"), alias.ip, formats.ip(alias.ip))
        for position, hostname in enumerate(alias.hostnames):
            report.check((*here, "hostnames", position), hostname, formats.subdomain(hostname))
    dns, here = spec.dns_config, (*at, "dnsConfig")
    if spec.dns_policy == "None" and not (dns and dns.nameservers):
        report.required((*here, "nameservers"), "with dnsPolicy None, at least one name server")
    if dns is None:
        return
    if len(dns.nameservers) > _MOST_NAMESERVERS:
        report.error((*here, "nameservers"), f"too many: resolv.conf has at most {_MOST_NAMESERVERS}")
    for index, server in enumerate(dns.nameservers):
        report.check((*here, "nameservers", index), server, formats.ip(server))
    if len(dns.searches) > _MOST_SEARCHES or len(" ".join(dns.searches)) > _MOST_SEARCH_CHARACTERS:
        report.error(
            (*here, "searches"),
            f"too long: at most {_MOST_SEARCHES} paths of {_MOST_SEARCH_CHARACTERS} characters together",
        )
    for index, search in enumerate(dns.searches):
        report.check((*here, "searches", index), search, formats.search_domain(search))
    for index, option in enumerate(dns.options):
        if not option.name:
            report.required((*here, "options", index, "name"), "an option of resolv.conf, such as ndots")


def _check_names(spec: PodSpec, at: Location, report: Report) -> None:
    for field, name in (("hostname", spec.hostname), ("subdomain", spec.subdomain)):
        if name:
            report.check((*at, field), name, formats.label(name))
    for field, name in (
        ("serviceAccountName", spec.service_account_name),
        ("nodeName", spec.node_name),
        ("priorityClassName", spec.priority_class_name),
        ("runtimeClassName", spec.runtime_class_name or ""),
        ("hostnameOverride", spec.hostname_override or ""),
    ):
        if name:
            report.check((*at, field), name, formats.subdomain(name))
    check_labels(spec.node_selector, (*at, "nodeSelector"), report)
    for index, gate in enumerate(spec.readiness_gates):
        here = (*at, "readinessGates", index, "conditionType")
        report.check(here, gate.condition_type, formats.qualified(gate.condition_type))

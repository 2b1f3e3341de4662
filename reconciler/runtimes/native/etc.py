"""The files under /etc that a pod shares: hosts, hostname, resolv.conf. Pure, text in and out."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.model.sandbox import Dns

_NAMESERVERS, _SEARCHES = 3, 32  # what the C library reads, and what Kubernetes allows


def render_hosts(addresses: Sequence[str], hostname: str, extra: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    """/etc/hosts of a pod with its own network. `extra` is hostAliases."""
    lines = [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "ff00::0\tip6-mcastprefix",
        "ff02::1\tip6-allnodes",
        "ff02::2\tip6-allrouters",
        *(f"{address}\t{hostname}" for address in addresses if hostname),
    ]
    return "\n".join([*lines, *_extra(extra)]) + "\n"


def extend_hosts(host: str, extra: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    """/etc/hosts of a pod in the host's network: the host's own, with hostAliases."""
    return "\n".join([host.rstrip("\n"), *_extra(extra)]) + "\n"


def _extra(extra: Sequence[tuple[str, tuple[str, ...]]]) -> list[str]:
    return [f"{address}\t{' '.join(names)}" for address, names in extra]


def render_resolv_conf(dns: Dns, host: str, *, own_network: bool) -> str:
    """resolv.conf: what the pod adds to the host's. A resolver on the host's loopback cannot be
    reached from a pod with its own network, and is left out there."""
    nameservers, searches, options = list(dns.nameservers), list(dns.searches), list(dns.options)
    if dns.from_host:
        for line in host.splitlines():
            key, *values = line.split("#")[0].split(";")[0].split()[:33] or [""]
            if key == "nameserver":
                nameservers += [v for v in values[:1] if not (own_network and v.startswith(("127.", "::1")))]
            elif key in ("search", "domain"):
                searches += values
            elif key == "options":
                names = {option.split(":")[0] for option in dns.options}
                options += [option for option in values if option.split(":")[0] not in names]
    lines = [f"nameserver {address}" for address in _unique(nameservers)[:_NAMESERVERS]]
    if searches:
        lines.append(f"search {' '.join(_unique(searches)[:_SEARCHES])}")
    if options:
        lines.append(f"options {' '.join(_unique(options))}")
    return "\n".join(lines) + "\n" if lines else ""


def _unique(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(values))

"""The pod's own /etc files."""

from __future__ import annotations

from reconciler.model.sandbox import Dns
from reconciler.runtimes.native.etc import extend_hosts, render_hosts, render_resolv_conf

HOST = """\
# a comment
nameserver 127.0.0.53
nameserver 10.1.1.1 # inline
search corp.example example.org
options ndots:1 edns0
"""


def test_hosts() -> None:
    lines = render_hosts(["10.0.0.9"], "web-0", [("1.2.3.4", ("db", "db.local"))]).splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[-2:] == ["10.0.0.9\tweb-0", "1.2.3.4\tdb db.local"]


def test_hosts_in_the_hosts_network() -> None:
    assert extend_hosts("127.0.0.1 localhost\n", [("1.2.3.4", ("db",))]) == "127.0.0.1 localhost\n1.2.3.4\tdb\n"


def test_resolv_conf_adds_to_the_hosts() -> None:
    dns = Dns(nameservers=("9.9.9.9",), searches=("my.example",), options=("ndots:5",))
    assert render_resolv_conf(dns, HOST, own_network=True) == (
        "nameserver 9.9.9.9\nnameserver 10.1.1.1\nsearch my.example corp.example example.org\noptions ndots:5 edns0\n"
    )


def test_loopback_resolvers_are_reached_from_the_hosts_network_only() -> None:
    assert "127.0.0.53" in render_resolv_conf(Dns(), HOST, own_network=False)
    assert "127.0.0.53" not in render_resolv_conf(Dns(), HOST, own_network=True)


def test_none_of_the_hosts() -> None:
    assert render_resolv_conf(Dns(from_host=False, nameservers=("8.8.8.8",)), HOST, own_network=True) == (
        "nameserver 8.8.8.8\n"
    )

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.sandbox import Port
from reconciler.runtimes.native.net.ruleset import moved_udp_ports, render, render_removal

CIDR = IPv4Network("10.201.0.0/16")
A, B = IPv4Address("10.201.0.2"), IPv4Address("10.201.0.3")

ports = st.builds(
    Port,
    st.integers(1, 65535),
    st.integers(1, 65535),
    st.sampled_from(["TCP", "UDP", "SCTP"]),
    st.sampled_from(["", "0.0.0.0", "127.0.0.1", "192.0.2.2"]),
)


def host_ports(published) -> list[str]:
    text = render("reconciler_x", "rec-x", CIDR, published)
    return [line.strip() for line in text.splitlines() if "dnat to" in line]


def test_render_without_host_ports() -> None:
    assert (
        render("reconciler_x", "rec-x", CIDR, {})
        == """\
add table ip reconciler_x
delete table ip reconciler_x
table ip reconciler_x {
	chain guard {
		type filter hook prerouting priority raw; policy accept;
		iifname "rec-x" ip daddr 127.0.0.0/8 drop
	}
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local jump hostports
	}
	chain output {
		type nat hook output priority -100; policy accept;
		fib daddr type local jump hostports
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname != "rec-x" ip saddr 10.201.0.0/16 ip daddr != 10.201.0.0/16 masquerade
		oifname "rec-x" ip saddr 127.0.0.0/8 masquerade
		oifname "rec-x" ip saddr 10.201.0.0/16 ct status dnat masquerade
	}
	chain hostports {

	}
}
"""
    )


def test_render_removal_is_safe_without_a_table() -> None:
    assert render_removal("reconciler_x") == "add table ip reconciler_x\ndelete table ip reconciler_x\n"


def test_a_port_of_one_address_stands_before_that_of_every_address() -> None:
    assert host_ports({"a": (A, (Port(80, 8080),)), "b": (B, (Port(81, 8080, host_ip="127.0.0.1"),))}) == [
        "ip daddr 127.0.0.1 tcp dport 8080 dnat to 10.201.0.3:81",
        "tcp dport 8080 dnat to 10.201.0.2:80",
    ]


def test_udp_and_sctp() -> None:
    assert host_ports({"a": (A, (Port(53, 53, "UDP"), Port(54, 54, "SCTP")))}) == [
        "udp dport 53 dnat to 10.201.0.2:53",
        "sctp dport 54 dnat to 10.201.0.2:54",
    ]


def test_an_ipv6_host_address_gets_no_rule() -> None:
    assert host_ports({"a": (A, (Port(80, 8080, host_ip="fd00::1"),))}) == []


@given(published=st.dictionaries(st.text("abc", min_size=1), st.lists(ports)), order=st.randoms())
def test_the_text_does_not_depend_on_order(published, order) -> None:
    shuffled = list(published)
    order.shuffle(shuffled)
    first = {key: (A, tuple(published[key])) for key in published}
    second = {key: (A, tuple(reversed(published[key]))) for key in shuffled}
    assert host_ports(first) == host_ports(second)


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        pytest.param({}, {"a": (A, (Port(53, 5353, "UDP"),))}, [5353], id="new"),
        pytest.param({"a": (A, (Port(53, 5353, "UDP"),))}, {}, [5353], id="gone"),
        pytest.param(
            {"a": (A, (Port(53, 5353, "UDP"),))}, {"b": (B, (Port(53, 5353, "UDP"),))}, [5353], id="to another pod"
        ),
        pytest.param(
            {"a": (A, (Port(53, 5353, "UDP"),))}, {"a": (A, (Port(54, 5353, "UDP"),))}, [5353], id="to another port"
        ),
        pytest.param({"a": (A, (Port(53, 5353, "UDP"),))}, {"b": (A, (Port(53, 5353, "UDP"),))}, [], id="same address"),
        pytest.param({}, {"a": (A, (Port(80, 8080),))}, [], id="not TCP"),
    ],
)
def test_moved_udp_ports(before, after, moved: list[int]) -> None:
    assert moved_udp_ports(before, after) == moved

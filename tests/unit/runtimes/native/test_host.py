from __future__ import annotations

import json

import pytest

from reconciler.errors import HostError
from reconciler.runtimes.native import host, tools
from reconciler.runtimes.native.host import parse_forward_drops


def chain(table: str, name: str, hook: str = "forward", policy: str = "drop", family: str = "ip") -> object:
    return {"chain": {"family": family, "table": table, "name": name, "hook": hook, "policy": policy, "handle": 1}}


@pytest.mark.parametrize(
    ("chains", "expected"),
    [
        ([], ()),
        ([chain("filter", "FORWARD")], ("ip filter FORWARD",)),
        ([chain("filter", "FORWARD", policy="accept")], ()),
        ([chain("filter", "INPUT", hook="input")], ()),
        ([{"chain": {"family": "ip", "table": "filter", "name": "DOCKER", "handle": 2}}], ()),
        (
            [chain("firewalld", "filter_FORWARD", policy="accept", family="inet")],
            ("inet firewalld filter_FORWARD",),
        ),
    ],
)
def test_parse_forward_drops(chains, expected) -> None:
    assert parse_forward_drops(json.dumps({"nftables": [{"metainfo": {}}, *chains]})) == expected


def test_parse_forward_drops_of_nothing() -> None:
    assert parse_forward_drops("") == ()


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A PATH on which only chosen programs are, on a machine where we are root."""

    def only(*names: str) -> None:
        for name in names:
            (tmp_path / name).touch(mode=0o755)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "_SYSTEM_PATHS", str(tmp_path))
    monkeypatch.setattr(tools, "distributions", lambda: ("debian",))
    monkeypatch.setattr(host.os, "geteuid", lambda: 0)
    monkeypatch.setattr(host, "_kernel_has_overlay", lambda: True)
    return only


def test_require_host_is_content_with_what_the_engine_needs(programs) -> None:
    programs("crun", "conmon", "nft")
    host.require_host()


def test_require_host_says_all_at_once(programs, monkeypatch) -> None:
    monkeypatch.setattr(host.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(host, "_kernel_has_overlay", lambda: False)
    with pytest.raises(HostError) as caught:
        host.require_host()
    assert str(caught.value) == (
        "containers cannot run here: it needs root: use sudo; crun or runc, conmon and nft not installed: "
        "apt install crun conmon nftables; no overlayfs: modprobe overlay, or boot a kernel that has it"
    )


def test_require_names_the_package_of_a_program(programs) -> None:
    with pytest.raises(HostError, match="nft is not installed: apt install nftables"):
        tools.require("nft")

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import ConflictError
from reconciler.plan.addresses import choose_pod_cidr, gateway_of, pick, settle_pod_cidr

SMALL = IPv4Network("10.9.0.0/28")  # .2 to .14 are for pods

networks = st.builds(
    lambda number, prefix: IPv4Network((number >> (32 - prefix) << (32 - prefix), prefix)),
    st.integers(1 << 24, (1 << 32) - 1),
    st.integers(24, 32),
)


def ip(last: int) -> IPv4Address:
    return SMALL.network_address + last


@pytest.mark.parametrize(
    ("taken", "preferred", "expected"),
    [
        pytest.param([], None, 2, id="the first after the gateway"),
        pytest.param([2, 3, 5], None, 4, id="the first gap"),
        pytest.param([], 9, 9, id="preferred"),
        pytest.param([9, 10], 9, 11, id="the next after a preferred one that is taken"),
        pytest.param([13, 14], 13, 2, id="wraps around"),
        pytest.param([], 0, 2, id="never the network"),
        pytest.param([], 1, 2, id="never the gateway"),
        pytest.param([], 15, 2, id="never the broadcast"),
        pytest.param([], 200, 2, id="preferred from another network"),
    ],
)
def test_pick(taken: list[int], preferred: int | None, expected: int) -> None:
    got = pick(SMALL, {ip(n) for n in taken}, ip(preferred) if preferred is not None else None)
    assert got == ip(expected)


@settings(deadline=None)
@given(network=networks, data=st.data())
def test_pick_hands_out_each_address_once_and_then_says_that_there_are_no_more(network, data) -> None:
    taken: set[IPv4Address] = set()
    reserved = {network.network_address, gateway_of(network), network.broadcast_address}
    preferred = data.draw(st.none() | st.integers(0, (1 << 32) - 1).map(IPv4Address))
    for _ in range(max(0, network.num_addresses - 3)):
        got = pick(network, taken, preferred)
        assert got in network
        assert got not in taken | reserved
        taken.add(got)
    with pytest.raises(ConflictError, match=f"{network} are leased") as caught:
        pick(network, taken, preferred)
    assert caught.value.reason == "AddressesExhausted"


@given(network=networks, order=st.randoms())
def test_pick_does_not_depend_on_the_order_of_leases(network, order) -> None:
    held = [network.network_address + n for n in range(0, min(20, network.num_addresses), 2)]
    shuffled = list(held)
    order.shuffle(shuffled)
    assert _outcome(network, held) == _outcome(network, shuffled)


def _outcome(network: IPv4Network, taken: list[IPv4Address]) -> object:
    try:
        return pick(network, taken)
    except ConflictError as error:
        return error.reason


@given(taken=st.lists(networks))
def test_a_chosen_network_overlaps_nothing(taken) -> None:
    assert not any(choose_pod_cidr(None, taken).overlaps(other) for other in taken)


def test_a_chosen_network_avoids_what_the_host_uses() -> None:
    first = choose_pod_cidr(None, [])
    assert choose_pod_cidr(None, [IPv4Network("192.0.2.0/24")]) == first
    assert not choose_pod_cidr(None, [first]).overlaps(first)
    assert choose_pod_cidr(None, [IPv4Network("10.0.0.0/8")]).subnet_of(IPv4Network("172.16.0.0/12"))


def test_a_preferred_network_that_the_host_uses_is_refused_by_name() -> None:
    wanted = IPv4Network("10.1.0.0/16")
    assert choose_pod_cidr(wanted, [IPv4Network("10.2.0.0/16")]) == wanted
    with pytest.raises(ConflictError, match=r"10\.1\.0\.0/16 overlaps 10\.1\.2\.0/24"):
        choose_pod_cidr(wanted, [IPv4Network("10.1.2.0/24")])


def test_a_host_that_uses_everything_is_told_to_name_a_network() -> None:
    with pytest.raises(ConflictError, match="--pod-cidr"):
        choose_pod_cidr(None, [IPv4Network("0.0.0.0/0")])


A, B = IPv4Network("10.1.0.0/16"), IPv4Network("10.2.0.0/16")


@pytest.mark.parametrize(
    ("kept", "preferred", "taken", "has_pods", "expected"),
    [
        pytest.param(A, None, [B], False, A, id="kept"),
        pytest.param(A, A, [B], False, A, id="kept, and asked for"),
        pytest.param(A, None, [A], True, A, id="clashes, but pods have addresses of it"),
        pytest.param(A, B, [], True, B, id="another is asked for"),
        pytest.param(None, B, [], False, B, id="none before"),
    ],
)
def test_the_pod_network_of_an_instance(
    kept: IPv4Network | None, preferred: IPv4Network | None, taken: list[IPv4Network], has_pods: bool, expected: object
) -> None:
    assert settle_pod_cidr(kept, preferred, taken, has_pods=has_pods) == expected


def test_an_instance_without_pods_makes_way_for_whoever_took_its_network() -> None:
    assert not settle_pod_cidr(A, None, [A], has_pods=False).overlaps(A)

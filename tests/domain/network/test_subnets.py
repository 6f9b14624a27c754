"""Subnets: checked when asked for, chosen so that nothing overlaps."""

from ipaddress import IPv4Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue, Refused
from domain.network.subnets import POOLS, Pool, Wish, free_subnet, overlap, plan, wishes

FALLBACK = IPv4Network("10.213.0.0/24")
NETWORKS = st.builds(lambda number, prefix: ip_network((number, prefix), strict=False),
                     st.integers(0, 2**32 - 1), st.integers(8, 32))


@given(st.lists(NETWORKS, max_size=20))
def test_a_chosen_subnet_overlaps_with_nothing(taken: list[IPv4Network]) -> None:
    """Else the host could not reach what was there before."""
    try:
        chosen = free_subnet(taken)
    except Refused:
        assert all(any(subnet.overlaps(net) for net in taken) for pool in POOLS for subnet in pool.subnets())
    else:
        assert not any(chosen.overlaps(net) for net in taken)


def test_when_the_pools_are_used_up_it_says_so() -> None:
    """With how many there are and what to do."""
    pools = (Pool(IPv4Network("10.9.0.0/23"), 24),)
    first = free_subnet((), pools)
    second = free_subnet((first,), pools)
    with pytest.raises(Refused, match="2 used"):
        free_subnet((first, second), pools)


def test_the_first_address_is_the_gateway_unless_another_is_named() -> None:
    """As other engines have it."""
    assert str(plan(Wish(), FALLBACK).gateway) == "10.213.0.1"
    assert str(plan(Wish("10.9.0.0/16", "10.9.3.1"), FALLBACK).gateway) == "10.9.3.1"
    assert plan(Wish("10.9.0.0/16", range="10.9.4.0/24"), FALLBACK).range == ip_network("10.9.4.0/24")


@pytest.mark.parametrize("wish", [
    Wish("10.9.0.0/31"), Wish("10.9.0.0"), Wish("pool"), Wish("127.0.0.0/8"), Wish("224.0.0.0/8"), Wish("0.0.0.0/0"),
    Wish("10.9.0.0/24", "10.8.0.1"), Wish("10.9.0.0/24", "10.9.0.0"), Wish("10.9.0.0/24", "10.9.0.255"),
    Wish("10.9.0.0/24", "fd00::1"), Wish("10.9.0.0/24", range="10.9.1.0/25"), Wish("10.9.0.0/24", range="fd00::/120"),
    Wish("10.9.0.0/24", reserved={"router": "10.9.0.1"}), Wish("fd00::/127"),
])
def test_a_wish_that_does_not_fit_is_refused(wish: Wish) -> None:
    """Before anything is made."""
    with pytest.raises(InvalidValue):
        plan(wish, FALLBACK)


def test_options_find_the_subnet_they_belong_to() -> None:
    """They are typed in any order."""
    found = wishes(["10.9.0.0/16", "fd00:9::/64"], ["fd00:9::1"], ["10.9.4.0/24"], {"nas": "10.9.0.9"})
    assert found == (Wish("10.9.0.0/16", range="10.9.4.0/24", reserved={"nas": "10.9.0.9"}),
                     Wish("fd00:9::/64", gateway="fd00:9::1"))


@pytest.mark.parametrize(("subnets", "gateways", "ranges", "reserved"), [
    ([], ["10.9.0.1"], [], {}), ([], [], ["10.9.0.0/25"], {}), ([], [], [], {"a": "10.9.0.9"}),
    (["10.9.0.0/24"], ["10.8.0.1"], [], {}), (["10.9.0.0/24"], ["10.9.0.1", "10.9.0.2"], [], {}),
    (["10.9.0.0/24", "10.8.0.0/24"], [], [], {}), (["10.9.0.0/24"], ["gate"], [], {}),
])
def test_options_without_a_subnet_of_theirs_are_refused(
    subnets: list[str], gateways: list[str], ranges: list[str], reserved: dict[str, str]
) -> None:
    """They would silently have no effect."""
    with pytest.raises(InvalidValue):
        wishes(subnets, gateways, ranges, reserved)


def test_who_overlaps_is_named() -> None:
    """So that people know what to change."""
    others = {"learning": [ip_network("10.213.0.0/24")], "six": [ip_network("fd00::/64")]}
    assert overlap(ip_network("10.213.0.128/25"), others) == "learning"
    assert overlap(ip_network("fd00::/32"), others) == "six"
    assert overlap(ip_network("10.214.0.0/24"), others) == ""

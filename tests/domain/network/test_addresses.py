"""Addresses: nobody shares one, a freed one rests, and who has one is named."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue, Refused
from domain.network.addresses import fixed_address, hardware_address, interface_id, mac_of, next_address
from domain.network.subnets import Address, Plan, Wish, plan

SMALL = plan(Wish("10.9.0.0/29", reserved={"nas": "10.9.0.3"}), ip_network("10.9.0.0/29"))
FREE = ["10.9.0.2", "10.9.0.4", "10.9.0.5", "10.9.0.6"]


def given_one_after_another(where: Plan, count: int) -> list[Address]:
    used: list[Address] = []
    for _ in range(count):
        used.append(next_address(where, used, used[-1] if used else None, "small"))
    return used


def test_every_address_is_given_once_and_then_the_network_is_full() -> None:
    """Two containers with one address would answer for each other."""
    used = given_one_after_another(SMALL, len(FREE))
    assert [str(address) for address in used] == FREE
    with pytest.raises(Refused, match="network small is full"):
        next_address(SMALL, used, used[-1], "small")


def test_a_freed_address_rests_until_the_others_were_given() -> None:
    """Neighbours remember for a while who had it."""
    used: list[Address] = [ip_address("10.9.0.4")]
    assert str(next_address(SMALL, used, ip_address("10.9.0.4"), "small")) == "10.9.0.5"
    assert str(next_address(SMALL, [], ip_address("10.9.0.6"), "small")) == "10.9.0.2"


@given(st.sets(st.integers(2, 254)), st.integers(0, 255))
def test_a_given_address_is_free_and_lies_in_the_range(used: set[int], last: int) -> None:
    """Whatever is taken, and wherever the last one was."""
    where = plan(Wish("10.9.0.0/24", range="10.9.0.64/26"), ip_network("10.9.0.0/24"))
    taken = [IPv4Address((10 << 24) + (9 << 16) + number) for number in used]
    before = IPv4Address((10 << 24) + (9 << 16) + last)
    try:
        found = next_address(where, taken, before, "n")
    except Refused:
        assert used >= set(range(64, 128))
    else:
        assert found in where.range
        assert found not in taken


def test_a_wide_network_of_version_6_is_searched_in_no_time() -> None:
    """A /64 has more addresses than anybody can walk through."""
    wide = plan(Wish("fd00::/64"), ip_network("fd00::/64"))
    assert next_address(wide, [ip_address("fd00::2")], ip_address("fd00::1"), "n") == ip_address("fd00::3")


@pytest.mark.parametrize(("text", "error", "says"), [
    ("10.8.0.2", InvalidValue, "not inside 10.9.0.0/29"), ("10.9.0.1", Refused, "reserved"),
    ("10.9.0.0", Refused, "reserved"), ("10.9.0.7", Refused, "reserved"), ("10.9.0.3", Refused, "reserved"),
    ("10.9.0.5", Refused, "belongs to container web"), ("web", InvalidValue, "invalid address"),
    ("fd00::1", InvalidValue, "not inside"),
])
def test_a_fixed_address_must_be_free_and_inside(text: str, error: type[Exception], says: str) -> None:
    """The refusal says what is wrong with it."""
    with pytest.raises(error, match=says):
        fixed_address(SMALL, text, {ip_address("10.9.0.5"): "web"})


def test_a_fixed_address_may_lie_outside_of_the_range() -> None:
    """The range is for those who do not care which one they get."""
    narrow = plan(Wish("10.9.0.0/24", range="10.9.0.128/25"), ip_network("10.9.0.0/24"))
    assert str(fixed_address(narrow, "10.9.0.9", {})) == "10.9.0.9"


def test_the_hardware_address_follows_from_the_address() -> None:
    """So no neighbour's table is ever stale."""
    assert mac_of(IPv4Address("10.9.0.255")) == "02:1d:0a:09:00:ff"
    four, six = plan(Wish("10.9.0.0/24"), ip_network("10.9.0.0/24")), plan(Wish("fd00::/64"), ip_network("fd00::/64"))
    assert interface_id(six, IPv4Address("10.9.0.5"), four) == IPv6Address("fd00::5")


@pytest.mark.parametrize("text", ["", "02:42", "02:42:ac:11:00:0g", "01:00:5e:00:00:01", "00:00:00:00:00:00"])
def test_what_is_no_hardware_address_is_refused(text: str) -> None:
    """The kernel's own refusal names no value."""
    with pytest.raises(InvalidValue):
        hardware_address(text)
    assert hardware_address("02-42-AC-11-00-02") == "02:42:ac:11:00:02"

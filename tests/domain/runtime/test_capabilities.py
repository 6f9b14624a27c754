"""Capabilities by name."""

import pytest

from domain.errors import InvalidValue
from domain.runtime import capabilities


def test_the_default_set_is_the_industrys() -> None:
    """00000000a80425fb in /proc/self/status."""
    assert capabilities.DEFAULT == 0xA80425FB


def test_who_shares_the_hosts_network_cannot_listen_in_on_it() -> None:
    """NET_RAW (13) on the host's loopback reads the passwords of the bus."""
    assert capabilities.for_network("none") == capabilities.DEFAULT
    assert capabilities.for_network("host") == capabilities.DEFAULT & ~(1 << 13)


@pytest.mark.parametrize("text", ["NET_RAW", "net_raw", "CAP_NET_RAW", "cap_net_raw"])
def test_names_are_taken_with_and_without_prefix_in_any_case(text: str) -> None:
    """As people type them."""
    assert capabilities.number(text) == 13


@pytest.mark.parametrize("text", ["", "CAP_", "ALL", "NET RAW", "CAP_CAP_NET_RAW", "41"])
def test_what_is_no_capability_is_refused(text: str) -> None:
    """Silently granting or dropping nothing would be believed."""
    with pytest.raises(InvalidValue):
        capabilities.number(text)


def test_the_numbers_are_the_kernels() -> None:
    """Spot checks against linux/capability.h."""
    names = ("CHOWN", "SETPCAP", "SYS_ADMIN", "SYS_RESOURCE", "SETFCAP", "CHECKPOINT_RESTORE")
    assert [capabilities.NUMBERS[name] for name in names] == [0, 8, 21, 24, 31, 40]


def test_additions_and_drops_meet() -> None:
    """Drops first; a name stands against the other side's ALL; more than the engine holds nobody gets anyway."""
    raw, admin = (capabilities.mask([name]) for name in ("NET_RAW", "SYS_ADMIN"))
    effective = capabilities.effective
    assert effective("none") == capabilities.DEFAULT
    assert effective("none", add=["SYS_ADMIN"], drop=["NET_RAW"]) == capabilities.DEFAULT & ~raw | admin
    assert effective("none", add=["net_raw"], drop=["NET_RAW"]) == capabilities.DEFAULT
    assert effective("none", add=["SYS_ADMIN"], drop=["all"]) == admin
    assert effective("none", add=["ALL"], drop=["SYS_ADMIN"]) == capabilities.ALL & ~admin
    assert effective("host", add=["NET_RAW"]) == capabilities.DEFAULT
    assert effective("none", drop=["ALL"], privileged=True) == capabilities.ALL


def test_capabilities_have_one_spelling() -> None:
    """In what is stored and shown."""
    assert [capabilities.spelled(text) for text in ("net_raw", "CAP_net_RAW", "all")] == [
        "CAP_NET_RAW", "CAP_NET_RAW", "ALL"]

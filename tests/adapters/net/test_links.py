"""Requests that are packed by hand say what pyroute2's classes read."""

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from adapters.net import links
from adapters.net.netlink import HEADER, Netlink


@pytest.mark.parametrize(
    ("text", "broadcast"),
    [("10.213.1.9/24", "10.213.1.255"), ("10.213.1.9/30", "10.213.1.11"), ("10.213.1.9/31", None),
     ("10.213.1.9/32", None), ("169.254.8.8/16", "169.254.255.255"), ("fd00:1::9/64", None)],
)
def test_an_address_comes_with_the_one_for_all_where_there_is_one(text: str, broadcast: str | None) -> None:
    """A link between two has none (RFC 3021), and version 6 knows none."""
    kind, flags, payload = links.address(7, text)
    message = ifaddrmsg(HEADER.pack(HEADER.size + len(payload), kind, flags, 1, 0) + payload)
    message.decode()
    host, _, prefix = text.partition("/")
    assert (message["index"], message["prefixlen"], message.get_attr("IFA_ADDRESS")) == (7, int(prefix), host)
    assert message.get_attr("IFA_BROADCAST") == broadcast


def test_the_index_of_a_link_is_found_by_its_name() -> None:
    """Also that of one that is not there, or has too long a name to be there."""
    with Netlink() as here:
        assert links.index_of(here, "lo") == links.LOOPBACK
        assert links.index_of(here, "nobody0") is None
        assert links.index_of(here, "a-name-that-is-far-too-long") is None

"""Published ports: every form that is typed, what overlaps, and how lists show them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from domain.network.ports import Binding, Publication, clash, exposed, parse, shown


@pytest.mark.parametrize(("text", "found"), [
    ("80", (Publication(80),)),
    ("8080:80", (Publication(80, host_port=8080),)),
    ("0:80", (Publication(80),)),
    ("8080:80/UDP", (Publication(80, "udp", host_port=8080),)),
    ("127.0.0.1:8080:80", (Publication(80, "tcp", "127.0.0.1", 8080),)),
    ("127.0.0.1::80", (Publication(80, "tcp", "127.0.0.1"),)),
    ("[::1]:8080:80", (Publication(80, "tcp", "::1", 8080),)),
    ("[::]::80", (Publication(80, "tcp", "::"),)),
    ("7000-7001:90-91", (Publication(90, host_port=7000), Publication(91, host_port=7001))),
    ("9000-9001", (Publication(9000), Publication(9001))),
    ("7000-7010:80", (Publication(80, host_port=7000, highest=7010),)),
    ("published=8080,target=80,protocol=udp", (Publication(80, "udp", host_port=8080),)),
    ("target=80", (Publication(80),)),
])
def test_every_form_is_understood(text: str, found: tuple[Publication, ...]) -> None:
    """Fingers and scripts know all of them."""
    assert parse(text) == found


@pytest.mark.parametrize("text", [
    "", "x", "0", "65536", "80:x", "1:2:3:4", "80/foo", "300.1.1.1:1:2", "9-8", "1-3:1-2", "[::1:80", "[::1]80",
    "-80", "80-", "published=80", "target=80,mode", "a=b", "80/", "8080:", "\uff11:80", "80:80/sctp",
    "target=80,protocol=sctp",
])
def test_what_is_no_port_is_refused_with_its_text(text: str) -> None:
    """The message shows what was typed."""
    with pytest.raises(InvalidValue) as refused:
        parse(text)
    assert repr(text) in refused.value.message or text in refused.value.message


@given(st.text(max_size=30))
def test_any_text_is_understood_or_refused(text: str) -> None:
    """No text leads to another error."""
    try:
        found = parse(text)
    except InvalidValue:
        return
    assert found
    assert all(1 <= each.port <= 65535 and 0 <= each.host_port <= 65535 for each in found)


def test_exposed_ports_have_no_place_on_the_host() -> None:
    """They only say what a program listens on."""
    assert exposed("90-91/udp") == (Publication(90, "udp"), Publication(91, "udp"))
    assert exposed("90/sctp") == (Publication(90, "sctp"),)
    with pytest.raises(InvalidValue):
        exposed("8080:80")


@pytest.mark.parametrize(("one", "other", "meets"), [
    ("0.0.0.0", "127.0.0.1", True), ("127.0.0.1", "0.0.0.0", True), ("10.0.0.1", "10.0.0.2", False),
    ("::", "::1", True), ("0.0.0.0", "::", False), ("10.0.0.1", "10.0.0.1", True),
])
def test_two_bindings_clash_when_they_share_an_address(one: str, other: str, meets: bool) -> None:
    """As the kernel sees it when both are bound."""
    held = Binding(80, "tcp", other, 8080)
    assert (clash(Binding(99, "tcp", one, 8080), [held]) == held) is meets
    assert clash(Binding(99, "udp", one, 8080), [held]) is None
    assert clash(Binding(99, "tcp", one, 8081), [held]) is None


def test_ports_in_a_row_are_shown_as_one() -> None:
    """A hundred ports must fit into a column."""
    bindings = [Binding(port, "tcp", ip, port + 1000) for port in (90, 91, 92) for ip in ("0.0.0.0", "::")]
    assert shown(bindings) == "0.0.0.0:1090-1092->90-92/tcp, [::]:1090-1092->90-92/tcp"
    assert shown([Binding(80, "tcp", "127.0.0.1", 8080)], [(80, "tcp"), (99, "tcp"), (100, "tcp"), (53, "udp")]) == (
        "53/udp, 127.0.0.1:8080->80/tcp, 99-100/tcp")
    assert shown([]) == ""

"""Names on networks: what a container is told, and the messages in which it is."""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.network import dns
from domain.network.zones import Known, find, host, zone

WEB, DB, WEB6 = ip_address("10.9.0.2"), ip_address("10.9.0.3"), ip_address("fd00::2")
LEARNING = zone("learning", {"web": ((WEB, WEB6), ("www", "App")), "db": ((DB,), ("app",))})
OTHER = zone("b.c", {"a": ((DB,), ())})
LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=63)


def query(name: str, kind: int = dns.A, *, size: int = 0) -> bytes:
    """What a resolver library sends."""
    head = struct.pack("!6H", 0x1234, 0x0100, 1, 0, 0, 1 if size else 0)
    more = b"\0\0\x29" + struct.pack("!HIH", size, 0, 0) if size else b""
    return head + dns.encoded(name) + struct.pack("!2H", kind, 1) + more


def test_a_name_an_alias_and_a_name_with_its_network_lead_to_the_container() -> None:
    """People and programs use all three."""
    assert find("www", [LEARNING], {}) == Known((WEB, WEB6))
    assert find("app", [LEARNING], {}) == Known((WEB, WEB6, DB))
    assert find("db.learning", [LEARNING], {}) == Known((DB,))
    assert find("a.b.c", [LEARNING, OTHER], {}) == Known((DB,))


def test_what_nobody_is_called_is_not_known() -> None:
    """Such names are asked for outside."""
    assert find("nobody", [LEARNING], {}) is None
    assert find("web.other", [LEARNING, OTHER], {}) is None


def test_links_are_known_to_the_one_who_has_them() -> None:
    """They are private, and win over other names."""
    assert find("store", [LEARNING], {"store": ("db",)}) == Known((DB,))
    assert find("store", [LEARNING], {"store": ("gone",)}) == Known(())
    assert find("store", [LEARNING], {"store": ("gone", "db", "web")}) == Known((DB,))


def test_on_a_network_without_names_only_links_lead_to_others() -> None:
    """Neither name nor address says more than who was linked to."""
    silent = zone("quiet", {"web": ((WEB,), ("www",))}, open=False)
    assert find("web", [silent], {}) is None
    assert find("web.quiet", [silent], {}) is None
    assert find("store", [silent], {"store": ("www",)}) == Known((WEB,))
    assert host(WEB, [silent]) == ""


def test_an_address_has_the_name_of_its_container_and_network() -> None:
    """Logs of servers show it."""
    assert host(DB, [OTHER]) == "a.b.c"
    assert host(WEB6, [LEARNING]) == "web.learning"
    assert host(ip_address("10.9.0.9"), [LEARNING]) == ""


@given(st.lists(LABELS, min_size=1, max_size=3).map(".".join), st.sampled_from([dns.A, dns.AAAA, dns.PTR]))
def test_a_question_is_read_as_it_was_asked(name: str, kind: int) -> None:
    """What was encoded elsewhere is read back whole."""
    asked = dns.question(query(name, kind))
    assert (asked.id, asked.name, asked.type, asked.size) == (0x1234, name, kind, 512)


def test_the_letters_of_a_question_come_back_as_they_were() -> None:
    """Resolvers compare them to tell answers from forgeries."""
    data = query("WeB")
    assert dns.question(data).name == "web"
    assert b"WeB" in dns.answer(dns.question(data), (IPv4Address("10.9.0.2"),))


@given(st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    """Containers may send anything; no answer may depend on it."""
    try:
        asked = dns.question(data)
    except ValueError:
        assert len(dns.failure(data, dns.FORMAT_ERROR)) in (0, 12)
    else:
        assert dns.answer(asked)


def test_an_answer_carries_all_addresses() -> None:
    """Clients choose among containers with one alias."""
    data = dns.answer(dns.question(query("web")), (IPv4Address("10.9.0.2"), IPv6Address("fd00::2")))
    id, flags, questions, answers, _, _ = struct.unpack_from("!6H", data)
    assert (id, flags, questions, answers) == (0x1234, 0x8180, 1, 2)
    assert data.endswith(IPv6Address("fd00::2").packed)


def test_what_does_not_fit_is_left_out_and_said() -> None:
    """The client then asks again over TCP."""
    many = [IPv4Address(number) for number in range(100)]
    short = dns.answer(dns.question(query("web")), many)
    assert len(short) <= 512
    assert struct.unpack_from("!H", short, 2)[0] & 0x0200
    wide = dns.answer(dns.question(query("web", size=4096)), many)
    assert struct.unpack_from("!6H", wide)[3] == 100
    assert wide.endswith(b"\0\0\x29\x10\0\0\0\0\0\0\0")


def test_reverse_names_are_addresses() -> None:
    """In both families, and nothing else is taken for one."""
    assert dns.reverse("2.0.9.10.in-addr.arpa") == WEB
    assert dns.reverse(f"2.{'0.' * 27}0.0.d.f.ip6.arpa") == WEB6
    assert dns.reverse("web.in-addr.arpa") is None
    assert dns.reverse("1.2.3.4.5.in-addr.arpa") is None


@pytest.mark.parametrize("name", ["a" * 64, ".".join(["a" * 60] * 5), "a..b"])
def test_a_name_that_cannot_be_sent_is_refused(name: str) -> None:
    """The format limits labels and names."""
    with pytest.raises(ValueError, match="cannot be sent"):
        dns.encoded(name)

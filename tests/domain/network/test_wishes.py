"""What is asked of networks, what is found in /etc, and who is on them."""

from typing import Any

import pytest

from domain.container import Container, State
from domain.errors import InvalidValue
from domain.network.asked import NetworkingWish, NetworkWish, attachment, wished
from domain.network.files import changed_hosts, hosts_file, own_lines, resolv_file
from domain.network.links import link_variables
from domain.network.ports import Binding, Publication
from domain.network.roster import Roster
from domain.network.wishes import DEFAULT, Attachment, Interface, Lease, Networking
from domain.spec import ContainerSpec

HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def test_nothing_said_is_the_default_network() -> None:
    """As the peers have it."""
    found = wished(NetworkingWish())
    assert (found.mode, found.networking.attachments) == ("bridge", (Attachment(network="bridge"),))


@pytest.mark.parametrize("mode", ["host", "none"])
def test_the_hosts_network_and_none_have_no_ports(mode: str) -> None:
    """What was to be published is discarded; a value that cannot be meant is told all the same."""
    found = wished(NetworkingWish(networks=(NetworkWish(name=mode),), publish=("80:80",), publish_all=True))
    assert (found.mode, found.networking) == (mode, Networking())
    with pytest.raises(InvalidValue, match="invalid proto"):
        wished(NetworkingWish(networks=(NetworkWish(name=mode),), publish=("80/icmp",)))


def test_what_is_asked_for_is_stored_as_it_is_meant() -> None:
    """Addresses in one spelling, everything once."""
    wish = NetworkWish(name="shop", aliases=("www", "www"), ip="10.1.2.3", ip6="FD00:0::7", mac="02-42-AC-11-00-02")
    found = wished(NetworkingWish(
        networks=(wish,), publish=("80:80", "80:80"), expose=("90-91/udp",), dns=("192.0.2.1",),
        hosts=("db:10.9.9.9", "six=[fd00::9]", "up:host-gateway"), links=("/db:store", "cache")))
    (one,) = found.networking.attachments
    assert one == Attachment(network="shop", aliases=("www",), ip="10.1.2.3", ip6="fd00::7", mac="02:42:ac:11:00:02")
    assert found.networking.publish == (Publication(80, "tcp", "", 80),)
    assert found.networking.exposed == (Publication(90, "udp"), Publication(91, "udp"))
    assert found.networking.hosts == (("db", "10.9.9.9"), ("six", "fd00::9"), ("up", "host-gateway"))
    assert found.links == (("db", "store"), ("cache", "cache"))


def test_addresses_of_one_link_come_besides() -> None:
    """With the prefix of their kind; they are no addresses by which others find it."""
    wish = NetworkWish(name=DEFAULT, link_local=("169.254.8.8", "fe80::8"), driver_options={"a": "b"})
    assert attachment(wish) == Attachment(network=DEFAULT, link_local=("169.254.8.8/16", "fe80::8/64"),
                                          driver_options=(("a", "b"),))
    interface = Interface(network="n1", network_name="shop", link="lv1", name="eth0", mac="02:1d:0a:d5:00:02",
                          addresses=("10.9.8.2/24",), link_local=("169.254.8.8/16",))
    assert (interface.hosts, interface.endpoint.addresses) == (("10.9.8.2",), ("10.9.8.2/24", "169.254.8.8/16"))


@pytest.mark.parametrize("wish", [
    {"name": "shop", "link_local": ("192.0.2.1",)}, {"name": "shop", "link_local": ("x",)},
    {"name": "host", "link_local": ("169.254.8.8",)}, {"name": "none", "driver_options": {"a": "b"}},
])  # fmt: skip
def test_an_address_of_one_link_needs_a_link(wish: dict[str, Any]) -> None:
    """And must be one."""
    with pytest.raises(InvalidValue):
        attachment(NetworkWish(**wish))


def test_all_exposed_ports_are_published_on_request() -> None:
    """A port that has a place already keeps that."""
    networking = Networking(publish=(Publication(80, "tcp", "", 8080),), publish_all=True,
                            exposed=(Publication(80), Publication(53, "udp")))
    assert networking.published == (Publication(80, "tcp", "", 8080), Publication(53, "udp"))


def test_a_container_knows_itself_and_what_it_was_told() -> None:
    """In this order; the host's address is filled in."""
    own = own_lines(["10.1.2.3"], ["web.example", "web"])
    text = hosts_file(own, [("up", "host-gateway"), ("db", "10.9.9.9")], "10.1.2.1")
    assert text == HOSTS + "10.1.2.3\tweb.example web\n10.1.2.1\tup\n10.9.9.9\tdb\n"


@pytest.mark.parametrize(
    ("text", "gone", "new", "after"),
    [
        ("a\n", (), ("b",), "a\nb\n"),
        ("a\nb\n", ("b",), (), "a\n"),
        ("a\nb\n# mine\n", ("b",), ("c",), "a\n# mine\nc\n"),
        ("a\nb\n", (), ("b",), "a\nb\n"),
        ("mine without an end", (), ("b",), "mine without an end\nb\n"),
        ("mine without an end", ("b",), (), "mine without an end"),
        ("", ("b",), (), ""),
        ("", (), ("b",), "b\n"),
    ],
)
def test_lines_come_and_go_with_networks(text: str, gone: tuple[str, ...], new: tuple[str, ...], after: str) -> None:
    """What somebody has written there himself stays; twice is once."""
    assert changed_hosts(text, gone, new) == after
    assert changed_hosts(after, gone, new) == after


OWN = "nameserver 127.0.0.11\nsearch example.org\noptions timeout:1 ndots:0\n"
HOST_FILE = "# made by hand\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch example.org\noptions timeout:1\n"


@pytest.mark.parametrize(
    ("wanted", "own", "text"),
    [
        (Networking(), True, OWN),
        (Networking(dns=("192.0.2.9",)), True, OWN),
        (Networking(dns=("192.0.2.9",)), False, "nameserver 192.0.2.9\nsearch example.org\noptions timeout:1\n"),
        (Networking(dns_search=("a.b",), dns_options=("ndots:2",)), True,
         "nameserver 127.0.0.11\nsearch a.b\noptions ndots:2\n"),
        (Networking(dns_search=(".",)), False, "nameserver 192.0.2.1\nnameserver 192.0.2.2\noptions timeout:1\n"),
    ],
)
def test_what_nobody_asked_otherwise_for_is_the_hosts(wanted: Networking, own: bool, text: str) -> None:
    """On its own networks the engine is asked first."""
    assert resolv_file(HOST_FILE, wanted, own=own) == text


def test_a_link_tells_about_the_other_one() -> None:
    """As programs of that time read it; variables that belong to the other alone are left out."""
    other = Networking(exposed=(Publication(5432),))
    found = link_variables("web", "my-db", "10.212.0.2", other, ("PATH=/bin", "USER=shop"))
    assert found == (
        "MY_DB_PORT=tcp://10.212.0.2:5432",
        "MY_DB_PORT_5432_TCP=tcp://10.212.0.2:5432",
        "MY_DB_PORT_5432_TCP_ADDR=10.212.0.2",
        "MY_DB_PORT_5432_TCP_PORT=5432",
        "MY_DB_PORT_5432_TCP_PROTO=tcp",
        "MY_DB_NAME=/web/my-db",
        "MY_DB_ENV_USER=shop",
    )


def member(id: str, name: str, number: int, *aliases: str, attempt: int = 1) -> Container:
    """A container that runs on the network `shop`."""
    interface = Interface(network="n1", network_name="shop", link="lv1", name="eth0", mac="02:1d:0a:d5:00:02",
                          addresses=(f"10.213.0.{number}/24",))
    lease = Lease(attempt=attempt, interfaces=(interface,), bindings=(Binding(80, "tcp", "0.0.0.0", 8000 + number),))
    return Container(id=id * 64, state=State.RUNNING, name=name, lease=lease, leased=True,
                     spec=ContainerSpec(image="a", image_id="sha256:a", hostname=f"{name}-host"),
                     attachments=(Attachment(network="shop", id="n1", aliases=aliases),))


def names(roster: Roster) -> dict[str, list[str]]:
    """Of the network `shop`."""
    zones = roster.zones()
    return {name: [str(a) for a in addresses] for name, addresses in zones["n1"].names.items()} if zones else {}


def test_a_container_is_found_by_every_name_it_has() -> None:
    """Several may share one."""
    roster = Roster()
    roster.enter(member("a", "one", 2, "pool"))
    roster.enter(member("b", "two", 3, "pool"))
    assert names(roster) == {
        "one": ["10.213.0.2"], "a" * 12: ["10.213.0.2"], "one-host": ["10.213.0.2"],
        "pool": ["10.213.0.2", "10.213.0.3"],
        "two": ["10.213.0.3"], "b" * 12: ["10.213.0.3"], "two-host": ["10.213.0.3"],
    }


def test_names_follow() -> None:
    """Another name, and the end of a run; the end of an earlier run is no news."""
    roster = Roster()
    roster.enter(member("a", "one", 2, attempt=2))
    roster.rename("a" * 64, "first")
    assert "first" in names(roster)
    assert "one" not in names(roster)
    roster.leave("a" * 64, 1)
    assert "first" in names(roster)
    roster.leave("a" * 64, 2)
    assert names(roster) == {}


def test_who_has_a_port_of_the_host_is_known_by_name() -> None:
    """But nobody is in his own way."""
    roster = Roster()
    roster.enter(member("a", "one", 2))
    wanted = [Binding(80, "tcp", "127.0.0.1", 8002)]
    found = roster.holder(wanted, "b" * 64)
    assert found is not None
    assert found[0].name == "one"
    assert roster.holder(wanted, "a" * 64) is None
    assert roster.holder([Binding(80, "udp", "127.0.0.1", 8002)], "b" * 64) is None

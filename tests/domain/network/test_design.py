"""How a network is laid out: nothing overlaps, and what cannot be meant is refused by its value."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from domain.errors import InvalidValue, Refused
from domain.network.design import Asked, Site, as_configured, built_in, check_options, design, local_range

ID = "abcdef0123" + "0" * 54


def site(*host: str, **networks: str) -> Site:
    """A host with these routes and networks."""
    known = {name: (ip_network(subnet),) for name, subnet in networks.items()}
    return Site(known, [ip_network(net) for net in host], 1400, local_range("f" * 64))


def test_a_network_without_wishes_gets_a_free_subnet_and_the_way_outs_mtu() -> None:
    """The next one that neither a network nor a route of the host has."""
    network = design(Asked(name="shop"), ID, site("10.213.1.0/24", first="10.213.0.0/24"))
    (addresses,) = network.addresses
    assert (addresses.subnet, addresses.gateway, addresses.own) == ("10.213.2.0/24", "10.213.2.1", "10.213.2.1/24")
    assert (network.link, network.mtu, network.isolated, network.masquerade) == ("ldg-abcdef0123", 1400, False, True)


def test_a_bridge_is_called_as_it_is_wished() -> None:
    """By either spelling; no name twice, and none that begins as ours do."""
    wish = {"com.docker.network.bridge.name": "shopbr"}
    assert design(Asked(name="shop", options=wish), ID, site()).link == "shopbr"
    with pytest.raises(Refused, match="belongs to network other"):
        design(Asked(name="shop", options={"bridge-name": "shopbr"}), ID, replace(site(), links={"shopbr": "other"}))
    for wrong in ("ldg-1", "lv1", "lo", "..", "a/b", "x" * 16, "a b"):
        with pytest.raises(InvalidValue):
            design(Asked(name="shop", options={"bridge-name": wrong}), ID, site())
    with pytest.raises(InvalidValue, match="unknown network option"):
        check_options({"bridge-name": "shopbr"})  # of the default network, whose bridge is the engine's own


def test_a_stored_network_gives_back_its_plan() -> None:
    """What was asked for is what addresses are later given from."""
    asked = Asked(name="shop", subnets=("10.9.8.0/24",), ranges=("10.9.8.128/25",), reserved={"printer": "10.9.8.9"})
    plan = design(asked, ID, site()).addresses[0].plan
    assert (str(plan.range), str(plan.reserved["printer"])) == ("10.9.8.128/25", "10.9.8.9")


def test_addresses_of_version_6_come_from_the_hosts_own_range() -> None:
    """By the network's id, or the next one that is free."""
    first = design(Asked(name="a", ipv6=True), ID, site())
    assert first.ipv6
    assert first.addresses[1].subnet == "fdff:ffff:ffff:abcd::/64"
    second = design(Asked(name="b", ipv6=True), ID, site(a="fdff:ffff:ffff:abcd::/64"))
    assert second.addresses[1].subnet == "fdff:ffff:ffff:abce::/64"


def test_the_kernel_is_told_the_bridge_with_its_gateways() -> None:
    """Options of the network become settings of the bridge."""
    asked = Asked(name="a", options={"icc": "false", "mtu": "1300", "masquerade": "false"}, internal=True)
    bridge = design(asked, ID, site()).bridge(ID)
    assert bridge is not None
    assert (bridge.isolated, bridge.mtu, bridge.masquerade, bridge.internal) == (True, 1300, False, True)
    assert bridge.addresses == ("10.213.0.1/24",)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (Asked(name="x", subnets=("10.1.2.0/25",)), "overlaps network shop"),
        (Asked(name="x", subnets=("192.0.2.128/25",)), "overlaps route 192.0.2.0/24 of this host"),
        (Asked(name="bridge"), "predefined"),
    ],
)
def test_what_breaks_a_rule_is_refused_naming_with_whom(asked: Asked, why: str) -> None:
    """People must see what to change."""
    with pytest.raises(Refused, match=why):
        design(asked, ID, site("192.0.2.0/24", shop="10.1.2.0/24"))


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        (Asked(name="a/b"), "a/b"),
        (Asked(name=" a"), " a"),
        (Asked(name="x" * 129), "xxx"),
        (Asked(name="a\x1b"), "x1b"),
        (Asked(name="x", driver="macvlan"), "macvlan"),
        (Asked(name="x", options={"colour": "red"}), "colour"),
        (Asked(name="x", options={"mtu": "9"}), "9"),
        (Asked(name="x", options={"icc": "maybe"}), "maybe"),
        (Asked(name="x", options={"names": "maybe"}), "maybe"),
        (Asked(name="x", options={"host-binding": "everywhere"}), "everywhere"),
        (Asked(name="x", options={"host-binding": "::1"}), "::1"),
        (Asked(name="x", options={"mtu": "600"}, ipv6=True), "600"),
        (Asked(name="x", gateways=("10.1.1.1",)), "--gateway"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_value(asked: Asked, value: str) -> None:
    """The value stands in the message."""
    with pytest.raises(InvalidValue, match=value):
        design(asked, ID, site())


def test_names_are_free_text() -> None:
    """A blank inside is accepted."""
    assert design(Asked(name="my shop"), ID, site()).name == "my shop"


def test_options_say_who_is_named_and_where_ports_are_published() -> None:
    """In the words of the peers, too; every address of the host is what happens anyway."""
    found = design(Asked(name="x", options={"names": "false", "host-binding": "127.0.0.1"}), ID, site())
    assert (found.names, found.publish_on) == (False, "127.0.0.1")
    options = {"com.docker.network.bridge.host_binding_ipv4": "0.0.0.0"}
    assert design(Asked(name="x", options=options), ID, site()).publish_on == ""


def test_the_default_network_has_options_as_well() -> None:
    """It cannot be created by hand, so the configuration gives them."""
    found = built_in("bridge", site(), {"icc": "false", "mtu": "1400", "names": "0"})
    assert (found.isolated, found.mtu, found.names) == (True, 1400, False)


def test_the_default_network_follows_the_configuration() -> None:
    """Also when it was made with other options; its addresses stay, and its largest packet if nothing is said of it."""
    made = built_in("bridge", site(), {"icc": "false", "mtu": "1400"})
    found = as_configured(made, {"names": "false"})
    assert (found.isolated, found.mtu, found.names, found.options) == (False, 1400, False, {"names": "false"})
    assert found.addresses == made.addresses
    assert as_configured(made, made.options) == made


def test_the_default_network_moves_out_of_the_way_of_the_host() -> None:
    """Its own subnet if nothing has it, one of the pools else."""
    assert built_in("bridge", site()).addresses[0].subnet == "10.212.0.0/20"
    assert built_in("bridge", site("10.212.3.0/24")).addresses[0].subnet == "10.213.0.0/24"
    assert built_in("host", site()).bridge(ID) is None
    assert built_in("none", site()).driver == "null"


def test_a_name_that_means_another_network_is_refused_as_that() -> None:
    """Not as one that cannot be written."""
    with pytest.raises(InvalidValue, match="that means the network bridge"):
        design(Asked(name="default"), ID, site())

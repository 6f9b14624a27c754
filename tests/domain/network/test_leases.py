"""What a container gets on its networks: addresses that nobody has, one way out, names in order."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue, LadingError, Refused
from domain.network.addresses import MOST_ENDPOINTS
from domain.network.leases import Joining, check_inside, endpoints, next_way_out
from domain.network.model import Addresses, Network
from domain.network.setup import Endpoint
from domain.network.wishes import Attachment, Interface

V4 = Addresses(subnet="10.9.8.0/24", gateway="10.9.8.1", range="10.9.8.0/24", reserved={"printer": "10.9.8.3"})
V6 = Addresses(subnet="fd00:1::/64", gateway="fd00:1::1", range="fd00:1::/64")
PLAIN = Network(name="shop", addresses=(V4,))
BOTH = Network(name="both", addresses=(V4, V6))
VAULT = Network(name="vault", addresses=(V4,), internal=True)


def one(network: Network = PLAIN, **more: Any) -> Endpoint:
    """The only interface."""
    return endpoints([Joining(id="n", network=network, **more)], ["lv1"])[0]


def test_an_interface_has_an_address_its_own_mac_and_the_way_out() -> None:
    """Gateway and reserved addresses are given to nobody."""
    found = one(holders={ip_address("10.9.8.2"): "web"})
    assert found == Endpoint(network="n", link="lv1", name="eth0", mac="02:1d:0a:09:08:04",
                             addresses=("10.9.8.4/24",), gateways=("10.9.8.1",))


def test_interfaces_are_called_as_they_are_wished_and_the_others_by_number() -> None:
    """No name twice."""
    joining = [Joining(id=id, network=PLAIN, name=name) for id, name in (("a", ""), ("b", "eth0"), ("c", ""))]
    assert [each.name for each in endpoints(joining, ["lv1", "lv2", "lv3"])] == ["eth1", "eth0", "eth2"]
    assert endpoints([Joining(id="a", network=PLAIN)], ["lv1"], {"eth0", "eth2"})[0].name == "eth1"
    with pytest.raises(Refused, match="two interfaces called lan0"):
        endpoints([Joining(id="a", network=PLAIN, name="lan0")], ["lv1"], {"lan0"})


def test_a_container_gets_its_former_address_again_if_nobody_has_it() -> None:
    """So that a restart changes nothing for its neighbours."""
    assert one(preferred="10.9.8.77").addresses == ("10.9.8.77/24",)
    taken = one(preferred="10.9.8.77", holders={ip_address("10.9.8.77"): "web"})
    assert taken.addresses == ("10.9.8.2/24",)
    assert one(preferred="172.30.0.5").addresses == ("10.9.8.2/24",)


def test_the_address_of_version_6_goes_with_the_other() -> None:
    """Same number in both families, unless somebody has it."""
    assert one(BOTH).addresses == ("10.9.8.2/24", "fd00:1::2/64")
    assert one(BOTH, holders={ip_address("fd00:1::2"): "web"}).addresses[1] != "fd00:1::2/64"
    assert one(BOTH, ip6="fd00:1::99").addresses[1] == "fd00:1::99/64"


def test_only_one_network_leads_out() -> None:
    """The one with the highest priority, else the first; never one without a way out."""
    joining = [Joining(id=id, network=network, priority=priority)
               for id, network, priority in (("a", VAULT, 9), ("b", PLAIN, 0), ("c", PLAIN, 5), ("d", PLAIN, 5))]
    found = endpoints(joining, ["lv1", "lv2", "lv3", "lv4"])
    assert [(each.name, bool(each.gateways)) for each in found] == [
        ("eth0", False), ("eth1", False), ("eth2", True), ("eth3", False),
    ]
    assert one(VAULT).gateways == ()


@pytest.mark.parametrize(
    ("wishes", "error", "says"),
    [
        ({"ip": "10.9.8.2"}, Refused, "belongs to container web"),
        ({"ip": "10.1.1.1"}, InvalidValue, "not inside"),
        ({"ip6": "fd00:1::5"}, InvalidValue, "no addresses of version 6"),
        ({"mac": "01:00:00:00:00:01"}, InvalidValue, "01:00"),
    ],
)
def test_a_wish_that_cannot_be_fulfilled_is_refused(
    wishes: dict[str, Any], error: type[LadingError], says: str
) -> None:
    """With the value, and with who is in the way."""
    with pytest.raises(error, match=says):
        one(holders={ip_address("10.9.8.2"): "web"}, **wishes)


def test_a_bridge_is_full_before_its_addresses_are() -> None:
    """The kernel's own refusal comes too late and says nothing."""
    wide = Addresses(subnet="10.0.0.0/16", gateway="10.0.0.1", range="10.0.0.0/16")
    holders = {ip_address("10.0.1.0") + number: f"c{number}" for number in range(MOST_ENDPOINTS)}
    with pytest.raises(Refused, match="is full"):
        one(Network(name="wide", addresses=(wide,)), holders=holders)


@given(st.sets(st.integers(2, 254), max_size=250))
def test_whoever_is_there_the_address_is_free(taken: set[int]) -> None:
    """Nobody ever gets what another one has."""
    holders = {ip_address("10.9.8.0") + number: "web" for number in taken}
    try:
        address = ip_address(one(holders=holders).addresses[0].partition("/")[0])
    except Refused:
        assert len(taken | {3}) >= 253
        return
    assert address not in holders
    assert address in ip_network(V4.subnet)
    assert str(address) not in (V4.gateway, "10.9.8.3")


def interface(network: str, *addresses: str) -> Interface:
    """One that leads nowhere but into its network."""
    return Interface(network=network, network_name=network, link="lv1", name="eth1", mac="02:1d:0a:09:08:04",
                     addresses=addresses or ("10.9.8.4/24",))


def test_when_the_way_out_goes_the_next_network_leads_out() -> None:
    """By priority, then the first, as at a start; an internal one never does."""
    networks = {"vault": VAULT, "shop": PLAIN, "both": BOTH}
    left = [interface("vault"), interface("shop"), interface("both", "10.9.8.4/24", "fd00:1::4/64")]
    found = next_way_out(left, [], networks)
    assert found == interface("shop").model_copy(update={"gateways": ("10.9.8.1",)})
    found = next_way_out(left, [Attachment(network="both", priority=1), Attachment(network="vault", priority=9)],
                         networks)
    assert found is not None
    assert (found.network, found.gateways) == ("both", ("10.9.8.1", "fd00:1::1"))
    assert next_way_out(left[:1], [], networks) is None
    assert next_way_out([], [], networks) is None


@pytest.mark.parametrize(("text", "why"), [("10.9.9.9", "not inside 10.9.8.0/24"), ("10.9.8.1", "reserved")])
def test_an_address_that_nobody_can_have_is_refused_before_anything_is_made(text: str, why: str) -> None:
    """One that is in use may be free when the container is started."""
    with pytest.raises(Refused, match=why):
        check_inside(text, PLAIN)
    check_inside("10.9.8.7", PLAIN)
    check_inside("fd00:1::7", PLAIN)

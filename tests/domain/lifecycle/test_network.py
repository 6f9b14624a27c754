"""What a container gets of networks, and when it lets go of it."""

from collections.abc import Iterable

import pytest

from domain.container import Container, State
from domain.errors import NotFound, Refused
from domain.lifecycle import MACHINE
from domain.lifecycle.create import Created
from domain.lifecycle.exit import Exited, ReportExit
from domain.lifecycle.network import (
    Connect,
    Connected,
    ConnectFailed,
    ConnectRequested,
    Disconnect,
    Disconnected,
    DisconnectFailed,
    DisconnectRequested,
    Grant,
    NetworkGranted,
    NetworkReleased,
    Unlink,
    Unlinked,
    left,
)
from domain.lifecycle.remove import Removed, RemoveRequested
from domain.lifecycle.start import Started, StartFailed, StartRequested
from domain.lifecycle.stop import StopRequested
from domain.messages import Event, Meta, Recorded, StreamId
from domain.network.ports import Binding
from domain.network.wishes import Attachment, Interface, Lease, Networking
from domain.policies.follow_up import follow_up
from domain.projections.addresses import Addresses, Tenures
from domain.projections.containers import Containers
from domain.projections.replay import Replay
from domain.spec import ContainerSpec

ID = "a" * 64
SHOP, VAULT = Attachment(network="shop", id="n1"), Attachment(network="vault", id="n2")
PORT = Binding(80, "tcp", "0.0.0.0", 8080)


def interface(number: int, network: str = "shop", *, fixed: bool = False) -> Interface:
    """One with an address that ends in this number."""
    address = f"10.213.0.{number}"
    return Interface(network="n1" if network == "shop" else "n2", network_name=network, link=f"lv{number}",
                     name="eth0", mac="02:1d:0a:d5:00:02", addresses=(f"{address}/24",), gateways=("10.213.0.1",),
                     fixed=(address,) if fixed else ())


def spec(*wishes: Attachment, network: str = "none", container: str = "") -> ContainerSpec:
    """One that is to be on these networks."""
    networking = Networking(attachments=wishes, container=container) if wishes or container else None
    return ContainerSpec(image="a", image_id="sha256:a", command=("true",), networking=networking).model_copy(
        update={"network": network})


def told(events: Iterable[Event]) -> list[Recorded]:
    """Each as the store gives it; the work of an intent is caused by it."""
    found: list[Recorded] = []
    for event in events:
        place = len(found) + 1
        cause = next((each.position for each in reversed(found) if each.event.stored_as in event.settles), 0)
        found.append(Recorded(place, StreamId("container", ID), place, place * 1000, event, Meta(cause=cause)))
    return found


def after(*events: Event) -> Container:
    """The fold."""
    return MACHINE.fold(ID, told(events))


CREATED = Created(name="web", spec=spec(SHOP))
GRANTED = NetworkGranted(attempt=1, interfaces=(interface(2),), bindings=(PORT,))
STARTED = Started(attempt=1, pid=7, start_time=9)
LIVE = (CREATED, StartRequested(attempt=1), GRANTED, STARTED)


def test_a_start_that_is_under_way_is_granted_once() -> None:
    """A second try of the same start finds what the first one has got."""
    lease = Lease(attempt=1, interfaces=(interface(2),), bindings=(PORT,))
    starting = after(CREATED, StartRequested(attempt=1))
    assert MACHINE.decide(starting, Grant(lease=lease)) == (GRANTED,)
    granted = after(CREATED, StartRequested(attempt=1), GRANTED)
    assert (granted.leased, granted.lease) == (True, lease)
    assert MACHINE.decide(granted, Grant(lease=lease)) == ()
    assert MACHINE.decide(after(*LIVE), Grant(lease=lease)) == ()
    assert MACHINE.decide(starting, Grant(lease=lease.model_copy(update={"attempt": 2}))) == ()


def test_the_end_of_a_run_lets_go_of_what_it_had() -> None:
    """In the same breath; what it had is remembered, so that it gets the same again."""
    events = MACHINE.decide(after(*LIVE), ReportExit(attempt=1, code=0))
    assert [type(event) for event in events] == [Exited, NetworkReleased]
    ended = after(*LIVE, *events)
    assert (ended.state, ended.leased) == (State.EXITED, False)
    assert ended.lease is not None
    assert ended.lease.on("n1") == interface(2)


def test_a_restart_lets_go_before_it_starts_again() -> None:
    """The next run asks for addresses as any other."""
    stopping = after(*LIVE, StopRequested(signal=15, timeout=1, then_start=True))
    events = MACHINE.decide(stopping, ReportExit(attempt=1, code=0))
    assert [type(event) for event in events] == [Exited, NetworkReleased, StartRequested]


def test_a_failed_start_lets_go() -> None:
    """Whatever stage it had reached; one that got nothing has nothing to let go of."""
    failed = StartFailed(attempt=1, reason="no")
    granted = after(CREATED, StartRequested(attempt=1), GRANTED, failed)
    assert follow_up(granted, failed, 0) == (NetworkReleased(attempt=1, interfaces=GRANTED.interfaces),)
    assert follow_up(after(CREATED, StartRequested(attempt=1), failed), failed, 0) == ()


def test_a_container_that_rests_remembers_what_it_is_connected_to() -> None:
    """It is there from its next start on, until it is disconnected again."""
    (connected,) = MACHINE.decide(after(CREATED), Connect(attachment=VAULT))
    assert connected == Connected(attachment=VAULT)
    both = after(CREATED, connected)
    assert both.attachments == (SHOP, VAULT)
    (left,) = MACHINE.decide(both, Disconnect(network="n1", name="shop"))
    assert left == Disconnected(network="n1", name="shop")
    assert after(CREATED, connected, left).attachments == (VAULT,)


def test_a_running_container_is_connected_by_an_intent() -> None:
    """The address is its own from the wish on; a kernel that refuses gives it back."""
    one = interface(9, "vault")
    (asked,) = MACHINE.decide(after(*LIVE), Connect(attachment=VAULT, interface=one))
    assert asked == ConnectRequested(attachment=VAULT, interface=one, attempt=1)
    waiting = after(*LIVE, asked)
    assert list(waiting.open.values()) == ["connect-requested.v1"]
    done = after(*LIVE, asked, Connected(attachment=VAULT, interface=one))
    assert (done.attachments, not done.open) == ((SHOP, VAULT), True)
    assert done.lease is not None
    assert done.lease.on("n2") == one
    refused = after(*LIVE, asked, ConnectFailed(attachment=VAULT, interface=one, reason="no"))
    assert refused.attachments == (SHOP,)
    assert refused.lease is not None
    assert refused.lease.on("n2") is None


def test_an_exit_ends_connects_and_disconnects_of_its_run() -> None:
    """What was wished holds for the next start; what was had is let go of."""
    one = interface(9, "vault")
    asked = ConnectRequested(attachment=VAULT, interface=one, attempt=1)
    away = DisconnectRequested(attachment=SHOP, network="n1", name="shop", attempt=1)
    events = MACHINE.decide(after(*LIVE, asked, away), ReportExit(attempt=1, code=0))
    ended = after(*LIVE, asked, away, *events)
    assert not ended.open
    assert ended.attachments == (VAULT,)
    assert events[1] == NetworkReleased(attempt=1, interfaces=(interface(2), one))


def test_a_running_container_is_disconnected_by_an_intent() -> None:
    """One that cannot be disconnected is on the network as before."""
    both = (*LIVE, ConnectRequested(attachment=VAULT, interface=interface(9, "vault"), attempt=1),
            Connected(attachment=VAULT, interface=interface(9, "vault")))
    (asked,) = MACHINE.decide(after(*both), Disconnect(network="n1", name="shop"))
    assert asked == DisconnectRequested(attachment=SHOP, network="n1", name="shop", attempt=1)
    done = after(*both, asked, Disconnected(network="n1", name="shop", interface=interface(2)))
    assert done.attachments == (VAULT,)
    assert done.lease is not None
    assert done.lease.on("n1") is None
    failed = after(*both, asked, DisconnectFailed(attachment=SHOP, network="n1", name="shop", reason="no"))
    assert set(failed.attachments) == {SHOP, VAULT}


def test_a_link_is_forgotten_also_while_its_network_is_left() -> None:
    """A name that it does not have is refused; what is under way ends as ever."""
    linked = SHOP.model_copy(update={"links": (("store", "b" * 64),), "linked": (("store", "db"), ("later", "new"))})
    begun = tuple(Created(name="web", spec=spec(linked)) if isinstance(event, Created) else event for event in LIVE)
    assert MACHINE.decide(after(*begun), Unlink(name="store")) == (Unlinked(name="store"),)
    with pytest.raises(NotFound, match="has no link called db"):
        MACHINE.decide(after(*begun), Unlink(name="db"))
    (asked,) = MACHINE.decide(after(*begun), Disconnect(network="n1", name="shop", force=True))
    failed = DisconnectFailed(attachment=linked, network="n1", name="shop", reason="no")
    assert after(*begun, Unlinked(name="store")).attachments[0].called == {"later": "new"}
    assert [each.network for each in after(*begun, asked, Unlinked(name="store"), failed).attachments] == ["shop"]
    assert after(*begun, Unlinked(name="store"), asked).attachments == ()


def test_the_next_network_leads_out_once_the_one_that_did_is_left() -> None:
    """What it becomes is decided with the wish, and holds from the outcome on."""
    other = interface(9, "vault").model_copy(update={"gateways": ()})
    both = (*LIVE, ConnectRequested(attachment=VAULT, interface=other, attempt=1),
            Connected(attachment=VAULT, interface=other))
    leading = interface(9, "vault")
    wish = Disconnect(network="n1", name="shop", leading=leading)
    (asked,) = MACHINE.decide(after(*both), wish)
    waiting = after(*both, asked)
    assert waiting.lease is not None
    assert waiting.lease.on("n2") == other
    done = after(*both, asked, left(waiting, "n1", "shop", leading))
    assert done.lease is not None
    assert done.lease.interfaces == (leading,)


@pytest.mark.parametrize("state", [(CREATED,), LIVE])
def test_the_last_network_is_left_only_with_force(state: tuple[Event, ...]) -> None:
    """Else a slip of the hand cuts a container off."""
    with pytest.raises(Refused, match="shop is the last network of container web"):
        MACHINE.decide(after(*state), Disconnect(network="n1", name="shop"))
    assert MACHINE.decide(after(*state), Disconnect(network="n1", name="shop", force=True))


@pytest.mark.parametrize(
    ("wish", "told_"),
    [
        (Connect(attachment=SHOP), "endpoint with name web already exists in network shop"),
        (Disconnect(network="n2", name="vault"), "container web is not connected to network vault"),
    ],
)
def test_twice_and_never_are_refused(wish: Connect | Disconnect, told_: str) -> None:
    """In the words that scripts know."""
    with pytest.raises(Refused, match=told_):
        MACHINE.decide(after(CREATED), wish)


@pytest.mark.parametrize(
    ("lonely", "told_"),
    [
        (spec(network="host"), "network namespace with the host"),
        (spec(container="b" * 64), "network namespace with another container"),
        (spec(), "has no network"),
    ],
)
def test_a_container_without_networks_of_its_own_is_connected_to_none(lonely: ContainerSpec, told_: str) -> None:
    """It would be another's interface, or an island that got a bridge."""
    with pytest.raises(Refused, match=told_):
        MACHINE.decide(after(Created(name="web", spec=lonely)), Connect(attachment=SHOP))


def rows(*events: Event) -> tuple[Replay, Replay, Replay]:
    """Of addresses, tenures and containers."""
    found = Replay(Addresses()), Replay(Tenures()), Replay(Containers())
    for each in found:
        each.feed(told(events))
    return found


def test_an_address_is_held_while_the_container_runs() -> None:
    """And by nobody afterwards."""
    held, _, _ = rows(*LIVE)
    assert [(row["held"], row["live"], row["fixed"]) for row in held.rows.values()] == [("n1/10.213.0.2", 1, 0)]
    ended, _, _ = rows(*LIVE, *MACHINE.decide(after(*LIVE), ReportExit(attempt=1, code=0)))
    assert ended.rows == {}


def test_a_fixed_address_is_kept_until_the_container_is_removed() -> None:
    """Nobody takes it while its container rests."""
    live = (CREATED, StartRequested(attempt=1), NetworkGranted(attempt=1, interfaces=(interface(5, fixed=True),)),
            STARTED)
    ended = (*live, *MACHINE.decide(after(*live), ReportExit(attempt=1, code=0)))
    held, _, _ = rows(*ended)
    assert [(row["held"], row["live"]) for row in held.rows.values()] == [("n1/10.213.0.5", 0)]
    gone, _, _ = rows(*ended, RemoveRequested(), Removed(let_go=("n1/10.213.0.5",)))
    assert gone.rows == {}
    left, _, _ = rows(*ended, *MACHINE.decide(after(*ended), Disconnect(network="n1", name="shop", force=True)))
    assert left.rows == {}


def test_the_log_says_who_had_an_address_when() -> None:
    """Long after."""
    events = (*LIVE, *MACHINE.decide(after(*LIVE), ReportExit(attempt=1, code=0)))
    _, tenures, _ = rows(*events)
    (row,) = tenures.rows.values()
    assert (row["address"], row["network_name"], row["container"]) == ("10.213.0.2", "shop", ID)
    assert (row["since"], row["until"]) == (3000, 6000)


def test_lists_show_addresses_and_ports_of_what_runs() -> None:
    """And the networks also of what rests."""
    _, _, live = rows(*LIVE)
    (row,) = live.rows.values()
    assert row["networks"] == [["shop", "n1"]]
    assert row["addresses"] == [["shop", "10.213.0.2/24"]]
    assert row["ports"] == [[80, "tcp", "0.0.0.0", 8080]]
    events = (*LIVE, *MACHINE.decide(after(*LIVE), ReportExit(attempt=1, code=0)), Connected(attachment=VAULT))
    _, _, resting = rows(*events)
    (row,) = resting.rows.values()
    assert (row["addresses"], row["ports"]) == ([], [])
    assert row["networks"] == [["shop", "n1"], ["vault", "n2"]]
    assert row["network"] == "shop"

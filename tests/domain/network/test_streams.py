"""What may happen to a network, and what its rows say then."""

from collections.abc import Sequence

import pytest

from domain.errors import Conflict, IllegalTransition, InUse, NotFound, Refused
from domain.messages import Event, Meta, Recorded, StreamId
from domain.network.events import NetworkCreated, NetworkRemoved, NetworkRemoveFailed, NetworkRemoveRequested
from domain.network.model import Network
from domain.network.streams import State, create, fold_network, request_removal
from domain.notices import Narrator
from domain.projections.fold import Row
from domain.projections.networks import Networks, PastNetworks

CREATED = NetworkCreated(network=Network(name="shop"))
ASKED, STUCK = NetworkRemoveRequested(), NetworkRemoveFailed(residue="x")
GONE = NetworkRemoved(name="shop", driver="bridge")
STORIES: dict[State, tuple[Event, ...]] = {
    "absent": (),
    "present": (CREATED,),
    "removing": (CREATED, ASKED),
    "stuck": (CREATED, ASKED, STUCK),
    "removed": (CREATED, ASKED, GONE),
}
LEGAL: dict[tuple[State, type[Event]], State] = {
    ("absent", NetworkCreated): "present",
    ("present", NetworkRemoveRequested): "removing",
    ("stuck", NetworkRemoveRequested): "removing",
    ("removing", NetworkRemoved): "removed",
    ("removing", NetworkRemoveFailed): "stuck",
}


def told(events: Sequence[Event]) -> list[Recorded]:
    """A stream with these events."""
    return [Recorded(at, StreamId("network", "a" * 64), at, at * 1000, event, Meta())
            for at, event in enumerate(events, 1)]


@pytest.mark.parametrize("state", STORIES)
@pytest.mark.parametrize("event", [CREATED, ASKED, GONE, STUCK], ids=lambda event: event.stored_as)
def test_every_event_leads_where_the_table_says_or_is_illegal(state: State, event: Event) -> None:
    """Each state and each event."""
    records = told((*STORIES[state], event))
    wanted = LEGAL.get((state, type(event)))
    if wanted is None:
        with pytest.raises(IllegalTransition):
            fold_network("a" * 64, records)
    else:
        assert fold_network("a" * 64, records).state == wanted


@pytest.mark.parametrize(
    ("state", "users", "error"),
    [("absent", (), NotFound), ("removed", (), NotFound), ("removing", (), Conflict), ("present", ("web",), InUse)],
)
def test_a_removal_is_refused_where_it_makes_no_sense(
    state: State, users: tuple[str, ...], error: type[Exception]
) -> None:
    """Who is connected is named."""
    stream = fold_network("a" * 64, told(STORIES[state]))
    with pytest.raises(error, match="web" if users else None):
        request_removal(stream, users)


def test_what_every_host_has_cannot_be_removed() -> None:
    """Containers count on them."""
    stream = fold_network("a" * 64, told([NetworkCreated(network=Network(name="bridge"))]))
    with pytest.raises(Refused, match="pre-defined"):
        request_removal(stream, ())


def test_an_id_is_never_used_again() -> None:
    """Histories of two networks must not be mixed."""
    with pytest.raises(Conflict):
        create(fold_network("a" * 64, told(STORIES["removed"])), Network(name="shop"))


def test_rows_follow_a_network_through_its_life() -> None:
    """The name is free when nothing is left; that it once was there stays known."""
    now, past = Networks(), PastNetworks()
    row: Row | None = None
    gone: Row | None = None
    states = []
    for record in told((CREATED, ASKED, STUCK, ASKED, GONE)):
        row, gone = now.fold(row, record, "a"), past.fold(gone, record, "a")
        states.append(row and row["state"])
    assert states == ["present", "removing", "stuck", "removing", None]
    assert gone == {"id": "a", "name": "shop", "created_at": 1000, "removed_at": 5000}


def test_clients_hear_of_creation_and_destruction() -> None:
    """In the industry's words."""
    narrator = Narrator()
    notices = [notice for record in told((CREATED, ASKED, GONE)) for notice in narrator.tell(record)]
    assert [(notice.kind, notice.action, notice.attributes) for notice in notices] == [
        ("network", "create", {"name": "shop", "type": "bridge"}),
        ("network", "destroy", {"name": "shop", "type": "bridge"}),
    ]

"""Streams of images and references, and the rows that queries see."""

import pytest

from domain.errors import Conflict, IllegalTransition
from domain.images.events import ImageCached, ImageRegistered, ImageRemoved, ImageRemoveRequested, Tagged, Untagged
from domain.images.model import Image, Layer
from domain.images.removal import Target, User, decide
from domain.images.streams import drop, fold_image, fold_ref, point, register
from domain.messages import Event, Meta, Recorded, StreamId
from domain.projections.fold import Row
from domain.projections.images import Images
from domain.projections.refs import Refs

ID = "sha256:" + "a" * 64
IMAGE = Image(id=ID, layers=(Layer(diff_id=ID, chain_id=ID, size=5),), created=7, size=5, config={"os": "linux"})
REGISTERED = ImageRegistered(image=IMAGE, how="loaded", source="file", parent="p")


def recorded(stream: StreamId, *events: Event) -> list[Recorded]:
    """The events as the log has them."""
    return [Recorded(10 + n, stream, n, 100 + n, event, Meta()) for n, event in enumerate(events, 1)]


def states(*events: Event) -> str:
    """Where the image stands after the events."""
    return fold_image(ID, recorded(StreamId("image", ID), *events)).state


REQUESTED, REMOVED, HELD = ImageRemoveRequested(), ImageRemoved(), ImageRemoved(held=True)
CACHED = ImageCached(image=IMAGE, parent="p")


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ((), "absent"),
        ((REGISTERED,), "present"),
        ((REGISTERED, REQUESTED), "removing"),
        ((REGISTERED, REQUESTED, REMOVED), "absent"),
        ((REGISTERED, REQUESTED, HELD), "held"),
        ((REGISTERED, REQUESTED, HELD, REQUESTED, REMOVED), "absent"),
        ((REGISTERED, REQUESTED, HELD, REGISTERED), "present"),
        ((REGISTERED, REQUESTED, REMOVED, REGISTERED), "present"),
        ((CACHED,), "held"),
        ((CACHED, REGISTERED), "present"),
        ((CACHED, REGISTERED, REQUESTED, HELD), "held"),
        ((CACHED, REQUESTED, REMOVED), "absent"),
    ],
)
def test_an_image_comes_goes_and_comes_back(events: tuple[Event, ...], state: str) -> None:
    """All ways through its states."""
    assert states(*events) == state


@pytest.mark.parametrize(
    "events",
    [
        (REQUESTED,),
        (REMOVED,),
        (REGISTERED, REGISTERED),
        (REGISTERED, CACHED),
        (CACHED, CACHED),
        (REGISTERED, REMOVED),
        (REGISTERED, REQUESTED, REQUESTED),
        (REGISTERED, REQUESTED, REGISTERED),
        (REGISTERED, REQUESTED, REMOVED, REQUESTED),
    ],
)
def test_everything_else_is_a_defect(events: tuple[Event, ...]) -> None:
    """The fold says so instead of guessing."""
    with pytest.raises(IllegalTransition):
        states(*events)


def test_registering_is_done_once_and_not_while_the_image_goes() -> None:
    """What is known needs no event."""
    stream = StreamId("image", ID)
    assert register(fold_image(ID, ()), REGISTERED)[0].expected == 0
    assert register(fold_image(ID, recorded(stream, REGISTERED)), REGISTERED) == ()
    with pytest.raises(Conflict):
        register(fold_image(ID, recorded(stream, REGISTERED, REQUESTED)), REGISTERED)


def test_a_reference_is_given_moved_and_dropped() -> None:
    """Each only when it changes something."""
    stream = StreamId("ref", "app:v1")
    empty = fold_ref("app:v1", ())
    assert drop(empty) == ()
    assert point(empty, "i")[0].events == (Tagged(image_id="i"),)
    given = fold_ref("app:v1", recorded(stream, Tagged(image_id="i")))
    assert point(given, "i") == ()
    assert point(given, "j")[0].events == (Tagged(image_id="j", previous="i"),)
    assert drop(given)[0].events == (Untagged(image_id="i"),)
    for wrong in ((Untagged(image_id="i"),), (Tagged(image_id="i"), Tagged(image_id="i"))):
        with pytest.raises(IllegalTransition):
            fold_ref("app:v1", recorded(stream, *wrong))


def row_after(projection: Images | Refs, stream: StreamId, *events: Event) -> Row | None:
    """The row that the events give."""
    row: Row | None = None
    for record in recorded(stream, *events):
        for key in projection.keys(record):
            row = projection.fold(row, record, key)
    return row


def test_an_images_row_follows_its_stream() -> None:
    """Gone when nothing of it is left."""
    stream, table = StreamId("image", ID), Images()
    row = row_after(table, stream, REGISTERED)
    assert row is not None
    assert set(row) == {column.name for column in table.columns}
    assert (row["id"], row["created"], row["registered"], row["parent"], row["state"]) == (ID, 7, 101, "p", "present")
    for events, state in (((REQUESTED,), "removing"), ((REQUESTED, HELD), "held")):
        row = row_after(table, stream, REGISTERED, *events)
        assert row is not None
        assert row["state"] == state
    assert row_after(table, stream, REGISTERED, REQUESTED, REMOVED) is None
    assert table.keys(recorded(StreamId("container", "x"), REQUESTED)[0]) == ()


def test_a_references_row_follows_its_stream() -> None:
    """Gone when it names nothing."""
    stream, table = StreamId("ref", "app:v1"), Refs()
    assert row_after(table, stream, Tagged(image_id="i")) == {"reference": "app:v1", "image_id": "i", "since": 101}
    assert row_after(table, stream, Tagged(image_id="i"), Untagged(image_id="i")) is None


DIGEST_KEY = "app@sha256:" + "b" * 64


@pytest.mark.parametrize(
    ("reference", "references", "force", "untag", "delete"),
    [
        ("app:v1", ("app:v1",), False, ("app:v1",), True),
        ("app:v1", ("app:v1", "app:v2"), False, ("app:v1",), False),
        ("app:v1", ("app:v1", "other:v1"), False, ("app:v1",), False),
        ("app:v1", ("app:v1", DIGEST_KEY), False, ("app:v1", DIGEST_KEY), True),
        ("app:v1", ("app:v1", "app:v2", DIGEST_KEY), False, ("app:v1",), False),
        (DIGEST_KEY, ("app:v1", DIGEST_KEY), False, (DIGEST_KEY,), False),
        ("", (), False, (), True),
        ("", ("app:v1", DIGEST_KEY), False, ("app:v1", DIGEST_KEY), True),
        ("", ("app:v1", "app:v2"), True, ("app:v1", "app:v2"), True),
    ],
)
def test_what_a_removal_takes_with_it(
    reference: str, references: tuple[str, ...], force: bool, untag: tuple[str, ...], delete: bool
) -> None:
    """Without containers and children."""
    found = decide(Target(ID, reference, references), force=force)
    assert (found.untag, found.delete) == (untag, delete)


@pytest.mark.parametrize("state", ["starting", "running", "pausing", "paused", "unpausing", "stopping", "restarting"])
def test_a_container_that_may_run_holds_its_image(state: str) -> None:
    """By name the tag can be forced off, and nothing more."""
    target = Target(ID, "app:v1", ("app:v1",), (User("c" * 64, state),))
    assert decide(target, force=True).delete is False


@pytest.mark.parametrize("state", ["created", "exited", "dead", "removing"])
def test_a_container_that_does_not_run_can_be_overruled(state: str) -> None:
    """With force."""
    target = Target(ID, "app:v1", ("app:v1",), (User("c" * 64, state),))
    assert decide(target, force=True).delete is True

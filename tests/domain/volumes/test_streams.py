"""A volume's life: made, claimed, given back, removed; every state meets every event."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import IllegalTransition, InUse, InvalidValue, LadingError, NotFound, Refused
from domain.messages import Append, Event, Meta, Recorded
from domain.projections.volumes import Volumes
from domain.volumes import streams
from domain.volumes.events import (
    VolumeClaimed,
    VolumeCreated,
    VolumeReleased,
    VolumeRemoved,
    VolumeRemoveFailed,
    VolumeRemoveRequested,
)
from domain.volumes.names import volume_name
from domain.volumes.streams import Volume, claim, create, evolve, release, remove

ME, OTHER = "a" * 64, "b" * 64
PLAIN = VolumeCreated()
NAMELESS = VolumeCreated(anonymous=True, by="container")


def claimed(container: str) -> VolumeClaimed:
    """A claim of a container that is called like its first letter."""
    return VolumeClaimed(container=container, name=container[:1], targets=("/data",))


def told(volume: Volume, *events: Event) -> Volume:
    """The volume after events."""
    for event in events:
        number = volume.version + 1
        volume = evolve(volume, Recorded(number, volume.stream, number, 1000 + number, event, Meta()))
    return volume


def after(volume: Volume, *appends: Append) -> Volume:
    """The volume after what was decided."""
    for append in appends:
        assert append.expected == volume.version
        volume = told(volume, *append.events)
    return volume


STATES = {
    "absent": Volume("data"),
    "present": told(Volume("data"), PLAIN),
    "claimed": told(Volume("data"), PLAIN, claimed(ME)),
    "removing": told(Volume("data"), PLAIN, VolumeRemoveRequested()),
    "broken": told(Volume("data"), PLAIN, VolumeRemoveRequested(), VolumeRemoveFailed(residue="a mount")),
}
LEGAL: dict[str, set[type[Event]]] = {
    "absent": {VolumeCreated},
    "present": {VolumeClaimed, VolumeRemoveRequested},
    "claimed": {VolumeClaimed, VolumeReleased, VolumeRemoveRequested},
    "removing": {VolumeRemoved, VolumeRemoveFailed},
    "broken": {VolumeRemoveRequested},
}
WISHES = ("create", "claim", "claim other", "release", "release other", "remove", "done", "fail")
EVENTS = (PLAIN, claimed(ME), VolumeReleased(container=ME), VolumeRemoveRequested(), VolumeRemoved(),
          VolumeRemoveFailed(residue="x"))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("state", STATES)
def test_every_event_is_legal_where_the_table_says_and_nowhere_else(state: str, event: Event) -> None:
    """The decisions below can only lead to what is legal."""
    if type(event) in LEGAL[state]:
        told(STATES[state], event)
    else:
        with pytest.raises(IllegalTransition):
            told(STATES[state], event)


def test_a_volume_that_is_there_is_not_made_again() -> None:
    """As users of the industry's CLI know it; but not if it were to be another one."""
    present = after(Volume("data"), *create(Volume("data"), PLAIN))
    assert create(present, PLAIN) == ()
    with pytest.raises(Refused, match="other options"):
        create(present, VolumeCreated(options={"type": "tmpfs"}))
    with pytest.raises(Refused):
        create(STATES["removing"], PLAIN)


def test_a_claim_makes_what_is_not_there_in_the_same_breath() -> None:
    """So nobody can remove it in between."""
    fresh = after(Volume("data"), claim(Volume("data"), claimed(ME), PLAIN))
    assert (fresh.state, set(fresh.claims)) == ("present", {ME})
    with pytest.raises(Refused):
        claim(STATES["removing"], claimed(ME), PLAIN)


def test_what_somebody_uses_is_not_removed() -> None:
    """The refusal names who uses it."""
    with pytest.raises(InUse, match="volume is in use"):
        remove(STATES["claimed"])
    assert after(STATES["present"], remove(STATES["present"])).state == "removing"
    assert after(STATES["broken"], remove(STATES["broken"])).state == "removing"
    with pytest.raises(NotFound):
        remove(Volume("data"))
    with pytest.raises(Refused):
        remove(STATES["removing"])


@pytest.mark.parametrize(("made", "others", "wish", "goes"), [
    (NAMELESS, False, True, True), (NAMELESS, False, False, False), (NAMELESS, True, True, False),
    (PLAIN, False, True, False),
])
def test_only_a_nameless_volume_goes_with_its_last_container(
    made: VolumeCreated, others: bool, wish: bool, goes: bool
) -> None:
    """And only if that was asked for: by --rm, or by rm -v."""
    volume = told(Volume("data"), made, claimed(ME), *((claimed(OTHER),) if others else ()))
    left = after(volume, *release(volume, ME, remove=wish))
    assert (left.state == "removing") is goes
    assert ME not in left.claims
    assert release(left, ME, remove=True) == ()


@given(st.lists(st.sampled_from(WISHES), max_size=30))
def test_no_story_leads_out_of_the_table_and_the_row_follows(story: list[str]) -> None:
    """Whatever is wished in whatever order: it is refused or legal, and the list says what the stream says."""
    volume, row, projection = Volume("data"), None, Volumes()
    for wish in story:
        try:
            appends = _decided(volume, wish)
        except LadingError:
            continue
        for append in appends:
            for event in append.events:
                number = volume.version + 1
                record = Recorded(number, volume.stream, number, number, event, Meta())
                volume, row = evolve(volume, record), projection.fold(row, record, "data")
    assert (row is None) == (volume.state == "absent")
    if row is not None:
        assert (row["state"], row["users"]) == (volume.state, list(volume.claims))


def _decided(volume: Volume, wish: str) -> tuple[Append, ...]:
    match wish:
        case "create":
            return create(volume, PLAIN)
        case "claim" | "claim other":
            id = OTHER if "other" in wish else ME
            return (claim(volume, claimed(id), NAMELESS),) if id not in volume.claims else ()
        case "release" | "release other":
            return release(volume, OTHER if "other" in wish else ME, remove=True)
        case "remove":
            return (remove(volume),)
        case _ if volume.state == "removing":
            return (volume.append(VolumeRemoved() if wish == "done" else VolumeRemoveFailed(residue="x")),)
    return ()


def test_a_name_that_was_removed_begins_a_new_life() -> None:
    """In the same stream: the history of the name is one."""
    again = told(STATES["removing"], VolumeRemoved(), NAMELESS)
    assert (again.state, again.version, again.claims) == ("present", 4, {})
    assert again.made == NAMELESS
    assert streams.fold("data", []) == Volume("data")


@pytest.mark.parametrize("name", ["", "a", ".x", "-x", "a/b", "..", "a\nb", "x" * 256, "ä1", "a b"])
def test_what_is_no_name_is_refused(name: str) -> None:
    """It becomes a part of a path."""
    with pytest.raises(InvalidValue, match="invalid characters"):
        volume_name(name)
    assert volume_name("my-data_1.2") == "my-data_1.2"

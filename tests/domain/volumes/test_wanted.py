"""Which volumes a container gets: its own wishes before those of others, those before its image's."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from domain.mounts import Mount
from domain.volumes.wanted import declared, inherited, volumes_from, wanted


def names() -> Callable[[], str]:
    """A name after the other."""
    numbers = iter(range(100))
    return lambda: f"made{next(numbers)}"


def test_the_own_wish_counts_more_than_that_of_others_and_that_more_than_the_images() -> None:
    """At each place one thing; nameless ones get names, each its own."""
    own = (Mount(type="volume", source="mine", target="/a"), Mount(type="volume", target="/b", anonymous=True))
    others = (Mount(type="volume", source="theirs", target="/a"), Mount(type="bind", source="/srv", target="/c"),
              Mount(type="volume", source="first", target="/d"), Mount(type="volume", source="last", target="/d"))
    found = wanted(own, others, declared(["/a", "/c", "/e", "/t/"]), ["/t"], names())
    assert {mount.target: mount.source for mount in found} == {
        "/a": "mine", "/b": "made0", "/c": "/srv", "/d": "last", "/e": "made1"}
    assert [mount.target for mount in found if mount.anonymous] == ["/b", "/e"]


@pytest.mark.parametrize(("text", "told"), [
    ("web", ("web", False)), ("web:ro", ("web", True)), ("web:rw", ("web", False)), ("web:z", ("web", False)),
    ("web:ro,Z", ("web", True)),
])
def test_other_containers_are_named_with_a_mode(text: str, told: tuple[str, bool]) -> None:
    """As the industry writes it."""
    assert volumes_from(text) == told


@pytest.mark.parametrize("text", ["", ":ro", "web:", "web:up", "web:ro:rw", "web:ro,up"])
def test_other_modes_are_refused(text: str) -> None:
    """With what was typed."""
    with pytest.raises(InvalidValue, match="invalid"):
        volumes_from(text)


def test_memory_is_nobody_elses_and_what_is_for_reading_stays_so() -> None:
    """Of what other containers have."""
    mounts = (Mount(type="tmpfs", target="/t"), Mount(type="volume", source="v", target="/v", read_only=True),
              Mount(type="bind", source="/s", target="/s"))
    assert [(m.target, m.read_only) for m in inherited(mounts, read_only=False)] == [("/v", True), ("/s", False)]
    assert all(m.read_only for m in inherited(mounts, read_only=True))


@given(st.lists(st.sampled_from(["/a", "/b", "/c/d"]), unique=True), st.lists(st.sampled_from(["/a", "/b", "/e"])),
       st.lists(st.sampled_from(["/a", "/e", "/f"])), st.lists(st.sampled_from(["/a", "/f", "/g"])))
def test_no_place_is_given_twice_and_none_is_lost(
    own: list[str], others: list[str], image: list[str], taken: list[str]
) -> None:
    """Whoever asks for what."""
    mine = [Mount(type="volume", target=place, anonymous=True) for place in own]
    theirs = [Mount(type="volume", source="x", target=place) for place in others]
    found = wanted(mine, theirs, declared(image), taken, names())
    places = [mount.target for mount in found]
    assert sorted(places) == sorted(set(own) | ((set(others) | set(image)) - set(taken)))
    assert all(mount.source for mount in found)


@pytest.mark.parametrize("path", ["/", "relative", "/proc/x", "/a/../b", ""])
def test_an_image_cannot_declare_what_nobody_can_ask_for(path: str) -> None:
    """The same rules."""
    with pytest.raises(InvalidValue):
        declared([path])

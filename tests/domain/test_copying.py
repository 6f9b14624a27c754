"""The rules of `cp` say where a copy lands, as the industry's CLI does."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.copying import End, Found, Placement, absolute, base, inside, linked, place, sides, split
from domain.errors import InvalidValue, Refused

MISSING, FILE, DIRECTORY = Found("missing"), Found("file"), Found("directory")


@pytest.mark.parametrize(
    ("source", "is_directory", "target", "found", "placement"),
    [
        ("/a/f", False, "/b/g", MISSING, ("/b", "g")),
        ("/a/f", False, "/b/g", FILE, ("/b", "g")),
        ("/a/f", False, "/b", DIRECTORY, ("/b", "f")),
        ("/a/f", False, "/b/", DIRECTORY, ("/b/", "f")),
        ("/a/d", True, "/b", DIRECTORY, ("/b", "d")),
        ("/a/d/", True, "/b", DIRECTORY, ("/b", "d")),
        ("/a/d/.", True, "/b", DIRECTORY, ("/b", ".")),
        ("/a/d", True, "/b/new", MISSING, ("/b", "new")),
        ("/a/d/.", True, "/b/new", MISSING, ("/b", "new")),
        ("/a/d", True, "/b/new/", MISSING, ("/b", "new")),
        ("/", True, "/b", DIRECTORY, ("/b", ".")),
        ("/", True, "/new", MISSING, ("/", "new")),
        ("/a/d", True, "/", DIRECTORY, ("/", "d")),
    ],
)
def test_a_copy_lands_where_the_rules_say(
    source: str, is_directory: bool, target: str, found: Found, placement: tuple[str, str]
) -> None:
    """Scripts rely on each of these."""
    assert place(source, is_directory=is_directory, target=target, found=found) == Placement(*placement)


@pytest.mark.parametrize(
    ("is_directory", "target", "found", "text"),
    [
        (True, "/b/g", FILE, "cannot copy directory"),
        (False, "/b/new/", MISSING, "no such directory"),
        (False, "/b/new/.", MISSING, "no such directory"),
        (False, "/b/g/", FILE, "not a directory"),
    ],
)
def test_what_cannot_be_copied_is_refused_in_known_words(
    is_directory: bool, target: str, found: Found, text: str
) -> None:
    """And nothing has been touched yet."""
    with pytest.raises(Refused, match=text):
        place("/a/x", is_directory=is_directory, target=target, found=found)


@pytest.mark.parametrize(
    ("source", "target", "ends"),
    [
        ("web:/etc/hosts", "x", (End("web", "/etc/hosts"), End("", "x"))),
        ("x", "web:etc", (End("", "x"), End("web", "/etc"))),
        ("-", "web:/", (End("", "-"), End("web", "/"))),
        ("web:", "-", (End("web", "/"), End("", "-"))),
        ("./a:b", "web:/a:b", (End("", "./a:b"), End("web", "/a:b"))),
        ("/a:b", "web:/x/", (End("", "/a:b"), End("web", "/x/"))),
        ("web:/a/../../b/.", ".", (End("web", "/b/."), End("", "."))),
    ],
)
def test_a_colon_names_a_container_unless_the_path_says_otherwise(
    source: str, target: str, ends: tuple[End, End]
) -> None:
    """A local file may hold a colon: then it is written with a dot or a slash in front."""
    assert sides(source, target) == ends


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        ("a:/x", "b:/y", "copying between containers is not supported"),
        ("x", "y", "must specify at least one container source"),
        ("-", "-", "must specify at least one container source"),
        ("", "a:/x", "source can not be empty"),
        ("a:/x", "", "destination can not be empty"),
    ],
)
def test_exactly_one_side_is_in_a_container(source: str, target: str, text: str) -> None:
    """Everything else is refused before anybody is asked."""
    with pytest.raises(InvalidValue, match=text):
        sides(source, target)


PATHS = st.lists(st.sampled_from(["a", "b", ".", "..", "", "x y", "\udcff"]), max_size=6).map("/".join)


@given(PATHS, st.sampled_from(["/", "/ann", "/a/b/c"]))
def test_an_absolute_path_has_no_detours_and_keeps_its_meaning(path: str, directory: str) -> None:
    """It begins at the root, never leaves it, and only its end tells what was meant."""
    found = absolute(path, directory)
    body = found.removesuffix("/.").removesuffix("/") or "/"
    assert found.startswith("/")
    assert posixpath.normpath(body) == body
    assert absolute(found, "/elsewhere") == found


@given(PATHS)
def test_what_is_split_can_be_put_together(path: str) -> None:
    """Directory and name are the whole path."""
    clean = inside(path)
    directory, name = split(clean)
    assert posixpath.normpath(directory.rstrip("/") + "/" + name) == posixpath.normpath(clean)
    assert base(clean) in (name, ".")


@given(PATHS, PATHS, st.booleans(), st.sampled_from([MISSING, FILE, DIRECTORY]))
def test_no_rule_ever_leads_out_of_the_destinations_parent(
    source: str, target: str, is_directory: bool, found: Found
) -> None:
    """Whatever is typed: a copy lands in the destination, or takes its place."""
    goal, clean = inside(target), inside(source)
    try:
        placement = place(clean, is_directory=is_directory, target=goal, found=found)
    except Refused:
        return
    assert "/" not in placement.name
    assert placement.name not in ("", "..")
    assert placement.directory in (goal, split(goal)[0])


@pytest.mark.parametrize(
    ("path", "target", "where"),
    [("/a/l", "b", "/a/b"), ("/a/l", "/b", "/b"), ("/a/l", "../../../etc", "/etc"), ("/l", "b/", "/b/")],
)
def test_a_link_leads_from_where_it_lies(path: str, target: str, where: str) -> None:
    """Above the root is the root."""
    assert linked(Found("link", path, target)) == where

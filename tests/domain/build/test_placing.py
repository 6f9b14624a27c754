"""Where COPY and ADD put things, over trees that exist in memory only."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.build.ignore import Rules
from domain.build.placing import Node, Owner, Placed, Placing, clean, follow, origins, parse_mode
from domain.build.scope import Bring
from domain.errors import InvalidValue, LadingError, NotFound, Refused


class Files:
    """A tree from `path: kind`, with `-> target` for links; directories on the way come by themselves."""

    def __init__(self, **kinds: str) -> None:
        self.nodes: dict[str, Node] = {}
        for path, kind in kinds.items():
            self.add(path, kind)

    def add(self, path: str, kind: str) -> None:
        """One more thing."""
        parts = path.split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            self.nodes.setdefault(above, Node(above, "directory", 0o750, 7, 7))
        if kind.startswith("->"):
            self.nodes[path] = Node(path, "link", 0o777, target=kind[2:])
        elif kind == "d":
            self.nodes[path] = Node(path, "directory", 0o700, 7, 7)
        elif kind == "p":
            self.nodes[path] = Node(path, "other")
        else:
            self.nodes[path] = Node(path, "file", 0o640, 7, 7, size=len(kind))

    def look(self, path: str) -> Node | None:
        """See Tree."""
        return self.nodes.get(path)

    def names(self, path: str) -> Sequence[str]:
        """See Tree."""
        prefix = path + "/" if path else ""
        return sorted({p[len(prefix):].partition("/")[0] for p in self.nodes if p.startswith(prefix) and p != path})


def tree(*paths: str) -> Files:
    """Files, and `x/` for directories, `x->y` for links, `x|` for something else."""
    found = Files()
    for path in paths:
        if "->" in path:
            name, _, target = path.partition("->")
            found.add(name, f"->{target}")
        elif path.endswith("/"):
            found.add(path[:-1], "d")
        else:
            found.add(path.removesuffix("|"), "p" if path.endswith("|") else "f")
    return found


CONTEXT = tree(
    "a.txt", "b.txt", "c.md", "src/x.py", "src/y.py", "src/sub/z.py", "src/link->x.py", "empty/",
    "out->../../etc/passwd", "to->src", "abs->/a.txt", "loop->loop", "pipe|", "special/pipe|",
)
IMAGE = tree("etc/passwd", "tmp/", "var/run->/run", "run/", "usr/bin/", "file", "dir/", "dir/a.txt/", "here->/tmp")


ROOT = Owner(0, 0)


def placed(
    destination: str, *sources: str, image: Files = IMAGE, owner: Owner | None = ROOT, **more: object
) -> dict[str, Placed]:
    """What comes of it, by path."""
    work = Bring("COPY", sources, more.pop("inline", ()), destination, **more)  # type: ignore[arg-type]
    found = origins(work, CONTEXT)
    mode = parse_mode(work.chmod, "COPY")
    result = list(Placing(work, CONTEXT, image, owner, mode).all(found))
    assert len({one.path for one in result}) == len(result)
    return {one.path: one for one in result}


@pytest.mark.parametrize(
    ("destination", "sources", "paths"),
    [
        ("/x", ["a.txt"], ["x"]),
        ("/x/", ["a.txt"], ["x", "x/a.txt"]),
        ("/tmp", ["a.txt"], ["tmp/a.txt"]),
        ("/tmp/", ["a.txt", "b.txt"], ["tmp/a.txt", "tmp/b.txt"]),
        ("/", ["a.txt"], ["a.txt"]),
        ("/n/m/x", ["a.txt"], ["n", "n/m", "n/m/x"]),
        ("/x", ["src"], ["x", "x/link", "x/sub", "x/x.py", "x/y.py", "x/sub/z.py"]),
        ("/tmp", ["src/sub"], ["tmp/z.py"]),
        ("/", ["src/sub"], ["z.py"]),
        ("/x", ["empty"], ["x"]),
        ("/x/", ["*.txt"], ["x", "x/a.txt", "x/b.txt"]),
        ("/x/", ["src/*.py"], ["x", "x/x.py", "x/y.py"]),
        ("/x/", ["s*/x.py"], ["x", "x/x.py"]),
        ("/x/", ["[ab].txt"], ["x", "x/a.txt", "x/b.txt"]),
        ("/x", ["to"], ["x", "x/link", "x/sub", "x/x.py", "x/y.py", "x/sub/z.py"]),
        ("/x/", ["abs"], ["x", "x/abs"]),
        ("/x", ["src/link"], ["x"]),
        ("/here/", ["a.txt"], ["tmp/a.txt"]),
        ("/here", ["a.txt"], ["tmp/a.txt"]),
        ("/var/run/x", ["a.txt"], ["run/x"]),
        ("/file", ["a.txt"], ["file"]),
        ("/x/", ["./src/../a.txt"], ["x", "x/a.txt"]),
    ],
)
def test_where_things_go(destination: str, sources: list[str], paths: list[str]) -> None:
    """A directory is what is in it; links to the destination lead on inside of the image."""
    assert sorted(placed(destination, *sources)) == sorted(paths)


@pytest.mark.parametrize(
    ("destination", "sources", "says"),
    [
        ("/x", ["nothing"], "file not found in build context"),
        ("/x", ["*.no"], "file not found in build context"),
        ("/x", ["../x"], "forbidden path outside the build context"),
        ("/x", ["a/../../x"], "forbidden path outside the build context"),
        ("/x", ["out"], "file not found"),
        ("/x", ["loop"], "too many links"),
        ("/x", ["a.txt", "b.txt"], "must be a directory and end with a /"),
        ("/x", ["*.txt"], "must be a directory and end with a /"),
        ("/file/", ["a.txt"], "cannot copy to non-directory: /file"),
        ("/file/x", ["a.txt"], "/file is not a directory"),
        ("/file", ["src"], "cannot copy a directory to non-directory: /file"),
        ("/dir", ["a.txt"], "where the image has a directory: /dir/a.txt"),
        ("/x", ["pipe"], "neither a file, nor a directory, nor a link"),
        ("/x", ["special"], "special/pipe is neither a file"),
        ("/x/", ["[a"], "has no"),
    ],
)
def test_what_cannot_be_copied_is_refused(destination: str, sources: list[str], says: str) -> None:
    """With the path that is meant, as the user knows it."""
    with pytest.raises(LadingError, match=says):
        placed(destination, *sources)


def test_the_line_that_hides_a_file_is_named() -> None:
    """The file is there, and the user sees it: he must be told why the engine does not."""
    with pytest.raises(Refused) as refusal:
        origins(Bring("COPY", ("dist/app",), (), "/x"), tree("a"), hidden=Rules("x\ndist"))
    assert refusal.value.hint == ".dockerignore line 2 (dist) hides it"


def test_owners_and_modes() -> None:
    """From a context everything is root's, modes are kept; from a stage owners are kept, too."""
    one = placed("/x/", "a.txt")
    assert (one["x/a.txt"].mode, one["x/a.txt"].uid) == (0o640, 0)
    assert (one["x"].mode, one["x"].uid) == (0o755, 0)
    other = placed("/n/x/", "a.txt", owner=Owner(5, 6), chmod="4711")
    assert {(p.uid, p.gid) for p in other.values()} == {(5, 6)}
    assert other["n/x/a.txt"].mode == 0o4711
    assert placed("/x/", "a.txt", owner=None)["x/a.txt"].uid == 7
    assert placed("/x", "src")["x/sub"].mode == 0o750


@pytest.mark.parametrize(
    ("text", "mode", "directory", "after"),
    [
        ("644", 0o777, False, 0o644),
        ("u=rwX,go=rX", 0o640, False, 0o644),
        ("u=rwX,go=rX", 0o700, True, 0o755),
        ("+x", 0o644, False, 0o755),
        ("a-w", 0o666, False, 0o444),
        ("u+s", 0o755, False, 0o4755),
        ("g=", 0o777, False, 0o707),
        ("o+t", 0o777, True, 0o1777),
    ],
)
def test_modes_in_numbers_and_letters(text: str, mode: int, directory: bool, after: int) -> None:
    """As chmod(1) reads them."""
    found = parse_mode(text, "COPY")
    assert found is not None
    assert found.of(mode, directory=directory) == after


@pytest.mark.parametrize("text", ["8", "77777", "rwx", "u", "u=q", "u=r,"])
def test_a_mode_that_is_none_is_refused(text: str) -> None:
    """Before anything is copied."""
    with pytest.raises(InvalidValue):
        parse_mode(text, "COPY")


def test_here_documents_become_files() -> None:
    """One goes to the destination itself, several go into it."""
    assert placed("/x", inline=(("A", "one\n"),))["x"].content == b"one\n"
    found = placed("/x/", inline=(("A", "one\n"), ("B", "two\n")))
    assert (found["x/A"].content, found["x/B"].content) == (b"one\n", b"two\n")


@pytest.mark.parametrize(
    ("sources", "exclude", "paths"),
    [
        (["src"], ["*.py"], ["x", "x/link", "x/sub", "x/sub/z.py"]),
        (["src"], ["**/*.py"], ["x", "x/link", "x/sub"]),
        (["src"], ["sub"], ["x", "x/link", "x/x.py", "x/y.py"]),
        (["src"], ["sub", "!sub/z.py"], ["x", "x/link", "x/x.py", "x/y.py", "x/sub/z.py"]),
        (["*.txt"], ["b*"], ["x", "x/a.txt"]),
    ],
)
def test_exclusions_hold_below_each_source(sources: list[str], exclude: list[str], paths: list[str]) -> None:
    """They are patterns like those of `.dockerignore`."""
    assert sorted(placed("/x/", *sources, exclude=tuple(exclude))) == sorted(paths)


@pytest.mark.parametrize(
    ("sources", "paths"),
    [
        (["src/sub/z.py"], ["x", "x/src", "x/src/sub", "x/src/sub/z.py"]),
        (["src/./sub/z.py"], ["x", "x/sub", "x/sub/z.py"]),
        (["src/x.py", "src/sub/z.py"], ["x", "x/src", "x/src/x.py", "x/src/sub", "x/src/sub/z.py"]),
        (["**/*.py"], ["x", "x/src", "x/src/sub", "x/src/sub/z.py", "x/src/x.py", "x/src/y.py"]),
        (["src/sub"], ["x", "x/src", "x/src/sub", "x/src/sub/z.py"]),
        (["a.txt"], ["x", "x/a.txt"]),
    ],
)
def test_parents_keep_the_way_to_a_file(sources: list[str], paths: list[str]) -> None:
    """From the root of the context on, or from `/./`."""
    assert sorted(placed("/x/", *sources, parents=True)) == sorted(paths)


@given(st.lists(st.sampled_from(["a", "b", "..", ".", "l", "m", ""]), max_size=8).map("/".join))
def test_no_path_leads_out_of_its_tree(path: str) -> None:
    """Whatever links there are."""
    files = tree("a/b/c", "l->/../..", "m->../a/../../b", "a/l->../../../l")
    try:
        found = follow(files, path, missing=True)
        assert not found.startswith("/")
        assert ".." not in found.split("/")
        assert ".." not in clean(path, "x").split("/")
    except (Refused, InvalidValue, NotFound):
        return


def test_a_link_out_of_the_context_is_told_to_be_one() -> None:
    """It is there, and who looks at it sees a file: that there is none needs a word."""
    with pytest.raises(LadingError) as told:
        placed("/x", "out")
    assert told.value.hint.startswith("it is a link to ../../etc/passwd, and there is no such file in the context")

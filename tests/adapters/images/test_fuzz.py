"""Random archives against a model of a few lines: whatever the order of entries, the layer is what the rules say."""

import os
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import adapters.images.unpack
from adapters.images.content import Content
from domain.errors import Refused
from tests.adapters.images.conftest import Layers
from tests.adapters.images.tars import Member, archive, directory, file, hardlink, symlink, tree
from tests.examples import examples

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


@pytest.fixture(params=[0, 1], ids=["alone", "helped"], autouse=True)
def _helped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Extractors that are alone, or have a second process from their second small file on."""
    monkeypatch.setattr(adapters.images.unpack, "ALONE", request.param)
    monkeypatch.setattr(adapters.images.unpack, "idle", lambda: True)


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
MODES = st.sampled_from([0o755, 0o700, 0o1777])


class Model:
    """A layer over nothing: path → what is there. Links are targets of nothing here, so nothing has to be resolved."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def put(self, path: str, what: str) -> None:
        """One entry; raises KeyError where an extractor must refuse."""
        parts = path.split("/")
        for count in range(1, len(parts)):
            parent = "/".join(parts[:count])
            if self.found.setdefault(parent, "d 755").split()[0] != "d":
                raise KeyError(path)
        if not (what[0] == "d" and self.found.get(path, "x")[0] == "d"):
            self.drop(path)
        self.found[path] = what

    def drop(self, path: str) -> None:
        """The path and all below."""
        self.found = {
            name: what for name, what in self.found.items() if name != path and not name.startswith(path + "/")
        }


OPERATIONS = st.one_of(
    st.tuples(st.just("file"), PATHS, st.sampled_from(["x", "yy"])),
    st.tuples(st.just("dir"), PATHS, MODES),
    st.tuples(st.just("symlink"), PATHS, st.just("nowhere/at/all")),
)


def made(operation: tuple[str, str, object]) -> Member:
    """The entry in the archive."""
    kind, path, value = operation
    if kind == "file":
        return file(path, str(value).encode())
    if kind == "dir":
        assert isinstance(value, int)
        return directory(path, mode=value)
    return symlink(path, str(value))


def modelled(operation: tuple[str, str, object]) -> str:
    """The same for the model."""
    kind, _, value = operation
    return {"file": f"f {value}", "dir": f"d {value:o}" if isinstance(value, int) else "", "symlink": f"l {value}"}[
        kind
    ]


def seen(fs: Path) -> dict[str, str]:
    """The layer in the model's words."""
    found = {}
    for name, text in tree(fs).items():
        kind, mode = text.split()[:2]
        content = (fs / name).read_text() if kind == "f" else os.readlink(fs / name) if kind == "l" else mode
        found[name] = f"{kind} {content}"
    return found


@examples(100, unchecked=True)
@given(
    st.lists(OPERATIONS, max_size=10), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
)
@example([("file", "a/a", "x"), ("file", "a", "x"), ("dir", "a", 0o700)], tarfile.PAX_FORMAT)
@example([("file", "a/a", "x"), ("symlink", "a", "b"), ("dir", "a", 0o1777), ("file", "a/b", "x")], tarfile.GNU_FORMAT)
def test_any_sequence_of_entries_gives_what_the_model_says(
    operations: list[tuple[str, str, object]], format: int
) -> None:
    """Last one wins, directories merge, parents are implied; a parent that is a file or a dead link is no parent."""
    model = Model()
    try:
        for operation in operations:
            model.put(operation[1], modelled(operation))
        refused = False
    except KeyError:
        refused = True
    with TemporaryDirectory() as place:
        layers = Layers(Content(Path(place) / "store"))
        data = archive(*map(made, operations), format=format)
        if refused and "symlink" not in {operation[0] for operation in operations}:
            with pytest.raises(Refused):
                layers.add(data)
        elif not refused:
            assert seen(layers.add(data)) == model.found


@examples(100, unchecked=True)
@given(
    st.lists(
        st.one_of(
            OPERATIONS,
            st.tuples(st.just("link"), PATHS, PATHS),
            st.tuples(st.just("symlink"), PATHS, st.sampled_from(["/", "..", "../../..", "/a", "b", "."])),
        ),
        max_size=12,
    ),
    st.binary(max_size=40),
    st.integers(0, 6000),
)
@example([("file", "a/a", "x"), ("dir", "a/a", 0o755), ("file", "a", "x"), ("symlink", "a", "/a")], b"", 0)
def test_no_sequence_of_entries_does_more_than_be_refused(
    operations: list[tuple[str, str, object]], noise: bytes, at: int
) -> None:
    """With links in all directions, and bytes overwritten: Refused, or a layer; nothing else, nowhere else."""
    members = [hardlink(o[1], str(o[2])) if o[0] == "link" else made(o) for o in operations]
    data = archive(*members)
    data = data[:at] + noise + data[at + len(noise) :]
    with TemporaryDirectory() as place:
        layers = Layers(Content(Path(place) / "store"))
        (Path(place) / "host").write_text("host")
        message = ""
        try:
            layers.add(data)
        except Refused as error:
            message = error.message
        assert "\n" not in message
        assert sorted(os.listdir(place)) == ["host", "store"]
        assert os.listdir(layers.content.tmp) == []

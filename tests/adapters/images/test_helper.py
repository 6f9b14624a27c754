"""The extractor's second process: nobody sees that it is there, and it is gone with the first."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import BoundedSemaphore

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import adapters.images.unpack
from adapters.images.content import Content
from adapters.images.unpack import ALONE, Expected, Limits, Place, _helped, idle, unpack
from domain.errors import Refused, StorageError
from tests.adapters.images.conftest import Layers
from tests.adapters.images.tars import Member, archive, device, directory, file, hardlink, pieces, symlink, tree
from tests.examples import examples

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

REMOVED = "c 0 0:0 0:0"  # a mark, whose time nobody sets
NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
FILES = st.builds(
    lambda path, size, mode, owner, time: file(
        path, bytes([size % 251]) * size, mode=mode, uid=owner, gid=owner, mtime=time
    ),
    PATHS, st.sampled_from([0, 1, 100, 5000, 70_000]), st.sampled_from([0o644, 0o4755]),
    st.sampled_from([0, 7, 2**32 - 2]), st.sampled_from([-(10**30), -1.5, 0, 1.000000001, 10**9, 10**30]),
)  # fmt: skip
OTHERS = st.one_of(
    st.builds(lambda path, mode: directory(path, mode=mode), PATHS, st.sampled_from([0o755, 0o2775])),
    st.builds(symlink, PATHS, st.sampled_from(["a", "/b", "../c", "nowhere"])),
    st.builds(hardlink, PATHS, PATHS),
    st.builds(lambda path: device(path, 1, 3), PATHS),
    st.builds(lambda path: file(path + "/.wh.a"), PATHS),
    st.builds(lambda path: file(path + "/.wh..wh..opq"), PATHS),
)


def unpacked(members: list[Member], alone: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, str] | str:
    """The layer, over one with a file and a directory; or why there is none."""
    monkeypatch.setattr(adapters.images.unpack, "ALONE", alone)
    monkeypatch.setattr(adapters.images.unpack, "idle", lambda: True)
    with TemporaryDirectory() as place:
        layers = Layers(Content(Path(place) / "store"))
        layers.add(archive(directory("a"), file("a/b", b"below", mode=0o600), directory("c", mode=0o1777)))
        try:
            found = tree(layers.add(archive(*members)), times=True)
        except Refused as error:
            return error.message
    return {name: text.partition(" @")[0] if text.startswith(REMOVED) else text for name, text in found.items()}


@examples(60, unchecked=True)
@given(st.lists(st.one_of(FILES, FILES, FILES, OTHERS), max_size=120))
@example([file(name) for name in "abcdef"] + [directory("d"), file("d/a"), file("e/a")])
@example([symlink("a", "b"), directory("b"), *[file(f"b/{number}") for number in range(40)], hardlink("c", "a/39")])
@example([*[file(f"b/{number}") for number in range(40)], directory("b", mode=0o2775), file("b/0")])
@example([*[file(f"b/{number}") for number in range(40)], symlink("a", "b"), file("a/39/x")])
def test_a_layer_is_the_same_with_and_without_help(members: list[Member]) -> None:
    """Whatever comes after what: contents, modes, owners, links and times; or the same refusal."""
    with pytest.MonkeyPatch.context() as patch:
        assert unpacked(members, 1, patch) == unpacked(members, 0, patch)


class Run:
    """Extractions that something happens to when half of the archive was taken and both processes are there."""

    def __init__(self, root: Path, data: bytes) -> None:
        self.content = Content(root / "store")
        self._data = data

    def into(self, work: Path, middle: Callable[[Path], object]) -> None:
        """Unpack; `middle` gets the directory of the layer's files."""
        place = Place(work / "layer", self.content.layers)
        place.work.mkdir()
        unpack(self._pieces(place.work / "fs", middle), place, Expected("the layer"), Limits(reserve=0))

    def _pieces(self, target: Path, middle: Callable[[Path], object]) -> Iterator[bytes]:
        half = len(self._data) // 2
        yield from pieces(self._data[:half])
        wait_for(lambda: len(processes_in(target)) == 2)
        middle(target)
        yield from pieces(self._data[half:])


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it is so, ten seconds at most."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def processes_in(target: Path) -> list[int]:
    """The processes whose root the directory is, the first one first."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                if os.readlink(each / "root") == str(target):
                    found.append(int(each.name))
            except OSError:  # it has ended
                continue
    return sorted(found)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Of some thousand small files."""
    monkeypatch.setattr(adapters.images.unpack, "ALONE", 1)
    monkeypatch.setattr(adapters.images.unpack, "idle", lambda: True)
    return Run(tmp_path, archive(*[file(f"d{n // 50}/{n}", b"x" * (n % 900)) for n in range(3000)]))


def test_a_killed_helper_is_not_the_archives_fault(run: Run) -> None:
    """What it was given is not there: nothing is."""
    with pytest.raises(StorageError, match="cannot be stored: Broken pipe") as caught, run.content.workspace() as work:
        run.into(work, lambda target: os.kill(processes_in(target)[1], signal.SIGKILL))
    assert not isinstance(caught.value, Refused)
    assert os.listdir(run.content.tmp) == []


def test_a_killed_extractor_takes_it_along(run: Run) -> None:
    """Nobody is left to write into a directory that is being deleted."""
    seen: list[Path] = []

    def kill(target: Path) -> None:
        seen.append(target)
        os.kill(processes_in(target)[0], signal.SIGKILL)

    with pytest.raises(StorageError, match="ended with status -9"), run.content.workspace() as work:
        run.into(work, kill)
    assert processes_in(seen[0]) == []
    assert os.listdir(run.content.tmp) == []


def test_who_calls_it_off_waits_until_both_are_gone(run: Run) -> None:
    """The pieces of a pull that was called off end with an exception."""
    seen: list[Path] = []

    def call_off(target: Path) -> None:
        seen.append(target)
        raise KeyboardInterrupt

    def unpacking() -> None:
        with run.content.workspace() as work:
            try:
                run.into(work, call_off)
            finally:
                assert processes_in(seen[0]) == []

    with pytest.raises(KeyboardInterrupt):
        unpacking()
    assert os.listdir(run.content.tmp) == []


def test_a_name_that_the_disk_cannot_hold_is_told_as_that_of_its_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the file was made elsewhere, and later."""
    monkeypatch.setattr(adapters.images.unpack, "ALONE", 1)
    monkeypatch.setattr(adapters.images.unpack, "idle", lambda: True)
    long = "/".join(["n" * 250] * 16)
    members = [directory(long[: 251 * count - 1]) for count in range(1, 17)]
    entries = [*members, file("first"), *[file(f"{long}/{n}{'x' * 100}") for n in range(3)], file("last")]
    layers = Layers(Content(tmp_path / "store"))
    with pytest.raises(Refused, match="has an unusable entry"):
        layers.add(archive(*entries))


def test_a_layer_of_few_files_has_no_second_process(tmp_path: Path) -> None:
    """It would take longer than it helps."""
    data = archive(*[file(str(number), b"x" * 2000) for number in range(100)])
    content = Content(tmp_path / "store")
    with content.workspace() as work:
        place = Place(work / "layer", content.layers)
        place.work.mkdir()

        def halves() -> Iterator[bytes]:
            yield data[:200_000]
            wait_for((place.work / "fs" / "40").exists)
            assert len(processes_in(place.work / "fs")) == 1
            yield data[200_000:]

        unpack(halves(), place, Expected("the layer"), Limits(reserve=0))


def test_there_are_no_more_of_them_than_idle_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """While others unpack or work, a layer is unpacked by one process."""
    monkeypatch.setattr(adapters.images.unpack, "_SPARE", BoundedSemaphore(1))
    monkeypatch.setattr(adapters.images.unpack, "idle", lambda: True)
    with _helped() as first, _helped() as second:
        assert (first, second) == (ALONE, 0)
    monkeypatch.setattr(adapters.images.unpack, "idle", lambda: False)
    with _helped() as third:
        assert third == 0
    monkeypatch.setattr(adapters.images.unpack, "idle", lambda: True)
    with _helped() as fourth:
        assert fourth == ALONE


def test_a_processor_is_idle_while_fewer_threads_run_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that asks runs."""
    monkeypatch.setattr(adapters.images.unpack, "_PROCESSORS", 0)
    assert not idle()
    monkeypatch.setattr(adapters.images.unpack, "_PROCESSORS", 10_000)
    assert idle()

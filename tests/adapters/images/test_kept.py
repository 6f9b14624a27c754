"""Contexts that only come as far as they are not here yet."""

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from adapters.images.building import BuildFiles
from adapters.images.context import Context
from adapters.images.kept import MOST, Origin, Shelf
from adapters.images.store import LocalImageStore
from adapters.images.unpacked import Pieces
from adapters.tar.unchanged import STAT_SIZE, Spared
from domain.errors import Refused
from tests.adapters.images import tars
from tests.adapters.images.test_arriving import told
from tests.adapters.tar.packing import packed

_ANN: Origin = ("socket", "ann", 1000, "/ann/app")
Pack = Callable[[bytes], AsyncIterator[bytes]]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[BuildFiles]:
    """Those of builds, whose contexts lie in the folder of the test."""
    store = LocalImageStore(tmp_path / "store")
    yield BuildFiles(store, tmp_path, tmp_path)
    store.close()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A client's directory, with small files and a large one."""
    place = tmp_path / "app"
    (place / "d").mkdir(parents=True)
    for name in ("a", "b", "d/c"):
        (place / name).write_bytes(name.encode() * 100)
    (place / "d/large").write_bytes(bytes(range(256)) * 1000)
    with (place / "d/holes").open("wb") as file:
        file.write(b"begin")
        file.truncate(1 << 20)
    (place / "l").symlink_to("a")
    return place


class Client:
    """Packs a directory, and notes how much it has sent."""

    def __init__(self, place: Path) -> None:
        self._place, self.sizes = place, list[int]()

    async def pack(self, known: bytes) -> AsyncIterator[bytes]:
        """As the real one, but that it trusts all times."""
        data = packed(self._place, spared=Spared(known, 0, lambda status, now: True))
        self.sizes.append(len(data))
        for piece in tars.pieces(data):
            await asyncio.sleep(0)
            yield piece


def unpadded() -> bytes:
    """An archive of one file that ends with its two blocks of zeros, as all of ours."""
    return tars.archive(tars.file("a", b"x"))[:2048]


async def whole(files: BuildFiles, place: Path) -> dict[str, object]:
    """All that is in the directory, of a context that has come at once."""
    async with files.context(Client(place).pack(b"")) as context:
        return told(context)


async def test_a_context_that_comes_in_part_is_as_one_that_comes_whole(files: BuildFiles, tree: Path) -> None:
    """After every kind of change, again and again."""
    client = Client(tree)

    def swap() -> None:
        (tree / "d/c").unlink()
        (tree / "d/c").mkdir()
        (tree / "d/c/inner").write_text("inner")

    changes: list[Callable[[], object]] = [
        lambda: None,
        lambda: None,
        lambda: (tree / "a").write_text("another one"),
        lambda: (tree / "b").unlink(),
        lambda: (tree / "d/new").write_text("new"),
        swap,
        lambda: os.link(tree / "a", tree / "second"),
        lambda: (tree / "d").rename(tree / "e"),
        lambda: (tree / "e/large").chmod(0o700),
    ]
    for change in changes:
        change()
        expected = await whole(files, tree)
        async with files.near_context(_ANN, client.pack) as context:
            assert told(context) == expected
            assert context.files == len(expected)
            assert context.size > 1 << 20
    first, second, third, *_ = client.sizes
    assert first > 256_000
    assert second < third < 10_000


async def test_a_change_that_hides_itself_is_seen(files: BuildFiles, tree: Path) -> None:
    """The same size, and the times of before: the context holds what the directory holds."""
    client = Client(tree)
    async with files.near_context(_ANN, client.pack):
        pass
    before = (tree / "a").stat()
    (tree / "a").write_bytes(b"x" * before.st_size)
    os.utime(tree / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    async with files.near_context(_ANN, client.pack) as context:
        assert context.read("a", 1 << 20) == b"x" * before.st_size


async def test_what_one_has_sent_says_nothing_about_the_files_of_another(files: BuildFiles, tree: Path) -> None:
    """Who says what stat(2) says of somebody's file does not get it by that; neither for another directory."""
    client = Client(tree)
    async with files.near_context(_ANN, client.pack):
        pass
    others: list[Origin] = [("socket", "bob", 1001, "/ann/app"), ("socket", "ann", 1000, "/ann/other")]
    for other in others:
        async with files.near_context(other, client.pack):
            assert client.sizes[-1] == client.sizes[0]


async def test_of_two_builds_at_once_one_gets_everything_anew(files: BuildFiles, tree: Path) -> None:
    """Neither writes into what the other one reads; both are whole, and so is the next."""
    client, expected = Client(tree), await whole(files, tree)
    async with files.near_context(_ANN, client.pack):
        pass
    async with files.near_context(_ANN, client.pack) as one, files.near_context(_ANN, client.pack) as other:
        assert told(one) == told(other) == expected
    assert client.sizes[1] < client.sizes[2] == client.sizes[0]
    async with files.near_context(_ANN, client.pack) as context:
        assert told(context) == expected
        assert client.sizes[3] == client.sizes[1]


async def test_who_wants_it_gets_everything_anew(files: BuildFiles, tree: Path) -> None:
    """So does who has emptied the cache."""
    client = Client(tree)
    for anew in (False, True, False):
        async with files.near_context(_ANN, client.pack, anew=anew):
            pass
    files.forget()
    async with files.near_context(_ANN, client.pack):
        pass
    first, second, third, fourth = client.sizes
    assert first == second == fourth > third


@pytest.mark.parametrize("end", [
    b"\0", struct.pack("=III", 1, 0, 7), struct.pack("=II", 0, 1) + bytes(4 + STAT_SIZE), b"x" * 4096,
])
async def test_a_list_that_makes_no_sense_is_refused_and_the_next_one_is_whole(
    files: BuildFiles, tree: Path, end: bytes
) -> None:
    """Nothing of a context that was refused is gone on from."""
    client = Client(tree)
    async with files.near_context(_ANN, client.pack):
        pass

    async def damaged(known: bytes) -> AsyncIterator[bytes]:
        yield unpadded() + end

    with pytest.raises(Refused, match="damaged"):
        async with files.near_context(_ANN, damaged):
            pass
    async with files.near_context(_ANN, client.pack) as context:
        assert told(context) == await whole(files, tree)
        assert client.sizes[-1] == client.sizes[0]


async def test_a_sender_that_knows_nothing_of_it_sends_everything(files: BuildFiles) -> None:
    """One that was installed before the daemon: its archive has no list, and is whole."""

    async def plain(known: bytes) -> AsyncIterator[bytes]:
        assert not known
        yield unpadded()

    for _ in range(2):
        async with files.near_context(_ANN, plain) as context:
            assert context.read("a", 9) == b"x"


def context_of(count: int) -> Context:
    """One with so many known files."""
    context = Context(-1, Pieces(iter(())))
    context.known = {str(number): bytes(STAT_SIZE) for number in range(count)}
    context.files = count
    return context


def unnamed(folder: Path, size: int) -> int:
    """The descriptor of a file of that size."""
    fd = os.open(folder, os.O_TMPFILE | os.O_RDWR)
    os.truncate(fd, size)
    return fd


def is_open(fd: int) -> bool:
    """Whether it is."""
    return Path(f"/proc/self/fd/{fd}").exists()


def origin(number: int) -> Origin:
    """One of several places."""
    return ("socket", "ann", 1000, f"/ann/{number}")


@pytest.mark.parametrize(("most_bytes", "most_files"), [(2500, 99), (9999, 25)])
def test_no_more_is_kept_than_there_is_room_for(tmp_path: Path, most_bytes: int, most_files: int) -> None:
    """The one that was not used for the longest time goes, by bytes or by files."""
    shelf = Shelf(lambda: 0, bytes=most_bytes, files=most_files)
    fds = [unnamed(tmp_path, 1000) for _ in range(3)]
    for number in (0, 1):
        shelf.put(origin(number), fds[number], context_of(10), 1000)
    kept = shelf.take(origin(0))
    assert kept is not None
    shelf.put(origin(0), kept.fd, kept.context, kept.whole)
    shelf.put(origin(2), fds[2], context_of(10), 1000)
    assert [is_open(fd) for fd in fds] == [True, False, True]
    shelf.clear()
    assert not any(map(is_open, fds))


def test_of_small_contexts_not_too_many_are_kept(tmp_path: Path) -> None:
    """Each one is a descriptor of the daemon."""
    shelf = Shelf(lambda: 0)
    fds = [unnamed(tmp_path, 10) for _ in range(MOST + 1)]
    for number, fd in enumerate(fds):
        shelf.put(origin(number), fd, context_of(1), 10)
    assert list(map(is_open, fds)) == [False, *[True] * MOST]
    shelf.clear()


def test_what_is_too_large_or_grew_too_much_is_not_kept(tmp_path: Path) -> None:
    """Of a file that is mostly what nobody needs any more, the disk has more when it is written anew."""
    shelf = Shelf(lambda: 0, bytes=10 << 20)
    for size, whole_size in ((11 << 20, 11 << 20), (8 << 20, 2 << 20)):
        fd = unnamed(tmp_path, size)
        shelf.put(_ANN, fd, context_of(1), whole_size)
        assert not is_open(fd)
        assert shelf.take(_ANN) is None


def test_when_the_clock_was_set_nothing_is_believed(tmp_path: Path) -> None:
    """The time of an old change may come a second time then; that clocks drift does no harm."""
    clock = [0]
    shelf = Shelf(lambda: clock[0])
    for drift, believed in ((10**8, True), (-3600 * 10**9, False), (3600 * 10**9, False)):
        fd = unnamed(tmp_path, 10)
        shelf.put(_ANN, fd, context_of(1), 10)
        clock[0] += drift
        assert (shelf.take(_ANN) is not None) is believed is is_open(fd)
        if believed:
            os.close(fd)

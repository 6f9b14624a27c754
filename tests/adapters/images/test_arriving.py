"""A context that is looked through while it comes."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from adapters.images.building import BuildFiles
from adapters.images.context import Context
from adapters.images.store import LocalImageStore
from domain.errors import Refused
from tests.adapters.images import tars


@pytest.fixture
def files(tmp_path: Path) -> Iterator[BuildFiles]:
    """Those of builds, whose contexts lie in the folder of the test."""
    store = LocalImageStore(tmp_path / "store")
    yield BuildFiles(store, tmp_path, tmp_path)
    store.close()


async def cut(data: bytes, *places: int) -> AsyncIterator[bytes]:
    """It comes in pieces, with time between them."""
    for begin, end in zip((0, *places), (*places, len(data)), strict=True):
        await asyncio.sleep(0)
        yield data[begin:end]


def told(context: Context) -> dict[str, object]:
    """All that is in it."""
    found: dict[str, object] = {}
    todo = [""]
    while todo:
        directory = todo.pop()
        for name in context.names(directory):
            node = context.look(f"{directory}/{name}".lstrip("/"))
            assert node is not None
            found[node.path] = node
            if node.kind == "directory":
                todo.append(node.path)
            elif node.kind == "file":
                found[node.path] = node, b"".join(context.data(node)), context.digest(node)
    return found


async def test_how_it_is_cut_means_nothing(files: BuildFiles, tmp_path: Path) -> None:
    """Small files, one that is left out at once, one in the last block: what is known of them is what is known of a
    context that lies there whole."""
    data = tars.archive(
        tars.directory("d"), *(tars.file(f"d/{n}", bytes([n]) * n * 9) for n in range(40)),
        tars.file("big", bytes(range(256)) * 9000), tars.file("last", b"x"),
    )
    (tmp_path / "whole").write_bytes(data)
    fd = os.open(tmp_path / "whole", os.O_RDONLY)
    try:
        whole = told(Context(fd))
    finally:
        os.close(fd)
    chance = random.Random(7)
    for count in (0, 1, 5, 100):
        places = sorted(chance.sample(range(1, len(data)), count))
        async with files.context(cut(data, *places)) as found:
            assert told(found) == whole


async def test_one_that_ends_too_early_is_refused(files: BuildFiles) -> None:
    """Wherever it ends: inside a file that is read, and inside one that is left out."""
    data = tars.archive(tars.file("a", b"x" * 900), tars.file("big", b"y" * 300_000))
    for length in (3, 600, 1300, 2000, 200_000):
        with pytest.raises(Refused, match="the build context is damaged"):
            async with files.context(cut(data[:length], 1, 2)):
                pass


async def test_a_sender_that_breaks_off_is_told_about_that(files: BuildFiles) -> None:
    """And not that its archive is damaged; nobody goes on waiting for the rest."""

    async def broken() -> AsyncIterator[bytes]:
        yield tars.archive(tars.file("a", b"x" * 900))[:700]
        raise EOFError

    with pytest.raises(EOFError):
        async with files.context(broken()):
            pass

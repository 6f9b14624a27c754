"""Threads that work on a descriptor end before it is closed, whoever is called off meanwhile."""

import asyncio
import gzip
import os
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.images import building
from adapters.images.building import BuildFiles
from adapters.images.context import Context
from adapters.images.repository import Repository
from tests.workers.test_images import layer
from workers import imagedesk
from workers.imagedesk import ImageDesk


class Slow:
    """Something that blocks in a thread until it may go on, and tells whether its descriptor is still its own then."""

    def __init__(self) -> None:
        self.begun, self.may_go = threading.Event(), threading.Event()
        self.same: list[bool] = []

    def write(self, fd: int, data: Any, stop: object = None) -> None:
        """Writes nothing."""
        before = os.fstat(fd).st_ino
        self.begun.set()
        self.may_go.wait(10)
        try:
            self.same.append(os.fstat(fd).st_ino == before)
        except OSError:
            self.same.append(False)


async def pieces() -> AsyncIterator[bytes]:
    """A context that is packed."""
    yield gzip.compress(layer("x"))


class Fetched:
    """A repository that has come."""

    async def fetch(self, *_: object) -> None:
        """At once."""

    def pack(self, folder: Path, put: Any, *, keep: bool) -> None:
        """One piece."""
        put(b"x")


def build_files(folder: Path) -> BuildFiles:
    """They need no store for this."""
    return BuildFiles(cast(Any, None), folder, folder)


@pytest.mark.parametrize("kind", ["context", "repository", "archive"])
async def test_a_descriptor_is_closed_when_the_thread_that_writes_to_it_has_ended(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number would be that of another file by then, or of a connection."""
    slow = Slow()

    async def work() -> None:
        opened: AbstractAsyncContextManager[Context | Path]
        if kind == "archive":
            opened = ImageDesk(cast(Any, None), cast(Any, None), cast(Any, None), tmp_path)._spooled(pieces())
        elif kind == "context":
            opened = build_files(tmp_path).context(pieces())
        else:
            opened = build_files(tmp_path).repository("https://example.com/x.git")
        async with opened:
            raise AssertionError("it was called off")

    monkeypatch.setattr(imagedesk, "_write", slow.write)
    monkeypatch.setattr(Repository, "of", lambda text: Fetched())
    if kind == "context":
        monkeypatch.setattr(BuildFiles, "_plain", lambda self, fd, *stop: slow.write(fd, stop))
    else:
        monkeypatch.setattr(building, "_write", slow.write)
    asked = asyncio.create_task(work())
    assert await asyncio.to_thread(slow.begun.wait, 10)
    for _ in range(3):
        asked.cancel()
        await asyncio.sleep(0)
    others = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
    slow.may_go.set()
    with pytest.raises(asyncio.CancelledError):
        await asked
    for fd in others:
        os.close(fd)
    assert slow.same == [True]

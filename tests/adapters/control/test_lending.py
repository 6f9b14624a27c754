"""Files that clients lend: a descriptor in place of the content, if it proves a right and keeps nobody waiting."""

import asyncio
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.control.lending import usable
from tests.adapters.control.engine import Engine
from tests.adapters.control.test_listener import CALL, HELLO, is_fine, until

HEAD = b"1\0lends=1\0session=1\0\0"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """One on a disk of this machine."""
    if os.major(tmp_path.stat().st_dev) == 0:
        pytest.skip("needs files on a disk")
    (tmp_path / "file").write_bytes(b"content")
    return tmp_path / "file"


class Lender:
    """A client that speaks by hand."""

    def __init__(self, daemon: Engine, path: Path, head: bytes = HEAD) -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(10)
        self.connection.connect(str(daemon.socket))
        words = head + b"lend\0" + os.fsencode(path) + b"\0"
        self.connection.sendall(HELLO + CALL % (len(words), words))
        self._heard = b""

    def hear(self, pattern: bytes) -> bytes:
        """The first thing that fits, of all that was said."""
        while (found := re.search(pattern, self._heard)) is None:
            piece = self.connection.recv(65536)
            assert piece, self._heard
            self._heard += piece
        return found.group()

    def say(self, data: bytes, *descriptors: int) -> None:
        """A message of the call, with descriptors."""
        frame = b"PUB lading.@.io.@.1 %d\r\n%b\r\n" % (len(data), data)
        socket.send_fds(self.connection, [frame], descriptors)


def lend(daemon: Engine, path: Path, *descriptors: int) -> bytes:
    """What the daemon makes of a client that lends these in the place of a file."""
    lender = Lender(daemon, path)
    with lender.connection:
        lender.hear(rb"\r\nr/")
        lender.say(b"l", *descriptors)
        if lender.hear(rb"\r\n(R/|Olent)") == b"\r\nR/":
            lender.say(b"dpieces")
            lender.say(b"e")
        lender.hear(rb"\r\nX0")
        return lender.hear(rb"O(lent: \w*|streamed: \w*)")[1:]


def mine() -> int:
    """Descriptors of this process, which is the daemon as well."""
    return len(os.listdir("/proc/self/fd"))


async def test_a_file_that_is_lent_is_read_where_it_is(daemon: Engine, file: Path) -> None:
    """Its content never comes; the next call is answered as ever."""
    with file.open("rb") as opened:
        assert await asyncio.to_thread(lend, daemon, file, opened.fileno()) == b"lent: content"
    assert await is_fine(daemon)


@pytest.mark.parametrize(
    "opened",
    [lambda path: os.open(path, os.O_PATH), lambda path: os.open(path, os.O_WRONLY),
     lambda path: os.open(path.parent, os.O_RDONLY), lambda path: os.open("/dev/null", os.O_RDONLY),
     lambda path: os.open("/proc/self/status", os.O_RDONLY), lambda path: os.pipe()[0]],
    ids=["place", "writing", "directory", "device", "memory", "pipe"],
)  # fmt: skip
async def test_what_proves_no_right_to_read_or_might_wait_is_not_taken(
    daemon: Engine, file: Path, opened: Callable[[Path], int]
) -> None:
    """The file is streamed as before, and the descriptor is closed."""
    descriptor = opened(file)
    try:
        assert not usable(descriptor)
        before = mine()
        assert await asyncio.to_thread(lend, daemon, file, descriptor) == b"streamed: pieces"
        await until(lambda: mine() <= before)
    finally:
        os.close(descriptor)


async def test_nothing_more_than_one_file_is_kept(daemon: Engine, file: Path) -> None:
    """Whatever a client sends along, and whenever."""
    with file.open("rb") as one, file.open("rb") as two:
        before = mine()
        assert await asyncio.to_thread(lend, daemon, file, one.fileno(), two.fileno()) == b"lent: content"
        await until(lambda: mine() <= before)


async def test_a_client_that_lends_nothing_or_knows_nothing_of_it_is_asked_for_the_content(
    daemon: Engine, file: Path
) -> None:
    """Older ones are not asked for a descriptor at all."""
    assert await asyncio.to_thread(lend, daemon, file) == b"streamed: pieces"

    def old() -> None:
        lender = Lender(daemon, file, b"1\0session=1\0\0")
        with lender.connection:
            lender.hear(rb"\r\nR/")
            lender.say(b"e")
            lender.hear(rb"\r\nX0")

    await asyncio.to_thread(old)


async def test_a_client_that_goes_while_a_file_is_awaited_leaves_nothing(daemon: Engine, file: Path) -> None:
    """No call, no descriptor, no busy loop."""
    before = mine()

    def leave() -> None:
        lender = Lender(daemon, file)
        with lender.connection:
            lender.hear(rb"\r\nr/")

    await asyncio.to_thread(leave)
    await until(lambda: not daemon.console.running)
    await until(lambda: mine() <= before)
    assert await is_fine(daemon)

"""Bytes that clients take apart: frames, WebSockets, archives' heads, figures of interfaces."""

import asyncio
import io
import tarfile
from base64 import b64decode
from collections.abc import AsyncIterator
from itertools import pairwise
from json import loads

import pytest

from domain.copying import Found
from domain.errors import Refused
from domain.network.settings import of_resting
from domain.ports.logs import LogFrame, Passed
from tests.workers.gateway.client import Client, FakeWire
from workers.gateway.archives import stat
from workers.gateway.call import Duplex
from workers.gateway.figures import traffic
from workers.gateway.streams import Told, frame
from workers.gateway.websocket import WebSocket, accepted


def test_a_frame_names_its_stream_and_its_length() -> None:
    """As the API has it."""
    assert frame(2, b"ok\n") == bytes.fromhex("0200000000000003") + b"ok\n"


def test_a_handshake_is_proven_as_the_standard_says() -> None:
    """The example of RFC 6455, section 1.3."""
    assert accepted("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def masked(kind: int, data: bytes, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    """A message as clients send it."""
    size = len(data)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([0x80 | kind]) + length + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


def _socket(*pieces: bytes) -> tuple[WebSocket, FakeWire]:
    wire = FakeWire(["GET", "/", ""], input=pieces)
    return WebSocket(Duplex(wire, 101, ())), wire


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_messages_arrive_however_they_are_cut(size: int) -> None:
    """A ping is answered, a close ends it."""
    stream = masked(2, b"hel") + masked(9, b"?") + masked(1, b"lo" * 200) + masked(8, b"") + masked(2, b"late")
    socket, wire = _socket(*(stream[at:at + size] for at in range(0, len(stream), size)))
    assert b"".join([piece async for piece in socket.read()]) == b"hel" + b"lo" * 200
    assert wire.body == b"\x8a\x01?"


async def test_what_is_written_are_messages_and_the_end_is_said_once() -> None:
    """Short, middling, long."""
    socket, wire = _socket()
    for size in (3, 200, 70_000):
        await socket.write(b"x" * size)
    await socket.close()
    await socket.close()
    heads = [piece[:2] for piece in wire.sent]
    assert heads == [b"\x82\x03", b"\x82\x7e", b"\x82\x7f", b"\x88\x02"]


@pytest.mark.parametrize("stream", [b"\x82\x03abc", b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"....."])
async def test_what_is_no_websocket_is_refused(stream: bytes) -> None:
    """Not masked, or longer than anybody may be."""
    socket, _ = _socket(stream)
    with pytest.raises(Refused):
        [piece async for piece in socket.read()]


async def test_a_container_is_attached_to_by_websocket(client: Client) -> None:
    """Output is raw bytes in messages."""
    await client.run()
    key = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    wire = client.wire("GET", "/containers/web/attach/ws?stream=1&stdout=1", headers=key)
    attaching = asyncio.create_task(client.api.answer(wire))
    async with asyncio.timeout(5):
        await wire.begun.wait()
        await client.ask("POST", "/containers/web/stop?t=0")
        await attaching
    assert (wire.status, wire.headers["Sec-WebSocket-Accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    assert wire.sent[-1][:1] == b"\x88"
    assert (await client.ask("GET", "/containers/web/attach/ws")).status == 400


class _Tree:
    """One entry, packed as the engine packs."""

    def __init__(self, entry: tarfile.TarInfo) -> None:
        self._entry = entry

    async def look(self, path: str, *, follow: bool = False) -> Found:
        """Never asked."""
        raise NotImplementedError

    async def pack(self, path: str, name: str, *, follow: bool = False, fine: bool = False) -> AsyncIterator[bytes]:
        """In pieces of a hundred bytes."""
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as archive:
            archive.addfile(self._entry, io.BytesIO(b"x" * self._entry.size))
        for at in range(0, len(data.getvalue()), 100):
            yield data.getvalue()[at:at + 100]

    async def spread(self, directory: str, content: AsyncIterator[bytes], *, owners: bool = False) -> Passed:
        """Never asked."""
        raise NotImplementedError


@pytest.mark.parametrize(("kind", "mode", "found", "wanted"), [
    (tarfile.REGTYPE, 0o4755, Found("file"), {"mode": 0o755 | 1 << 23, "size": 5, "linkTarget": ""}),
    (tarfile.DIRTYPE, 0o1777, Found("directory"), {"mode": 0o777 | 1 << 20 | 1 << 31, "size": 0}),
    (tarfile.SYMTYPE, 0o777, Found("link", "/etc/a", "../b"), {"mode": 0o777 | 1 << 27, "linkTarget": "/b"}),
])
async def test_the_head_of_an_archive_says_what_a_path_is(
    kind: bytes, mode: int, found: Found, wanted: dict[str, object]
) -> None:
    """In the bits of Go."""
    entry = tarfile.TarInfo("a")
    entry.type, entry.mode, entry.mtime, entry.size = kind, mode, 1, 5 if kind == tarfile.REGTYPE else 0
    document = loads(b64decode(await stat(_Tree(entry), "/etc/a", found)))
    assert document | wanted == document
    assert (document["name"], document["mtime"]) == ("a", "1970-01-01T00:00:01Z")


def test_interfaces_are_counted_without_the_loopback_device() -> None:
    """Of the kernel's table."""
    lines = ["Inter-| Receive", " face |bytes", "    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0",
             "  eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0"]
    assert traffic("\n".join(lines)) == {"eth0": {
        "rx_bytes": 10, "rx_packets": 2, "rx_errors": 3, "rx_dropped": 4,
        "tx_bytes": 50, "tx_packets": 6, "tx_errors": 7, "tx_dropped": 8}}
    assert traffic("") == {}




def test_what_rests_is_listed_with_the_names_of_its_networks() -> None:
    """Without a look at its story: there may be thousands."""
    found = of_resting([("shop", "1" * 64)])
    assert (found["shop"]["NetworkID"], found["shop"]["IPAddress"]) == ("1" * 64, "")


@pytest.mark.parametrize("stored", range(7))
@pytest.mark.parametrize("begun", range(7))
async def test_what_is_stored_and_what_comes_are_told_once(begun: int, stored: int) -> None:
    """`attach?logs=1&stream=1`: what comes is told from a moment on, what is stored is looked at a little later, and a
    frame at that end may still have been growing."""
    def frames(start: int, end: int) -> list[LogFrame]:
        cuts = [start, *(cut for cut in (2, 4) if start < cut < end), end]
        return [LogFrame(1, 1, b"abcdef"[at:to], to) for at, to in pairwise(cuts) if at < to]

    async def given(found: list[LogFrame]) -> AsyncIterator[LogFrame]:
        for each in found:
            yield each

    told = Told()
    before = [each.data async for each in told.noted(given(frames(0, max(stored, begun))))]
    after = [each.data async for each in told.beyond(given(frames(begun, 6)))]
    assert b"".join(before + after) == b"abcdef"

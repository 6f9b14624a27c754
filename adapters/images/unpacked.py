"""ADD of an archive: its entries as those of a layer, below a directory of the image.

The archive is foreign: names that lead upwards are refused, and nothing of it is looked up anywhere. Marks of layers
(`.wh.`) and device 0:0 would remove files of the image, and are refused as well.
"""

import os
from collections.abc import Iterable, Iterator

from adapters.images.compression import inflated, sniffed
from adapters.tar.reader import CHAR, DIRECTORY, FILE, LINK, LONGEST_NAME, SYMLINK, Damaged, Entry, Reader, Source
from adapters.tar.writer import END, Head, encoded, padding
from domain.build.placing import Mode, Owner
from domain.errors import Refused
from domain.text.safe import safe

_FLUSH = 1 << 18


class Pieces(Source):
    """An archive that comes in pieces."""

    __slots__ = ("_pieces",)

    def __init__(self, pieces: Iterable[bytes]) -> None:
        super().__init__(-1)
        self._pieces = iter(pieces)

    def more(self) -> bytes:
        """See Source."""
        return next(self._pieces, b"")


def is_archive(start: bytes) -> bool:
    """Whether a file that begins with these (plain) bytes is a tar."""
    try:
        return next(iter(Reader(Pieces([start[:512]]))), None) is not None
    except Damaged:
        return False


def plain(pieces: Iterable[bytes], what: str) -> Iterator[bytes]:
    """What is in a packed file. Raises: Refused."""
    kind, rest = sniffed(pieces)
    return inflated(kind, rest, what)


def head_of(pieces: Iterable[bytes], what: str) -> bytes:
    """The first plain bytes of a file, packed or not; nothing of one that only looks packed."""
    start = b""
    try:
        for piece in plain(pieces, what):
            start += piece
            if len(start) >= 512:
                break
    except Refused:
        return b""
    return start[:512]


def layer(
    pieces: Iterable[bytes], directory: str, what: str, owner: Owner | None, mode: Mode | None
) -> Iterator[bytes]:
    """The tar of a layer. Raises: Refused."""
    pending = bytearray()
    reader = Reader(Pieces(plain(pieces, what)))
    try:
        for entry in reader:
            head = _head(entry, os.fsencode(directory), what, owner, mode)
            if head is None:
                continue
            pending += encoded(head)
            if head.kind == FILE:
                for piece in _content(entry, reader):
                    pending += piece
                    if len(pending) >= _FLUSH:
                        yield bytes(pending)
                        pending.clear()
                pending += padding(head.size)
            if len(pending) >= _FLUSH:
                yield bytes(pending)
                pending.clear()
    except Damaged as error:
        raise Refused(f"{what} is damaged: {error.reason}") from error
    yield bytes(pending + END)


def _content(entry: Entry, reader: Reader) -> Iterator[bytes]:
    """With holes filled up: the writer of layers finds long ones again."""
    if entry.sparse is None:
        yield from map(bytes, reader.data())
        return
    stored = b"".join(map(bytes, reader.data()))
    at = place = 0
    for offset, length in entry.sparse:
        yield from _zeros(offset - at)
        yield stored[place : place + length]
        at, place = offset + length, place + length
    yield from _zeros(entry.size - at)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, _FLUSH))
        count -= _FLUSH


def _head(entry: Entry, directory: bytes, what: str, owner: Owner | None, mode: Mode | None) -> Head | None:
    path = _path(entry.name, directory, what)
    if path is None:
        return None
    is_directory = entry.kind == DIRECTORY
    head = Head(path + b"/" if is_directory else path, entry.kind, mode=entry.mode & 0o7777, uid=entry.uid,
                gid=entry.gid, mtime=entry.mtime // 10**9)
    if owner is not None:
        head.uid, head.gid = owner.uid, owner.gid
    if mode is not None and entry.kind != SYMLINK:
        head.mode = mode.of(head.mode, directory=is_directory)
    if entry.kind == FILE:
        head.size = entry.size
        head.xattrs = list(entry.xattrs)
    elif entry.kind == LINK:
        head.target = _path(entry.target, directory, what) or b""
    elif entry.kind == SYMLINK:
        head.target = entry.target
    elif not is_directory:
        head.major, head.minor = entry.major, entry.minor
        if entry.kind == CHAR and not entry.major and not entry.minor:
            raise Refused(f'{what} holds a device 0:0: "{_shown(entry.name)}"')
    return head


def _path(name: bytes, directory: bytes, what: str) -> bytes | None:
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts or b"\0" in name or len(name) > LONGEST_NAME or any(part.startswith(b".wh.") for part in parts):
        raise Refused(f'{what} holds a name that cannot be one: "{_shown(name)}"')
    if not parts:
        return None
    return b"/".join((directory, *parts)) if directory else b"/".join(parts)


def _shown(name: bytes) -> str:
    return safe(os.fsdecode(name))[:200]

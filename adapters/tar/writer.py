"""Writes tar headers so that one tree always gives the same bytes. Standard library only: it runs in small processes.

ustar, with a PAX header before an entry only when something does not fit. No user or group names, no access or change
times, no padding beyond the two blocks of zeros at the end. Files with holes are written as PAX 1.0 sparse files: the
list of their pieces, in decimal numbers, comes before the data (`gnu.org/software/tar/manual`, "Sparse Formats").
"""

import os

from adapters.tar.reader import LINK

BLOCK = 512
END = bytes(2 * BLOCK)
_LARGEST_ID = 0o7777777
_LARGEST = 0o77777777777


class Head:
    """What an entry says about itself; `name` of a directory ends in a slash, `mtime` is in seconds and `fraction` the
    nanoseconds that come on top, `size` that of the file."""

    __slots__ = (
        "fraction", "gid", "kind", "major", "minor", "mode", "mtime", "name", "size", "target", "uid", "xattrs",
    )

    def __init__(
        self, name: bytes, kind: bytes, *, mode: int = 0, uid: int = 0, gid: int = 0, size: int = 0, mtime: int = 0
    ) -> None:
        self.name, self.kind, self.mode, self.uid, self.gid = name, kind, mode, uid, gid
        self.size, self.mtime = size, mtime
        self.target = b""
        self.major = self.minor = self.fraction = 0
        self.xattrs: list[tuple[bytes, bytes]] = []


class Names:
    """Under which name every file with several names was written first."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, int], bytes] = {}

    def link(self, head: Head, status: os.stat_result) -> bool:
        """Make `head` a link to the first name of its file; False if this is the first one."""
        if status.st_nlink < 2:
            return False
        first = self._first.setdefault((status.st_dev, status.st_ino), head.name)
        if first == head.name:
            return False
        head.kind, head.target, head.size = LINK, first, 0
        return True


def encoded(head: Head) -> bytes:
    """The header blocks of an entry."""
    return _encoded(head, [])


def encoded_sparse(head: Head, pieces: list[tuple[int, int]]) -> bytes:
    """The header blocks of a file with holes and the list of its `pieces` (offset, length); their data follow."""
    numbers = b"".join([b"%d\n%d\n" % piece for piece in pieces])
    listed = b"%d\n%b" % (len(pieces), numbers)
    listed += padding(len(listed))
    real, name, head.size = head.size, head.name, len(listed) + sum(length for _, length in pieces)
    above, slash, leaf = name.rpartition(b"/")
    head.name = above + slash + b"GNUSparseFile.0/" + leaf
    records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", name)]
    return _encoded(head, [*records, (b"GNU.sparse.realsize", b"%d" % real)]) + listed


def _encoded(head: Head, pax: list[tuple[bytes, bytes]]) -> bytes:
    name, prefix = _split(head.name)
    if name is None:
        pax.append((b"path", head.name))
        name = head.name[:100]
    if len(head.target) > 100:
        pax.append((b"linkpath", head.target))
    numbers = []
    for key, value, largest in (
        (b"uid", head.uid, _LARGEST_ID),
        (b"gid", head.gid, _LARGEST_ID),
        (b"size", head.size, _LARGEST),
        (b"mtime", head.mtime, _LARGEST),
    ):
        fits = 0 <= value <= largest
        numbers.append(value if fits else 0)
        if not fits and not (key == b"mtime" and head.fraction):
            pax.append((key, b"%d" % value))
    if head.fraction:
        pax.append((b"mtime", _moment(head.mtime, head.fraction)))
    pax += [(b"SCHILY.xattr." + key, value) for key, value in sorted(head.xattrs)]
    block = _block(name, prefix, head, numbers)
    return _extended(pax) + block if pax else block


def padding(size: int) -> bytes:
    """What follows the data of a file of that size."""
    return bytes(-size % BLOCK)


def _moment(seconds: int, fraction: int) -> bytes:
    """Seconds with nine digits after the point; before 1970 the fraction still counts upwards."""
    if seconds < 0:
        seconds, fraction = -seconds - 1, 10**9 - fraction
        return b"-%d.%09d" % (seconds, fraction)
    return b"%d.%09d" % (seconds, fraction)


def _split(name: bytes) -> tuple[bytes | None, bytes]:
    """ustar's two name fields: at most 100 bytes after a slash, at most 155 before it."""
    if len(name) <= 100:
        return name, b""
    slash = name.find(b"/", len(name) - 101, len(name) - 1)
    if not 0 < slash <= 155 or len(name) - slash - 1 > 100:
        return None, b""
    return name[slash + 1 :], name[:slash]


def _block(name: bytes, prefix: bytes, head: Head, numbers: list[int]) -> bytes:
    uid, gid, size, mtime = numbers
    block = b"".join(
        (
            name.ljust(100, b"\0"),
            b"%07o\0" % head.mode,
            b"%07o\0" % uid,
            b"%07o\0" % gid,
            b"%011o\0" % size,
            b"%011o\0" % mtime,
            b" " * 8,
            head.kind,
            head.target[:100].ljust(100, b"\0"),
            b"ustar\x0000",
            bytes(64),
            b"%07o\0" % head.major,
            b"%07o\0" % head.minor,
            prefix.ljust(155, b"\0"),
            bytes(12),
        )
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _extended(records: list[tuple[bytes, bytes]]) -> bytes:
    if not all(_is_utf8(value) for key, value in records if key in (b"path", b"linkpath")):
        records = [(b"hdrcharset", b"BINARY"), *records]
    data = b"".join(_record(key, value) for key, value in records)
    head = Head(b"pax", b"x", mode=0o644, size=len(data))
    return _block(head.name, b"", head, [0, 0, len(data), 0]) + data + padding(len(data))


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE\\n`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True

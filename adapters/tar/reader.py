"""Reads tar archives of every dialect as a stream of entries. Standard library only: it runs in small processes.

Understood are V7, ustar, PAX (`x` for one entry, `g` for all that follow), GNU long names (`L`, `K`), base-256 numbers
and all four forms of sparse files (old GNU `S`, PAX 0.0, 0.1, 1.0). Names stay raw bytes, whatever `hdrcharset` says.

An archive may end without its marker, and without the padding of the last file (layers written by umoci 0.4 end so, and
every engine takes them): the end of data is good on a header's boundary or inside padding, and nowhere else.
"""

import os
from binascii import Error as BinasciiError
from binascii import a2b_base64
from struct import Struct
from zlib import adler32

TYPE_CHECKING = False  # the module `typing` costs more than this one
if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
PIECE = 1 << 20
LONGEST_HEADER = 1 << 20
"""Bytes of one PAX or long-name header that are read."""
LONGEST_NAME = 4095
MOST_HOLES = 1 << 17
_LONGEST_MAP = 2 * MOST_HOLES * 21
"""Bytes of a list of holes that stands before the data: numbers of up to twenty digits, one a line."""

_HEADER = Struct("100s8s8s8s12s12s8sc100s8s64x8s8s155s12x")
_SIZE, _SUM, _KIND = 4, 6, 7
_ZEROS = bytes(BLOCK)
_KNOWN: dict[bytes, int] = {}  # fields that were decoded before: owners and modes come again and again
_SPACES = sum(b" " * 8)

FILE, LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_FILES = frozenset((b"\0", b"7", b"0"))
_WITHOUT_DATA = frozenset((LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO))
_EXTENDED = frozenset((b"x", b"X", b"g", b"L", b"K"))
_KEPT_GLOBALS = frozenset((b"uid", b"gid", b"mtime"))


class Damaged(Exception):
    """The bytes are not a tar archive, or it ends too early; the first argument says why, the second which entry."""

    def __init__(self, reason: str, name: bytes = b"") -> None:
        super().__init__(reason)
        self.reason, self.name = reason, name


class Source:
    """Bytes of a descriptor, buffered; `offset` is how many were given out. A regular file can be skipped through."""

    __slots__ = ("_at", "_buffer", "_fd", "_seekable", "offset")

    def __init__(self, fd: int, *, seekable: bool = False) -> None:
        self._fd, self._seekable, self._buffer, self._at, self.offset = fd, seekable, b"", 0, 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes, fewer only at the end."""
        end = self._at + count
        if end <= len(self._buffer):
            taken = self._buffer[self._at : end]
            self._at = end
            self.offset += count
            return taken
        parts = [bytes(piece) for piece in self.pieces(count)]
        return b"".join(parts)

    def at_once(self, count: int) -> memoryview | None:
        """The next `count` bytes when they are in the buffer, else nothing: the quick way for small files."""
        end = self._at + count
        if end > len(self._buffer):
            return None
        taken = memoryview(self._buffer)[self._at : end]
        self._at = end
        self.offset += count
        return taken

    def pieces(self, count: int) -> "Iterator[memoryview]":
        """The next `count` bytes in pieces that stay valid; fewer only at the end."""
        while count:
            if self._at == len(self._buffer) and not self._fill():
                return
            piece = memoryview(self._buffer)[self._at : self._at + count]
            self._at += len(piece)
            self.offset += len(piece)
            count -= len(piece)
            yield piece

    def skip(self, count: int) -> bool:
        """Leave out `count` bytes; False when the end came before."""
        if self._at + count <= len(self._buffer):
            self._at += count
            self.offset += count
            return True
        buffered = min(count, len(self._buffer) - self._at)
        self._at += buffered
        self.offset += buffered
        rest = count - buffered
        if rest and self._seekable:
            return self._jump(rest)
        for piece in self.pieces(rest):
            rest -= len(piece)
        return rest == 0

    def _jump(self, count: int) -> bool:
        """Leave out what is not in the buffer."""
        size = os.fstat(self._fd).st_size
        here = os.lseek(self._fd, 0, os.SEEK_CUR)
        os.lseek(self._fd, min(count, max(size - here, 0)), os.SEEK_CUR)
        self.offset += min(count, size - here)
        return count <= size - here

    def drain(self) -> None:
        """Read to the end, so that whoever writes does not stop half way."""
        while self._fill():
            pass
        self._at = len(self._buffer)

    def more(self) -> bytes:
        """What comes next, as much as is there; nothing at the end."""
        return os.read(self._fd, PIECE)

    def _fill(self) -> bool:
        self._buffer = self.more()
        self._at = 0
        return bool(self._buffer)


class Entry:
    """One member. `size` is what the file will have, `stored` what the archive holds of it, `mtime` in ns.

    `sparse` lists (offset, length) of the data, or is None. `offset` is where the stored bytes begin.
    """

    # Most entries keep most defaults: those of the class cost nothing for each of them.
    name = target = b""
    kind = FILE
    mode = uid = gid = size = stored = mtime = major = minor = offset = 0
    sparse: list[tuple[int, int]] | None = None
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


class Reader:
    """Iterates the entries of a source. The bytes of a file are there until the next entry is asked for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._left = 0
        self._padding = 0
        self._block = b""
        self._globals: dict[bytes, bytes] = {}

    def __iter__(self) -> "Iterator[Entry]":
        while True:
            entry = self._next()
            if entry is None:
                return
            yield entry

    def small(self) -> memoryview | None:
        """All stored bytes of the entry when they are at hand; otherwise ask for `data`."""
        data = self._source.at_once(self._left)
        if data is not None:
            self._left = 0
        return data

    def data(self) -> "Iterator[memoryview]":
        """The stored bytes of the entry in pieces. Raises: Damaged when they are not all there."""
        for piece in self._source.pieces(self._left):
            self._left -= len(piece)
            yield piece
        if self._left:
            raise Damaged("the archive ends inside the file")

    def _next(self) -> Entry | None:
        pax: list[tuple[bytes, bytes]] = []
        name = target = b""
        while (fields := self._header()) is not None:
            kind = fields[_KIND]
            if kind not in _EXTENDED:
                return self._entry(fields, pax, name, target)
            data = self._extra(_number(fields[_SIZE]))
            if kind == b"g":
                self._globals.update((k, v) for k, v in parse_pax(data) if k in _KEPT_GLOBALS)
            elif kind == b"L":
                name = data.partition(b"\0")[0]
            elif kind == b"K":
                target = data.partition(b"\0")[0]
            else:
                pax = parse_pax(data)
        if pax or name or target:
            raise Damaged("the archive ends after the header of an entry")
        return None

    def _header(self) -> tuple[bytes, ...] | None:
        if not self._skip_rest():
            return None
        block = self._block = self._source.take(BLOCK)
        if block == _ZEROS:
            again = self._source.take(BLOCK)
            if again.strip(b"\0"):
                raise Damaged("a block of zeros stands between its entries")
            return None
        if len(block) < BLOCK:
            if block.strip(b"\0"):
                raise Damaged("the archive ends inside a header")
            return None
        fields = _HEADER.unpack(block)
        _check(block, fields[_SUM])
        return fields

    def _skip_rest(self) -> bool:
        """Go to the next header; False when the archive ends in the padding before it."""
        if self._left and not self._source.skip(self._left):
            raise Damaged("the archive ends inside a file")
        padding, self._left, self._padding = self._padding, 0, 0
        return not padding or self._source.skip(padding)

    def _extra(self, size: int) -> bytes:
        if not 0 <= size <= LONGEST_HEADER:
            raise Damaged("an extended header is too long")
        self._left, self._padding = 0, -size % BLOCK
        data = self._source.take(size)
        if len(data) < size:
            raise Damaged("the archive ends inside the file")
        return data

    def _entry(
        self, fields: tuple[bytes, ...], pax: list[tuple[bytes, bytes]], name: bytes, target: bytes
    ) -> Entry:
        entry = _plain(fields)
        if name:
            entry.name = name
        if target:
            entry.target = target
        if self._globals:
            for key, value in self._globals.items():
                _ATTRIBUTES[key](entry, value)
        sparse = _apply(entry, pax) if pax else {}
        if entry.kind in _FILES:
            entry.kind = DIRECTORY if entry.name.endswith(b"/") else FILE
        if entry.kind in _WITHOUT_DATA:
            entry.size = entry.stored = 0
        if entry.stored < 0:
            raise Damaged("its size is negative", entry.name)
        self._left, self._padding = entry.stored, -entry.stored % BLOCK
        if entry.kind == b"S":
            self._old_sparse(entry, self._block)
        elif sparse and entry.kind == FILE:
            self._pax_sparse(entry, sparse)
        entry.offset = self._source.offset
        return entry

    def _old_sparse(self, entry: Entry, block: bytes) -> None:
        holes, more, at, count = [], block[482], 386, 4
        entry.kind, entry.size = FILE, _number(block[483:495])
        while True:
            for start in range(at, at + 24 * count, 24):
                if block[start : start + 24].strip(b"\0"):
                    holes.append((_number(block[start : start + 12]), _number(block[start + 12 : start + 24])))
            if not more:
                break
            block = self._source.take(BLOCK)
            if len(block) < BLOCK or len(holes) > MOST_HOLES:
                raise Damaged("its list of holes is damaged", entry.name)
            more, at, count = block[504], 0, 21
        entry.sparse = _checked_holes(entry, holes)

    def _pax_sparse(self, entry: Entry, sparse: dict[bytes, list[bytes]]) -> None:
        try:
            if sparse.get(b"GNU.sparse.major") == [b"1"]:
                entry.size = int(sparse[b"GNU.sparse.realsize"][-1])
                holes = self._holes_in_data(entry)
            elif b"GNU.sparse.map" in sparse:
                numbers = [int(word) for word in sparse[b"GNU.sparse.map"][-1].split(b",")]
                entry.size = int(sparse[b"GNU.sparse.size"][-1])
                holes = list(zip(numbers[::2], numbers[1::2], strict=True))
            else:
                entry.size = int(sparse[b"GNU.sparse.size"][-1])
                offsets, lengths = sparse.get(b"GNU.sparse.offset", []), sparse.get(b"GNU.sparse.numbytes", [])
                holes = [(int(a), int(b)) for a, b in zip(offsets, lengths, strict=True)]
        except (ValueError, KeyError, IndexError) as error:
            raise Damaged("its list of holes is damaged", entry.name) from error
        entry.sparse = _checked_holes(entry, holes)

    def _holes_in_data(self, entry: Entry) -> list[tuple[int, int]]:
        """PAX 1.0: decimal numbers, one a line, padded to whole blocks, before the data."""
        first, _, text = self._more(entry).partition(b"\n")  # a count that fills a block means nothing
        wanted = 2 * int(first)
        if not 0 <= wanted <= 2 * MOST_HOLES:
            raise ValueError(wanted)
        blocks = [text]
        lines = text.count(b"\n")
        while lines < wanted:
            if len(blocks) * BLOCK > _LONGEST_MAP:
                raise ValueError(wanted)
            blocks.append(self._more(entry))
            lines += blocks[-1].count(b"\n")
        numbers = [int(line) for line in b"".join(blocks).split(b"\n")[:wanted]]
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def _more(self, entry: Entry) -> bytes:
        block = self._source.take(min(BLOCK, self._left))
        if len(block) < BLOCK:
            raise Damaged("its list of holes is damaged", entry.name)
        self._left -= BLOCK
        entry.stored -= BLOCK
        return block


def parse_pax(data: bytes) -> list[tuple[bytes, bytes]]:
    """The records `LENGTH KEY=VALUE\\n`. Raises: Damaged."""
    records: list[tuple[bytes, bytes]] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 12)
        length = data[at:space]
        end = at + int(length) if space > at and length.isdigit() else 0
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end <= space or end > len(data) or data[end - 1] != 0x0A or not equals or not key:
            if not data[at:].strip(b"\0"):
                return records
            raise Damaged("an extended header is damaged")
        records.append((key, value))
        at = end
    return records


def _check(block: bytes, field: bytes) -> None:
    """The checksum is the sum of all bytes, its own field counted as spaces; very old writers summed signed bytes."""
    told = _number(field)
    # The lower half of Adler-32 is one more than the sum, modulo 65521: fifty times faster than sum().
    if (told - _SPACES + sum(field) + 1) % 65521 == adler32(block) & 0xFFFF:
        return
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + _SPACES
    if told != signed:
        raise Damaged("the data is not a tar archive, or it is damaged")


def _plain(fields: tuple[bytes, ...]) -> Entry:
    name, mode, uid, gid, size, mtime, _, kind, target, magic, major, minor, prefix = fields
    entry = Entry()
    entry.name = name.partition(b"\0")[0]
    if prefix[0] and magic[:6] == b"ustar\0":
        entry.name = prefix.partition(b"\0")[0] + b"/" + entry.name
    entry.kind = kind
    entry.mode = _number(mode) & 0o7777
    entry.uid, entry.gid = _number(uid), _number(gid)
    entry.size = entry.stored = _number(size)
    entry.mtime = _number(mtime) * 10**9
    if target[0]:
        entry.target = target.partition(b"\0")[0]
    if kind in (CHAR, BLOCK_DEVICE):
        entry.major, entry.minor = _number(major), _number(minor)
    return entry


def _number(field: bytes) -> int:
    """Octal digits between spaces and NULs, or base-256 when the first bit is set."""
    value = _KNOWN.get(field)
    if value is None:
        value = _decoded(field)
        if len(_KNOWN) > 10_000:
            _KNOWN.clear()
        _KNOWN[field] = value
    return value


def _decoded(field: bytes) -> int:
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False)
        bits = 8 * len(field)
        if field[0] & 0x40:
            return value - (1 << bits)
        return value - (1 << (bits - 1))
    digits = field.partition(b"\0")[0].strip(b" ")
    if not digits:
        return 0
    try:
        return int(digits, 8)
    except ValueError as error:
        raise Damaged("a number in a header is damaged") from error


def _apply(entry: Entry, pax: list[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """Extended attributes over the plain header; gives back what describes a sparse file."""
    sparse: dict[bytes, list[bytes]] = {}
    for key, value in pax:
        setter = _ATTRIBUTES.get(key)
        if setter is not None:
            if value:
                setter(entry, value)
        elif key.startswith(b"SCHILY.xattr."):
            entry.xattrs += ((key[13:], value),)
        elif key.startswith(b"LIBARCHIVE.xattr."):
            entry.xattrs += ((_percent_decoded(key[17:]), _base64(value, entry)),)
        elif key.startswith(b"GNU.sparse."):
            sparse.setdefault(key, []).append(value)
    entry.name = sparse.get(b"GNU.sparse.name", [entry.name])[-1]
    return sparse


def _set_name(entry: Entry, value: bytes) -> None:
    entry.name = value


def _set_target(entry: Entry, value: bytes) -> None:
    entry.target = value


def _set_size(entry: Entry, value: bytes) -> None:
    entry.size = entry.stored = _decimal(value, entry)


def _set_uid(entry: Entry, value: bytes) -> None:
    entry.uid = _decimal(value, entry)


def _set_gid(entry: Entry, value: bytes) -> None:
    entry.gid = _decimal(value, entry)


def _set_mtime(entry: Entry, value: bytes) -> None:
    """Seconds with a fraction of any length, exactly: a float would lose the nanoseconds."""
    whole, _, fraction = value.lstrip(b"+-").partition(b".")
    digits = whole + fraction
    if (digits and not digits.isdigit()) or len(whole) > 20:
        raise Damaged("its time is damaged", entry.name)
    time = int(whole + fraction[:9].ljust(9, b"0"))
    entry.mtime = -time if value.startswith(b"-") else time


_ATTRIBUTES = {
    b"path": _set_name,
    b"linkpath": _set_target,
    b"size": _set_size,
    b"uid": _set_uid,
    b"gid": _set_gid,
    b"mtime": _set_mtime,
}


def _decimal(value: bytes, entry: Entry) -> int:
    digits = value[1:] if value.startswith(b"-") else value
    if not digits.isdigit() or len(digits) > 20:
        raise Damaged("a number in its header is damaged", entry.name)
    return int(value)


def _percent_decoded(text: bytes) -> bytes:
    first, *rest = text.split(b"%")
    try:
        return first + b"".join(bytes((int(part[:2], 16),)) + part[2:] for part in rest)
    except ValueError as error:
        raise Damaged("the name of an extended attribute is damaged") from error


def _base64(value: bytes, entry: Entry) -> bytes:
    try:
        return a2b_base64(value + b"=" * (-len(value) % 4))  # libarchive leaves the padding out
    except BinasciiError as error:
        raise Damaged("an extended attribute is damaged", entry.name) from error


def _checked_holes(entry: Entry, holes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The pieces in order, inside the file, and together exactly what is stored."""
    end = total = 0
    for offset, length in holes:
        if offset < end or length < 0:
            raise Damaged("its list of holes is damaged", entry.name)
        end, total = offset + length, total + length
    if end > entry.size or total != entry.stored or entry.size < 0:
        raise Damaged("its list of holes is damaged", entry.name)
    return [piece for piece in holes if piece[1]]

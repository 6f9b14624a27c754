"""The context of a build: a tar that lies in one file, and an index of it in memory. Nothing of it is ever unpacked, so
no name, link or device in it can mean anything on this host.

Files are read where they lie in the archive. What comes twice counts as it comes last; names that lead upwards are
refused; directories that are only mentioned on the way exist.

Of a client nearby an archive holds only what is not in the one `before`, which lies before it in the same file; the
list behind it says which files are still as they were there (`adapters.tar.unchanged`).
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adapters.tar.attributes import kept_attribute
from adapters.tar.reader import DIRECTORY, FILE, LINK, LONGEST_NAME, SYMLINK, Damaged, Entry, Reader, Source
from adapters.tar.unchanged import listed, read_end
from domain.build.ignore import Rules
from domain.build.placing import Kind, Node
from domain.errors import Refused
from domain.text.safe import safe

MOST_ENTRIES = 1_000_000
_PIECE = 1 << 20
_SMALL = 1 << 16
"""Files of up to so many bytes are hashed while they are at hand: to come back to each of them would cost more."""
_LONGEST_LIST = MOST_ENTRIES * 64
_NO_NAMES = frozenset((b"", b".", b".."))
_NO_LAST: tuple[bytes, str, dict[str, None]] = (b"\0", "", {})
"""No directory: its name in the archive, its path, and what is in it."""
_KINDS: dict[bytes, Kind] = {FILE: "file", DIRECTORY: "directory", SYMLINK: "link"}


@dataclass(frozen=True, slots=True)
class _Item:
    """What is there, and where its bytes lie: (place in the archive, place in the file, length), in order."""

    node: Node
    data: tuple[tuple[int, int, int], ...] = ()


class Context:
    """A tree of files in an archive; the descriptor stays the caller's. One that is still `arriving` is read on its
    way. `known` are files that need not come again, each with what stat(2) says of it. Raises: Refused."""

    def __init__(self, fd: int, arriving: Source | None = None, before: "Context | None" = None) -> None:
        self._fd = fd
        self._items: dict[str, _Item] = {"": _Item(Node("", "directory", 0o755))}
        self._names: dict[str, dict[str, None]] = {"": {}}
        self._digests: dict[int, str] = {}
        self._last = _NO_LAST
        self._order: list[str] = []
        self.known: dict[str, bytes] = {}
        self.files = 0
        self.size = 0
        if arriving is None:
            os.lseek(fd, 0, os.SEEK_SET)
        try:
            source = arriving or Source(fd, seekable=True)
            reader = Reader(source)
            for entry in reader:
                self._order.append(self._add(entry))
                if entry.kind == FILE and entry.stored <= _SMALL and entry.sparse is None:
                    self._hash(entry, reader)
            if before is not None:
                self._go_on_from(before, b"".join(source.pieces(_LONGEST_LIST)))
            self._order.clear()
        except Damaged as error:
            shown = f' at "{safe(os.fsdecode(error.name))[:200]}"' if error.name else ""
            raise Refused(f"the build context is damaged{shown}: {error.reason}") from error
        self._sorted: dict[str, tuple[str, ...]] = {}

    def told(self) -> bytes:
        """What the sender of the next one is told."""
        return listed(map(os.fsencode, self.known), self.known.values())

    def look(self, path: str) -> Node | None:
        """See `domain.build.placing.Tree`."""
        item = self._items.get(path)
        return None if item is None else item.node

    def names(self, path: str) -> Sequence[str]:
        """See `domain.build.placing.Tree`."""
        if path not in self._sorted:
            self._sorted[path] = tuple(sorted(self._names.get(path, ())))
        return self._sorted[path]

    def data(self, node: Node) -> Iterator[bytes]:
        """The content of a file."""
        at = 0
        for place, offset, length in self._items[node.path].data:
            yield from _zeros(offset - at)
            yield from self._read(place, length)
            at = offset + length
        yield from _zeros(node.size - at)

    def digest(self, node: Node) -> str:
        """Of the content of a file."""
        key = _key(self._items[node.path])
        if key not in self._digests:
            found = hashlib.sha256()
            for piece in self.data(node):
                found.update(piece)
            self._digests[key] = found.hexdigest()
        return self._digests[key]

    def read(self, path: str, most: int) -> bytes | None:
        """The beginning of a regular file; None if there is none."""
        node = self.look(path)
        if node is None or node.kind != "file":
            return None
        content = b""
        for piece in self.data(node):
            content += piece
            if len(content) >= most:
                break
        return content[:most]

    def hide(self, rules: Rules) -> None:
        """Leave out what a `.dockerignore` hides, of a context that somebody else has put together."""
        if not rules.rules:
            return
        kept = [path for path in self._items if path and not rules.hides(path)]
        items = {path: self._items[path] for path in kept}
        self._items = {"": self._items[""], **items}
        self._names = {"": {}}
        self._sorted = {}
        for path in kept:
            self._reach(path)

    def _read(self, place: int, length: int) -> Iterator[bytes]:
        while length:
            piece = os.pread(self._fd, min(length, _PIECE), place)
            if not piece:
                raise Refused("the build context is damaged: it has become shorter")
            yield piece
            place += len(piece)
            length -= len(piece)

    def _hash(self, entry: Entry, reader: Reader) -> None:
        data = reader.small() if entry.stored else None
        if data is not None:
            self._digests[entry.offset] = hashlib.sha256(data).hexdigest()

    def _go_on_from(self, before: "Context", end: bytes) -> None:
        """Take over what has not changed, and know what stat(2) says of everything else."""
        places, sent = read_end(end)
        paths = tuple(before.known)
        if any(place >= len(paths) for place in places) or any(not 0 < one <= len(self._order) for one, _ in sent):
            raise Damaged("the list of its files is damaged")
        for path in map(paths.__getitem__, places):
            item = before._items.get(path)
            if item is None:
                raise Damaged("the list of its files is damaged")
            above, _, name = path.rpartition("/")
            if above in self._names and above in self._items:
                self._names[above][name] = None
            else:
                self._reach(path)
            self._put(path, item)
            self.known[path] = before.known[path]
            key = _key(item)
            if key in before._digests:
                self._digests[key] = before._digests[key]
        for number, status in sent:
            path = self._order[number - 1]
            if path in self._items and self._items[path].node.kind == "file":
                self.known[path] = status

    def _add(self, entry: Entry) -> str:
        """Returns where it is."""
        path = self._beside(entry.name) or self._path(entry.name)
        if path:
            self._put(path, self._linked(entry, path) if entry.kind == LINK else self._item(entry, path))
        return path

    def _put(self, path: str, item: _Item) -> None:
        self.files += 1
        if self.files > MOST_ENTRIES:
            raise Refused(f"the build context holds more than {MOST_ENTRIES} files", hint="add some to .dockerignore")
        if item.node.kind != "directory":
            self._forget_below(path)
        self._items[path] = item
        self.size += item.node.size

    def _beside(self, name: bytes) -> str:
        """Where it is, if it is a simple name in the directory of the one before, as nearly all are; else empty."""
        above, _, leaf = name.rpartition(b"/")
        written, path, names = self._last
        if above != written or leaf in _NO_NAMES or len(leaf) > 255 or len(name) > LONGEST_NAME or b"\0" in name:
            return ""
        text = os.fsdecode(leaf)
        names[text] = None
        return f"{path}/{text}" if path else text

    def _path(self, name: bytes) -> str:
        """Where it is, with all directories on the way; empty for the root. Raises: Refused."""
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts or len(name) > LONGEST_NAME or b"\0" in name:
            raise Refused(f'the build context holds a name that cannot be one: "{_shown(name)}"')
        if any(len(part) > 255 for part in parts):
            raise Refused(f'the build context holds a name that is too long: "{_shown(name)}…"')
        path = os.fsdecode(b"/".join(parts))
        if path:
            self._reach(path)
            written, _, leaf = name.rpartition(b"/")
            if leaf == parts[-1]:  # and not empty: names of directories may end in a slash
                above = path.rpartition("/")[0]
                self._last = written, above, self._names[above]
        return path

    def _item(self, entry: Entry, path: str) -> _Item:
        node = Node(
            path, _KINDS.get(entry.kind, "other"), entry.mode & 0o7777, entry.uid, entry.gid, entry.size, entry.mtime,
            target=os.fsdecode(entry.target) if entry.kind == SYMLINK else "",
            xattrs=tuple((key, value) for key, value in entry.xattrs if kept_attribute(key)),
        )
        if entry.kind != FILE:
            return _Item(node)
        if entry.sparse is None:
            return _Item(node, ((entry.offset, 0, entry.size),) if entry.size else ())
        pieces, place = [], entry.offset
        for offset, length in entry.sparse:
            if length:
                pieces.append((place, offset, length))
            place += length
        return _Item(node, tuple(pieces))

    def _linked(self, entry: Entry, path: str) -> _Item:
        target = os.fsdecode(b"/".join(part for part in entry.target.split(b"/") if part not in (b"", b".")))
        found = self._items.get(target)
        if found is None or found.node.kind == "directory":
            raise Refused(f'the build context holds a hard link to nothing: "{safe(path)[:200]}"')
        identity = found.node.identity or target
        old = found.node
        if old.identity is None:
            self._items[target] = _Item(_with_identity(old, target, identity), found.data)
        return _Item(_with_identity(old, path, identity), found.data)

    def _reach(self, path: str) -> None:
        """Make the directories above known."""
        while path:
            above, _, name = path.rpartition("/")
            below = self._names.setdefault(above, {})
            if name in below and above in self._items:
                return
            below[name] = None
            found = self._items.get(above)
            if found is None or found.node.kind != "directory":
                self._items[above] = _Item(Node(above, "directory", 0o755))
            path = above

    def _forget_below(self, path: str) -> None:
        """Something else has come in the place of a directory."""
        if path in self._names:
            self._last = _NO_LAST
        for name in self._names.pop(path, ()):
            self._forget_below(f"{path}/{name}")
            self._items.pop(f"{path}/{name}", None)


def _key(item: _Item) -> int:
    """No two files begin at one place, and all that are nothing but one hole are the same."""
    return item.data[0][0] if item.data else -item.node.size - 1


def _shown(name: bytes) -> str:
    return safe(os.fsdecode(name))[:200]


def _with_identity(node: Node, path: str, identity: object) -> Node:
    return Node(path, node.kind, node.mode, node.uid, node.gid, node.size, node.mtime, node.target, identity,
                node.xattrs)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, _PIECE))
        count -= _PIECE

"""The files of an image as one tree, read from its layers by descriptor: nothing is mounted and nothing is followed, so
no link in an image can lead to a file of this host.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from adapters.images.attributes import xattrs_of
from adapters.images.stack import Stack
from adapters.tar.attributes import kept_attribute
from domain.build.placing import Kind, Node, follow
from domain.errors import LadingError

_PIECE = 1 << 20
_KINDS: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
LARGEST_LIST = 1 << 20
"""Bytes of passwd and group that are read."""


class Merged:
    """An image's tree; `layers` are directories, lowest first. Close it."""

    def __init__(self, layers: Sequence[Path]) -> None:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fds: list[int] = []
        try:
            for layer in reversed(layers):
                self._fds.append(os.open(layer, flags))
            self._stack = Stack(self._fds)
        except BaseException:
            self.close()
            raise
        self._nodes: dict[str, Node | None] = {}

    def close(self) -> None:
        """Let go of the layers."""
        while self._fds:
            os.close(self._fds.pop())

    def look(self, path: str) -> Node | None:
        """See `domain.build.placing.Tree`."""
        if path not in self._nodes:
            self._nodes[path] = self._look(path)
        return self._nodes[path]

    def _look(self, path: str) -> Node | None:
        found = self._stack.find(os.fsencode(path)) if path else self._stack.directory(b"")
        if found is None:
            return None if path else Node("", "directory", 0o755)
        layer, status = found
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "other")
        return Node(
            path, kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid,
            status.st_size if kind == "file" else 0, status.st_mtime_ns,
            target=os.fsdecode(os.readlink(os.fsencode(path), dir_fd=layer)) if kind == "link" else "",
            identity=(status.st_dev, status.st_ino) if kind == "file" and status.st_nlink > 1 else None,
            xattrs=self._xattrs(path, layer) if kind == "file" else (),
        )

    def names(self, path: str) -> Sequence[str]:
        """See `domain.build.placing.Tree`."""
        return sorted(map(os.fsdecode, self._stack.names(os.fsencode(path))))

    def data(self, node: Node) -> Iterator[bytes]:
        """The content of a file."""
        fd = self._open(node.path)
        try:
            while piece := os.read(fd, _PIECE):
                yield piece
        finally:
            os.close(fd)

    def digest(self, node: Node) -> str:
        """Of the content of a file."""
        found = hashlib.sha256()
        for piece in self.data(node):
            found.update(piece)
        return found.hexdigest()

    def read(self, path: str, most: int) -> bytes | None:
        """The beginning of a regular file, where links lead inside of the image; None if there is none."""
        try:
            node = self.look(follow(self, path))
        except LadingError:
            return None
        if node is None or node.kind != "file":
            return None
        fd = self._open(node.path)
        try:
            content = b""
            while len(content) < most and (piece := os.read(fd, most - len(content))):
                content += piece
            return content
        finally:
            os.close(fd)

    def _open(self, path: str) -> int:
        found = self._stack.find(os.fsencode(path))
        if found is None:
            raise FileNotFoundError(path)
        fd = os.open(os.fsencode(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=found[0])
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FileNotFoundError(path)
        return fd

    def _xattrs(self, path: str, layer: int) -> tuple[tuple[bytes, bytes], ...]:
        fd = os.open(os.fsencode(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=layer)
        try:
            return tuple((key, value) for key, value in xattrs_of(fd) if kept_attribute(key))
        finally:
            os.close(fd)

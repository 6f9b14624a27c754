"""What a stack of extracted layers looks like from above, without mounting it. Standard library only: it runs in the
small extractor process.

Nothing is ever followed: a path is looked up component by component, and below a component that is not a real directory
of a layer that layer has nothing. So it cannot lead out of a layer, whatever the layer holds.
"""

import errno
import os
import stat

TYPE_CHECKING = False  # the module `typing` costs more than this one
if TYPE_CHECKING:
    from collections.abc import Sequence

OPAQUE = "trusted.overlay.opaque"
LAYER_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def opened(layers: int, names: "Sequence[str]") -> list[int]:
    """Descriptors of the files of these layers, which lie in the directory `layers`. Raises: OSError."""
    return [os.open(name + "/fs", LAYER_FLAGS, dir_fd=layers) for name in names]


class Below:
    """The layers below one that is being unpacked, which may still be on their way: `gate` is a descriptor that gives
    a byte when all of them are in LAYERS-DIR (`layers`), and ends when that will never be."""

    def __init__(self, layers: int, names: "Sequence[str]", gate: int) -> None:
        self._layers, self._names, self._gate = layers, names, gate
        self._stack: Stack | None = None

    def __bool__(self) -> bool:
        return bool(self._names)

    def stack(self) -> "Stack | None":
        """What it looks like; None below the lowest layer. Waits for it. Raises: OSError."""
        if self._stack is None and self._names:
            if not os.read(self._gate, 1):
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
            self._stack = Stack(opened(self._layers, self._names))
        return self._stack


class Stack:
    """Layers by descriptors of their directories, uppermost first; the layers must not change meanwhile."""

    def __init__(self, layers: "Sequence[int]") -> None:
        self._layers = layers
        self._seen: dict[bytes, tuple[int, ...]] = {b"": self._visible(b".", tuple(range(len(layers))))}

    def directory(self, path: bytes) -> tuple[int, os.stat_result] | None:
        """The descriptor of the layer that gives the directory its attributes, and these; None when there is none."""
        visible = self._layers_of(path)
        if not visible:
            return None
        layer = self._layers[visible[0]]
        return layer, os.stat(path or b".", dir_fd=layer, follow_symlinks=False)

    def find(self, path: bytes) -> tuple[int, os.stat_result] | None:
        """Like `directory`, for anything that is there."""
        parent, _, _ = path.rpartition(b"/")
        for index in self._layers_of(parent):
            found = _status(path, self._layers[index])
            if found is not None:
                return None if is_whiteout(found) else (self._layers[index], found)
        return None

    def names(self, path: bytes) -> frozenset[bytes]:
        """What is in the directory; nothing when there is none."""
        seen: set[bytes] = set()
        shown: set[bytes] = set()
        for index in self._layers_of(path):
            fd = os.open(path or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._layers[index])
            try:
                found = set(map(os.fsencode, os.listdir(fd))) - seen
                for name in found:
                    status = _status(name, fd)
                    if status is not None and not is_whiteout(status):
                        shown.add(name)
            finally:
                os.close(fd)
            seen |= found
        return frozenset(shown)

    def _layers_of(self, path: bytes) -> tuple[int, ...]:
        """The layers whose directory of this name is visible; remembered, because parents come again and again."""
        todo = []
        while path not in self._seen:
            todo.append(path)
            path = path.rpartition(b"/")[0]
        for path in reversed(todo):
            if len(self._seen) > 50_000:
                self._seen = {b"": self._seen[b""]}
            above = self._seen.get(path.rpartition(b"/")[0])
            above = self._layers_of(path.rpartition(b"/")[0]) if above is None else above
            self._seen[path] = self._visible(path, above)
        return self._seen[path]

    def _visible(self, path: bytes, candidates: tuple[int, ...]) -> tuple[int, ...]:
        visible = []
        for index in candidates:
            found = _status(path, self._layers[index])
            if found is None:
                continue
            if not stat.S_ISDIR(found.st_mode):
                break
            visible.append(index)
            if _is_opaque(path, self._layers[index]):
                break
        return tuple(visible)


def is_whiteout(status: os.stat_result) -> bool:
    """Whether it is overlayfs' mark for a name that was removed: a character device 0:0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _status(path: bytes, layer: int) -> os.stat_result | None:
    try:
        return os.stat(path, dir_fd=layer, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_opaque(path: bytes, layer: int) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=layer)
    try:
        return os.getxattr(fd, OPAQUE) == b"y"
    except OSError:
        return False
    finally:
        os.close(fd)

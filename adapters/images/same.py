"""Whether a layer that somebody else has made is the one that COPY, ADD or WORKDIR would make here.

It is looked at file by file: kinds, modes, owners, links and contents, never times. Directories on the way are in the
layers of some builders as well; they mean nothing where the image has them with the same attributes.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from adapters.images.merged import Merged
from adapters.images.placed import Readable
from adapters.tar.attributes import kept_attribute
from domain.build.placing import Kind, Node, Placed, Tree

_KINDS: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def holds(layer: Path, things: Sequence[Placed], source: Readable, image: Tree) -> bool:
    """Whether the files in the directory `layer` are these, and nothing else; `image` is what lies below."""
    wanted = {one.path: one for one in things}
    left = set(wanted)
    if not _is_known("", os.stat(layer), image):
        return False
    for directory, directories, files, fd in os.fwalk(layer, follow_symlinks=False):
        above = directory[len(str(layer)) :].lstrip("/")
        for name in (*directories, *files):
            path = f"{above}/{name}" if above else name
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            one = wanted.get(path)
            if not (_is_known(path, status, image) if one is None else _is(one, status, name, fd, source)):
                return False
            if not stat.S_ISLNK(status.st_mode) and _is_special(name, fd):
                return False
            left.discard(path)
    return not left


def first_change(old: Merged, things: Sequence[Placed], source: Readable, below: str) -> str:
    """What is different now in one directory of the layer that a step has made before: `app/x.py changed`. Empty if
    nothing is."""
    wanted = {one.path: one for one in things if one.path.startswith(f"{below}/")}
    for path in sorted(wanted):
        there = old.look(path)
        if there is None:
            return f"{path} is new"
        if not _is_still(there, wanted[path], old, source):
            return f"{path} changed"
    return next((f"{path} is gone" for path in _all(old, below) if path not in wanted), "")


def _is_still(there: Node, one: Placed, old: Merged, source: Readable) -> bool:
    if (there.kind, there.uid, there.gid) != (one.kind, one.uid, one.gid):
        return False
    if there.kind == "link":
        return one.node is not None and there.target == one.node.target
    return there.mode == one.mode and (there.kind != "file" or old.digest(there) == _wanted_digest(one, source))


def _all(tree: Tree, directory: str) -> Iterator[str]:
    for name in tree.names(directory):
        path = f"{directory}/{name}"
        yield path
        node = tree.look(path)
        if node is not None and node.kind == "directory":
            yield from _all(tree, path)


def _is_known(path: str, status: os.stat_result, image: Tree) -> bool:
    """A directory that is as the image has it."""
    there = image.look(path)
    if there is None or there.kind != "directory" or not stat.S_ISDIR(status.st_mode):
        return False
    return (there.mode, there.uid, there.gid) == (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def _is(one: Placed, status: os.stat_result, name: str, fd: int, source: Readable) -> bool:
    kind, node = _KINDS.get(stat.S_IFMT(status.st_mode)), one.node
    if kind != one.kind or (one.uid, one.gid) != (status.st_uid, status.st_gid):
        return False
    if node is not None and (node.xattrs or node.identity is not None):
        return False  # more than is compared here
    if kind == "link":
        return node is not None and os.readlink(name, dir_fd=fd) == node.target
    if one.mode != stat.S_IMODE(status.st_mode):
        return False
    if kind == "directory":
        return True
    size = len(one.content) if one.content is not None else node.size if node is not None else 0
    return status.st_size == size and _digest(name, fd) == _wanted_digest(one, source)


def _wanted_digest(one: Placed, source: Readable) -> str:
    return hashlib.sha256(one.content or b"").hexdigest() if one.node is None else source.digest(one.node)


def _digest(name: str, fd: int) -> str:
    with os.fdopen(os.open(name, _OPEN, dir_fd=fd), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_special(name: str, fd: int) -> bool:
    """Whether it has attributes that count, or that hide what is below it."""
    inner = os.open(name, _OPEN, dir_fd=fd)
    try:
        keys = [os.fsencode(key) for key in os.listxattr(inner)]
    finally:
        os.close(inner)
    return any(kept_attribute(key) or key.startswith(b"trusted.overlay.") for key in keys)

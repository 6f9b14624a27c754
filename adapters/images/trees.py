"""Directory trees of containers and layers, seen and deleted by descriptor: no name in them is looked up from outside.

Trees may be deeper than paths or recursion can go; one directory is open at a time, and the way back up is checked.
"""

import errno
import os
import stat
from collections.abc import Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def delete(name: str, *, within: int) -> None:
    """Delete `name` in the directory `within`, whatever it is and however deep; no error when it is not there."""
    try:
        if not stat.S_ISDIR(os.stat(name, dir_fd=within, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=within)
            return
        _empty(os.open(name, _DIRECTORY, dir_fd=within))
        os.rmdir(name, dir_fd=within)
    except FileNotFoundError:
        return


def delete_path(path: str) -> None:
    """The same for a path of our own whose directories nobody else can change."""
    parent, _, name = path.rpartition("/")
    try:
        fd = os.open(parent or "/", _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        delete(name, within=fd)
    finally:
        os.close(fd)


def apparent_size(root: int) -> int:
    """The sum of the sizes of all regular files below; a file with several names counts once."""
    size = 0
    seen: set[tuple[int, int]] = set()
    for status in statuses(root):
        if stat.S_ISREG(status.st_mode):
            key = (status.st_dev, status.st_ino)
            if status.st_nlink == 1 or key not in seen:
                size += status.st_size
            if status.st_nlink > 1:
                seen.add(key)
    return size


def statuses(root: int) -> Iterator[os.stat_result]:
    """The status of everything below the directory, in no order. What vanishes meanwhile is left out."""
    here = os.open(".", _DIRECTORY, dir_fd=root)
    todo: list[list[str]] = [[]]
    way: list[tuple[int, int]] = []
    try:
        yield from _list(here, todo[-1])
        while True:
            if todo[-1]:
                below = _enter(here, todo[-1].pop())
                if below is None:
                    continue
                way.append(_identity(here))
                os.close(here)
                here = below
                todo.append([])
                yield from _list(here, todo[-1])
            elif way:
                here = _leave(here, way.pop())
                todo.pop()
            else:
                return
    finally:
        os.close(here)


def _list(fd: int, directories: list[str]) -> Iterator[os.stat_result]:
    for name in os.listdir(fd):
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(status.st_mode):
            directories.append(name)
        yield status


def _enter(fd: int, name: str) -> int | None:
    try:
        return os.open(name, _DIRECTORY, dir_fd=fd)
    except (FileNotFoundError, NotADirectoryError):
        return None  # gone, or replaced by a link


def _leave(fd: int, expected: tuple[int, int]) -> int:
    """The parent, unless somebody moved the directory meanwhile: then it is not the one we came from."""
    above = os.open("..", _DIRECTORY, dir_fd=fd)
    if _identity(above) != expected:
        os.close(above)
        raise OSError(errno.ESTALE, "the directory was moved while it was being read")
    os.close(fd)
    return above


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _empty(here: int) -> None:
    """Delete all in the directory; takes the descriptor over. Every directory is listed once, whatever is in it."""
    way: list[tuple[tuple[int, int], str]] = []
    try:
        todo = [_clear(here)]
        while True:
            if todo[-1]:
                name = todo[-1].pop()
                below = _enter(here, name)
                if below is not None:
                    way.append((_identity(here), name))
                    os.close(here)
                    here = below
                    todo.append(_clear(here))
            elif way:
                expected, name = way.pop()
                here = _leave(here, expected)
                os.rmdir(name, dir_fd=here)
                todo.pop()
            else:
                return
    finally:
        os.close(here)


def _clear(fd: int) -> list[str]:
    """Delete what can be deleted at once; gives back the names of the directories that hold something."""
    full = []
    for name in os.listdir(fd):
        try:
            _delete_one(fd, name)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            full.append(name)
    return full


def _delete_one(fd: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=fd)
    except IsADirectoryError:
        os.rmdir(name, dir_fd=fd)

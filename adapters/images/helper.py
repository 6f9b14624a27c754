"""A second process of the extractor: it makes small files while the first one reads on. Standard library only.

Making a file is the kernel's work, reading the archive is ours; on two processors both go on at once. Who looks sees no
difference: only names that nothing has are handed over, and whoever is about to look for a name that is on its way
waits for it first (`Helper.wait_for`).

A batch is its length and then, for each file, a record, the path and the data. The answer to a batch is one byte; the
answer to one that failed is `!`, the number of the error and the path, and it is the last.
"""

import errno
import fcntl
import os
from struct import Struct

from adapters.images.attributes import clamped, own_and_date
from adapters.images.names import Unusable
from adapters.tar.reader import Entry

TYPE_CHECKING = False  # the module `typing` costs more than this one
if TYPE_CHECKING:
    from typing import Never

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
SMALL = 1 << 16
"""Bytes of the longest file that is handed over."""

_DISK = "ENOSPC EDQUOT EIO EROFS ENOMEM EMFILE ENFILE EUCLEAN ESTALE ENODEV EPIPE"
OF_THE_DISK = frozenset(getattr(errno, name) for name in _DISK.split())
"""Errors that no archive is to blame for; EPIPE: the helper was killed."""

_RECORD = Struct("=HIIIIqI")  # length of path, of data; mode, uid, gid; time: seconds, nanoseconds
_SECOND = 10**9
_LENGTH = Struct("=I")
_FILES, _BYTES = 32, 1 << 18
_AHEAD = 2
"""Batches that may be on their way: one that is being made, and the next."""

_ALONE = 8
"""Files that are made here before the helper is looked at again."""

_PIPE = 1 << 20
_DONE, _FAILED = b".", b"!"


class Helper:
    """The first process's side; the second one is forked when `after` small files were made without it."""

    def __init__(self, after: int) -> None:
        self._alone = after
        self._process = 0
        self._to = self._answers = -1
        self._batch: list[bytes | memoryview] = []
        self._names: set[bytes] = set()
        self._size = 0
        self._flying: list[set[bytes]] = []

    def has_time(self) -> bool:
        """Whether the next small file should be handed over. Raises: OSError, Unusable for one that was."""
        if self._batch:
            return True
        if self._alone:
            self._alone -= 1
            return False
        if not self._process:
            self._begin()
        if self._flying:
            self._hear()
        if len(self._flying) < _AHEAD:
            return True
        self._alone = _ALONE
        return False

    def give(self, path: bytes, entry: Entry, data: memoryview) -> None:
        """Let it make a file of a name that nothing has, and that it has not been given."""
        time = divmod(clamped(entry.mtime), _SECOND)
        record = _RECORD.pack(len(path), len(data), entry.mode, entry.uid, entry.gid, *time)
        self._batch += (record, path, data)
        self._names.add(path)
        self._size += _RECORD.size + len(path) + len(data)
        if len(self._names) >= _FILES or self._size >= _BYTES:
            self.send()

    def send(self) -> None:
        """Do not wait for more files: something that takes long comes first."""
        if not self._batch:
            return
        batch = b"".join((_LENGTH.pack(self._size), *self._batch))
        self._flying.append(self._names)
        self._batch, self._names, self._size = [], set(), 0
        try:
            write(self._to, memoryview(batch))
        except BrokenPipeError:
            self.settle()  # it says why, if it can
            raise

    def wait_for(self, path: bytes) -> None:
        """Returns when no file of that name is on its way. Raises: OSError, Unusable."""
        if path in self._names or any(path in names for names in self._flying):
            self.settle()

    def settle(self) -> None:
        """Returns when all files are there. Raises: OSError, Unusable."""
        if self._batch:
            self.send()
        if self._flying:
            os.set_blocking(self._answers, True)
            while self._flying:
                self._hear()
            os.set_blocking(self._answers, False)

    def close(self) -> None:
        """Settle, and let the process end."""
        self.settle()
        if self._process:
            os.close(self._to)
            os.waitpid(self._process, 0)
            self._process = 0

    def _begin(self) -> None:
        theirs, self._to = os.pipe2(os.O_CLOEXEC)
        self._answers, answers = os.pipe2(os.O_CLOEXEC)
        try:
            fcntl.fcntl(self._to, fcntl.F_SETPIPE_SZ, _PIPE)
        except OSError:
            pass  # the user's limit of pipe pages is reached: slower, not wrong
        self._process = os.fork()
        if not self._process:
            for fd in (0, self._to, self._answers):  # who writes the archive must notice when its reader is gone
                os.close(fd)
            _help(theirs, answers)
        os.close(theirs)
        os.close(answers)
        os.set_blocking(self._answers, False)

    def _hear(self) -> None:
        try:
            answer = os.read(self._answers, 64)
        except BlockingIOError:
            return
        done = len(answer) - len(answer.lstrip(_DONE))
        del self._flying[:done]
        if done < len(answer):
            self._fail(answer[done:])
        if not answer:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def _fail(self, answer: bytes) -> "Never":
        os.set_blocking(self._answers, True)
        while more := os.read(self._answers, 1 << 16):
            answer += more
        self._flying.clear()
        (code,) = _LENGTH.unpack_from(answer, 1)
        path = answer[1 + _LENGTH.size :]
        if code in OF_THE_DISK:
            raise OSError(code, os.strerror(code))
        raise Unusable(os.strerror(code), path)


def _help(source: int, answers: int) -> "Never":
    """The second process, until the first one has closed its end."""
    try:
        received = bytearray()
        while _receive(source, received, _LENGTH.size):
            (size,) = _LENGTH.unpack_from(received)
            if not _receive(source, received, _LENGTH.size + size):
                break
            answer = _made(received, _LENGTH.size, _LENGTH.size + size)
            os.write(answers, answer)
            if answer != _DONE:
                break
            del received[: _LENGTH.size + size]
    except BaseException:  # whatever it is, nothing above this frame is ours
        os._exit(1)
    os._exit(0)


def _receive(source: int, received: bytearray, size: int) -> bool:
    """Until so many bytes are there; False when they never will be."""
    while len(received) < size:
        piece = os.read(source, _PIPE)
        if not piece:
            return False
        received += piece
    return True


def _made(received: bytearray, at: int, end: int) -> bytes:
    """Make the files of a batch; the answer."""
    view = memoryview(received)
    while at < end:
        path_size, size, mode, uid, gid, seconds, rest = _RECORD.unpack_from(view, at)
        at += _RECORD.size
        path = bytes(view[at : at + path_size])
        at += path_size
        try:
            _make(path, view[at : at + size], mode, uid, gid, seconds * _SECOND + rest)
        except OSError as error:
            return _FAILED + _LENGTH.pack(error.errno or errno.EIO) + path
        at += size
    view.release()  # or the bytes below it could not be deleted
    return _DONE


def _make(path: bytes, data: memoryview, mode: int, uid: int, gid: int, time: int) -> None:
    fd = os.open(path, NEW_FILE, mode)
    try:
        write(fd, data)
        own_and_date(fd, uid, gid, mode, time)
    finally:
        os.close(fd)


def write(fd: int, data: memoryview) -> None:
    """All of it."""
    while data:
        data = data[os.write(fd, data) :]

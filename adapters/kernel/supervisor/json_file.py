"""The file of one container for log shippers: written from its stored output, rotated, and right after any crash.

`logs/<id>/` holds, beside the segments that are followed:

    <id>-json.log      JSON lines, see `json_lines`; <id>-json.log.1 is the one before, and so on
    json               there is something to write: `size files` (the limits); goes when all of it is written
    json.state         how far it is: two slots that are written in turn

A slot says: what is made of the frames from these positions on, less its first `ahead` bytes, begins at `length` in the
file with this inode. Because the same frames always make the same bytes, whoever comes after a crash makes them again
and leaves out what the file has already. Inode 0: the file is being rotated, what comes belongs into a new one.
"""

import binascii
import os
from struct import Struct
from typing import NamedTuple

from adapters.kernel.supervisor.frames import Frames, Piece
from adapters.kernel.supervisor.json_lines import Lines
from domain import logs
from domain.failpoints import failpoint

MARK, STATE = "json", "json.state"
_SLOT = Struct("<QQQQQQQ")
_CHECKED = Struct("<I")
_SLOT_SIZE = _SLOT.size + _CHECKED.size
_SLOTS = 2
_TORN = 1 << 20


class State(NamedTuple):
    """See the module. `next`, `first` and `second` are the positions of `Lines`."""

    number: int = 0
    inode: int = 0
    length: int = 0
    next: int = 0
    first: int = 0
    second: int = 0
    ahead: int = 0


def mark(directory: str, limits: logs.Limits) -> None:
    """From now on there is something to write. Raises: OSError."""
    os.makedirs(directory, 0o700, exist_ok=True)
    fd = os.open(os.path.join(directory, MARK), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, b"%d %d\n" % limits)
    finally:
        os.close(fd)


def marked(directory: str) -> logs.Limits | None:
    """The limits, if there is something to write."""
    try:
        with open(os.path.join(directory, MARK), encoding="ascii") as file:
            size, files = map(int, file.read().split())
    except FileNotFoundError:
        return None
    except ValueError:
        return logs.DEFAULT  # its writer was killed
    return logs.Limits(size, files)


class JsonFile:
    """The file of container `id` in `directory`, open. Raises OSError at any point: then a new one goes on."""

    def __init__(self, directory: str, id: str, limits: logs.Limits) -> None:
        self._directory, self._limits = directory, limits
        self._frames: Frames | None = None
        self._path = os.path.join(directory, logs.json_name(id))
        self._file = -1
        self._slots = os.open(os.path.join(directory, STATE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
                              0o600)
        try:
            self._state = _newest(os.pread(self._slots, _SLOTS * _SLOT_SIZE, 0))
            self._resume()
        except OSError:
            self.close()
            raise

    def turn(self) -> bool:
        """Write some of what was not written yet; False when there was nothing."""
        assert self._frames is not None
        missed, pieces = self._frames.read()
        if not pieces:
            return False
        records = [self._behind_a_gap(missed, pieces[0])] if missed else []
        records += [self._lines.take(*piece) for piece in pieces]
        self._write(b"".join(records))
        return True

    def finish(self) -> None:
        """The run is over and all of it was read: nothing more will be added to lines that have no end."""
        self._write(self._lines.flush())
        self._note()
        os.unlink(os.path.join(self._directory, MARK))

    def close(self) -> None:
        """Release the files."""
        for fd in (self._file, self._slots):
            if fd >= 0:
                os.close(fd)
        self._file = self._slots = -1
        if self._frames is not None:
            self._frames.close()

    def _resume(self) -> None:
        state = self._state
        if not state.inode:
            self._rotate_files()
        self._open()
        inode, size = self._inode_and_size()
        length = state.length if inode == state.inode and size >= state.length else size
        self._length = size
        self._skip = state.ahead + size - length
        self._made = 0  # of what is made from the noted positions on, how much is in files
        self._lines = Lines(state.next, (state.first, state.second))
        self._frames = Frames(self._directory, min(state.first, state.second))
        if (inode, length) != (state.inode, state.length):
            self._save(inode, length, state.ahead)

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        file = os.open(self._path, flags, 0o640)
        if self._file >= 0:
            os.close(self._file)
        self._file = file

    def _inode_and_size(self) -> tuple[int, int]:
        status = os.fstat(self._file)
        return status.st_ino, status.st_size

    def _write(self, records: bytes) -> None:
        """What is made next of the frames; then note down how far it is."""
        left_out = min(self._skip, len(records))
        self._skip -= left_out
        self._made += left_out
        if left_out and records[left_out - 1:left_out] != b"\n":
            torn = records.find(b"\n", left_out) + 1  # whoever was killed in a record had found room for it
            self._append(memoryview(records)[left_out:torn])
            left_out = torn
        rest = memoryview(records)[left_out:]
        while rest:
            count = self._fitting(rest)
            if not count:
                self._rotate()
                continue
            failpoint("scribe.before-write")
            self._append(rest[:count])
            failpoint("scribe.after-write")
            rest = rest[count:]
        if not self._skip:
            self._note()

    def _note(self) -> None:
        """Everything that was made up to here is in the file."""
        self._skip = self._made = 0
        self._state = State(self._state.number, 0, 0, self._lines.next, *self._lines.starts)
        self._save(self._inode_and_size()[0], self._length, 0)

    def _fitting(self, records: memoryview) -> int:
        """How many bytes of whole records the file still takes; 0 if it is full."""
        room = self._limits.size - self._length
        if len(records) <= room:
            return len(records)
        fits = bytes(records[:max(room, 0)]).rfind(b"\n") + 1
        return fits or (0 if self._length else bytes(records).index(b"\n") + 1)

    def _append(self, data: memoryview) -> None:
        while data:
            count = os.write(self._file, data)
            self._length += count
            self._made += count
            data = data[count:]

    def _rotate(self) -> None:
        self._save(0, 0, self._made)
        failpoint("scribe.rotating")
        self._rotate_files()
        self._open()
        self._length = 0
        failpoint("scribe.rotated")
        self._save(self._inode_and_size()[0], 0, self._made)

    def _rotate_files(self) -> None:
        """Make way for a new file, unless that was done. Killed in between, it goes on where it was: only the files up
        to the first gap are moved."""
        if not os.path.exists(self._path) or not os.path.getsize(self._path):
            return
        last = self._limits.files - 1
        free = next((number for number in range(1, last) if not os.path.exists(f"{self._path}.{number}")), last)
        if not last:
            os.unlink(self._path)
            return
        for number in range(free, 1, -1):
            os.rename(f"{self._path}.{number - 1}", f"{self._path}.{number}")
            failpoint("scribe.renamed")
        os.rename(self._path, f"{self._path}.1")

    def _save(self, inode: int, length: int, ahead: int) -> None:
        number = self._state.number + 1
        self._state = self._state._replace(number=number, inode=inode, length=length, ahead=ahead)
        data = _SLOT.pack(*self._state)
        slot = data + _CHECKED.pack(binascii.crc32(data))
        os.pwrite(self._slots, slot, self._state.number % _SLOTS * _SLOT_SIZE)

    def _behind_a_gap(self, missed: int, piece: Piece) -> bytes:
        """Output was deleted before it was read. What was written when somebody was killed cannot be made again either:
        half a record is taken away."""
        self._skip = 0
        start = max(self._length - _TORN, 0)
        end = os.pread(self._file, self._length - start, start).rfind(b"\n") + 1
        if self._length and start + end != self._length:
            os.ftruncate(self._file, start + end)
            self._length = start + end
        return self._lines.dropped(missed, piece.position, piece.header.time)


def _newest(slots: bytes) -> State:
    states = [State()]
    for start in range(0, len(slots) - _SLOT_SIZE + 1, _SLOT_SIZE):
        data = slots[start:start + _SLOT.size]
        if _CHECKED.unpack_from(slots, start + _SLOT.size)[0] == binascii.crc32(data):
            states.append(State(*_SLOT.unpack(data)))
    return max(states)

"""Output of one run, from its pipes into its log file. Format: `domain.logs`.

Bytes are moved inside the kernel (splice), behind a header that is written first: when the warden is killed at any
point, every byte is either in the file or still in the pipe, and the next warden mends the header of the last frame
(`_repair`). Nothing is read into memory, so a flood of output costs none.

A file that cannot be written (disk full) loses output, never a container: what comes is read and counted.
"""

import fcntl
import os
import termios
import time
from contextlib import suppress

from domain import logs
from domain.failpoints import failpoint

PIPE_SIZE = 1 << 18
_SPLICE_NONBLOCK = 2  # SPLICE_F_NONBLOCK of splice(2)


class Output:
    """The log file `number` in `directory`; made when the first byte comes. `lost` counts bytes nobody will see."""

    def __init__(self, directory: str, number: int) -> None:
        self._base = os.path.join(directory, str(number))
        self._log = self._index = -1
        self._end = self._indexed = self._time = 0
        self.lost = 0
        if os.path.exists(f"{self._base}.log"):
            with suppress(OSError):  # it will be tried again with the first byte
                self._open()

    def pump(self, pipe: int, stream: int) -> int:
        """Move what waits in `pipe`, at most one frame; how many bytes that were."""
        waiting = min(_waiting(pipe), logs.MAX_DATA)
        if not waiting:
            return 0
        try:
            return self._frame(pipe, stream, waiting)
        except OSError:
            return self._discard(pipe, waiting)

    def close(self) -> None:
        """Release the files."""
        for fd in (self._log, self._index):
            if fd >= 0:
                os.close(fd)
        self._log = self._index = -1

    def _open(self) -> None:
        os.makedirs(os.path.dirname(self._base), 0o700, exist_ok=True)
        self._log = os.open(f"{self._base}.log", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._index = os.open(f"{self._base}.idx", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            self._repair()
        except OSError:
            self.close()  # never write into a file whose end is not known
            raise

    def _frame(self, pipe: int, stream: int, waiting: int) -> int:
        if self._log < 0:
            self._open()
        start = self._end
        self._time = max(time.time_ns(), self._time)
        os.pwrite(self._log, logs.header(self._time, stream, waiting), start)
        failpoint("warden.log-header")
        moved = 0
        try:
            moved = self._splice(pipe, start + logs.HEADER_SIZE, waiting)
        finally:
            if moved != waiting:
                self._shorten(start, stream, moved)
        if not moved:
            return 0
        failpoint("warden.log-data")
        self._end = start + logs.HEADER_SIZE + moved
        if start - self._indexed >= logs.INDEX_SPACING:
            self._indexed = start
            os.write(self._index, logs.entry(self._time, start))
        return moved

    def _splice(self, pipe: int, offset: int, length: int) -> int:
        moved = 0
        while moved < length:
            try:
                count = os.splice(pipe, self._log, length - moved, offset_dst=offset + moved, flags=_SPLICE_NONBLOCK)
            except BlockingIOError:
                break
            except OSError:
                if moved:
                    break
                raise
            if not count:
                break
            moved += count
        return moved

    def _shorten(self, start: int, stream: int, moved: int) -> None:
        """Somebody else has read from the pipe, or the disk is full: the header must not promise more than there is."""
        if moved:
            os.pwrite(self._log, logs.header(self._time, stream, moved), start)
        else:
            os.ftruncate(self._log, start)

    def _discard(self, pipe: int, waiting: int) -> int:
        try:
            count = len(os.read(pipe, waiting))
        except BlockingIOError:
            return 0
        self.lost += count
        return count

    def _repair(self) -> None:
        """Go on behind the last whole frame; the last one may have been cut short with its writer."""
        size = os.fstat(self._log).st_size
        entries = os.fstat(self._index).st_size // logs.ENTRY_SIZE
        while entries:
            last = os.pread(self._index, logs.ENTRY_SIZE, (entries - 1) * logs.ENTRY_SIZE)
            self._time, self._indexed = logs.decode_entry(last)
            if self._indexed < size:
                break
            entries -= 1
        else:
            self._time = self._indexed = 0
        os.ftruncate(self._index, entries * logs.ENTRY_SIZE)
        os.lseek(self._index, 0, os.SEEK_END)
        self._end = self._indexed
        self._walk(size)
        os.ftruncate(self._log, self._end)

    def _walk(self, size: int) -> None:
        while self._end + logs.HEADER_SIZE < size:
            try:
                time, stream, length = logs.parse_header(os.pread(self._log, logs.HEADER_SIZE, self._end))
            except logs.Damaged:
                return  # a power cut can leave anything behind the last synced byte
            there = min(length, size - self._end - logs.HEADER_SIZE)
            if there < length:
                os.pwrite(self._log, logs.header(time, stream, there), self._end)
            self._time, self._end = time, self._end + logs.HEADER_SIZE + there


def _waiting(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"), "little")

"""Output of one container, from the pipes of a run into segments of bounded size. Format: `domain.logs`.

Bytes are moved inside the kernel (splice), behind a header that is written first: when the warden is killed at any
point, every byte is either in the file or still in the pipe, and the next warden mends the header of the last frame
(`_repair`). Nothing is read into memory, so a flood of output costs none.

When a segment is full the next one is begun, and then the oldest are deleted: a warden killed in between leaves one too
many, which goes with the next. What somebody still wants to read (`floor`) is not deleted: then the pipe has to wait.

A file that cannot be written (disk full) loses output, never a container: what comes is read and counted.
"""

import fcntl
import os
import termios
import time
from collections.abc import Callable
from contextlib import suppress

from domain import logs
from domain.failpoints import failpoint

PIPE_SIZE = 1 << 18
_SPLICE_NONBLOCK = 2  # SPLICE_F_NONBLOCK of splice(2)


class Output:
    """What run `attempt` writes, in `directory`, behind what earlier runs have written; made when the first byte comes.

    `lost` counts bytes nobody will see. `floor` is the position from which on somebody wants to read, None if nobody
    does; `full` says that the last `pump` has waited for that.
    """

    def __init__(self, directory: str, attempt: int, limits: logs.Limits = logs.DEFAULT) -> None:
        self._directory, self._attempt, self._limits = directory, attempt, limits
        self._log = self._index = -1
        self._end = self._ahead = self._indexed = self._time = 0
        self._segments: list[logs.Segment] = []
        self.lost = 0
        self.floor: int | None = None
        self.full = False
        if os.path.isdir(directory):
            with suppress(OSError):  # it will be tried again with the first byte
                self._open()

    @property
    def dropped(self) -> int:
        """How many bytes of the container's output have been deleted to make room."""
        return self._segments[0].base if self._segments else 0

    @property
    def position(self) -> int:
        """How many bytes the container has written."""
        return self._segments[-1].base + self._ahead if self._segments else 0

    def pump(self, pipe: int, stream: int, *, last: bool = False) -> int:
        """Move what waits in `pipe`, at most one frame; how many bytes that were. With `last` nothing is waited for:
        this pipe is about to be closed."""
        waiting = min(_waiting(pipe), self._limits.longest)
        if not waiting:
            return 0
        try:
            if not self._has_room(waiting, last=last):
                return 0
            return self._frame(pipe, stream, waiting)
        except OSError:
            return self._discard(pipe, waiting)

    def drain(self, pipe: int, stream: int, refill: Callable[[], int] = lambda: 0) -> int:
        """Move what waits in `pipe` at the end of its process, and what `refill` brings into it; how many bytes that
        were. Bounded by twice what the pipe holds (the process may have made it larger than we did), because somebody
        else may have the other end and go on writing."""
        moved, most = 0, 2 * max(PIPE_SIZE, fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ))
        while moved < most:
            refilled = refill()
            count = self.pump(pipe, stream, last=True)
            if not count and not refilled:
                break
            moved += count
        return moved

    def close(self) -> None:
        """Release the files."""
        for fd in (self._log, self._index):
            if fd >= 0:
                os.close(fd)
        self._log = self._index = -1

    def drop(self) -> None:
        """Delete the oldest segments, as many as there are too many and as nobody wants to read."""
        while len(self._segments) > self._limits.files:
            if self.floor is not None and self._segments[1].base > self.floor:
                return
            self._delete(self._segments.pop(0))

    def delete(self) -> None:
        """Nothing of it is kept."""
        self.close()
        while self._segments:
            self._delete(self._segments.pop(0))
        with suppress(OSError):  # somebody has put something else there, or there is nothing
            os.rmdir(self._directory)

    def _path(self, segment: logs.Segment, ending: str) -> str:
        return os.path.join(self._directory, segment.name + ending)

    def _open(self) -> None:
        """The last segment that there is, mended; none if there is none."""
        self._segments = logs.segments(
            os.listdir(self._directory), lambda name: os.stat(os.path.join(self._directory, name)).st_size)
        if not self._segments:
            return
        segment = self._segments[-1]
        self._take(*self._files(segment))
        try:
            self._repair(segment)
        except OSError:
            self.close()  # never write into a file whose end is not known
            raise
        if not self._end and len(self._segments) > 1:
            self._time = self._last_time(self._segments[-2])

    def _files(self, segment: logs.Segment) -> tuple[int, int]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        log = os.open(self._path(segment, logs.LOG), flags, 0o600)
        try:
            return log, os.open(self._path(segment, logs.INDEX), flags, 0o600)
        except OSError:
            os.close(log)
            raise

    def _take(self, log: int, index: int) -> None:
        self.close()
        self._log, self._index = log, index

    def _has_room(self, length: int, *, last: bool) -> bool:
        """Whether a frame may be written now; a new segment is begun where that is necessary."""
        self.full = False
        if self._log < 0:
            os.makedirs(self._directory, 0o700, exist_ok=True)
            self._open()
            if not self._segments:
                self._begin()
        fits = not self._end or self._end + logs.HEADER_SIZE + length <= self._limits.size
        if fits and not self._segments[-1].old:
            return True
        if self._is_held() and not last:
            self.full = True
            return False
        self._begin()
        self.drop()
        return True

    def _begin(self) -> None:
        """A new segment behind everything there is."""
        segment = logs.segment(self._attempt, self.position)
        self._take(*self._files(segment))
        self._segments.append(segment)
        self._end = self._ahead = self._indexed = 0
        failpoint("warden.log-rotate")

    def _is_held(self) -> bool:
        """Whether one more segment would push one out of which somebody wants to read."""
        excess = len(self._segments) + 1 - self._limits.files
        bases = [*(segment.base for segment in self._segments), self.position]
        return excess > 0 and self.floor is not None and bases[excess] > self.floor

    def _delete(self, segment: logs.Segment) -> None:
        """The index first: without one a segment is still found, the other way round nobody would look for it."""
        for ending in (logs.INDEX, logs.LOG):
            with suppress(FileNotFoundError):
                os.unlink(self._path(segment, ending))
            failpoint("warden.log-drop")

    def _frame(self, pipe: int, stream: int, waiting: int) -> int:
        start = self._end
        self._time = max(time.time_ns(), self._time)
        os.pwrite(self._log, logs.header(self._time, stream, waiting, self._attempt), start)
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
        entry = logs.entry(self._time, start, self._ahead)
        self._end = start + logs.HEADER_SIZE + moved
        self._ahead += moved
        if start - self._indexed >= logs.INDEX_SPACING:
            self._indexed = start
            os.write(self._index, entry)
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
            os.pwrite(self._log, logs.header(self._time, stream, moved, self._attempt), start)
        else:
            os.ftruncate(self._log, start)

    def _discard(self, pipe: int, waiting: int) -> int:
        try:
            count = len(os.read(pipe, waiting))
        except BlockingIOError:
            return 0
        self.lost += count
        return count

    def _repair(self, segment: logs.Segment) -> None:
        """Go on behind the last whole frame; the last one may have been cut short with its writer."""
        size = os.fstat(self._log).st_size
        entries = os.fstat(self._index).st_size // segment.entry_size
        last = logs.Entry(0, 0, 0)
        while entries:
            last = logs.decode_entry(os.pread(self._index, segment.entry_size, (entries - 1) * segment.entry_size))
            if last.offset < size:
                break
            last = logs.Entry(0, 0, 0)
            entries -= 1
        os.ftruncate(self._index, entries * segment.entry_size)
        os.lseek(self._index, 0, os.SEEK_END)
        self._time, self._indexed, self._ahead = last
        self._end = self._indexed
        self._walk(segment, size)
        os.ftruncate(self._log, self._end)

    def _walk(self, segment: logs.Segment, size: int) -> None:
        while self._end + logs.HEADER_SIZE < size:
            try:
                time, stream, length, attempt = logs.parse_header(os.pread(self._log, logs.HEADER_SIZE, self._end))
            except logs.Damaged:
                return  # a power cut can leave anything behind the last synced byte
            there = min(length, size - self._end - logs.HEADER_SIZE)
            if there < length:
                os.pwrite(self._log, logs.header(time, stream, there, attempt), self._end)
            self._time, self._end = time, self._end + logs.HEADER_SIZE + there
            self._ahead += segment.data(there)

    def _last_time(self, segment: logs.Segment) -> int:
        """About when the last frame of a segment was written that is not the last one."""
        try:
            fd = os.open(self._path(segment, logs.INDEX), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return 0
        try:
            size = segment.entry_size
            count = os.fstat(fd).st_size // size
            return logs.decode_entry(os.pread(fd, size, (count - 1) * size)).time if count else 0
        finally:
            os.close(fd)


def _waiting(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"), "little")

"""One daemon per data root, and one per run directory: locks that the kernel releases when the holder dies, however it
dies.

The file names the holder for those who come second: its pid, and where else it is at home.
"""

import fcntl
import os
from pathlib import Path

from domain.errors import Refused

_MOST = 8192
"""Bytes of such a file: a path has at most 4096."""


class Taken(Refused):
    """Another daemon has the place. `same`: that one is at home where this one wants to be, in both places."""

    def __init__(self, message: str, *, hint: str, same: bool) -> None:
        super().__init__(message, hint=hint)
        self.same = same


class Lock:
    """Held while the object lives, in the file `path` of the place that is locked."""

    def __init__(self, path: Path, place: str, elsewhere: str) -> None:
        """`place` and `elsewhere` in words, as they stand in messages."""
        self._path, self._place, self._elsewhere = path, place, elsewhere
        self._fd = -1

    def acquire(self) -> None:
        """Twice is fine. Raises: Taken, naming the pid of the holder."""
        if self._fd >= 0:
            return
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, _, elsewhere = os.fsdecode(os.pread(fd, _MOST, 0)).strip().partition(" ")
            os.close(fd)
            raise self._taken(pid, elsewhere) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, os.fsencode(f"{os.getpid()} {self._elsewhere}\n"), 0)
        self._fd = fd

    def _taken(self, pid: str, elsewhere: str) -> Taken:
        """A holder that has not yet said where else it is at home is just starting, here."""
        same = elsewhere in ("", self._elsewhere)
        return Taken(
            f"{self._place} is in use by a daemon (pid {pid or 'unknown'}{'' if same else f', with {elsewhere}'})",
            hint="stop it with `lading daemon stop`, or choose another LADING_DATA_ROOT and LADING_RUN_DIR",
            same=same,
        )

    def release(self) -> None:
        """Twice is fine."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

"""One daemon per data root: a lock that the kernel releases when its holder dies, however it dies."""

import fcntl
import os
from pathlib import Path

from domain.errors import Refused


class RootInUse(Refused):
    """Another daemon has the data root."""


class RootLock:
    """Held while the object lives; `state/lock` names the holder for those who come second."""

    def __init__(self, state: Path) -> None:
        self._path = state / "lock"
        self._fd = -1

    def acquire(self) -> None:
        """Raises: Refused, naming the pid of the holder."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "another process"
            os.close(fd)
            raise RootInUse(
                f"the data root {self._path.parent.parent} is in use by a daemon (pid {holder})",
                hint="stop it with `lading daemon stop`, or choose another LADING_DATA_ROOT and LADING_RUN_DIR",
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Twice is fine."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

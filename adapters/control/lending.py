"""A file that a local client lends: its descriptor comes with a message, so its content need not come at all.

While one is expected, the client's bytes are read here instead of by asyncio, whose plain recv(2) would let go of every
descriptor on the way (unix(7), SCM_RIGHTS). They go where they always go.
"""

import asyncio
import fcntl
import os
import socket
import stat
from collections.abc import Callable
from typing import Protocol

_PIECE = 64 * 1024


class Borrower(Protocol):
    """The connection that is read here meanwhile."""

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""


class Lending:
    """Reads the connection until `close`; `lost` is called when there is nothing more to read."""

    def __init__(self, connection: socket.socket, borrower: Borrower, lost: Callable[[], None]) -> None:
        """`connection` belongs to this object."""
        self._connection, self._borrower, self._lost = connection, borrower, lost
        self._loop = asyncio.get_running_loop()
        self._found: list[int] = []
        self.listen(True)

    def listen(self, on: bool) -> None:
        """Whether anything is to be read now."""
        if on:
            self._loop.add_reader(self._connection.fileno(), self._read)
        else:
            self._loop.remove_reader(self._connection.fileno())

    def take(self) -> int:
        """The descriptor that has come, which the caller closes; -1 for none, or none that may be used."""
        return self._found.pop(0) if self._found else -1

    def close(self) -> None:
        """Read no more; what nobody took is closed."""
        self.listen(False)
        self._connection.close()
        for descriptor in self._found:
            os.close(descriptor)
        self._found.clear()

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._connection, _PIECE, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        for descriptor in descriptors:
            if usable(descriptor) and not self._found:
                self._found.append(descriptor)
            else:
                os.close(descriptor)
        if data:
            self._borrower.data_received(data)
        else:
            self.listen(False)
            self._lost()


def usable(descriptor: int) -> bool:
    """Whether it is a regular file that its owner can read, on a disk of this machine.

    One that was opened as a mere place (O_PATH) or for writing proves no right to read. What is behind a server or a
    program of somebody's (their devices have the major number 0) might keep whoever reads it waiting for ever.
    """
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    if flags & os.O_PATH or flags & os.O_ACCMODE == os.O_WRONLY:
        return False
    state = os.fstat(descriptor)
    return stat.S_ISREG(state.st_mode) and os.major(state.st_dev) != 0

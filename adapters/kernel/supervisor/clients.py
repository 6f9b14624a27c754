"""Connections to the warden: who may connect, what they send, what is sent to them.

A client that sends garbage is closed; one that does not read is closed when too much waits for it (events are told
again to whoever asks, so nothing is lost). Only the user the warden runs as is let in: the kernel says who it is.
"""

import array
import os
import socket
import struct
from collections.abc import Callable, Sequence

from adapters.kernel.supervisor import loop, wire
from adapters.kernel.supervisor.wire import Message

_CREDENTIALS = struct.Struct("iII")
_CHUNK = 1 << 18
_MOST_UNREAD = 4 << 20
_BELLS_UNREAD = 1 << 16


class Client:
    """One connection; `subscribed` to exits, `watched` containers whose output rings a bell, `holds`: the position from
    which on their output must be kept."""

    def __init__(self, connection: socket.socket, events: loop.Loop, serve: Callable[["Client", Message], None],
                 gone: Callable[["Client"], None]) -> None:
        self.subscribed = False
        self.watched: set[str] = set()
        self.holds: dict[str, int] = {}
        self.open = True
        self._socket = connection
        self._loop = events
        self._serve = serve
        self._gone = gone
        self._splitter = wire.Splitter()
        self._unsent = bytearray()
        self._waiting = False
        connection.setblocking(False)
        events.watch(connection.fileno(), self._event)

    def send(self, message: Message, fds: Sequence[int] = ()) -> bool:
        """Now or later; duplicates of `fds` go with it. False for a client that is gone."""
        if self.open and fds:
            self._hand_over(wire.pack(message), fds)
        elif self.open:
            self._unsent += wire.pack(message)
            self._flush()
        return self.open

    def _hand_over(self, data: bytes, fds: Sequence[int]) -> None:
        """At once: who asks for descriptors does that on a connection of its own, and reads."""
        if self._unsent:
            return self.close()
        try:
            sent = self._socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
        except OSError:
            return self.close()
        self._unsent += data[sent:]
        return self._flush()

    def ring(self, id: str) -> None:
        """There is new output of a watched container; a client that is behind needs no more bells."""
        if len(self._unsent) < _BELLS_UNREAD:
            self.send({"ev": "log", "id": id})

    def urge(self, id: str) -> None:
        """The container's output waits until this client needs less of it."""
        self.send({"ev": "full", "id": id})

    def close(self) -> None:
        """End the connection."""
        if self.open:
            self.open = False
            self._loop.close(self._socket.detach())
            self._gone(self)

    def _event(self, events: int) -> None:
        if events & loop.WRITE:
            self._flush()
        if self.open and events & (loop.READ | loop.HANGUP):
            self._receive()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_CHUNK)
            messages = self._splitter.feed(data)
        except BlockingIOError:
            return
        except (OSError, wire.Garbage):
            return self.close()
        if not data:
            return self.close()
        for message in messages:
            self._serve(self, message)
        return None

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[:self._socket.send(self._unsent)]
        except BlockingIOError:
            if len(self._unsent) > _MOST_UNREAD:
                return self.close()
        except OSError:
            return self.close()
        if bool(self._unsent) is not self._waiting:
            self._waiting = not self._waiting
            self._loop.watch(self._socket.fileno(), self._event, loop.READ | (loop.WRITE if self._waiting else 0))
        return None


def admitted(connection: socket.socket) -> bool:
    """Whether the peer is the user we are."""
    _, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return bool(uid == os.geteuid())

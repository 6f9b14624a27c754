"""Leads what arrives at a socket of the host to a container: for what the rules in the kernel do not do.

Threads, one for each direction of each connection: the kernel moves the bytes (splice), and nothing else waits for
them.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol

_CHUNK = 1 << 20
_DATAGRAM = 1 << 16
_CONNECT_SECONDS, _END_SECONDS = 10, 5
_QUIET_SECONDS = 90
"""After this a flow of datagrams is forgotten."""
_MOST = 1000
"""Connections, or flows, of one port at once."""

Address = tuple[str, int]
_NO_FLOW: tuple[None, float, None] = None, 0.0, None


class Relay(Protocol):
    """One socket that is served. Without a target nobody gets through: connections end at once."""

    def lead(self, target: "Address | None") -> None:
        """What comes from now on goes there."""

    def close(self) -> None:
        """Take nothing new; connections that there are go on. The port is free when this returns."""


def _thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True, name="relay")
    thread.start()
    return thread


def _poll(*fds: int) -> select.poll:
    """Not select: it takes no descriptor above 1023."""
    found = select.poll()
    for fd in fds:
        found.register(fd, select.POLLIN)
    return found


def _family(address: Address) -> int:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


class _Bell:
    """Ends a thread that waits for a socket."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC)

    def ring(self) -> None:
        """Once and for ever."""
        os.eventfd_write(self.fd, 1)

    def end(self, thread: threading.Thread) -> None:
        """Ring, and wait until the thread has let go of its socket: the port is free then."""
        self.ring()
        thread.join(_END_SECONDS)


class Doorman:
    """One thread that waits for all sockets of which nobody else does: a hundred ports are a hundred sockets, and most
    are never used."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._started = False

    def watch(self, fd: int, handler: Callable[[], None]) -> None:
        """Call `handler`, in the thread, while something waits there. It must not block."""
        self._handlers[fd] = handler
        self._poll.register(fd, select.EPOLLIN)
        if not self._started:
            self._started = True
            _thread(self._run)

    def leave(self, fd: int) -> None:
        """No more; before the descriptor is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def _run(self) -> None:
        while True:
            for fd, _ in self._poll.poll():
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler()


class Stream:
    """TCP."""

    def __init__(self, listener: socket.socket, target: Address | None, doorman: Doorman) -> None:
        self._target, self._doorman = target, doorman
        self._slots = threading.Semaphore(_MOST)
        self._listener = listener.dup()  # its own: the original may be closed, and its number given away, at any time
        self._listener.setblocking(False)
        doorman.watch(self._listener.fileno(), self._accept)

    def lead(self, target: Address | None) -> None:
        """See `Relay`."""
        self._target = target

    def close(self) -> None:
        """See `Relay`."""
        self._doorman.leave(self._listener.fileno())
        self._listener.close()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:  # it has gone again
            return
        except OSError:  # descriptors are short for a moment, or this was closed just now
            time.sleep(0.01)
            return
        target = self._target
        if target is not None and self._slots.acquire(blocking=False):
            _thread(self._serve, client, target)
        else:
            client.close()

    def _serve(self, client: socket.socket, target: Address) -> None:
        try:
            with client:
                client.setblocking(True)
                try:
                    server = socket.create_connection(target, timeout=_CONNECT_SECONDS)
                except OSError:
                    return
                with server:
                    server.settimeout(None)
                    back = threading.Thread(target=_pour, args=(server, client), daemon=True)
                    back.start()
                    _pour(client, server)
                    back.join()
        finally:
            self._slots.release()


def _pour(source: socket.socket, sink: socket.socket) -> None:
    """Until the source says that it has no more; then the sink hears so, and may still answer."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        while count := os.splice(source.fileno(), writer, _CHUNK):
            while count:
                count -= os.splice(reader, sink.fileno(), count)
    except OSError:
        pass
    finally:
        os.close(reader)
        os.close(writer)
        for end, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            try:
                end.shutdown(how)
            except OSError:
                continue


class Datagrams:
    """UDP: each client has a socket of its own to the container, until both have been quiet for a while."""

    def __init__(self, listener: socket.socket, target: Address | None, doorman: Doorman) -> None:
        self._target, self._doorman = target, doorman
        self._listener = listener.dup()
        self._listener.setblocking(False)
        self._flows: dict[object, tuple[socket.socket, float, Address | None]] = {}
        self._clients: dict[int, object] = {}
        self._lock = threading.Lock()
        self._thread: tuple[_Bell, threading.Thread] | None = None
        self._closed = False
        doorman.watch(self._listener.fileno(), self._begin)

    def lead(self, target: Address | None) -> None:
        """See `Relay`."""
        self._target = target

    def close(self) -> None:
        """See `Relay`."""
        with self._lock:
            self._closed = True
            if self._thread is None:
                self._doorman.leave(self._listener.fileno())
                self._listener.close()
                return
        bell, thread = self._thread
        bell.end(thread)

    def _begin(self) -> None:
        """The first datagram: from now on a thread of its own waits."""
        with self._lock:
            if self._closed:
                return
            self._doorman.leave(self._listener.fileno())
            bell = _Bell()
            self._thread = bell, _thread(self._serve, bell)

    def _serve(self, bell: _Bell) -> None:
        poll = _poll(self._listener.fileno(), bell.fd)
        swept = time.monotonic()
        while True:
            ready = {fd for fd, _ in poll.poll(_QUIET_SECONDS * 1000)}
            if bell.fd in ready:
                break
            for fd in ready:
                if fd == self._listener.fileno():
                    self._forth(poll)
                else:
                    self._back(fd)
            if time.monotonic() - swept > _QUIET_SECONDS / 3:
                swept = time.monotonic()
                self._forget(poll, swept - _QUIET_SECONDS)
        self._forget(poll, float("inf"))
        self._listener.close()
        os.close(bell.fd)

    def _forth(self, poll: select.poll) -> None:
        try:
            data, client = self._listener.recvfrom(_DATAGRAM)
            flow = self._flow(client, self._target, poll)
            if flow is not None:
                flow.send(data)
        except OSError:  # refused, unreachable: datagrams get lost
            return

    def _flow(self, client: object, target: Address | None, poll: select.poll) -> socket.socket | None:
        """A client's socket to the container, made if there is none that leads there; None for nowhere, or too many."""
        flow, _, leads = self._flows.get(client, _NO_FLOW)
        if flow is not None and leads != target:
            self._drop(poll, client)
            flow = None
        if flow is None:
            if target is None or len(self._flows) >= _MOST:
                return None
            flow = socket.socket(_family(target), socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            flow.setblocking(False)
            flow.connect(target)
            self._clients[flow.fileno()] = client
            poll.register(flow.fileno(), select.POLLIN)
        self._flows[client] = flow, time.monotonic(), target
        return flow

    def _back(self, fd: int) -> None:
        client = self._clients.get(fd)
        if client is None:
            return
        flow, _, target = self._flows[client]
        self._flows[client] = flow, time.monotonic(), target
        try:
            self._listener.sendto(flow.recv(_DATAGRAM), client)  # type: ignore[call-overload]  # as it came
        except OSError:
            return

    def _forget(self, poll: select.poll, before: float) -> None:
        for client, (_, last, _) in list(self._flows.items()):
            if last < before:
                self._drop(poll, client)

    def _drop(self, poll: select.poll, client: object) -> None:
        flow = self._flows.pop(client)[0]
        poll.unregister(flow.fileno())
        del self._clients[flow.fileno()]
        flow.close()

"""The desk: takes requests from the socket, asks the warden to act, answers; and tells exits and new output to those
who want to know. What is asked for is checked here, before anything is touched."""

import os
import signal
import socket
from collections.abc import Callable
from typing import Protocol, TypeVar

from adapters.kernel.supervisor import loop, process
from adapters.kernel.supervisor.clients import Client, admitted
from adapters.kernel.supervisor.journal import Exit, Journal
from adapters.kernel.supervisor.run import STARTED, Run, unpack
from adapters.kernel.supervisor.wire import Message

PROTOCOL = 1
_PAUSE = 0.1
_Kind = TypeVar("_Kind")
_ID = frozenset("0123456789abcdef")
_LONGEST_ID = 64
_MOST_ATTEMPTS = 1 << 31


class Warden(Protocol):
    """What the desk needs of the warden."""

    runs: dict[tuple[str, int], Run]
    journal: Journal

    def start(self, request: Message, answer: Callable[[Message], None]) -> None:
        """Start a run, or answer what came of it earlier."""

    def leave(self, *, kill: bool) -> bool:
        """End as soon as no run is left; False if runs are and must not be killed."""

    def describe(self) -> Message:
        """Who works here."""

    def holds_changed(self, id: str) -> None:
        """Somebody needs more or less of the output of a container."""

    def readers_are_back(self) -> None:
        """Whoever needs output has said so."""

    def group_name(self, id: str, attempt: int) -> str:
        """Where the control groups of a run lie."""


class Desk:
    """Listens on `listener`."""

    def __init__(self, events: loop.Loop, listener: socket.socket, warden: Warden) -> None:
        self._loop = events
        self._listener = listener
        self._warden = warden
        self._clients: set[Client] = set()
        self._rung: set[str] = set()
        listener.setblocking(False)
        events.watch(listener.fileno(), self._accept)

    def has_output(self, id: str) -> None:
        """Ring the bells of those who watch, once, at the next `ring`."""
        self._rung.add(id)

    def ring(self) -> None:
        """After a turn of the loop."""
        rung, self._rung = self._rung, set()
        if rung:
            for client in list(self._clients):
                for id in rung & client.watched:
                    client.ring(id)

    def full(self, id: str) -> None:
        """Those who keep the output of a container from being deleted shall say how far they are."""
        for client in list(self._clients):
            if id in client.holds:
                client.urge(id)

    def floor(self, id: str) -> int | None:
        """From which position on somebody needs the output of a container; None if nobody does."""
        holds = [client.holds[id] for client in self._clients if id in client.holds]
        return min(holds) if holds else None

    def _gone(self, client: Client) -> None:
        self._clients.discard(client)
        for id in client.holds:
            self._warden.holds_changed(id)

    def tell(self, exit: Exit) -> None:
        """To all who have subscribed."""
        for client in list(self._clients):
            if client.subscribed:
                client.send({"ev": "exited", "exit": exit})

    def close(self) -> None:
        """No more visitors; the sign that the tree has ended."""
        os.unlink(self._listener.getsockname())

    def _accept(self, events: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return  # it has gone again
        except OSError:  # no descriptors left: it waits, and must not wake us all the time
            self._loop.forget(self._listener.fileno())
            self._loop.later(_PAUSE, lambda: self._loop.watch(self._listener.fileno(), self._accept))
            return
        if not admitted(connection):
            connection.close()
            return
        self._clients.add(Client(connection, self._loop, self._serve, self._gone))

    def _serve(self, client: Client, message: Message) -> None:
        number, serve = message.get("n"), _OPERATIONS.get(str(message.get("op")))
        if not isinstance(number, int) or serve is None:
            return client.close()
        try:
            return serve(self, client, message, lambda answer: client.send({"re": number, **answer}))
        except _NotUnderstood as error:
            return client.send({"re": number, **failure("request", f"not understood: {error}")})

    def _hello(self, client: Client, message: Message, answer: "Answer") -> None:
        answer({"protocol": PROTOCOL, "boot": process.boot_id(), **self._warden.describe()})

    def _start(self, client: Client, message: Message, answer: "Answer") -> None:
        for field, kind in (("flags", int), ("host", list), ("child", str), ("logs", str), ("attempt", int)):
            _field(message, field, kind)
        id = _id(message)
        if not 0 < message["attempt"] < _MOST_ATTEMPTS:
            raise _NotUnderstood("attempt")
        if not 0 <= message["flags"] < 1 << 64:  # what clone3 takes
            raise _NotUnderstood("flags")
        if "\0" in message["logs"]:
            raise _NotUnderstood("logs")
        try:
            message["keeping"] = unpack(message.get("log"))
        except ValueError as error:
            raise _NotUnderstood("log") from error
        if message.get("watch") is True:
            client.watched.add(id)
        if "hold" in message:
            client.holds[id] = _field(message, "hold", int)
        self._warden.start(message, answer)

    def _signal(self, client: Client, message: Message, answer: "Answer") -> None:
        id, number = _id(message), _field(message, "signal", int)
        if not 0 < number < signal.NSIG:
            raise _NotUnderstood("signal")
        run = next((run for run in self._warden.runs.values() if run.id == id and run.phase == STARTED), None)
        try:
            if run is None:
                raise ProcessLookupError
            signal.pidfd_send_signal(run.pidfd, number)
        except ProcessLookupError:
            return answer(failure("signal", "it does not run"))
        return answer({})

    def _list(self, client: Client, message: Message, answer: "Answer") -> None:
        runs = [{"id": run.id, "attempt": run.attempt, "pid": run.pid, "start": run.start_time, "phase": run.phase,
                 "cgroup": self._warden.group_name(*run.key), "lost": run.output.lost}
                for run in self._warden.runs.values()]
        answer({"runs": runs})

    def _exits(self, client: Client, message: Message, answer: "Answer") -> None:
        if message.get("subscribe") is True:
            client.subscribed = True
            self._warden.readers_are_back()
        answer({"exits": self._warden.journal.pending()})

    def _acknowledge(self, client: Client, message: Message, answer: "Answer") -> None:
        self._warden.journal.acknowledge([_key(key) for key in _field(message, "keys", list)])
        answer({})

    def _watch(self, client: Client, message: Message, answer: "Answer") -> None:
        id = _id(message)
        client.watched.add(id)
        if "hold" in message:
            client.holds[id] = _field(message, "hold", int)
        else:
            client.holds.pop(id, None)
        self._warden.holds_changed(id)
        answer({})

    def _unwatch(self, client: Client, message: Message, answer: "Answer") -> None:
        id = _id(message)
        client.watched.discard(id)
        if client.holds.pop(id, None) is not None:
            self._warden.holds_changed(id)
        answer({})

    def _shutdown(self, client: Client, message: Message, answer: "Answer") -> None:
        if self._warden.leave(kill=message.get("kill") is True):
            answer({})
        else:
            answer(failure("shutdown", f"{len(self._warden.runs)} containers run"))


Answer = Callable[[Message], None]

_OPERATIONS: dict[str, Callable[[Desk, Client, Message, Answer], None]] = {
    "hello": Desk._hello, "start": Desk._start, "signal": Desk._signal, "list": Desk._list, "exits": Desk._exits,
    "ack": Desk._acknowledge, "watch": Desk._watch, "unwatch": Desk._unwatch, "shutdown": Desk._shutdown,
}


class _NotUnderstood(ValueError):
    """A field is not there or of the wrong kind."""


def failure(stage: str, text: str, errno: int = 0, exit_code: int = 125) -> Message:
    """The answer that says what went wrong."""
    return {"error": {"stage": stage, "errno": errno, "text": text, "exit_code": exit_code}}


def _field(message: Message, name: str, kind: type[_Kind]) -> _Kind:
    value = message.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _NotUnderstood(name)
    return value


def _id(message: Message) -> str:
    """Ids become parts of paths."""
    id = _field(message, "id", str)
    if not 0 < len(id) <= _LONGEST_ID or not _ID.issuperset(id):
        raise _NotUnderstood("id")
    return id


def _key(key: object) -> tuple[str, int]:
    match key:
        case [str(id), int(attempt)]:
            return id, attempt
    raise _NotUnderstood("keys")

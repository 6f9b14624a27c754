"""The desk: takes requests from the socket, asks the warden to act, answers; and tells exits and new output to those
who want to know. What is asked for is checked here, before anything is touched."""

import os
import signal
import socket
from collections.abc import Callable
from typing import Protocol, TypeVar

from adapters.kernel.supervisor import loop, process, wire
from adapters.kernel.supervisor.clients import Client, admitted
from adapters.kernel.supervisor.execs import Execs
from adapters.kernel.supervisor.journal import Exit, Journal
from adapters.kernel.supervisor.run import Run, unpack
from adapters.kernel.supervisor.ward import STARTED, Answer, Key, Ward
from adapters.kernel.supervisor.wire import Message
from domain.logs import LOCAL

_PAUSE = 0.1
_Kind = TypeVar("_Kind")
_ID = frozenset("0123456789abcdef")
_LONGEST_ID = 64
_MOST_ATTEMPTS = 1 << 31


class Warden(Protocol):
    """What the desk needs of the warden."""

    runs: dict[Key, Run]
    execs: Execs
    journal: Journal

    def start(self, request: Message, answer: Answer) -> None:
        """Start a run, or answer what came of it earlier."""

    def exec(self, request: Message, answer: Answer) -> None:
        """Start one process more in a run, or answer what came of it earlier."""

    def end_input(self, ward: Ward) -> None:
        """End the input of a process."""

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
            serve(self, client, message, lambda answer, fds=(): client.send({"re": number, **answer}, fds))
        except _NotUnderstood as error:
            client.send({"re": number, **failure("request", f"not understood: {error}")})
        return None

    def _gone(self, client: Client) -> None:
        self._clients.discard(client)
        for id in client.holds:
            self._warden.holds_changed(id)
        if client.subscribed:
            self._warden.execs.daemon_left()

    def _hello(self, client: Client, message: Message, answer: Answer) -> None:
        answer({"protocol": wire.PROTOCOL, "boot": process.boot_id(), **self._warden.describe()})

    def _start(self, client: Client, message: Message, answer: Answer) -> None:
        id = _checked_start(message)
        for field, kind in (("host", list), ("logs", str)):
            _field(message, field, kind)
        if "\0" in message["logs"]:
            raise _NotUnderstood("logs")
        try:
            message["keeping"] = unpack(message["log"]) if "log" in message else LOCAL  # a daemon of an older version
        except ValueError as error:
            raise _NotUnderstood("log") from error
        share = _field({"share": {}, **message}, "share", dict)
        if not {"pid", "ipc"}.issuperset(share):
            raise _NotUnderstood("share")
        for kind in share:
            _id(share, kind)
        if message.get("watch") is True:
            client.watched.add(id)
        if "hold" in message:
            client.holds[id] = _field(message, "hold", int)
        self._warden.start(message, answer)

    def _exec(self, client: Client, message: Message, answer: Answer) -> None:
        _checked_start(message)
        _id(message, "exec")
        self._warden.exec(message, answer)

    def _living(self, message: Message) -> Ward | None:
        """The process that a message is about."""
        id = _id(message)
        exec_id = _id(message, "exec") if message.get("exec") else ""
        wards: list[Ward] = [*self._warden.execs.wards.values()] if exec_id else [*self._warden.runs.values()]
        return next((ward for ward in wards if (ward.id, ward.exec_id, ward.phase) == (id, exec_id, STARTED)), None)

    def _signal(self, client: Client, message: Message, answer: Answer) -> None:
        ward, number = self._living(message), _field(message, "signal", int)
        if not (0 if message.get("exec") else 1) <= number < signal.NSIG:  # 0 only asks whether it is there
            raise _NotUnderstood("signal")
        try:
            if ward is None:
                raise ProcessLookupError
            signal.pidfd_send_signal(ward.pidfd, number)
            if ward.exec_id and number == signal.SIGKILL:
                os.killpg(ward.pid, number)  # its number is not given away before we have reaped it
        except ProcessLookupError:
            answer(failure("signal", "it does not run"))
        else:
            answer({})

    def _lend(self, client: Client, message: Message, answer: Answer) -> None:
        """The input of a process: where one writes to it, and sets the size if that is a terminal."""
        ward = self._living(message)
        if ward is None:
            answer(failure("signal", "it does not run"))
        elif ward.terminal >= 0:
            answer({"lends": ["terminal"], "attempt": ward.attempt}, [ward.terminal])
        elif ward.stdin >= 0:
            answer({"lends": ["stdin"], "attempt": ward.attempt}, [ward.stdin])
        else:
            answer(failure("input", "it has no input, or that was ended"))

    def _end_input(self, client: Client, message: Message, answer: Answer) -> None:
        ward = self._living(message)
        if ward is not None:
            self._warden.end_input(ward)
        answer({})

    def _list(self, client: Client, message: Message, answer: Answer) -> None:
        runs = [{"id": run.id, "attempt": run.attempt, "pid": run.pid, "start": run.start_time, "phase": run.phase,
                 "cgroup": self._warden.group_name(run.id, run.attempt), "lost": run.output.lost}
                for run in self._warden.runs.values()]
        execs = [{"id": ward.id, "exec": ward.exec_id, "phase": ward.phase}
                 for ward in self._warden.execs.wards.values()]
        answer({"runs": runs, "execs": execs})

    def _exits(self, client: Client, message: Message, answer: Answer) -> None:
        if message.get("subscribe") is True:
            if not client.subscribed:
                self._warden.execs.daemon_came({str(name) for name in message.get("outputs", ())})
            client.subscribed = True
            self._warden.readers_are_back()
        answer({"exits": self._warden.journal.pending()})

    def _acknowledge(self, client: Client, message: Message, answer: Answer) -> None:
        self._warden.journal.acknowledge([_key(key) for key in _field(message, "keys", list)])
        answer({})

    def _watch(self, client: Client, message: Message, answer: Answer) -> None:
        id = _id(message)
        client.watched.add(id)
        if "hold" in message:
            client.holds[id] = _field(message, "hold", int)
        else:
            client.holds.pop(id, None)
        self._warden.holds_changed(id)
        answer({})

    def _unwatch(self, client: Client, message: Message, answer: Answer) -> None:
        id = _id(message)
        client.watched.discard(id)
        if client.holds.pop(id, None) is not None:
            self._warden.holds_changed(id)
        answer({})

    def _shutdown(self, client: Client, message: Message, answer: Answer) -> None:
        if self._warden.leave(kill=message.get("kill") is True):
            answer({})
        else:
            answer(failure("shutdown", f"{len(self._warden.runs)} containers run"))


_OPERATIONS: dict[str, Callable[[Desk, Client, Message, Answer], None]] = {
    "hello": Desk._hello, "start": Desk._start, "exec": Desk._exec, "lend": Desk._lend, "end-input": Desk._end_input,
    "signal": Desk._signal, "list": Desk._list, "exits": Desk._exits,
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


def _id(message: Message, name: str = "id") -> str:
    """Ids become parts of paths."""
    id = _field(message, name, str)
    if not 0 < len(id) <= _LONGEST_ID or not _ID.issuperset(id):
        raise _NotUnderstood(name)
    return id


def _checked_start(message: Message) -> str:
    """What the start of any process needs; the container's id."""
    for field, kind in (("flags", int), ("child", str), ("attempt", int)):
        _field(message, field, kind)
    id = _id(message)
    if not 0 < message["attempt"] < _MOST_ATTEMPTS:
        raise _NotUnderstood("attempt")
    if not 0 <= message["flags"] < 1 << 64:  # what clone3 takes
        raise _NotUnderstood("flags")
    match message.get("terminal", [0, 0]):
        case [int(rows), int(cols)] if 0 <= rows < 1 << 16 and 0 <= cols < 1 << 16:
            return id
    raise _NotUnderstood("terminal")


def _key(key: object) -> Key:
    match key:
        case [str(id), int(attempt)]:
            return id, attempt, ""
        case [str(id), int(attempt), str(exec_id)]:
            return id, attempt, exec_id
    raise _NotUnderstood("keys")

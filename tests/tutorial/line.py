"""A program on the engine's socket that speaks NATS' text protocol by itself, as its documentation has it."""

import json
import socket
import time
from pathlib import Path
from typing import Any

_HELLO = b'CONNECT {"verbose":false,"pedantic":false,"protocol":1,"headers":true,"no_responders":true}\r\n'


class Refusal(Exception):
    """The bus said -ERR, or nobody listens."""


class Line:
    """One connection; `@` stands for host and identity, which the engine puts in."""

    def __init__(self, path: Path) -> None:
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connection.connect(str(path))
        except OSError:
            self._connection.close()
            raise
        self._buffer = b""
        self._number = 0
        self._greeted = False

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def ask(self, subject: str, payload: Any, seconds: float = 30.0) -> dict[str, Any]:
        """The JSON answer to a JSON request. Raises Refusal, TimeoutError, ConnectionError."""
        self._number += 1
        inbox = f"_INBOX.@.{self._number}"
        self.subscribe(inbox, self._number)
        self.publish(subject, payload if isinstance(payload, bytes) else json.dumps(payload).encode(), inbox)
        answer: dict[str, Any] = json.loads(self.hear(seconds)[1])
        return answer

    def subscribe(self, subject: str, number: int) -> None:
        """Hear what is said there."""
        self._send(b"SUB %s %d\r\n" % (subject.encode(), number))

    def publish(self, subject: str, payload: bytes, inbox: str = "") -> None:
        """Say something."""
        head = f"PUB {subject} {inbox + ' ' if inbox else ''}{len(payload)}\r\n".encode()
        self._send(head + payload + b"\r\n")

    def hear(self, seconds: float = 30.0) -> tuple[str, bytes]:
        """Subject and payload of the next message. Raises Refusal, TimeoutError, ConnectionError."""
        deadline = time.monotonic() + seconds
        while True:
            line = self._until(b"\r\n", deadline)
            if line.startswith(b"MSG "):
                size = int(line.rpartition(b" ")[2])
                payload = self._take(size + 2, deadline)[:-2]
                return line.split(b" ")[1].decode(), payload
            if line.startswith(b"HMSG "):
                raise Refusal("nobody listens")
            if line.startswith(b"-ERR"):
                raise Refusal(line.decode())
            if line == b"PING":
                self._send(b"PONG\r\n")

    def _send(self, data: bytes) -> None:
        if not self._greeted:
            data = _HELLO + data
            self._greeted = True
        self._connection.sendall(data)

    def _until(self, end: bytes, deadline: float) -> bytes:
        while (at := self._buffer.find(end)) < 0:
            self._fill(deadline)
        line, self._buffer = self._buffer[:at], self._buffer[at + len(end):]
        return line

    def _take(self, size: int, deadline: float) -> bytes:
        while len(self._buffer) < size:
            self._fill(deadline)
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _fill(self, deadline: float) -> None:
        self._connection.settimeout(max(0.001, deadline - time.monotonic()))
        data = self._connection.recv(1 << 18)
        if not data:
            raise ConnectionError("the engine has hung up")
        self._buffer += data

"""Command lines without a process each: the thin client's protocol, spoken over one connection, as somebody would who
wants to ask the daemon thousands of strange things.

    done = Speaker(socket, directory).call(b"ps", b"-a")     done.code, done.out, done.err

Questions about the client's side get a refusal, except for the files in `files` and the words in `stdin`. A call that
goes on longer than it may is left by hanging up, as a killed client would; its code is None then.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.tutorial.line import Line, Refusal

_ACKNOWLEDGE = 256 * 1024
_PIECE = 64 * 1024
_LARGEST = 1_000_000


@dataclass(frozen=True)
class Said:
    """What a command line has said, and its status; None if it was left before its end."""

    words: tuple[bytes, ...]
    code: int | None
    out: bytes
    err: bytes


class Speaker:
    """One client after the other, all on one connection as long as that lasts."""

    def __init__(self, socket: Path, directory: Path) -> None:
        self._socket, self._directory = socket, directory
        self._line: Line | None = None
        self._number = 0
        self.files: Mapping[bytes, bytes] = {}
        self.stdin = b""

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.close()
        self._line = None

    def call(self, *words: bytes, seconds: float = 20.0) -> Said:
        """One command line. Raises AssertionError when nobody listens any more."""
        self._number += 1
        session = b"%d" % self._number
        call = b"1\0cols=0\0rows=0\0umask=22\0session=%b\0cwd=%b\0\0" % (session, str(self._directory).encode())
        call += b"".join(word + b"\0" for word in words)
        if len(call) > _LARGEST:
            return Said(words, 125, b"", b"the argument list is too long")  # the client says so itself
        line = self._line = self._line or Line(self._socket)
        inbox = f"_INBOX.@.{self._number}"
        out: dict[bytes, bytearray] = {b"O": bytearray(), b"E": bytearray(), b"B": bytearray()}
        deadline, acknowledged = time.monotonic() + seconds, 0
        try:
            line.subscribe(inbox, self._number)
            line.publish("lading.@.call.@", call, inbox)
            while True:
                kind, rest = self._heard(line, deadline)
                if kind == b"X":
                    return Said(words, int(rest), bytes(out[b"O"]), bytes(out[b"E"]))
                if kind in out:
                    out[kind] += rest
                    written = sum(map(len, out.values()))
                    if written - acknowledged > _ACKNOWLEDGE:
                        acknowledged = written
                        self._tell(line, session, b"w%d" % written)
                else:
                    for answer in self._answers(kind, rest):
                        self._tell(line, session, answer)
        except (Refusal, ConnectionError, TimeoutError):
            self.close()
            return Said(words, None, bytes(out[b"O"]), bytes(out[b"E"]))

    @staticmethod
    def _heard(line: Line, deadline: float) -> tuple[bytes, bytes]:
        _, payload = line.hear(max(0.0, deadline - time.monotonic()))
        return payload[:1], payload[1:]

    @staticmethod
    def _tell(line: Line, session: bytes, answer: bytes) -> None:
        with suppress(OSError):
            line.publish(f"lading.@.io.@.{session.decode()}", answer)

    def _answers(self, kind: bytes, rest: bytes) -> Sequence[bytes]:
        if kind == b"G":
            return [b"v" + b"\0" * rest.count(b"\0")]
        if kind == b"R":
            data = self.files.get(rest)
            return [b"fno such file or directory"] if data is None else [*_pieces(data), b"e"]
        if kind == b"I":
            return [*_pieces(self.stdin), b"e"]
        if kind == b"?":
            return [b"a"]
        return [b"fpermission denied"] if kind in (b"N", b"L", b"P", b"T", b"W") else []


def _pieces(data: bytes) -> list[bytes]:
    return [b"d" + data[at:at + _PIECE] for at in range(0, len(data), _PIECE)]

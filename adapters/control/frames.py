r"""What a local client sends, read frame by frame, and written anew in its proven name. No I/O.

    CONNECT {"verbose":false}\r\n                    swallowed: the connection to the server has its own
    PUB lading.@.call.@ _INBOX.@.1 5\r\nhello\r\n    → PUB lading.HOST.call.c17 _INBOX.local.c17.1 5\r\nhello\r\n
    SUB _INBOX.@.> 1\r\n                             → SUB _INBOX.local.c17.> 1\r\n
    HPUB … UNSUB … PING PONG
    FOR TOKEN {"user":"ann","uid":1000,…}\r\n        swallowed: the gateway says for whom it speaks, in its first line

Nothing of a client's control line is passed on as it came: subjects go through the rules of `domain.subjects`, numbers
are printed anew, the payload is exactly as long as announced and its end is ours. So the server can never read another
frame than the one that was judged here. Payloads pass through in pieces; only lines are held back.

One thing does not go to the server: what belongs to a call that this very daemon answers (`lading.@.io.@.SESSION`, as
keys and pieces of files) is handed to it here. Two more processes and four more wake-ups would be felt under the
fingers. In the other direction `Seams` finds the places where an answer of the daemon may be put between the frames of
the server.
"""

import json
from collections.abc import Callable
from typing import Final

from domain import subjects

MAX_LINE: Final = 4096
MAX_PAYLOAD: Final = 1024 * 1024
_MAX_SID: Final = 16
_MOST_HEARD: Final = 64


class Violation(Exception):
    """The client broke the protocol or asked for what it may not have; the text goes to it in an error line."""


Vouch = Callable[[bytes], None]
"""Gets what a client says about whom it speaks for; raises Violation."""
Take = Callable[[str, bytes], bool]
"""Gets session and payload of what belongs to a call; False when there is no such call here."""


class Frames:
    """The state of one client's stream: `feed` what it sent, pass on what comes out."""

    def __init__(
        self, host: str, number: str, take: Take = lambda session, payload: False, vouch: Vouch | None = None
    ) -> None:
        self._host, self._number, self._take, self._vouch = host, number, take, vouch
        self._line = bytearray()
        self._payload = 0
        self._ending = b""
        self._session = ""
        self._sessions: dict[bytes, str] = {}
        self._kept: list[bytes] = []
        self._heard: dict[str, str] = {}
        self._lines: dict[bytes, Callable[[list[bytes]], bytes]] = {
            b"PUB": self._publish, b"HPUB": self._publish_headers, b"SUB": self._subscribe, b"UNSUB": self._unsubscribe,
            b"PING": lambda _: b"PING\r\n", b"PONG": lambda _: b"PONG\r\n"}

    def feed(self, data: bytes) -> bytes:
        """What the server gets to see of `data`. Raises Violation; then nothing more of it may be passed on."""
        out: list[bytes] = []
        view, at = memoryview(data), 0
        while at < len(data):
            if self._payload:
                piece = view[at:at + self._payload]
                (self._kept if self._session else out).append(bytes(piece))
                self._payload -= len(piece)
                at += len(piece)
            elif self._ending:
                at += self._end_payload(bytes(view[at:at + len(self._ending)]), out)
            else:
                at = self._collect_line(data, at, out)
        return b"".join(out)

    def _end_payload(self, got: bytes, out: list[bytes]) -> int:
        """The two bytes after a payload, which may come one at a time."""
        if not self._ending.startswith(got):
            raise Violation("Parser Error")
        self._ending = self._ending[len(got):]
        if not self._ending:
            out.append(self._hand_over() if self._session else b"\r\n")
        return len(got)

    def _hand_over(self) -> bytes:
        """A whole message that belongs to a call; it goes to the server when nobody here wants it."""
        session, payload = self._session, b"".join(self._kept)
        self._session = ""
        self._kept.clear()
        if self._take(session, payload):
            return b""
        subject = subjects.io(self._host, self._number, session)
        return b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(payload), payload)

    def listens(self, subject: str) -> str:
        """Under which number the client hears this subject of its inbox; empty when it does not, or by a pattern."""
        return self._heard.get(subject, "")

    def _collect_line(self, data: bytes, at: int, out: list[bytes]) -> int:
        end = data.find(b"\n", at)
        stop = len(data) if end < 0 else end + 1
        if len(self._line) + stop - at > MAX_LINE:
            raise Violation("Maximum Control Line Exceeded")
        if end < 0:
            self._line += data[at:]
            return stop
        line = bytes(self._line) + data[at:stop]
        self._line.clear()
        out.append(self._judge(line.rstrip(b"\r\n")))
        return stop

    def _judge(self, line: bytes) -> bytes:
        name, _, rest = line.partition(b" ")
        name = name.upper()
        vouch, self._vouch = self._vouch, None
        if name == b"CONNECT":
            return self._connect(rest)
        if name == b"FOR" and vouch is not None:
            vouch(rest)
            return b""
        known = self._lines.get(name)
        if known is None:
            raise Violation("Unknown Protocol Operation")
        return known(rest.split())

    def _connect(self, options: bytes) -> bytes:
        try:
            wishes = json.loads(options)
            verbose = wishes.get("verbose", False)
        except (ValueError, RecursionError, AttributeError) as error:
            raise Violation("Parser Error") from error
        if verbose:
            raise Violation("Verbose Mode Not Supported Here")
        return b""

    def _publish(self, words: list[bytes]) -> bytes:
        if len(words) == 2 and (known := self._sessions.get(words[0])):
            self._expect(_size(words[1]))
            self._session = known
            return b""
        subject, reply, (size,) = self._target(words, 1)
        self._expect(size)
        if not reply and (session := subjects.session(subject)):
            self._sessions = {words[0]: session}
            self._session = session
        return b"" if self._session else f"PUB {subject} {reply}{size}\r\n".encode()

    def _publish_headers(self, words: list[bytes]) -> bytes:
        subject, reply, (head, size) = self._target(words, 2)
        if head > size:
            raise Violation("Parser Error")
        self._expect(size)
        return f"HPUB {subject} {reply}{head} {size}\r\n".encode()

    def _target(self, words: list[bytes], numbers: int) -> tuple[str, str, list[int]]:
        """`SUBJECT [REPLY] NUMBER…`: where it goes, where the answer goes (with a space behind), and the sizes."""
        if len(words) not in (1 + numbers, 2 + numbers):
            raise Violation("Parser Error")
        asked = _text(words[0])
        subject = subjects.stamp_publish(asked, self._host, self._number)
        if subject is None:
            raise Violation(f'Permissions Violation for Publish to "{asked}"')
        reply = ""
        if len(words) == 2 + numbers:
            wanted = _text(words[1])
            stamped = subjects.stamp_inbox(wanted, self._number)
            if stamped is None:
                raise Violation(f'Permissions Violation for Publish with Reply of "{wanted}"')
            reply = stamped + " "
        return subject, reply, [_size(word) for word in words[-numbers:]]

    def _expect(self, size: int) -> None:
        if size > MAX_PAYLOAD:
            raise Violation("Maximum Payload Violation")
        self._payload, self._ending = size, b"\r\n"

    def _subscribe(self, words: list[bytes]) -> bytes:
        """`SUBJECT SID`; no queue: that would take a share of what other listeners are to hear."""
        if len(words) != 2:
            raise Violation("Parser Error")
        asked = _text(words[0])
        subject = subjects.stamp_subscribe(asked, self._host, self._number)
        if subject is None:
            raise Violation(f'Permissions Violation for Subscription to "{asked}"')
        number = self._heard[subject] = _sid(words[1])
        if len(self._heard) > _MOST_HEARD:
            self._heard.clear()  # who listens to so much is no console, and is answered by the server
        return f"SUB {subject} {number}\r\n".encode()

    def _unsubscribe(self, words: list[bytes]) -> bytes:
        if len(words) not in (1, 2):
            raise Violation("Parser Error")
        most = f" {_size(words[1])}" if len(words) == 2 else ""
        number = _sid(words[0])
        self._heard = {subject: heard for subject, heard in self._heard.items() if heard != number}
        return f"UNSUB {number}{most}\r\n".encode()


class Seams:
    """Follows what the server says, to know whether a frame has just ended."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._payload = 0

    @property
    def here(self) -> bool:
        """Whether another frame may begin now."""
        return not self._payload and not self._line

    def follow(self, data: bytes) -> None:
        """The server has said this."""
        at = 0
        while at < len(data):
            if self._payload:
                skipped = min(self._payload, len(data) - at)
                self._payload -= skipped
                at += skipped
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._line += data[at:]
                return
            self._take_line(bytes(self._line) + data[at:end])
            self._line.clear()
            at = end + 1

    def _take_line(self, line: bytes) -> None:
        words = line.split()
        if words and words[0] in (b"MSG", b"HMSG") and words[-1].isdigit():
            self._payload = int(words[-1]) + 2


def _text(word: bytes) -> str:
    """A subject, printable, so that it may stand in an error line."""
    text = word.decode("ascii", "replace")
    if not text.isascii() or not text.isprintable() or len(text) > 1024:
        raise Violation("Invalid Subject")
    return text


def _size(word: bytes) -> int:
    """Digits alone: int() would also take signs, underscores and spaces."""
    if not word.isdigit() or len(word) > 9:
        raise Violation("Parser Error")
    return int(word)


def _sid(word: bytes) -> str:
    if not word.isalnum() or len(word) > _MAX_SID:
        raise Violation("Parser Error")
    return word.decode()

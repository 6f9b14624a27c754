"""The rare half of a call: signals to forward, files and standard input to send, questions to ask.

Signals are taken from the wake-up descriptor that Python's C handler writes to, in the same poll that waits for
everything else. A handler in Python alone would be too late for a signal that comes just before a system call blocks.
"""

import _signal  # type: ignore[import-not-found]
import posix
from select import POLLIN, POLLOUT, poll

from adapters.cli.main import WINDOW, Failed, Line, die, write

_SIGINT = 2
_PIECE = 64 * 1024
_ATOMIC = 4096
"""A pipe that poll reports writable takes at least this much without blocking (PIPE_BUF, pipe(7))."""
_REGULAR, _TYPE = 0o100000, 0o170000
# Not forwarded: KILL and STOP cannot be caught; CHLD, PIPE, TSTP, TTIN, TTOU, CONT and URG are about this process
# itself; ILL, TRAP, BUS, FPE, SEGV and SYS say that it is broken.
_OWN = frozenset({9, 19, 17, 13, 20, 21, 22, 18, 23, 4, 5, 7, 8, 11, 31})
_MOST_INTERRUPTS = {True: 3, False: 2}
"""How often ^C has to come until the client leaves at once; the program in the container may want the first ones."""


class Session:
    """Goes on with a call at the first message that the fast loop does not know; `failure_status` is that of a command
    that the daemon has not finished."""

    def __init__(self, line: Line, failure_status: int) -> None:
        self._line, self._failure_status = line, failure_status
        self._forwarding = False
        self._interrupts = 0
        self._input = -1
        self._closes_input = False
        self._name = b""
        self._sent = self._taken = 0
        self._wake, wake_writer = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        _signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        if _signal.getsignal(_SIGINT) is not _signal.SIG_IGN:
            _signal.signal(_SIGINT, _nothing)
        self._whole = [_is_regular(descriptor) for descriptor in (0, 1, 2)]

    def go_on(self, kind: bytes, rest: bytes) -> int:
        """The exit status. Raises EOFError, BrokenPipeError, Failed."""
        message: tuple[bytes, bytes] | None = (kind, rest)
        while True:
            if message is None:
                self._wait()
            elif message[0] == b"X":
                return int(message[1])
            else:
                self._do(*message)
            message = self._line.take()

    def _do(self, kind: bytes, rest: bytes) -> None:
        if kind == b"O":
            self._write(1, rest)
        elif kind == b"E":
            self._write(2, rest)
        elif kind == b"w":
            self._taken = int(rest)
        elif kind == b"S":
            self._forward(rest == b"1")
        elif kind == b"R":
            self._open(rest)
        elif kind == b"I":
            self._start_stream(0, closes=False, name=b"standard input")
        elif kind == b"N":
            self._create(rest)
        elif kind == b"U":
            self._unlink(rest)
        elif kind == b"G":
            self._tell_environment(rest)
        elif kind == b"?":
            self._ask(rest)
        elif kind == b"-":
            raise Failed(f"the daemon hung up: {rest.decode('ascii', 'replace')}", self._failure_status)

    def _wait(self) -> None:
        """Until there is something to do: the daemon spoke, a signal came, or input can be read and may be sent."""
        waiting = poll()
        waiting.register(self._line.connection, POLLIN)
        waiting.register(self._wake, POLLIN)
        if self._input >= 0 and self._sent - self._taken + _PIECE <= WINDOW:
            waiting.register(self._input, POLLIN)
        for descriptor, _ in waiting.poll():
            if descriptor == self._wake:
                self._take_signals()
            elif descriptor == self._input:
                self._send_piece()
            else:
                self._line.fill()

    def _write(self, descriptor: int, data: bytes) -> None:
        """All of it, and signals meanwhile: a reader that stands still must not keep a signal from the container."""
        if self._whole[descriptor] or not self._forwarding:
            write(descriptor, data)
        else:
            waiting = poll()
            waiting.register(descriptor, POLLOUT)
            waiting.register(self._wake, POLLIN)
            at = 0
            while at < len(data):
                ready = dict(waiting.poll())
                if self._wake in ready:
                    self._take_signals()
                if descriptor in ready:
                    write(descriptor, data[at:at + _ATOMIC])
                    at += _ATOMIC
        self._line.written(len(data))

    def _forward(self, forward: bool) -> None:
        self._forwarding = forward
        for number in _signal.valid_signals():
            if number not in _OWN and number != _SIGINT:
                self._catch(int(number), forward)

    def _catch(self, number: int, catch: bool) -> None:
        """Signals that were ignored when the client was started (nohup) stay ignored."""
        try:
            if _signal.getsignal(number) in (_nothing, _signal.SIG_DFL):
                _signal.signal(number, _nothing if catch else _signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # the C library keeps a few real-time signals for itself

    def _take_signals(self) -> None:
        try:
            numbers = posix.read(self._wake, 512)
        except BlockingIOError:
            return
        for number in numbers:
            if number == _SIGINT:
                self._interrupts += 1
                if self._interrupts >= _MOST_INTERRUPTS[self._forwarding]:
                    die(_SIGINT)
            if self._forwarding:
                self._line.send(b"s%d" % number)
            elif number == _SIGINT:
                self._line.send(b"c")

    def _open(self, path: bytes) -> None:
        try:
            descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        except OSError as error:
            self._line.send(b"fopen %b: %b" % (path, _reason(error)))
        else:
            self._start_stream(descriptor, closes=True, name=path)

    def _start_stream(self, descriptor: int, *, closes: bool, name: bytes) -> None:
        self._input, self._closes_input, self._name = descriptor, closes, name
        self._sent = self._taken = 0

    def _send_piece(self) -> None:
        try:
            piece = posix.read(self._input, _PIECE)
        except BlockingIOError:
            return
        except OSError as error:
            self._end_stream(b"fread %b: %b" % (self._name, _reason(error)))
            return
        if piece:
            self._sent += len(piece)
            self._line.send(b"d" + piece)
        else:
            self._end_stream(b"e")

    def _end_stream(self, message: bytes) -> None:
        if self._closes_input:
            posix.close(self._input)
        self._input = -1
        self._line.send(message)

    def _create(self, rest: bytes) -> None:
        path, mode, content = rest.split(b"\0", 2)
        try:
            descriptor = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, int(mode, 8))
        except OSError as error:
            self._line.send(b"f" + _reason(error))
            return
        try:
            while content:
                content = content[posix.write(descriptor, content):]
        except OSError as error:
            posix.unlink(path)
            self._line.send(b"f" + _reason(error))
        else:
            self._line.send(b"k")
        finally:
            posix.close(descriptor)

    def _unlink(self, path: bytes) -> None:
        try:
            posix.unlink(path)
        except OSError:
            pass

    def _tell_environment(self, names: bytes) -> None:
        values = [b"" if value is None else b"=" + value for value in map(posix.environ.get, names.split(b"\0"))]
        self._line.send(b"v" + b"\0".join(values))

    def _ask(self, text: bytes) -> None:
        """The question goes to standard output, as people who pipe `yes` into prompts expect."""
        write(1, text)
        answer = b""
        while not answer.endswith(b"\n"):
            piece = self._read_key()
            if not piece:
                break
            answer += piece
        self._line.send(b"a" + answer.rstrip(b"\r\n")[:4096])

    def _read_key(self) -> bytes:
        """One byte, not more: what comes after the line may be meant for somebody else."""
        waiting = poll()
        waiting.register(0, POLLIN)
        waiting.register(self._wake, POLLIN)
        while True:
            ready = dict(waiting.poll())
            if self._wake in ready:
                self._take_signals()
                if self._interrupts:
                    return b""
            elif 0 in ready:
                try:
                    return posix.read(0, 1)
                except OSError:
                    return b""


def _nothing(number: int, frame: object) -> None:
    """A handler that does nothing: its presence makes Python write the number to the wake-up descriptor."""


def _is_regular(descriptor: int) -> bool:
    try:
        return posix.fstat(descriptor).st_mode & _TYPE == _REGULAR
    except OSError:
        return True


def _reason(error: OSError) -> bytes:
    return _lowered(error.strerror or str(error)).encode("utf-8", "surrogateescape")


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]

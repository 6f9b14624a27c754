"""The rare half of a call: signals to forward, a terminal in raw mode, files and standard input to send, questions.

Signals are taken from the wake-up descriptor that Python's C handler writes to, in the same poll that waits for
everything else. A handler in Python alone would be too late for a signal that comes just before a system call blocks.
Nothing here waits for one thing only: who does not read our output keeps neither a signal nor a key from the container.
Trees of files (`cp`) are the business of `copying`, which is told of messages and gives pieces here.
"""

import _signal  # type: ignore[import-not-found]
import posix
from select import POLLIN, POLLOUT, poll

from adapters.cli.main import WINDOW, Failed, Line, die, write

TYPE_CHECKING = False  # the module `typing` costs more than this one
if TYPE_CHECKING:
    from adapters.cli.screen import Screen

_SIGHUP, _SIGINT, _SIGCONT, _SIGSTOP, _SIGTSTP, _SIGWINCH = 1, 2, 18, 19, 20, 28
_PIECE = 256 * 1024
_ATOMIC = 4096
"""A pipe that poll reports writable takes at least this much without blocking (PIPE_BUF, pipe(7))."""
_EIO = 5
_REGULAR, _CHARACTERS, _TYPE = 0o100000, 0o020000, 0o170000
# Not forwarded: KILL and STOP cannot be caught; CHLD, PIPE, TSTP, TTIN, TTOU, CONT and URG are about this process
# itself; ILL, TRAP, BUS, FPE, SEGV and SYS say that it is broken.
_OWN = frozenset({9, 19, 17, 13, 20, 21, 22, 18, 23, 4, 5, 7, 8, 11, 31})
_MOST_INTERRUPTS = {True: 3, False: 2}
"""How often ^C has to come until the client leaves at once; the program in the container may want the first ones."""


class Over(Exception):
    """The daemon has said how the command ended, while something else was being done."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Session:
    """Goes on with a call at the first message that the fast loop does not know; `failure_status` is that of a command
    that the daemon has not finished."""

    def __init__(self, line: Line, failure_status: int) -> None:
        self._line, self._failure_status = line, failure_status
        self._told: list[tuple[bytes, bytes]] = []
        self._gone = False
        self._forwarding = self._sizing = False
        self._screen: Screen | None = None
        self._interrupts = 0
        self._input = -1
        self._closes_input = False
        self._name = b""
        self._sent = self._taken = 0
        self._target, self._unwritten = 1, memoryview(b"")
        self._wake, wake_writer = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        _signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        if _signal.getsignal(_SIGINT) is not _signal.SIG_IGN:
            _signal.signal(_SIGINT, _nothing)
        self._blocks = [_may_block(descriptor) for descriptor in (0, 1, 2)]
        self._at_once = [True, True, True]

    def go_on(self, kind: bytes, rest: bytes) -> int:
        """The exit status. Raises EOFError, BrokenPipeError, Failed."""
        raw = False
        try:
            self._told.append((kind, rest))
            self._hear()
            while (status := self._act()) is None:
                if self._gone and not self._unwritten:
                    raise EOFError
                self._wait()
            return status
        except Over as over:
            return over.status
        finally:
            raw = self._screen is not None
            self._release_terminal()
            if raw and self._gone and posix.isatty(2):
                write(2, b"\n")  # whatever the program has drawn, what we say begins a line

    def _act(self) -> int | None:
        """Do what was said, in order, as far as output does not keep us waiting; the status, when that was said."""
        while self._told and not self._unwritten:
            kind, rest = self._told.pop(0)
            if kind == b"X":
                return int(rest)
            self.do(kind, rest)
        return None

    def receive(self) -> tuple[bytes, bytes]:
        """The next message, for who waits for some of his own and gives the others to `do`. Raises Over, EOFError."""
        while not self._told or self._unwritten:
            self._go_on_waiting()
        kind, rest = self._told.pop(0)
        if kind == b"X":
            raise Over(int(rest))
        return kind, rest

    def begin_stream(self) -> None:
        """What is given to `stream` from now on is a new stream."""
        self._sent = self._taken = 0

    def stream(self, piece: bytes) -> None:
        """Send a piece of a stream when there is room for it, and do meanwhile what is said. Raises Over, EOFError."""
        while self._sent - self._taken + len(piece) > WINDOW:
            status = self._act()
            if status is not None:
                raise Over(status)
            self._go_on_waiting()
        self._sent += len(piece)
        self._line.send(b"d" + piece)

    def _go_on_waiting(self) -> None:
        if self._gone and not self._unwritten:
            raise EOFError
        self._wait()

    def do(self, kind: bytes, rest: bytes) -> None:
        """What one message asks for. Raises BrokenPipeError, Failed, Over, EOFError."""
        if kind == b"O":
            self._write(1, rest)
        elif kind == b"E":
            self._write(2, rest)
        elif kind == b"S":
            self._forwarding = rest == b"1"
            self._arrange_signals()
        elif kind == b"M":
            self._use_terminal(rest)
        elif kind == b"R":
            self._open(rest)
        elif kind == b"r":
            self._lend(rest)
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
        elif kind in (b"!", b"H", b"K"):
            from adapters.cli import confidential

            confidential.do(self, self._line, kind, rest)
        elif kind == b"L":
            from adapters.cli import looks

            self._line.send(b"k" + looks.look_all(rest.split(b"\0")))
        elif kind in (b"P", b"T", b"W"):
            from adapters.cli import copying

            copying.do(self, self._line, kind, rest)
        elif kind == b"B":
            self._line.written(len(rest))  # of what could not be made
        elif kind == b"-":
            raise Failed(f"the daemon hung up: {rest.decode('ascii', 'replace')}", self._failure_status)

    def _wait(self) -> None:
        """Until there is something to do: the daemon spoke, a signal came, output may be written, or input can be read
        and may be sent."""
        waiting = poll()
        waiting.register(self._wake, POLLIN)
        if not self._gone:
            waiting.register(self._line.connection, POLLIN)
        if self._unwritten:
            waiting.register(self._target, POLLOUT)
        if self._input >= 0 and self._sent - self._taken + _PIECE <= WINDOW:
            waiting.register(self._input, POLLIN)
        for descriptor, _ in waiting.poll():
            if descriptor == self._wake:
                self._take_signals()
            elif descriptor == self._input:
                self._send_piece()
            elif descriptor == self._target:
                self._write_some()
            else:
                self._listen()

    def _listen(self) -> None:
        try:
            self._line.fill()
        except EOFError:
            self._gone = True
        else:
            self._hear()

    def _hear(self) -> None:
        """Sort what came: room for more input counts at once, everything else in its order."""
        while (message := self._line.take()) is not None:
            if message[0] == b"w":
                self._taken = int(message[1])
            else:
                self._told.append(message)

    def _write(self, descriptor: int, data: bytes) -> None:
        if self._blocks[descriptor]:
            self._target, self._unwritten = descriptor, memoryview(data)
            if self._at_once[descriptor] or _writable(descriptor):
                self._write_some()
        else:
            write(descriptor, data)
            self._line.written(len(data))

    def _write_some(self) -> None:
        """As much as is taken without waiting. Raises BrokenPipeError, Failed."""
        target = self._target
        try:
            if self._at_once[target]:
                size = posix.pwritev(target, [self._unwritten], -1, posix.RWF_NOWAIT)
            else:
                size = posix.write(target, self._unwritten[:_ATOMIC])
        except (BlockingIOError, BrokenPipeError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            return
        except OSError as error:
            if not self._at_once[target]:
                raise Failed(f"write error: {error.strerror}", 1) from error
            self._at_once[target] = False  # a terminal, or a pipe of a kernel before 6.5: poll has to tell when
            return
        self._unwritten = self._unwritten[size:]
        self._line.written(size)

    def _use_terminal(self, how: bytes) -> None:
        """`1`: raw, and its size from now on; `2`: only the size; `0`: neither any more."""
        self._release_terminal()
        if how == b"1" and posix.isatty(0):
            from adapters.cli import screen

            self._screen = screen.take()
        self._sizing = how in (b"1", b"2")
        self._arrange_signals()
        if self._sizing:
            self._tell_size()

    def _release_terminal(self) -> None:
        screen, self._screen, self._sizing = self._screen, None, False
        if screen is not None:
            screen.close()
            self._arrange_signals()

    def _tell_size(self) -> None:
        for descriptor in (1, 0):
            if posix.isatty(descriptor):
                columns, rows = posix.get_terminal_size(descriptor)
                self._line.send(b"z%d %d" % (rows, columns))
                return

    def _arrange_signals(self) -> None:
        raw = self._screen is not None
        for number in map(int, _signal.valid_signals()):
            if number in (_SIGTSTP, _SIGCONT):
                self._catch(number, raw)
            elif number not in _OWN and number != _SIGINT:
                self._catch(number, self._forwarding or raw or (self._sizing and number == _SIGWINCH))

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
            if self._sizing and number == _SIGWINCH:
                self._tell_size()
            elif self._screen is not None:
                self._signal_on_screen(self._screen, number)
            else:
                self._signal(number)

    def _signal(self, number: int) -> None:
        if number == _SIGINT:
            self._interrupts += 1
            if self._interrupts >= _MOST_INTERRUPTS[self._forwarding]:
                die(_SIGINT)
        if self._forwarding:
            self._line.send(b"s%d" % number)
        elif number == _SIGINT:
            self._line.send(b"c")

    def _signal_on_screen(self, screen: "Screen", number: int) -> None:
        """Keys do not make signals in raw mode: this one is meant for the client alone."""
        if number == _SIGTSTP:
            screen.leave()
            posix.kill(posix.getpid(), _SIGSTOP)
        elif number == _SIGCONT:
            screen.enter()
            self._tell_size()
        else:
            self._release_terminal()
            die(number)

    def _open(self, path: bytes) -> None:
        try:
            descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        except OSError as error:
            self._line.send(b"fopen %b: %b" % (path, _reason(error)))
        else:
            self._start_stream(descriptor, closes=True, name=path)

    def _lend(self, path: bytes) -> None:
        """Only regular files: opening a pipe would already be felt at its other end."""
        try:
            regular = posix.stat(path).st_mode & _TYPE == _REGULAR
            descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC) if regular else -1
        except OSError as error:
            self._line.send(b"fopen %b: %b" % (path, _reason(error)))
            return
        if descriptor < 0:
            self._line.send(b"l")
            return
        self._line.lend(descriptor)
        posix.close(descriptor)

    def _start_stream(self, descriptor: int, *, closes: bool, name: bytes) -> None:
        self._input, self._closes_input, self._name = descriptor, closes, name
        self.begin_stream()

    def _send_piece(self) -> None:
        try:
            piece = posix.read(self._input, _PIECE)
        except BlockingIOError:
            return
        except OSError as error:
            if self._screen is not None and error.errno == _EIO:  # it was closed; the signal that says so is late
                self._release_terminal()
                die(_SIGHUP)
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
        self._line.send(b"a" + self.typed())

    def typed(self) -> bytes:
        """A line of standard input, without its end and bounded; empty after ^C."""
        answer = b""
        while not answer.endswith(b"\n"):
            piece = self._read_key()
            if not piece:
                break
            answer += piece
        return answer.rstrip(b"\r\n")[:4096]

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


def _writable(descriptor: int) -> bool:
    """Whether it takes something at once, as the terminal of somebody who types does."""
    waiting = poll()
    waiting.register(descriptor, POLLOUT)
    return bool(waiting.poll(0))


def _may_block(descriptor: int) -> bool:
    """Whether who writes there may have to wait for a reader: not in files and devices like /dev/null."""
    try:
        kind = posix.fstat(descriptor).st_mode & _TYPE
    except OSError:
        return False
    return kind != _REGULAR and (kind != _CHARACTERS or posix.isatty(descriptor))


def _reason(error: OSError) -> bytes:
    return _lowered(error.strerror or str(error)).encode("utf-8", "surrogateescape")


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]

r"""The thin client: sends argv to the daemon, writes what comes back, ends with the status it is told.

It imports `sys`, `posix` and `_socket` and nothing else, because the start of Python is nearly all of its time; what is
rarely needed is in modules of its own: `session` (signals, streams, files, questions), `screen` (raw mode), `daemon`
(start, stop, status), `remote` (another host).
The protocol is drawn in `adapters.control.console`; here is how it looks on the wire, all in one write:

    CONNECT {"verbose":false,…}\r\nSUB _INBOX.@.1 1\r\nPUB lading.@.call.@ _INBOX.@.1 SIZE\r\n1\0cols=80\0…\0\0ps\0\r\n

A daemon elsewhere is asked over its bus in the same words, with real names in the places of the marks (`remote`).
"""

import _signal  # type: ignore[import-not-found]  # the module `signal` without its enums, which cost 2 ms
import _socket
import posix
import sys

RUN_DIRECTORY = "/run/lading"
CONFIGURATION = "/etc/lading/config.toml"
_MAX_CONFIGURATION = 64 * 1024
WINDOW = 1024 * 1024
ACKNOWLEDGE = 256 * 1024
_MAX_PAYLOAD = 1024 * 1024
_HELLO = (b'CONNECT {"verbose":false,"pedantic":false,"protocol":1,"headers":true,"no_responders":true,"lang":"lading",'
          b'"version":"1"}\r\nSUB _INBOX.@.1 1\r\n')
_WITH_VALUE = ("-l", "--log-level", "--config", "-c", "--context")
_NOUNS = ("builder", "container", "image", "system")
_OWN_PART = ("version", "info")
"""What tells the client's part even when there is no daemon."""
_SIGINT, _SIGPIPE = 2, 13


class Failed(Exception):
    """What the client says about itself, in one line; `status` is the exit status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class Line:
    """The connection to the daemon: frames come in, messages go out.

    `host`, `who` and `session` are the names in its subjects; `hello` is what has to be said before anything else.
    """

    def __init__(self, connection: _socket.socket, host: bytes = b"@", who: bytes = b"@", session: bytes = b"1",
                 hello: bytes = _HELLO) -> None:
        self.connection, self.session, self.hello = connection, session, hello
        self.sending, self.then = False, b""
        self._begin = b"PUB lading.%b.call.%b _INBOX.%b.%b %%d\r\n%%b\r\n" % (host, who, who, session)
        self._go_on = b"PUB lading.%b.io.%b.%b %%d\r\n%%b\r\n" % (host, who, session)
        self._buffer = b""
        self._written = self._reported = 0

    def fill(self) -> None:
        """Wait for something and take it. Raises EOFError."""
        try:
            data = self.connection.recv(262144 if self._buffer else 65536)
        except ConnectionError:
            data = b""
        if not data:
            raise EOFError
        self._buffer = self._buffer + data if self._buffer else data

    def take(self) -> "tuple[bytes, bytes] | None":
        """The operation and the rest of the next message that is here as a whole; None: `fill` first."""
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                return None
            line = self._buffer[:end]
            if line[:4] == b"MSG ":
                start = end + 2
                stop = start + int(line[line.rindex(b" ") + 1:])
                if len(self._buffer) < stop + 2:
                    return None
                if start == stop:  # somebody wants to know whether we are here
                    self._buffer = self._buffer[stop + 2:]
                    continue
                kind, rest = self._buffer[start:start + 1], self._buffer[start + 1:stop]
                self._buffer = self._buffer[stop + 2:]
                return kind, rest
            self._buffer = self._buffer[end + 2:]
            if line[:5] == b"HMSG ":
                return b"503", b""
            if line[:4] == b"-ERR":
                return b"-", line[4:].strip(b" '")
            if line[:4] == b"PING":
                self.send_raw(b"PONG\r\n")

    def send(self, data: bytes) -> None:
        """A message of this call; behind one it interrupts."""
        if self.sending:
            self.then = data
        else:
            self.send_raw(self._go_on % (len(data), data))

    def lend(self, descriptor: int) -> None:
        """Say that a file is lent, and send it along (unix(7), SCM_RIGHTS)."""
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptor.to_bytes(4, sys.byteorder))
        try:
            self.connection.sendmsg([self._go_on % (1, b"l")], [rights])
        except OSError:
            pass  # noticed when reading

    def call(self, words: bytes) -> bytes:
        """What begins a call."""
        return self._begin % (len(words), words)

    def send_raw(self, data: bytes) -> None:
        """Bytes as they are; that nobody hears is noticed in reading."""
        self.sending = True
        try:
            self.connection.sendall(data)
        except OSError:
            pass
        self.sending = False
        if then := self.then:
            self.then = b""
            self.send(then)

    def written(self, size: int) -> None:
        """So much was written out: now and then the daemon has to know, or it stops sending."""
        self._written += size
        if self._written - self._reported >= ACKNOWLEDGE:
            self._reported = self._written
            self.send(b"w%d" % self._written)


def main(argv: list[str], daemon: tuple[str, ...]) -> int:
    """The exit status of the command; `daemon` is what starts the daemon. Nothing is buffered and nothing has to be
    taken down afterwards, so the caller may leave the interpreter without its farewell (`posix._exit`)."""
    if _signal.getsignal(_SIGINT) is _signal.default_int_handler:
        _signal.signal(_SIGINT, _signal.SIG_DFL)
    _open_standard_streams()
    try:
        path, argv = address(argv)
        verb = verb_of(argv)
        if verb[:1] == ["daemon"]:
            from adapters.cli import daemon as background

            return background.control(verb[1:], path, daemon)
        if "://" in path:
            from adapters.cli import remote

            return _converse(remote.line(path, failure_status(verb)), argv, verb)
        return _converse(Line(_reach(path, argv, verb, daemon)), argv, verb)
    except Failed as failure:
        say(str(failure))
        return failure.status
    except BrokenPipeError:
        die(_SIGPIPE)
        return 141


def _open_standard_streams() -> None:
    """A standard stream that is closed (`<&-`) would be the connection: the next descriptor gets the lowest number."""
    for descriptor in (0, 1, 2):
        try:
            posix.fstat(descriptor)
        except OSError:
            posix.open("/dev/null", posix.O_RDWR)


def _environment(name: bytes) -> str:
    return posix.environ.get(name, b"").decode("utf-8", "surrogateescape")


def _configured() -> str:
    """`run_dir` of the configuration file, where the daemon finds it, too; empty if there is none. A TOML parser costs
    more than the whole client, and the daemon refuses a file in which this line is not a plain string."""
    try:
        fd = posix.open(_environment(b"LADING_CONFIG") or CONFIGURATION, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return ""
    try:
        lines = posix.read(fd, _MAX_CONFIGURATION).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    finally:
        posix.close(fd)
    for line in lines:
        name, equals, value = line.partition("=")
        if name.strip() == "run_dir" and equals:
            return value.strip().split("#")[0].strip().strip("\"'")
        if line.lstrip()[:1] == "[":
            break
    return ""


def address(argv: list[str]) -> tuple[str, list[str]]:
    """The daemon's socket (or its URL, when it is on another host), and argv without the option that named it. Raises
    Failed."""
    path, at = (_environment(b"LADING_RUN_DIR") or _configured() or RUN_DIRECTORY) + "/lading.sock", 0
    elsewhere = _environment(b"LADING_HOST")
    if elsewhere:
        path = _place(elsewhere)
    while at < len(argv) and argv[at][:1] == "-":
        word = argv[at]
        if word in ("-H", "--host") and at + 1 < len(argv):
            path, argv = _place(argv[at + 1]), argv[:at] + argv[at + 2:]
        elif word[:7] == "--host=" or (word[:2] == "-H" and len(word) > 2):
            path, argv = _place(word[7 if word[1] == "-" else 2:]), argv[:at] + argv[at + 1:]
        else:
            at += 2 if word in _WITH_VALUE else 1
    return path, argv


def _place(url: str) -> str:
    if url[:7] == "nats://" or url[:6] == "tls://":
        return url
    if url[:7] != "unix://":
        raise Failed("the address of the daemon must be unix://PATH or nats://USER@SERVER[:PORT]/HOST", 125)
    return url[7:]


def verb_of(argv: list[str]) -> list[str]:
    """Argv from the first word that is no option before the command."""
    at = 0
    while at < len(argv) and argv[at][:1] == "-":
        at += 2 if argv[at] in _WITH_VALUE else 1
    return argv[at:]


def failure_status(verb: list[str]) -> int:
    """The status of a command that the daemon never answered."""
    return 125 if verb[:1] == ["run"] or verb[:2] == ["container", "run"] else 1


def connect(path: str) -> _socket.socket:
    """A connection to the daemon. Raises OSError."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def unreachable(path: str, error: OSError, status: int) -> Failed:
    """Why there is no connection, for the person."""
    if isinstance(error, PermissionError):
        return Failed(f"permission denied while connecting to the lading daemon at unix://{path}: "
                      f"only root and the group lading may", status)
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return Failed(f"Cannot connect to the lading daemon at unix://{path}. Is the lading daemon running?", status)
    return Failed(f"Cannot connect to the lading daemon at unix://{path}: {error.strerror or error}", status)


def _only_help(verb: list[str]) -> bool:
    """Whether only help is asked for, or completion: no daemon is started for that."""
    if not verb or verb[0] in ("help", "completion") or verb in ([noun] for noun in _NOUNS):
        return True
    return verb[-1] == "--help" and len(verb) <= (3 if verb[0] in _NOUNS else 2)


def _reach(path: str, argv: list[str], verb: list[str], daemon: tuple[str, ...]) -> _socket.socket:
    """A connection, to a daemon that is started if there is none. What the client knows alone is answered without one,
    by another program in its place. Raises Failed."""
    try:
        return connect(path)
    except OSError as error:
        absent = isinstance(error, (FileNotFoundError, ConnectionRefusedError))
        ours = daemon and path == address([])[0]  # a daemon that we start listens there, not where -H points to
        startable = absent and ours and posix.environ.get(b"LADING_AUTOSTART") != b"0" and not posix.geteuid()
        failure = unreachable(path, error, failure_status(verb))
        alone = _only_help(verb) or (not startable and (verb[0] in _OWN_PART or verb[:2] == ["system", "info"]))
        if alone and daemon[-1:] == ("daemon",):
            posix.execv(daemon[0], [*daemon[:-1], "offline", str(failure), *argv])
        if not startable:
            raise failure from error
    from adapters.cli import daemon as background

    return background.start(path, daemon, failure_status(verb))


def _converse(line: Line, argv: list[str], verb: list[str]) -> int:
    """Ask, and do what the daemon says until it says the status."""
    call = line.call(_words(argv, line.session, failure_status(verb)))
    line.send_raw(line.hello + call)
    if _signal.getsignal(_SIGINT) == _signal.SIG_DFL:
        _signal.signal(_SIGINT, Interrupt(line))
    tries = 0
    try:
        while True:
            message = line.take()
            if message is None:
                line.fill()
                continue
            kind, rest = message
            if kind == b"O" or kind == b"E":
                write(1 if kind == b"O" else 2, rest)
                line.written(len(rest))
            elif kind == b"X":
                return int(rest)
            elif kind == b"-":
                raise Failed(f"the daemon hung up: {rest.decode('ascii', 'replace')}", failure_status(verb))
            elif kind == b"503":
                tries = _try_again(tries, failure_status(verb))
                line.send_raw(call)
            else:
                from adapters.cli import session

                return session.Session(line, failure_status(verb)).go_on(kind, rest)
    except EOFError:
        raise Failed("the daemon went away before the command was finished", failure_status(verb)) from None


def _words(argv: list[str], session: bytes, status: int) -> bytes:
    """What the message that begins the call says. Raises Failed."""
    screen, keyboard = posix.isatty(1), posix.isatty(0)
    columns, rows = posix.get_terminal_size(1 if screen else 0) if screen or keyboard else (0, 0)
    umask = posix.umask(0o77)
    posix.umask(umask)
    environment = posix.environ
    color = screen and not environment.get(b"NO_COLOR") and environment.get(b"TERM") != b"dumb"
    try:
        directory = posix.getcwdb()
    except OSError:
        directory = b""
    encoding = sys.getfilesystemencoding()
    words = b"".join([word.encode(encoding, "surrogateescape") + b"\0" for word in argv])
    head = b"1\0lends=1\0session=%b\0cols=%d\0rows=%d\0stdin=%d\0stdout=%d\0stderr=%d\0" % (
        session, columns, rows, keyboard, screen, posix.isatty(2))
    head += b"color=%d\0umask=%o\0cwd=%b\0\0" % (color, umask, directory)
    if len(head) + len(words) > _MAX_PAYLOAD:
        raise Failed("the argument list is too long", status)
    return head + words


def _try_again(tries: int, status: int) -> int:
    """The socket is there but nobody answers behind it: the daemon is just starting, or its bus is. Nobody has seen the
    call, so asking again cannot do a thing twice. Raises Failed."""
    from time import sleep

    if tries >= 100:
        raise Failed("the daemon does not answer", status)
    sleep(0.05)
    return tries + 1


class Interrupt:
    """What ^C does: the first asks the daemon to stop the command, the second leaves."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._pressed = 0

    def __call__(self, number: int, frame: object) -> None:
        """Handle it."""
        self._pressed += 1
        if self._pressed > 1:
            die(number)
        self._line.send(b"c")


def write(descriptor: int, data: bytes) -> None:
    """All of it. Raises BrokenPipeError, Failed."""
    view = memoryview(data)
    while view:
        try:
            view = view[posix.write(descriptor, view):]
        except BlockingIOError:
            # Somebody else who has this terminal or pipe open made it non-blocking for everybody.
            from select import POLLOUT, poll

            waiting = poll()
            waiting.register(descriptor, POLLOUT)
            waiting.poll()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Failed(f"write error: {error.strerror}", 1) from error


def say(text: str) -> None:
    """One line to the person."""
    try:
        posix.write(2, f"{text}\n".encode("utf-8", "surrogateescape"))
    except OSError:
        pass


def die(number: int) -> None:
    """End as this signal ends a program, so that a shell sees what happened (128 + number)."""
    _signal.signal(number, _signal.SIG_DFL)
    posix.kill(posix.getpid(), number)
    posix._exit(128 + number)

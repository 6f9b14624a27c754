r"""The client's side of `cp`: a tree of files sent as a tar, a tar spread below a directory.

The files are the client's, so this happens where it runs and with its rights. The daemon says (see
`adapters.control.console`):

    P fine\0/ann/x\0web   send it as a tar, called `web` there; a fourth text is a `.dockerignore` that holds for it
    P known\0/ann\0.      likewise, without files of the list that follows (see `adapters.tar.unchanged`)
    T owners\0/ann        spread the tar that follows, in pieces `B` of which the last one is empty
    W 600\0web.tar        write what follows to a file, which has that name once it is whole

Whatever a container has put into that tar, nothing is made outside of the directory: see `adapters.tar.spread`.
"""

import os
import posix
import posixpath
import resource
from collections.abc import Callable

from adapters.cli.main import Line
from adapters.cli.session import Session
from adapters.tar.pack import FLUSH, Packer, Sink, Unreadable
from adapters.tar.reader import Damaged, Reader, Source
from adapters.tar.spread import Impossible, Rules, Spreader
from adapters.tar.unchanged import spared_by

_DESCRIPTORS = 4096


def do(session: Session, line: Line, kind: bytes, rest: bytes) -> None:
    """Carry out one message and answer it. Raises Over, EOFError, BrokenPipeError."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # every directory on the way is open
    most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        if kind == b"P":
            answer = _Pack(session).all(line, *rest.split(b"\0"))
        else:
            answer = (_spread if kind == b"T" else _write)(_Incoming(session, line), rest)
    except Unreadable as error:
        answer = b'fread "%b": %b' % (error.name, error.reason.encode())
    except (Impossible, Damaged) as error:
        answer = b"f" + os.fsencode(str(error))
    except OSError as error:
        answer = b"f" + (os.fsencode(f"{error.filename or ''}: ") if error.filename else b"") + _reason(error)
    line.send(answer)


class _Pack(Sink):
    """Sends a tar, not faster than the daemon takes it."""

    def __init__(self, session: Session) -> None:
        super().__init__(self._send)
        self._session = session
        session.begin_stream()

    def all(self, line: Line, options: bytes, path: bytes, name: bytes, ignored: bytes = b"") -> bytes:
        """The whole archive; returns the message that ends it. Raises Unreadable, Damaged, OSError."""
        words = options.split(b",")
        spared = spared_by(_Incoming(self._session, line)) if b"known" in words else None
        packer = Packer(self, fine=b"fine" in words, judge=_judge(ignored) if ignored else None, spared=spared)
        if b"follow" in words or path.endswith((b"/", b"/.")):
            _add_target(packer, path, name)
        else:
            above, _, leaf = path.rpartition(b"/")
            _with(above or b"/", os.O_PATH | os.O_DIRECTORY, lambda fd: packer.add(fd, leaf, name))
        packer.end()
        return b"e"

    def copy(self, fd: int, count: int) -> int:
        """See Sink; without collecting."""
        if count <= FLUSH:
            return super().copy(fd, count)
        self.flush()
        while count and (piece := posix.read(fd, min(count, FLUSH))):
            self._send(piece)
            self.size += len(piece)
            count -= len(piece)
        return count

    def _send(self, data: bytes) -> None:
        for at in range(0, len(data), FLUSH):
            self._session.stream(data[at : at + FLUSH] if len(data) > FLUSH else data)


def _judge(ignored: bytes) -> Callable[[bytes], int]:
    from adapters.tar.ignored import judge

    return judge(ignored)


def _add_target(packer: Packer, path: bytes, name: bytes) -> None:
    if os.path.isdir(path):
        _with(path, os.O_PATH | os.O_DIRECTORY, lambda fd: packer.add(fd, b".", name))
    else:
        _with(path, os.O_RDONLY | os.O_NONBLOCK, lambda fd: packer.add_file(fd, name))


def _with(path: bytes, flags: int, use: Callable[[int], None]) -> None:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        use(fd)
    finally:
        os.close(fd)


class _Incoming(Source):
    """The archive that the daemon sends."""

    __slots__ = ("_ended", "_line", "_session")

    def __init__(self, session: Session, line: Line) -> None:
        super().__init__(-1)
        self._session, self._line, self._ended = session, line, False

    def more(self) -> bytes:
        """See Source."""
        while not self._ended:
            kind, rest = self._session.receive()
            if kind != b"B":
                self._session.do(kind, rest)
                continue
            self._line.written(len(rest))
            self._ended = not rest
            return rest
        return b""


def _spread(source: _Incoming, rest: bytes) -> bytes:
    """Only root can give files away; for everybody else what is made is his own, and gives nobody his rights."""
    options, directory = rest.split(b"\0")
    rules = Rules(owners=b"owners" in options.split(b",") and not posix.geteuid())
    target = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        spreader = Spreader(target, rules)
        spreader.spread(Reader(source))
        source.drain()
    finally:
        os.close(target)
    return b"k%d\0%d" % (spreader.entries, spreader.left_out)


def _write(source: _Incoming, rest: bytes) -> bytes:
    """Under another name until it is whole: a file that is broken must not be taken for an archive."""
    mode, path = rest.split(b"\0")
    path = posixpath.realpath(path)
    mode, _, words = mode.partition(b",")
    if words == b"parents":
        os.makedirs(posixpath.dirname(path), 0o700, exist_ok=True)
    if os.path.lexists(path) and not os.path.isfile(path):
        raise OSError(0, "it is not a regular file", path)
    unfinished = path + b".%d.part" % posix.getpid()
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, int(mode, 8))
    try:
        try:
            while piece := source.more():
                while piece:
                    piece = piece[posix.write(fd, piece) :]
        finally:
            os.close(fd)
        os.rename(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise
    return b"k"


def _reason(error: OSError) -> bytes:
    text = error.strerror or str(error)
    return (text[:1].lower() + text[1:]).encode("utf-8", "surrogateescape")

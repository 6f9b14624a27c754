r"""What the client does with secrets: ask a person for one without showing it, run a credential helper, and ask an
agent of ssh.

    ! Password:                      the answer is not shown while it is typed
    H pass\\0get\\0reg.example.com     run `docker-credential-pass get` with the rest on its standard input
    K /tmp/agent.1\\0message          what the agent behind that socket answers to a message

Helpers are programs of the user's, so they run where the user is and with his rights, never in the daemon. An agent is
asked with his rights, too, and keeps its keys: what travels are questions and signatures.
"""

import _socket
import os
import posix

from adapters.cli.main import Line, write
from adapters.cli.session import Session

_LARGEST = 1 << 20
_PATIENCE = 60.0
"""Seconds for an answer of an agent."""
_VERBS = (b"get", b"store", b"erase")
_NAME = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def do(session: Session, line: Line, kind: bytes, rest: bytes) -> None:
    """Carry out one message and answer it."""
    if kind == b"!":
        line.send(b"a" + _hidden(session, rest))
        return
    if kind == b"K":
        line.send(_asked(*rest.split(b"\0", 1)))
        return
    try:
        line.send(_helped(*rest.split(b"\0", 2)))
    except OSError as error:
        line.send(b"fdocker-credential-" + rest.split(b"\0")[0] + b": " + os.fsencode(error.strerror or str(error)))


def _asked(path: bytes, message: bytes) -> bytes:
    """One connection for one message. A person may have to confirm the use of a key, so this may take a while."""
    agent = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        agent.settimeout(_PATIENCE)
        agent.connect(path)
        agent.sendall(message)
        answer = b""
        while len(answer) < 4 or len(answer) < 4 + int.from_bytes(answer[:4], "big") <= _LARGEST:
            piece = agent.recv(65536)
            if not piece:
                return b"fit hangs up"
            answer += piece
        return b"k" + answer
    except OSError as error:
        return b"f" + os.fsencode(error.strerror or "it takes too long")
    finally:
        agent.close()


def _hidden(session: Session, text: bytes) -> bytes:
    """The terminal is silent before it is asked: who is quick may type at once."""
    if not posix.isatty(0):
        write(1, text)
        return session.typed()
    from adapters.cli import screen

    silent = screen.take(silent=True)
    try:
        write(1, text)
        return session.typed()
    finally:
        if silent is not None:
            silent.close()
        write(1, b"\n")


def _helped(name: bytes, verb: bytes, text: bytes) -> bytes:
    if not name or not _NAME.issuperset(name) or verb not in _VERBS:
        return b"fa credential helper of that name cannot be run"
    program = b"docker-credential-" + name
    inner_in, text_fd = os.pipe()
    answer_fd, inner_out = os.pipe()
    try:
        pid = os.posix_spawnp(
            program,
            [program, verb],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, inner_in, 0), (os.POSIX_SPAWN_DUP2, inner_out, 1)],
        )
    except OSError:
        for fd in (text_fd, answer_fd):
            os.close(fd)
        raise
    finally:
        os.close(inner_in)
        os.close(inner_out)
    try:
        os.write(text_fd, text)  # a server and a secret fit into any pipe
    except BrokenPipeError:
        pass  # it does not want to know
    os.close(text_fd)
    answer = _all(answer_fd)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        return b"f%b: %b" % (program, answer.strip()[:500] or b"it failed with status %d" % status)
    return b"k" + answer


def _all(fd: int) -> bytes:
    found = b""
    while piece := os.read(fd, 65536):
        found = (found + piece)[:_LARGEST]
    os.close(fd)
    return found

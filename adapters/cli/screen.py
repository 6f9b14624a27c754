"""The person's terminal in another mode: raw, so that every key goes to the container, or silent, while a secret is
typed. The modes are put back whatever happens.

Who restores them: the client itself at every end it notices, and for those it cannot notice (SIGKILL) the guardian,
a copy of the client that waits for its death at a socket and is gone as soon as it is not needed. The modes are changed
only while a guardian is on guard. It restores only modes that are still ours: the shell, which learns of the death at
the same time, may have set its own already.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import posix
import termios

TYPE_CHECKING = False  # the module `typing` costs more than this one
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_STDIN = 0
_EINTR = 4
_IFLAG, _OFLAG, _CFLAG, _LFLAG, _CHARACTERS = 0, 1, 2, 3, 6
_IGNORED_BY_GUARDIAN = (1, 2, 3, 15)
"""HUP, INT, QUIT, TERM: what a person or a closing session sends to everything with the client's name."""


def take(*, silent: bool = False) -> "Screen | None":
    """The terminal of standard input in raw mode, or only `silent`; None when it has just gone."""
    try:
        return Screen(_silent if silent else _raw)
    except termios.error:
        return None


class Screen:
    """In the mode that `changed` makes of the present one from now on, until `close`."""

    def __init__(self, changed: "Callable[[list[Any]], list[Any]]") -> None:
        self._saved = termios.tcgetattr(_STDIN)
        self._changed = changed(self._saved)
        self._guardian, self._lifeline = _guard(self._saved, self._changed)
        self.enter()

    def enter(self) -> None:
        """(Again) in our mode; in the background this stops the client until it is in the foreground."""
        _set(self._changed)

    def leave(self) -> None:
        """As it was, for as long as the client is stopped."""
        if _foreground() or _are(self._changed):
            before = _signal.signal(_signal.SIGTTOU, _signal.SIG_IGN)
            _set(self._saved)
            _signal.signal(_signal.SIGTTOU, before)

    def close(self) -> None:
        """As it was, and the guardian is gone."""
        self.leave()
        try:
            posix.write(self._lifeline, b".")
            posix.close(self._lifeline)
            posix.waitpid(self._guardian, 0)
        except OSError:
            pass  # somebody killed the guardian, or there is none


def _raw(modes: "list[Any]") -> "list[Any]":
    """cfmakeraw(3): no line editing, no echo, no signals, no translation in either direction; byte by byte."""
    raw = [*modes[:_CHARACTERS], list(modes[_CHARACTERS])]
    raw[_IFLAG] &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
                     | termios.ICRNL | termios.IXON)
    raw[_OFLAG] &= ~termios.OPOST
    raw[_LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    raw[_CFLAG] = raw[_CFLAG] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    raw[_CHARACTERS][termios.VMIN], raw[_CHARACTERS][termios.VTIME] = 1, 0
    return raw


def _silent(modes: "list[Any]") -> "list[Any]":
    """As before, but what is typed is not shown."""
    silent = [*modes]
    silent[_LFLAG] &= ~termios.ECHO
    return silent


def _set(modes: "list[Any]") -> None:
    while True:
        try:
            termios.tcsetattr(_STDIN, termios.TCSANOW, modes)
            return
        except termios.error as error:
            if error.args[0] != _EINTR:
                return  # the terminal is gone, and its modes with it


def _are(modes: "list[Any]") -> bool:
    """Whether these are the terminal's modes at the moment."""
    try:
        return termios.tcgetattr(_STDIN)[:_LFLAG + 1] == modes[:_LFLAG + 1]
    except termios.error:
        return False


def _foreground() -> bool:
    try:
        return posix.tcgetpgrp(_STDIN) == posix.getpgrp()
    except OSError:
        return False


def _guard(saved: "list[Any]", ours: "list[Any]") -> tuple[int, int]:
    """Start the guardian: its pid, and where it listens. A byte tells it to go; an end, that we were killed.

    It is waited for: as long as it is in the foreground with us, whatever ends us may end it, too, be it a signal for
    the whole job or the terminal, which hangs up on the foreground when the leader of its session dies.
    """
    lifeline, listened = [end.detach() for end in _socket.socketpair()]
    try:
        pid = posix.fork()
    except OSError:
        pid = -1  # no more processes are allowed: a person wants a terminal all the same
    if pid:
        posix.close(listened)
        _hear(lifeline)
        return pid, lifeline
    try:
        _signal.set_wakeup_fd(-1)
        for number in _IGNORED_BY_GUARDIAN:
            _signal.signal(number, _signal.SIG_IGN)
        # Without a controlling terminal it may change modes whoever is in the foreground, and is in nobody's way.
        posix.setsid()
        posix.dup2(listened, 1)
        posix.closerange(2, 1 << 16)
        posix.write(1, b".")
        if not posix.read(1, 1) and _are(ours):
            _set(saved)
    finally:
        posix._exit(0)


def _hear(guardian: int) -> None:
    """Wait until the guardian is on guard, or dead."""
    try:
        posix.read(guardian, 1)
    except OSError:
        pass

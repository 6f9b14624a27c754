"""The person's terminal in raw mode: every key goes to the container, and the modes are put back whatever happens.

Who restores them: the client itself at every end it notices, and for the one it cannot notice (SIGKILL) the guardian,
a copy of the client that waits for its death at a pipe and is gone as soon as it is not needed. The guardian restores
only modes that are still ours: the shell, which learns of the death at the same time, may have set its own already.
"""

import _signal  # type: ignore[import-not-found]
import posix
import termios

TYPE_CHECKING = False  # the module `typing` costs more than this one
if TYPE_CHECKING:
    from typing import Any

_STDIN = 0
_EINTR = 4
_IFLAG, _OFLAG, _CFLAG, _LFLAG, _CHARACTERS = 0, 1, 2, 3, 6
_IGNORED_BY_GUARDIAN = (1, 2, 3, 15)
"""HUP, INT, QUIT, TERM: what a person or a closing session sends to everything with the client's name."""


def take() -> "Screen | None":
    """The terminal of standard input in raw mode; None when it has just gone."""
    try:
        return Screen()
    except termios.error:
        return None


class Screen:
    """Raw from now on, until `close`."""

    def __init__(self) -> None:
        self._saved = termios.tcgetattr(_STDIN)
        self._raw = _raw(self._saved)
        self._guardian, self._lifeline = _guard(self._saved, self._raw)
        self.enter()

    def enter(self) -> None:
        """(Again) raw; in the background this stops the client until it is in the foreground."""
        _set(self._raw)

    def leave(self) -> None:
        """As it was, for as long as the client is stopped."""
        if _foreground() or _are(self._raw):
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


def _guard(saved: "list[Any]", raw: "list[Any]") -> tuple[int, int]:
    """Start the guardian: its pid, and where it listens. A byte tells it to go; an end, that we were killed."""
    listened, lifeline = posix.pipe2(posix.O_CLOEXEC)
    try:
        pid = posix.fork()
    except OSError:
        pid = -1  # no more processes are allowed: a person wants a terminal all the same
    if pid:
        posix.close(listened)
        return pid, lifeline
    try:
        _signal.set_wakeup_fd(-1)
        for number in _IGNORED_BY_GUARDIAN:
            _signal.signal(number, _signal.SIG_IGN)
        # Without a controlling terminal it may change modes whoever is in the foreground, and is in nobody's way.
        posix.setsid()
        posix.dup2(listened, 1)
        posix.closerange(2, 1 << 16)
        if not posix.read(1, 1) and _are(raw):
            _set(saved)
    finally:
        posix._exit(0)

"""A person at a terminal, without a screen: a program on a pseudo-terminal, keys that are pressed, what it shows."""

import os
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence

PATIENCE = 30.0
_ON_TERMINAL = (
    "import fcntl, posix, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"  # so that keys and hang-ups can be signals
    "posix.execve(sys.argv[1], sys.argv[1:], posix.environ)\n"
)


class Keyboard:
    """Runs `argv` as the foreground of a terminal of its own; what it shows is kept, oldest first, as it came."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], rows: int = 24, cols: int = 80) -> None:
        self.master, self.slave = os.openpty()
        self.name = os.ttyname(self.slave)
        termios.tcsetwinsize(self.slave, (rows, cols))
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _ON_TERMINAL, *argv], env={**env, "TERM": "xterm"}, cwd="/",
            stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
        )
        self.shown = b""
        self._at = 0

    def close(self) -> None:
        """Close the window, as a person does with the mouse."""
        for descriptor in (self.master, self.slave):
            if descriptor >= 0:
                os.close(descriptor)
        self.master = self.slave = -1
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)

    @property
    def modes(self) -> list[object]:
        """The flags of the terminal: input, output, control, local."""
        return list(termios.tcgetattr(self.slave)[:4])

    @property
    def raw(self) -> bool:
        """Whether keys go through as they are."""
        return not int(termios.tcgetattr(self.slave)[3]) & (termios.ICANON | termios.ECHO | termios.ISIG)

    @property
    def cooked(self) -> bool:
        """Whether lines are edited and keys make signals, as before anything ran."""
        return not self.raw

    def type(self, keys: bytes | str) -> None:
        """Press keys."""
        os.write(self.master, keys if isinstance(keys, bytes) else keys.encode())

    def resize(self, rows: int, cols: int) -> None:
        """Drag the window's corner."""
        termios.tcsetwinsize(self.master, (rows, cols))

    def sees(self, wanted: bytes | str, seconds: float = PATIENCE) -> bytes:
        """Wait until this is shown, behind what was seen before; returns what was shown up to its end."""
        text = wanted if isinstance(wanted, bytes) else wanted.encode()
        deadline = time.monotonic() + seconds
        while (at := self.shown.find(text, self._at)) < 0:
            assert self._more(deadline), f"not shown: {text!r}, but {self.shown[self._at:][-500:]!r}"
        seen = self.shown[self._at:at + len(text)]
        self._at = at + len(text)
        return seen

    def ends(self, seconds: float = PATIENCE) -> int:
        """Wait for its end; the exit status as a shell shows it. What was shown up to then is in `shown`."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it goes on, after {self.shown[-500:]!r}"
            self._more(time.monotonic() + 0.02)
        while self._more(time.monotonic()):
            pass
        status = self.process.returncode
        return status if status >= 0 else 128 - status

    def rest(self) -> bytes:
        """What was shown since the last look."""
        seen, self._at = self.shown[self._at:], len(self.shown)
        return seen

    def kill(self, number: int = signal.SIGKILL) -> None:
        """A signal for the program alone."""
        self.process.send_signal(number)

    def _more(self, deadline: float) -> bool:
        """Take what is shown; False when nothing came in time."""
        if not select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        self.shown += os.read(self.master, 65536)
        return True

"""A terminal without a screen: a command line on a pseudo-terminal, as a person at a keyboard has it."""

import os
import pty
import select
import signal
import termios
import time
from types import TracebackType

from bench.process import Command, Failed, until

PATIENCE = 30.0


class Typist:
    """Runs a command on a terminal of its own; used as a context manager, which ends it."""

    def __init__(self, command: Command, rows: int = 24, cols: int = 80) -> None:
        self._command = command
        self._pid, self._master = pty.fork()
        if self._pid == 0:
            termios.tcsetwinsize(0, (rows, cols))
            os.execve(command.argv[0], command.argv, {**command.env, "TERM": "xterm"})

    def __enter__(self) -> "Typist":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        os.close(self._master)
        os.kill(self._pid, signal.SIGKILL)  # not every client ends when its terminal does
        os.waitpid(self._pid, 0)

    def until_raw(self) -> None:
        """Wait until keys are no longer echoed here, but wherever the command sends them. Raises Failed."""
        until(lambda: not termios.tcgetattr(self._master)[3] & termios.ECHO, "the terminal to be raw")

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def sees(self, wanted: bytes) -> None:
        """Wait until this was shown. Raises Failed."""
        seen, end = b"", time.monotonic() + PATIENCE
        while wanted not in seen:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._master], [], [], left)[0]:
                raise Failed(f"{' '.join(self._command.argv)} did not show {wanted!r}, but {seen[-200:]!r}")
            seen += os.read(self._master, 65536)

    def echo(self, key: bytes) -> float:
        """Press one key; milliseconds until the terminal shows it."""
        begin = time.perf_counter_ns()
        self.type(key)
        self.sees(key)
        return (time.perf_counter_ns() - begin) / 1e6

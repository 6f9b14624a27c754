"""Runs a program that dies with the process that started it: `python -I -S tether.py PARENT PROGRAM ARGUMENT…`.

A file of its own because it must be tiny: it is read anew each time the bus is restarted. PR_SET_PDEATHSIG survives
execve of a program without set-user-id bits (prctl(2)), is not inherited over fork, and fires when the *thread* that
forked ends, so the caller is to start this from its main thread.
"""

import posix
import sys

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def tether(parent: int, argv: list[str]) -> None:
    """Become `argv`, tied to the life of `parent`. Returns only when `parent` is gone already."""
    import ctypes

    posix.umask(0o077)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    # The parent may have died before the call above: then nobody will ever send the signal.
    if posix.getppid() == parent:
        posix.execve(argv[0], argv, {})


if __name__ == "__main__":
    tether(int(sys.argv[1]), sys.argv[2:])
    posix._exit(1)

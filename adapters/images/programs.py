"""Starts the small processes of this room, which read or write one layer with their root changed to its directory.

They are started afresh (`python -I -S`), never forked from the daemon; their modules use the standard library only.
"""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from domain.errors import Refused, StorageError
from domain.text.safe import safe

_ROOT = str(Path(__file__).parents[2])
_BOOT = (
    "import os, sys; sys.path.insert(0, sys.argv[1]); from adapters.images.{0} import main;"
    " os._exit(main(sys.argv[2:]))"  # the interpreter's own end would take as long as many a layer
)
PIPE_SIZE = 1 << 20


def command(program: str, arguments: list[str]) -> list[str]:
    """The argument vector that runs a module of this package."""
    return [sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT.format(program), _ROOT, *arguments]


@contextmanager
def running(
    program: str,
    arguments: list[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    keep: Sequence[int] = (),
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run `program` (a module of this package), which has the descriptors `keep`, too; at the end it is reaped, and
    killed when the caller failed."""
    argv = command(program, arguments)
    process = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env={}, cwd="/", pass_fds=keep)
    try:
        with process:
            try:
                yield process
            except BaseException:
                process.kill()
                if process.stderr is not None and not process.stderr.closed:
                    process.stderr.read()  # it ends when those have ended, too, that the program has started
                raise
    finally:
        process.wait()


def widen(fd: int) -> None:
    """Give a pipe room for a whole piece; the default of 64 KiB makes both sides wait for each other."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    except OSError:
        pass  # the user's limit of pipe pages is reached: slower, not wrong


def answer(process: "subprocess.Popen[bytes]", what: str, *, errors: bool = False) -> list[bytes]:
    """Wait for the program; the fields of a good answer, which is on standard output or (`errors`) on standard error.

    Raises: Refused (the archive is to blame), StorageError (the disk is).
    """
    outputs = process.communicate()
    return judged(process.returncode, outputs[errors], what, outputs[1])


def judged(status: int | None, answer: bytes, what: str, last_words: bytes) -> list[bytes]:
    """The fields of a good answer of a program that has ended with `status`. Raises: Refused, StorageError."""
    kind, *fields = answer.split(b"\0")
    if status == 0 and kind == b"ok":
        return fields
    if status == 0 and kind == b"unusable" and len(fields) == 2:
        reason, name = (safe(os.fsdecode(field)) for field in fields)
        problem = f'has an unusable entry "{name[:300]}"' if name else "is damaged"
        raise Refused(f"{what} {problem}: {reason}")
    if status == 0 and kind == b"failed" and fields:
        reason = os.fsdecode(fields[0])
        hint = "lading system prune frees some" if reason == os.strerror(errno.ENOSPC) else ""
        raise StorageError(f"{what} cannot be stored: {safe(reason)}", hint=hint)
    raise StorageError(
        f"{what} cannot be stored: its process ended with status {status}",
        hint=safe(os.fsdecode(last_words))[-300:],
    )

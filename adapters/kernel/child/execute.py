"""The end: the word to go, and the program."""

import os
import stat
from collections.abc import Callable, Sequence
from errno import EACCES, ELOOP, ENOEXEC, ENOSYS, EPERM

from adapters.kernel import syscalls
from adapters.kernel.child.context import Context
from adapters.kernel.child.paths import HERE, INSIDE, MISSING
from adapters.kernel.syscalls import encode
from domain.errors import CommandFailed, KernelError


def _wait_for_go(context: Context) -> None:
    if context.ready is not None:
        context.ready()
    elif not os.read(context.status, 1):
        os._exit(125)


def _execute(context: Context, argv: Sequence[str], env: Sequence[str], init: str) -> None:
    arguments = [encode(argument) for argument in argv]
    variables = dict(encode(entry).partition(b"=")[::2] for entry in env)
    if not variables.get(b"HOME"):
        variables[b"HOME"] = encode(context.account.home)
    syscalls.unblock_all_signals()
    best: OSError | None = None
    for candidate in _candidates(arguments[0], variables.get(b"PATH", b"")):
        if b"/" not in arguments[0] and not os.path.isfile(candidate):
            continue  # before anything that raises: each of the usual misses in PATH would take 0.05 ms
        try:
            _refuse_magic_links(candidate)
            if init:
                _check_executable(candidate)
                os.execve(encode(init), [encode(init), candidate, b"--", *arguments], variables)
            os.execve(candidate, arguments, variables)
        except OSError as error:
            best = best or error
    raise _not_executed(argv[0], best)


def _candidates(name: bytes, path: bytes) -> list[bytes]:
    """The files that a shell would try; an empty entry of PATH means nothing here, not the working directory."""
    return [name] if b"/" in name else [entry + b"/" + name for entry in path.split(b":") if entry]


def _refuse_magic_links(candidate: bytes) -> None:
    """/proc/self/exe would be the supervisor's own interpreter, run inside the container (CVE-2019-5736)."""
    try:
        os.close(syscalls.openat2(HERE, candidate.decode("utf-8", "surrogateescape"), os.O_PATH, INSIDE))
    except KernelError as error:
        if error.errno not in (ENOSYS, EPERM):  # a filter older than this call: what matters most is not to be run
            raise OSError(error.errno, os.strerror(error.errno)) from error
        if os.path.samefile(candidate, "/proc/self/exe"):
            raise OSError(ELOOP, os.strerror(ELOOP)) from error


def _check_executable(candidate: bytes) -> None:
    """What execve would say, as far as one can know before: the little init could only report a number."""
    found = os.stat(candidate)
    if not stat.S_ISREG(found.st_mode) or not os.access(candidate, os.X_OK):
        raise OSError(EACCES, os.strerror(EACCES))


def _not_executed(name: str, error: OSError | None) -> CommandFailed:
    shown = ascii(name)[1:-1]
    if error is None:
        return CommandFailed(f'exec: "{shown}": executable file not found in $PATH', exit_code=127)
    if error.errno in MISSING:  # the file, or the interpreter that it names
        what = f"stat {shown}: " if "/" in name and not os.path.exists(encode(name)) else ""
        return CommandFailed(f'exec: "{shown}": {what}no such file or directory', exit_code=127)
    if error.errno in (EACCES, EPERM, ELOOP):
        reason = "is a directory" if "/" in name and os.path.isdir(encode(name)) else "permission denied"
        return CommandFailed(f'exec: "{shown}": {reason}', exit_code=126)
    reason = "exec format error" if error.errno == ENOEXEC else os.strerror(error.errno or 0).lower()
    return CommandFailed(f'exec: "{shown}": {reason}', exit_code=126)


STEPS: dict[str, Callable[..., None]] = {
    "WaitForGo": _wait_for_go,
    "Execute": _execute,
}
"""Step name → function."""

"""The end: the word to go, and the program."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from errno import EACCES, ELOOP, ENOEXEC, ENOSYS, EPERM
from typing import NamedTuple

from adapters.kernel import syscalls
from adapters.kernel.child.context import Context
from adapters.kernel.child.paths import HERE, INSIDE, MISSING
from adapters.kernel.syscalls import encode
from domain.errors import CommandFailed, KernelError

_LONGEST_NAME = 1000  # as it is told


def _wait_for_go(context: Context) -> None:
    if context.ready is not None:
        context.ready()
    elif not os.read(context.status, 1):
        os._exit(125)


class Attempt(NamedTuple):
    """One file that may be the program: what would be executed, with which arguments, or why it is not tried."""

    program: bytes
    arguments: list[bytes]
    error: OSError | None = None


class Wish:
    """What is to be executed: `argv[0]` is looked up in the PATH of `env`; with `init`, that runs it as its child."""

    __slots__ = ("arguments", "init", "name", "variables")

    def __init__(self, context: Context, argv: Sequence[str], env: Sequence[str], init: str) -> None:
        self.name, self.init = argv[0], encode(init)
        self.arguments = [encode(argument) for argument in argv]
        self.variables = dict(encode(entry).partition(b"=")[::2] for entry in env)
        if not self.variables.get(b"HOME"):
            self.variables[b"HOME"] = encode(context.account.home)

    def environment(self) -> list[bytes]:
        """The variables as execve(2) takes them."""
        return [name + b"=" + value for name, value in self.variables.items()]

    def attempts(self) -> Iterator[Attempt]:
        """In the order in which a shell would try."""
        for candidate in _candidates(self.arguments[0], self.variables.get(b"PATH", b"")):
            if b"/" not in self.arguments[0] and not os.path.isfile(candidate):
                continue  # before anything that raises: each of the usual misses in PATH would take 0.05 ms
            try:
                _refuse_magic_links(candidate)
                if self.init:
                    _check_executable(candidate)
            except OSError as error:
                yield Attempt(candidate, [], error)
            else:
                yield self._attempt(candidate)

    def _attempt(self, candidate: bytes) -> Attempt:
        if self.init:
            return Attempt(self.init, [self.init, candidate, b"--", *self.arguments])
        return Attempt(candidate, self.arguments)

    def seen(self) -> dict[str, str | bool]:
        """What `not_executed` has to know."""
        path = encode(self.name) if "/" in self.name else b""
        return {"name": ascii(self.name)[1:-1][:_LONGEST_NAME], "there": not path or os.path.exists(path),
                "directory": bool(path) and os.path.isdir(path)}

    def failure(self, number: int) -> CommandFailed:
        """The error for the first error number of all attempts, 0 if there was none."""
        return not_executed(number=number, **self.seen())  # type: ignore[arg-type]  # mypy sees no keys


def _execute(context: Context, argv: Sequence[str], env: Sequence[str], init: str) -> None:
    wish = Wish(context, argv, env, init)
    syscalls.unblock_all_signals()
    first = 0
    for attempt in wish.attempts():
        error = attempt.error or _tried(attempt, wish.variables)
        first = first or error.errno or 0
    raise wish.failure(first)


def _tried(attempt: Attempt, variables: dict[bytes, bytes]) -> OSError:
    try:
        os.execve(attempt.program, attempt.arguments, variables)
    except OSError as error:
        return error


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
        found = os.stat(candidate)
        try:
            ours = os.stat("/proc/self/exe")
        except FileNotFoundError:
            return  # of one who is not in the pid namespace; what leads there leads nowhere, and was not found
        if os.path.samestat(found, ours):
            raise OSError(ELOOP, os.strerror(ELOOP)) from error


def _check_executable(candidate: bytes) -> None:
    """What execve would say, as far as one can know before: the little init could only report a number."""
    found = os.stat(candidate)
    if not stat.S_ISREG(found.st_mode) or not os.access(candidate, os.X_OK):
        raise OSError(EACCES, os.strerror(EACCES))


def not_executed(name: str, number: int, *, there: bool, directory: bool) -> CommandFailed:
    """Why nothing was executed: `number` is the first error of those that were tried, 0 if nothing was. What was named
    by a path is `there` or not, and a `directory` or not."""
    if not number:
        return CommandFailed(f'exec: "{name}": executable file not found in $PATH', exit_code=127)
    if number in MISSING:  # the file, or the interpreter that it names
        what = "" if there else f"stat {name}: "
        return CommandFailed(f'exec: "{name}": {what}no such file or directory', exit_code=127)
    if number in (EACCES, EPERM, ELOOP):
        return CommandFailed(f'exec: "{name}": {"is a directory" if directory else "permission denied"}', exit_code=126)
    reason = "exec format error" if number == ENOEXEC else os.strerror(number).lower()
    return CommandFailed(f'exec: "{name}": {reason}', exit_code=126)


STEPS: dict[str, Callable[..., None]] = {
    "WaitForGo": _wait_for_go,
    "Execute": _execute,
}
"""Step name → function."""

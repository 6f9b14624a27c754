"""The last birth: from outside of a container's pid namespace into it, with nothing that the container does not have.

Whoever is in a pid namespace can be named by all others there, and one of them who holds CAP_SYS_PTRACE may read, stop
and rule it, not dumpable or not. So a process that is to be one more in there is set up outside, where no name leads to
it, up to its last capability. Then it lets go of every descriptor but the three streams, and of every page but these:

    report, page 1   what it does, and what came of that; shared with the supervisor, and not with its child
    report, page 2   what the child does, and what came of that; shared with both: the child may write anything there
    the words        machine code; arguments and environment of the program

and has a child, which is born inside and executes the program. The interpreter is gone by then: what is left to do are
system calls, which the machine code (crossing_x86_64.s, crossing_aarch64.s beside this module; a test assembles them)
makes one after the other. Neither code nor data of the supervisor can be seen in the child, nor a copy of any secret.

Page 1 begins with the number of the child as the host knows it, written by the kernel before the child runs; records
follow at 64; at 1024 a JSON document of the tries, behind its length:

    {"name": "sh", "there": false, "directory": false, "terminal": true, "errors": [13, 0, 0]}

`errors` has an entry for each file that may be the program: why it was not tried, or 0. The document and page 2 are
only about what the user is told.
"""

import ctypes
import errno
import json
import os
from collections.abc import Callable, Sequence
from itertools import islice
from struct import pack, unpack_from
from typing import NamedTuple

from adapters.kernel import syscalls
from adapters.kernel.child import execute
from adapters.kernel.child.context import Context
from adapters.kernel.syscalls import failed

CODE: dict[str, bytes] = {
    "x86_64": bytes.fromhex(
        "4889fb488b03488b7b08488b7310488b53184c8b53204c8b43284c8b63300f054885c0750b4983fc0176054c89e3ebd348894338"
        "4983fc0175054885c078064883c340ebbeb8e7000000bf7d0000000f05"
    ),
    "aarch64": bytes.fromhex(
        "f30300aa680240a9610a41a9631242a9741a40f9010000d4a00000b59f0600f169000054f30314aaf7ffff17601e00f99f0600f1"
        "410000546000f8b773020191f1ffff17c80b80d2a00f80d2010000d4"
    ),
}
"""Position-independent code by machine, as uname(1) names it."""

SETTINGS = {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"}
"""The environment of whoever is to cross: the C library must not lend the kernel a place in memory (rseq(2)), for the
kernel kills who has unmapped it. glibc does so since 2.35 and can be told not to; others do not."""

_NUMBERS = {  # as in `adapters.kernel.syscalls`
    "munmap": (11, 215), "clone": (56, 220), "setsid": (112, 157), "ioctl": (16, 29), "execve": (59, 221),
    "exit_group": (231, 94),
}
_MACHINE = tuple(CODE).index(syscalls.MACHINE) if syscalls.MACHINE in CODE else 0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_RECORDS, _RECORD, _RESULT, _TRIES = 64, 64, 56, 1024
_GO_ON, _REQUIRED = 0, 1
_CLONE_VFORK, _CLONE_PARENT_SETTID = 0x4000, 0x100000
_TIOCSCTTY = 0x540E
_MOST_TRIES = 48  # what page 2 has room for
_SET_UP_FAILED = 125
_VSYSCALL = 1 << 63


class Outcome(NamedTuple):
    """What became of a crossing: the child (0 if there was none), and why nothing was executed: stage, number, text,
    exit code."""

    pid: int
    failure: tuple[str, int, str, int] | None = None


def new_report() -> int:
    """A descriptor of two empty pages. Raises: OSError."""
    report = os.memfd_create("lading-report", os.MFD_CLOEXEC)
    os.ftruncate(report, 2 * _PAGE)
    return report


def highest() -> int:
    """Where the highest page of this process ends. Raises: OSError."""
    with open("/proc/self/maps", encoding="ascii", errors="replace") as file:
        ends = [int(line.partition(" ")[0].partition("-")[2], 16) for line in file]
    return max(end for end in ends if end < _VSYSCALL)


def attach(report: int) -> int:
    """Where the report is from now on, in this process and, but for page 1, in its children. Raises: KernelError."""
    place = syscalls.mmap(2 * _PAGE, syscalls.PROT_READ | syscalls.PROT_WRITE, syscalls.MAP_SHARED, report)
    syscalls.madvise(place, _PAGE, syscalls.MADV_DONTFORK)
    return place


def outcome(report: int) -> Outcome:
    """What a process that has ended has left in its report. Raises: OSError."""
    mine, its = (os.pread(report, _PAGE, place) for place in (0, _PAGE))
    pid = unpack_from("<i", mine)[0]
    results = [unpack_from("<q", mine, _RECORDS + number * _RECORD + _RESULT)[0] for number in range(4)]
    born = results[-1]
    if pid <= 0:
        number = next((-result for result in results if result < 0), 0)
        if not number:
            return Outcome(0, _killed())
        return Outcome(0, ("clone", number, f"clone: {os.strerror(number)}", _SET_UP_FAILED))
    if born <= 0:  # the call has not come back
        return Outcome(pid, _killed())
    size = unpack_from("<I", mine, _TRIES)[0]
    return Outcome(pid, _complaint(json.loads(mine[_TRIES + 4:_TRIES + 4 + size]), its))


def _killed() -> tuple[str, int, str, int]:
    return "set-up", errno.ECHILD, "the process was killed before it could execute", _SET_UP_FAILED


def _complaint(tries: dict[str, object], its: bytes) -> tuple[str, int, str, int] | None:
    """None if the program was executed: then the call has no result."""
    before = ("setsid", "ioctl")[:1 + bool(tries["terminal"])]
    errors = tries["errors"]
    assert isinstance(errors, list)
    results = [unpack_from("<q", its, number * _RECORD + _RESULT)[0]
               for number in range(len(before) + errors.count(0))]
    for stage, result in zip(before, results, strict=False):
        if result < 0:
            return stage, -result & 0xFFF, f"{stage}: {os.strerror(-result & 0xFFF)}", _SET_UP_FAILED
    tried = iter(results[len(before):])
    first = 0
    for number in errors:
        result = -number if number else next(tried)
        if result >= 0:
            return None
        first = first or -result & 0xFFF
    error = execute.not_executed(str(tries["name"]), first, there=bool(tries["there"]),
                                 directory=bool(tries["directory"]))
    return "Cross", 0, error.message, error.exit_code


def _cross(context: Context, argv: Sequence[str], env: Sequence[str], init: str, terminal: bool) -> None:
    """Never returns, unless it raises."""
    wish = execute.Wish(context, argv, env, init)
    attempts = list(islice(wish.attempts(), _MOST_TRIES))
    errors = [attempt.error.errno or errno.EIO if attempt.error else 0 for attempt in attempts]
    if all(errors):
        raise wish.failure(errors[0] if errors else 0)
    words = _Words([attempt for attempt in attempts if attempt.error is None], wish.environment())
    tries = json.dumps({**wish.seen(), "terminal": terminal, "errors": errors}).encode()
    if len(tries) > _PAGE - _TRIES - 4:
        raise failed("crossing", "", errno.ENAMETOOLONG)
    _write(context.report + _RECORDS, b"".join(_own_calls(context, words)))
    _write(context.report + _TRIES, pack("<I", len(tries)) + tries)
    _write(context.report + _PAGE, b"".join(_childs_calls(words, terminal)))
    syscalls.unblock_all_signals()
    syscalls.close_range(3)
    words.run(context.report + _RECORDS)


class _Words:
    """A mapping of our own with the code, and with arguments and environment as execve(2) takes them."""

    def __init__(self, attempts: Sequence[execute.Attempt], environment: list[bytes]) -> None:
        texts = [*environment, *(word for each in attempts for word in (each.program, *each.arguments))]
        room = sum(len(text) + 1 + 8 for text in texts) + 24 * (len(attempts) + 1)
        self.size = -(-(_PAGE + room) // _PAGE) * _PAGE
        self.place = syscalls.mmap(self.size, syscalls.PROT_READ | syscalls.PROT_WRITE,
                                   syscalls.MAP_PRIVATE | syscalls.MAP_ANONYMOUS)
        _write(self.place, CODE[syscalls.MACHINE])
        syscalls.mprotect(self.place, _PAGE, syscalls.PROT_READ | syscalls.PROT_EXEC)
        self._end = self.place + _PAGE
        self.variables = self._vector(environment)
        self.tries = [(self._add(each.program + b"\0"), self._vector(each.arguments)) for each in attempts]

    def run(self, first: int) -> None:
        """Leave the interpreter for good."""
        ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(self.place)(first)

    def _add(self, data: bytes) -> int:
        place = self._end
        _write(place, data)
        self._end = place + len(data)
        return place

    def _vector(self, words: list[bytes]) -> int:
        """Pointers to the words, and a zero behind them."""
        pointers = [self._add(word + b"\0") for word in words]
        self._end = -(-self._end // 8) * 8
        return self._add(pack(f"<{len(pointers) + 1}Q", *pointers, 0))


def _own_calls(context: Context, words: _Words) -> list[bytes]:
    """Everything but what is kept is unmapped: what lies before, between and behind."""
    calls, low = [], 0
    for place, size in (*sorted(((context.report, 2 * _PAGE), (words.place, words.size))), (context.top, 0)):
        gap = (low, place - low) if place > low else (0, _PAGE)  # the first page is nobody's
        calls.append(_call("munmap", *gap, then=_REQUIRED))
        low = place + size
    flags = syscalls.CLONE_PARENT | _CLONE_VFORK | _CLONE_PARENT_SETTID
    return [*calls, _call("clone", flags, 0, context.report, then=context.report + _PAGE), _call("exit_group", 0)]


def _childs_calls(words: _Words, terminal: bool) -> list[bytes]:
    """A session of its own, once it is not ours any more: until then whoever rules the child could signal our group."""
    calls = [_call("setsid", then=_REQUIRED)]
    if terminal:
        calls.append(_call("ioctl", 0, _TIOCSCTTY, 0, then=_REQUIRED))
    calls += [_call("execve", program, arguments, words.variables) for program, arguments in words.tries]
    return [*calls, _call("exit_group", _SET_UP_FAILED)]


def _call(name: str, *arguments: int, then: int = _GO_ON) -> bytes:
    return pack("<8Q", _NUMBERS[name][_MACHINE], *arguments, *(0,) * (5 - len(arguments)), then, 0)


def _write(place: int, data: bytes) -> None:
    ctypes.memmove(place, data, len(data))


STEPS: dict[str, Callable[..., None]] = {"Cross": _cross}
"""Step name → function."""

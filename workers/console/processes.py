"""What `top` shows of processes, read from /proc: the formats of `ps -ef`, `aux` and `-o`, without running ps."""

import os
import pwd
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.errors import Refused

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MEMORY = os.sysconf("SC_PHYS_PAGES") * _PAGE


@dataclass(frozen=True, slots=True)
class Process:
    """One process; `cpu` in seconds, `started` in seconds since the epoch, `age` in seconds, sizes in bytes."""

    pid: int
    ppid: int
    uid: int
    state: str
    tty: int
    cpu: float
    started: float
    age: float
    nice: int
    threads: int
    size: int
    resident: int
    name: str
    line: str


def read(pids: Sequence[int]) -> list[Process]:
    """The processes that still exist, by pid."""
    found = (_read(pid) for pid in sorted(pids))
    return [process for process in found if process is not None]


def _read(pid: int) -> Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            line = file.read(65536)
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
    # The name may hold blanks and parentheses: the fields begin behind the last one (proc(5)).
    name, _, rest = stat.partition(b"(")[2].rpartition(b")")
    fields = rest.split()
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / _TICKS
    words = line.rstrip(b"\0").replace(b"\0", b" ")
    return Process(
        pid=pid,
        ppid=int(fields[1]),
        uid=uid,
        state=fields[0].decode(),
        tty=int(fields[4]),
        cpu=(int(fields[11]) + int(fields[12])) / _TICKS,
        started=time.time() - age,
        age=age,
        nice=int(fields[16]),
        threads=int(fields[17]),
        size=int(fields[20]),
        resident=int(fields[21]) * _PAGE,
        name=_text(name),
        line=_text(words) or f"[{_text(name)}]",
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _user(process: Process) -> str:
    try:
        return pwd.getpwuid(process.uid).pw_name
    except KeyError:
        return str(process.uid)


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _elapsed(process: Process) -> str:
    whole = int(process.age)
    days, clock = whole // 86400, _clock(whole % 86400)
    return f"{days}-{clock}" if days else clock.removeprefix("00:")


def _began(process: Process) -> str:
    moment = datetime.fromtimestamp(process.started).astimezone()
    return f"{moment:%H:%M}" if process.age < 86400 else f"{moment:%b%d}"


def _tty(process: Process) -> str:
    major, minor = process.tty >> 8 & 0xFFF, process.tty & 0xFF
    return f"pts/{minor}" if major == 136 else f"tty{minor}" if major == 4 else "?"


def _share(process: Process) -> float:
    return 100 * process.cpu / process.age if process.age > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title and its text for one process."""

    title: str
    text: Callable[[Process], str]


_COLUMNS: Mapping[str, Column] = {
    "pid": Column("PID", lambda p: str(p.pid)),
    "ppid": Column("PPID", lambda p: str(p.ppid)),
    "uid": Column("UID", lambda p: str(p.uid)),
    "user": Column("USER", _user),
    "c": Column("C", lambda p: str(int(_share(p)))),
    "pcpu": Column("%CPU", lambda p: f"{_share(p):.1f}"),
    "pmem": Column("%MEM", lambda p: f"{100 * p.resident / _MEMORY:.1f}"),
    "stime": Column("STIME", _began),
    "start": Column("START", _began),
    "etime": Column("ELAPSED", _elapsed),
    "etimes": Column("ELAPSED", lambda p: str(int(p.age))),
    "tty": Column("TTY", _tty),
    "time": Column("TIME", lambda p: _clock(p.cpu)),
    "stat": Column("STAT", lambda p: p.state),
    "s": Column("S", lambda p: p.state),
    "ni": Column("NI", lambda p: str(p.nice)),
    "nlwp": Column("NLWP", lambda p: str(p.threads)),
    "vsz": Column("VSZ", lambda p: str(p.size // 1024)),
    "rss": Column("RSS", lambda p: str(p.resident // 1024)),
    "comm": Column("COMMAND", lambda p: p.name),
    "args": Column("COMMAND", lambda p: p.line),
    "cmd": Column("CMD", lambda p: p.line),
}
_SAME = {
    "command": "args",
    "ucomm": "comm",
    "euser": "user",
    "ruser": "user",
    "euid": "uid",
    "ruid": "uid",
    "tt": "tty",
    "tname": "tty",
    "cputime": "time",
    "%cpu": "pcpu",
    "%mem": "pmem",
    "state": "s",
    "nice": "ni",
    "thcount": "nlwp",
    "vsize": "vsz",
    "rssize": "rss",
    "bsdstart": "start",
    "start_time": "stime",
}
_FULL = (
    Column("UID", _user),
    *(_COLUMNS[name] for name in ("pid", "ppid", "c", "stime", "tty", "time")),
    Column("CMD", lambda p: p.line),
)
_PLAIN = (_COLUMNS["pid"], _COLUMNS["tty"], _COLUMNS["time"], Column("CMD", lambda p: p.name))
_BSD = tuple(
    _COLUMNS[name] for name in ("user", "pid", "pcpu", "pmem", "vsz", "rss", "tty", "stat", "start", "time", "args")
)


def columns(options: Sequence[str]) -> tuple[Column, ...]:
    """The columns that options of ps mean. Raises Refused."""
    if not options:
        return _FULL
    chosen, letters, bsd, rest = list[Column](), "", False, list(options)
    while rest:
        word = rest.pop(0)
        flags, o, names = word.removeprefix("-").partition("o")
        if word.startswith("--") or flags.strip("efAaxuwl"):
            raise Refused(
                f"top does not know the ps option {word}", hint="known: -ef, aux, -o or -eo with a list of columns"
            )
        letters, bsd = letters + flags, bsd or _is_bsd(word)
        if o:
            chosen += _named(names or (rest.pop(0) if rest else ""))
    result = tuple(chosen) or (_FULL if "f" in letters else _BSD if bsd else _PLAIN)
    if not any(column.title == "PID" for column in result):
        raise Refused("Couldn't find PID field in ps output")
    return result


def _is_bsd(word: str) -> bool:
    """`aux`, and `-aux`, which ps(1) takes for the same as long as nobody is called x."""
    return "u" in word and (not word.startswith("-") or "x" in word)


def _named(names: str) -> list[Column]:
    result: list[Column] = []
    for name in names.replace(" ", ",").split(","):
        key, equals, title = name.partition("=")
        column = _COLUMNS.get(_SAME.get(key.lower(), key.lower()))
        if column is None:
            raise Refused(f"top does not know the column {key}", hint="known: " + ", ".join(sorted(_COLUMNS)))
        result.append(Column(title, column.text) if equals and title else column)
    return result

"""Processes from outside: run a command and time it, look at others through /proc."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import nursery

SIGTERM_BIT = 1 << 14  # of the masks in /proc/PID/status: bit n-1 is signal n
NULL = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


class Failed(Exception):
    """A measured command failed, so its time means nothing."""


class Command:
    """A command line, prepared: to run it costs the bench one vfork."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.argv, self.env = list(argv), dict(env)

    def __call__(self) -> float:
        """Run it with its output thrown away; milliseconds from before the fork until it was reaped."""
        begin = time.perf_counter_ns()
        pid = self.begin()
        status = os.waitpid(pid, 0)[1]
        taken = (time.perf_counter_ns() - begin) / 1e6
        if code := os.waitstatus_to_exitcode(status):
            raise Failed(f"{' '.join(self.argv)}: exit status {code}: {self.complaint()}")
        return taken

    def begin(self) -> int:
        """Start it with its output thrown away; returns the pid, which the caller reaps."""
        actions = [(os.POSIX_SPAWN_DUP2, NULL, number) for number in (0, 1, 2)]
        return os.posix_spawn(self.argv[0], self.argv, self.env, file_actions=actions)

    def output(self) -> str:
        """Run it and return what it wrote to its standard output. Raises Failed."""
        done = subprocess.run(
            self.argv, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Failed(f"{' '.join(self.argv)}: exit status {done.returncode}: {done.stderr.strip()[-400:]}")
        return done.stdout.strip()

    def complaint(self) -> str:
        """What it says when it is run again, for the message about a failure."""
        done = subprocess.run(
            self.argv, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        return done.stderr.strip()[-400:] or f"and {done.returncode} when run again"


def together(commands: Sequence[Command]) -> float:
    """Start all at once; milliseconds until the last one has ended. Raises Failed when one of them fails."""
    begin = time.perf_counter_ns()
    pids = {command.begin(): command for command in commands}
    failed = []
    for pid, command in pids.items():
        if code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            failed.append(f"{' '.join(command.argv)}: exit status {code}")
    taken = (time.perf_counter_ns() - begin) / 1e6
    if failed:
        raise Failed(f"{len(failed)} of {len(commands)} failed, as {failed[0]}")
    return taken


def until(condition: Callable[[], bool], what: str, patience: float = 30.0, pause: float = 0.005) -> None:
    """Wait for a condition. Raises Failed."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"waited {patience:.0f} s for {what}")
        time.sleep(pause)


class Nursery:
    """The process that owns one engine and all it starts; see `bench.nursery`. `covered` are directories to hide."""

    def __init__(self, folder: Path, covered: Sequence[str] = ()) -> None:
        self._folder = folder
        program = Path(nursery.__file__)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(program), *covered],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )

    def start(self, argv: Sequence[str], env: Mapping[str, str], log: str) -> int:
        """Start a program whose output goes to a file of that name in the folder; returns its pid."""
        request = {"argv": list(argv), "env": dict(env), "log": str(self._folder / log)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise Failed(f"{argv[0]} could not be started")
        return int(answer)

    def processes(self) -> list[int]:
        """All processes that the engine consists of now, the containers' included."""
        return nursery.descendants(self._process.pid)

    def close(self) -> None:
        """Kill all of them and wait until they are gone."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def alive(pid: int) -> bool:
    """Whether the process exists and has not ended."""
    return state(pid) not in ("", "Z", "X")


def state(pid: int) -> str:
    """The letter of proc(5); empty for none."""
    return _stat(pid)[0]


def start_time(pid: int) -> int:
    """In clock ticks since boot; with the pid it names a process for ever. 0 for none."""
    return int(_stat(pid)[19] or 0)


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return [""] * 50


def executable(pid: int) -> str:
    """The file name of its program; empty for none."""
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe")).removesuffix(" (deleted)")
    except OSError:
        return ""


def command_line(pid: int) -> str:
    """Its arguments, separated by blanks."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def pss(pid: int) -> float:
    """Proportional set size in MiB: shared pages are split between those who share them."""
    return parse_pss(Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii", errors="replace"))


def parse_pss(text: str) -> float:
    """The `Pss:` line of smaps_rollup in MiB."""
    found = re.search(r"^Pss:\s+(\d+) kB$", text, re.MULTILINE)
    if found is None:
        raise ValueError("no Pss line")
    return int(found[1]) / 1024


def catches_term(pid: int) -> bool:
    """Whether the process has a handler for SIGTERM (SigCgt of proc(5))."""
    try:
        return parse_catches_term(Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return False


def parse_catches_term(text: str) -> bool:
    """The same from the text of /proc/PID/status."""
    found = re.search(r"^SigCgt:\s+([0-9a-f]+)$", text, re.MULTILINE)
    return found is not None and bool(int(found[1], 16) & SIGTERM_BIT)

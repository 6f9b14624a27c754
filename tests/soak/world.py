"""What the cases of the soak work with: one engine with its API, clients that read and write at a pace of their own."""

import hashlib
import itertools
import os
import shutil
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.tutorial.engine import HOST, PROGRAMS, Engine

HANG = 60.0
"""Seconds after which a command line that has not ended counts as one that hangs."""
DOCKER = shutil.which("docker") or ""
_PIECE = 1 << 16


class Fault(Exception):
    """Something was lost, doubled, mixed up or late; the text says what."""


@dataclass(frozen=True)
class Ended:
    """A command line that has ended."""

    code: int
    out: bytes
    err: bytes

    def expect(self, out: bytes | None = None, code: int = 0, err: bytes | None = b"") -> "Ended":
        """Raises: Fault for anything else; None does not matter."""
        if (self.code, out if out is None else self.out, err if err is None else self.err) != (code, out, err):
            wanted = "anything" if out is None else shown(out)
            raise Fault(f"status {self.code} for {code}, out {shown(self.out)} for {wanted}, err {shown(self.err)}")
        return self


@dataclass(frozen=True)
class Tool:
    """A command line, ours or docker's."""

    name: str
    program: str
    environment: Mapping[str, str]


class World:
    """The engine, and who speaks with it: over the bus at `port`, if that is not 0. `box` is a container that sleeps,
    for execs."""

    def __init__(self, engine: Engine, port: int, gateway: Path, box: str) -> None:
        self.engine, self.gateway, self.box = engine, gateway, box
        self.moment = 0.3
        """Seconds in which the engine has done what it has said it does; more while its processes are killed."""
        docker = {"DOCKER_HOST": f"unix://{gateway}", "DOCKER_CONFIG": str(engine.folder / "docker")}
        self.tools = [Tool("lading", str(PROGRAMS / "lading"), engine.environment)]
        if port:
            far = {"LADING_HOST": f"nats://ann@127.0.0.1:{port}/{HOST}", "LADING_PASSWORD": "a word"}
            self.tools = [Tool("far", str(PROGRAMS / "lading"), {**engine.environment, **far})]
        elif DOCKER:
            self.tools.append(Tool("docker", DOCKER, {**engine.environment, **docker}))
        self.lading = self.tools[0]


def shown(data: bytes) -> str:
    """Short enough for a line."""
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()[:8]
    text = f"{data[:60]!r}…{data[-60:]!r}" if len(data) > 140 else repr(data)
    return f"[{len(data)} B {digest}] {text}"


def place(error: BaseException) -> str:
    """Which line of a case it was."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/soak/" in frame.filename and not frame.filename.endswith("__main__.py")]
    return "".join(f" at {Path(frame.filename).name}:{frame.lineno}" for frame in ours)


def content(chance: Random, size: int) -> bytes:
    """Bytes in which every piece of eight is different from the others near it."""
    start = chance.randrange(1 << 40)
    return b"".join(b"%07x\n" % ((start + n) & 0xFFFFFFF) for n in range(size // 8 + 1))[:size]


class Running:
    """A command line that is written to and read from in threads; `pace` gives the seconds before each piece."""

    def __init__(
        self, tool: Tool, *words: str, stdin: Iterable[bytes] | None = None, pace: Callable[[], float] = lambda: 0.0,
        reading: Callable[[], float] = lambda: 0.0, keep_open: bool = False,
    ) -> None:
        self.words, self._pace, self._reading, self._keep_open = words, pace, reading, keep_open
        self.process = subprocess.Popen(
            [tool.program, *words], env=tool.environment, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        )
        self.out, self.err = bytearray(), bytearray()
        self._threads = [
            threading.Thread(target=self._read, args=(stream, into), daemon=True)
            for stream, into in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        if stdin is not None:
            self._threads.append(threading.Thread(target=self._write, args=(iter(stdin),), daemon=True))
        for thread in self._threads:
            thread.start()

    def _read(self, stream: object, into: bytearray) -> None:
        descriptor = stream.fileno()  # type: ignore[attr-defined]
        while data := os.read(descriptor, _PIECE):
            into += data
            if pause := self._reading():
                time.sleep(pause)

    def _write(self, pieces: Iterable[bytes]) -> None:
        assert self.process.stdin is not None
        descriptor = self.process.stdin.fileno()
        try:
            for piece in pieces:
                if pause := self._pace():
                    time.sleep(pause)
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(descriptor, rest):]
        except BrokenPipeError:
            pass  # nobody reads any more
        if not self._keep_open:
            self.end_input()

    def end_input(self) -> None:
        """No more of it."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def shows(self, text: bytes, seconds: float = HANG) -> None:
        """Wait until it has written that. Raises: Fault."""
        deadline = time.monotonic() + seconds
        while text not in self.out:
            if time.monotonic() > deadline:
                raise Fault(f"{self.words}: {text!r} is not shown, but {shown(bytes(self.out + self.err))}")
            time.sleep(0.005)

    def end(self, seconds: float = HANG) -> Ended:
        """Raises: Fault when it hangs."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Fault(f"{self.words} hangs after {shown(bytes(self.out))}, {shown(bytes(self.err))}") from None
        for thread in self._threads[:2]:
            thread.join(seconds)
            if thread.is_alive():
                raise Fault(f"{self.words} has ended, and its output has not")
        return Ended(code, bytes(self.out), bytes(self.err))


def run(tool: Tool, *words: str, stdin: Iterable[bytes] | None = None, pace: Callable[[], float] = lambda: 0.0,
        reading: Callable[[], float] = lambda: 0.0, seconds: float = HANG) -> Ended:
    """A command line to its end. Raises: Fault when it hangs."""
    return Running(tool, *words, stdin=stdin, pace=pace, reading=reading).end(seconds)


def cut(chance: Random, data: bytes, most: int) -> list[bytes]:
    """In pieces of any size up to `most`."""
    pieces, at = [], 0
    while at < len(data):
        size = chance.choice((1, 7, 4095, 4096, 4097, 65535, 65536, 65537, most))
        pieces.append(data[at:at + min(size, most)])
        at += len(pieces[-1])
    return pieces


def slowly(chance: Random) -> Callable[[], float]:
    """Now and then a pause of some milliseconds, or never."""
    every, pause = chance.choice((0.0, 0.0, 0.02, 0.5)), chance.random() * 0.02
    return lambda: pause if chance.random() < every else 0.0


def sequence(lines: Sequence[bytes], what: str, first: int | None = None, last: int | None = None) -> None:
    """Numbers one after the other, without a gap or a repetition. Raises: Fault."""
    numbers = [int(line) for line in lines]
    for before, after in itertools.pairwise(numbers):
        if after != before + 1:
            raise Fault(f"{what}: {before} is followed by {after}")
    if (first is not None and numbers[:1] != [first]) or (last is not None and numbers[-1:] != [last]):
        raise Fault(f"{what}: {numbers[:1]} to {numbers[-1:]}, not {first} to {last}")

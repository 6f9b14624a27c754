"""Between a client and the process it takes part in: output, keys, the size of the terminal, signals, and every way in
which this ends. The container never waits for a client that is gone, and does not notice how one leaves.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Protocol, TypeVar

from domain.container import LIVE
from domain.errors import LadingError, NotFound, Refused
from domain.lifecycle.kill import Kill
from domain.options import one
from domain.ports.logs import LogFrame
from domain.ports.runtime import Input
from domain.text.keys import Watch, parse
from workers.console.call import Call, Terminal
from workers.console.engine import Engine
from workers.console.errors import UNREADABLE, Plain
from workers.console.verb import Invocation
from workers.mover import Caller
from workers.streams import PATIENT, STALLED

STDOUT, STDERR = 1, 2
DETACH_KEYS = one("detach-keys", "", "Keys that leave it running (ctrl-p,ctrl-q)", value="keys")
STREAMS = {"stdout": STDOUT, "stderr": STDERR}
T = TypeVar("T")


class Left(Enum):
    """How taking part has ended: the process closed its output, the keys were pressed, the client's input ended and
    nothing else was attached, or the client is gone."""

    ENDED = "ended"
    DETACHED = "detached"
    FED = "fed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Wiring:
    """What of a client is connected to a process: of its `streams` the outputs, its `stdin`, and its terminal if the
    process has one (`tty`), where `keys` leave it. With `once` the end of its input ends that of the process."""

    streams: frozenset[int] = frozenset((STDOUT, STDERR))
    stdin: bool = False
    tty: bool = False
    once: bool = False
    keys: bytes = b""

    @property
    def names(self) -> tuple[str, ...]:
        """As they are recorded."""
        return (*(("stdin",) if self.stdin else ()), *(name for name, kind in STREAMS.items() if kind in self.streams))


def detach_keys(text: str, status: int = 1) -> bytes:
    """The bytes of `--detach-keys`. Raises Plain, with this exit status."""
    try:
        return parse(text)
    except LadingError as error:
        raise Plain(error.message, hint=error.hint, status=status) from error


def require_terminal(
    call: Call, *, stdin: bool, tty: bool, instead: str = "leave out -t to send the input through a pipe"
) -> None:
    """Who types into a terminal has one. Raises Plain, with what can be done instead."""
    if stdin and tty and not call.terminal.stdin_tty:
        raise Plain("the input device is not a TTY", hint=instead)


def size(terminal: Terminal, *, tty: bool) -> tuple[int, int]:
    """Rows and columns that a terminal in a container has at first; zeros if nobody knows."""
    return (terminal.rows, terminal.cols) if tty else (0, 0)


class Client(Protocol):
    """Who takes part in a process: a command line, or a client of the API."""

    @property
    def terminal(self) -> Terminal:
        """Its terminal."""

    @property
    def closed(self) -> asyncio.Event:
        """Set when it is gone."""

    @property
    def deserted(self) -> bool:
        """Whether it went by itself, and not because the engine goes down."""

    async def out(self, data: bytes) -> None:
        """Something that was written to standard output."""

    async def err(self, data: bytes) -> None:
        """Something that was written to standard error."""

    def stdin(self) -> AsyncIterator[bytes]:
        """What it sends, until it ends that."""

    async def use_terminal(self, resized: Callable[[int, int], Awaitable[None]], *, raw: bool) -> None:
        """From now on `resized` gets rows and columns of its terminal."""

    async def release_terminal(self) -> None:
        """Its terminal is as it was before."""


async def until_gone(call: Client, work: Awaitable[T]) -> T | None:
    """The result of `work`, or None as soon as the client is gone; `work` is cancelled then."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(call.closed.wait())
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        for future in (task, gone):
            future.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


def patience(terminal: Terminal) -> float:
    """For how many seconds of standing still the output of a container waits for this client: a person who has walked
    away must not stop it, but a pipe or a file gets everything."""
    return STALLED if terminal.stdout_tty else PATIENT


async def pump(call: Client, frames: AsyncIterator[LogFrame], streams: frozenset[int], *, raw: bool = False) -> None:
    """Every frame to its stream of the client, byte for byte; streams that nobody attached are dropped. `raw` says that
    the client's terminal does not make lines by itself."""
    end = "\r\n" if raw else "\n"
    async for frame in frames:
        if frame.missed:
            note = f"lading: {frame.missed} bytes were not shown, because nobody took them for {STALLED:.0f} s"
            await call.err(f"{end}{note}{end}".encode())
        if frame.stream in streams and frame.data:
            await (call.out if frame.stream == STDOUT else call.err)(frame.data)


def forwarder(engine: Engine, id: str, who: Caller, *, proxy: bool) -> Callable[[int], Awaitable[None]]:
    """What a signal to the client does: it goes to the first process, or (without proxying) nowhere."""

    async def forward(signal: int) -> None:
        if not proxy or (await engine.container(id)).state not in LIVE:
            return
        try:
            await engine.execute(id, Kill(signal=signal), Caller(who.actor))
        except LadingError:
            return  # it ended in the same moment: its status is on the way

    return forward


class Signals:
    """Signals that came while the container was being started: kept, and sent on when it runs."""

    def __init__(self) -> None:
        self._kept: list[int] = []
        self._send: Callable[[int], Awaitable[None]] | None = None

    async def take(self, signal: int) -> None:
        """One signal of the client."""
        if self._send is None:
            self._kept.append(signal)
        else:
            await self._send(signal)

    async def send(self, send: Callable[[int], Awaitable[None]]) -> None:
        """From now on `send` gets them, first those that were kept."""
        self._send = send
        kept, self._kept = self._kept, []
        for signal in kept:
            await send(signal)


async def attached(
    call: Client, engine: Engine, id: str, wiring: Wiring, frames: AsyncIterator[LogFrame], *, exec_id: str = "",
    late: asyncio.Event | None = None
) -> Left:
    """Take part in the first process of a container, or in an exec, until one of the ends; the terminal is back then.

    With `late`, which is set when `frames` miss nothing any more, nothing is typed before, and a program that draws its
    screen is made to do it again, for one who has not seen it yet.
    """
    input = await _input(engine, id, exec_id) if wiring.stdin or wiring.tty else None
    try:
        async with _terminal(call, input, wiring):
            feed = partial(_feed, call, input, wiring, alone=not wiring.streams)
            feeding = _after(late, feed) if wiring.stdin else None
            return await _first(call, _works(call, input, wiring, frames, late), feeding, late)
    finally:
        if input is not None:
            await _leave(call, input, wiring)


async def _leave(call: Client, input: Input, wiring: Wiring) -> None:
    """A client that died has ended its input, too: what reads it must not wait for ever. One at a terminal has not,
    and neither has one that lost the engine."""
    try:
        if call.deserted and wiring.stdin and wiring.once and not wiring.tty:
            await input.end()
    except LadingError:
        pass  # the process is gone as well
    finally:
        input.close()


def _works(
    call: Client, input: Input | None, wiring: Wiring, frames: AsyncIterator[LogFrame], late: asyncio.Event | None
) -> list[Coroutine[None, None, Left | None]]:
    works: list[Coroutine[None, None, Left | None]] = [_gone(call)]
    if wiring.streams:
        works.append(_show(call, frames, wiring))
    if wiring.tty and input is not None and late is not None:
        works.append(_after(late, partial(_redraw, input, call.terminal)))
    return works


async def _after(
    late: asyncio.Event | None, work: Callable[[], Coroutine[None, None, Left | None]]
) -> Left | None:
    """What comes of `work`, which begins when nothing can be missed."""
    if late is not None:
        await late.wait()
    return await work()


async def _gone(call: Client) -> Left:
    await call.closed.wait()
    return Left.GONE


async def _show(call: Client, frames: AsyncIterator[LogFrame], wiring: Wiring) -> Left:
    await pump(call, frames, wiring.streams, raw=wiring.tty and wiring.stdin)
    return Left.ENDED


async def _feed(call: Client, input: Input | None, wiring: Wiring, *, alone: bool) -> Left | None:
    """What the client sends, until it ends, the process does not want any more, or the keys are pressed. None when
    there is still output to wait for."""
    watch = Watch(wiring.keys) if wiring.tty and wiring.keys else None
    try:
        async for piece in call.stdin():
            wanted = piece if watch is None else watch.feed(piece)
            if input is not None and wanted:
                await input.write(wanted)
            if watch is not None and watch.complete:
                return Left.DETACHED
        if input is not None:
            await _end(input, watch, wiring)
    except (Refused, NotFound):
        pass  # nobody reads any more; how that came about is told by the status
    return Left.FED if alone else None


async def _end(input: Input, watch: Watch | None, wiring: Wiring) -> None:
    if watch is not None and (held := watch.rest()):
        await input.write(held)
    if wiring.once:
        await input.end()


async def _first(
    call: Client, works: Sequence[Coroutine[None, None, Left | None]],
    feeding: Coroutine[None, None, Left | None] | None, late: asyncio.Event | None
) -> Left:
    """The first end that counts; everything else is called off. But what a client has said before it went by itself is
    still told to the process: then `feeding`, which finds the end of it, ends by itself."""
    tasks = [asyncio.ensure_future(work) for work in works]
    fed = [] if feeding is None else [asyncio.ensure_future(feeding)]
    try:
        for done in asyncio.as_completed([*tasks, *fed]):
            if (left := await done) is not None:
                return left
        return Left.ENDED
    finally:
        begun = late is None or late.is_set()
        for task in tasks if call.deserted and begun else [*tasks, *fed]:
            task.cancel()
        await asyncio.gather(*tasks, *fed, return_exceptions=True)


async def _input(engine: Engine, id: str, exec_id: str) -> Input | None:
    """None when the process has ended already, or never had one: its output and its status are still to be told."""
    try:
        return await engine.input(id, exec_id)
    except (NotFound, Refused):
        return None


@asynccontextmanager
async def _terminal(call: Client, input: Input | None, wiring: Wiring) -> AsyncIterator[None]:
    """The client's terminal follows that of the process, and passes on all keys when they are attached."""
    if not wiring.tty:
        yield
        return

    async def resized(rows: int, cols: int) -> None:
        if input is not None and rows and cols:
            await input.resize(rows, cols)

    await call.use_terminal(resized, raw=wiring.stdin and call.terminal.stdin_tty)
    try:
        yield
    finally:
        await call.release_terminal()


async def _redraw(input: Input, terminal: Terminal) -> None:
    """Programs draw anew when the size changes, so it changes and changes back."""
    if terminal.rows and terminal.cols:
        await input.resize(terminal.rows, terminal.cols + 1)
        await input.resize(terminal.rows, terminal.cols)


async def ended_with(invocation: Invocation, id: str, attempt: int) -> int:
    """The exit status of a run, as that of the command. One that nobody knows is no status of the container's: the
    person is told, and the command ends as one that the engine has failed."""
    status = await invocation.engine.wait_exit(id, attempt)
    if status >= 0:
        return status
    await invocation.warn(
        f"the exit status of {id[:12]} is not known, for the supervisor was lost: see lading why {id[:12]}"
    )
    return UNREADABLE

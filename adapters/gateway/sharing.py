"""Events of the present, which are the same for all who ask: one stream of the engine, told to everybody.

The first who asks opens it, for all events; whoever comes while it lasts joins in, also before it has begun. So the
engine knows of one listener and tells a thing once, however many there are here and whatever they have asked for: what
their filters let through is chosen and put into HTTP here, once for all who have asked for the same. An answer that the
engine does not mark is nobody's but its asker's. Who does not keep up is hung up on.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs

from adapters.gateway.line import Line, Lost
from domain.errors import LadingError
from domain.filters import of_query, pairs
from domain.notice_filters import KNOWN, Test, filters

MARK = b"Lading-Shared: 1"
"""The header line of an answer that may be shared; clients do not see it."""

_MANY, _QUIET, _LONGEST = 100, 0.05, 0.25
"""More listeners than that are told only once the engine has been quiet for so long, or after the longest time, in
seconds: to tell them all takes a processor's time, which the engine needs while something happens in it."""
_AT_A_TIME, _LOOKED_AT = 25, 100
"""So many are told, and so many wishes looked at, before others have their turn."""
_PATIENCE = 10.0
"""Seconds in which the engine answers that it has taken note of a listener."""
_AT_ONCE = 5.0
"""Seconds within which what one program asks for again is the same look."""
_EVENTS = re.compile(r"(/v\d{1,3}\.\d{1,3})?/events")
Connect = Callable[[], Awaitable[Line]]


class Wish(NamedTuple):
    """What a client wants to hear: of the answer to `GET path` what `fits` (None: all of it), as `filters` have it."""

    path: str
    filters: str
    fits: Test | None


def wish(method: str, target: str) -> Wish | None:
    """What a request asks for, if that can be shared: events from now on and without an end. What the engine would
    refuse cannot, so that it does."""
    path, _, query = target.partition("?")
    if method != "GET" or _EVENTS.fullmatch(path) is None or "#" in query:
        return None
    given = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
    if given.get("since") or given.get("until"):
        return None
    chosen = given.get("filters", "")
    try:
        return Wish(path, chosen, filters(pairs(of_query(chosen, KNOWN))) if chosen else None)
    except LadingError:
        return None


class Listener(Protocol):
    """One client."""

    @property
    def chunked(self) -> bool:
        """Whether it gets its answer in chunks (RFC 9112, section 7.1)."""

    def hear(self, data: bytes) -> None:
        """A piece of the answer, as it travels."""

    def end(self, *, whole: bool) -> None:
        """Nothing more comes."""


class _Notice(NamedTuple):
    """What filters look at of an event's document."""

    kind: str
    action: str
    id: str
    attributes: Mapping[str, str]


class _Group:
    """All who have asked for the same; each hears the lines from its own number on."""

    def __init__(self, fits: Test | None) -> None:
        self.fits = fits
        self.since: dict[Listener, int] = {}


class Broadcast:
    """One answer; it lasts while anybody listens."""

    def __init__(self, hall: "Hall", path: str, connect: Connect) -> None:
        self._hall, self._path = hall, path
        self._line: Line | None = None
        self._head: bytes | None = None
        self._opened = asyncio.Event()
        self._groups: dict[str, _Group] = {}
        self._listening, self._joined = 0, False
        self._part = b""
        self._fresh: list[bytes] = []
        self._lines = 0
        self._telling = asyncio.get_running_loop().create_task(self._run(connect))

    async def head(self) -> bytes | None:
        """The head of the answer; None when the engine does not share it, or cannot be asked."""
        await self._opened.wait()
        return self._head

    def join(self, listener: Listener, wish: Wish) -> bool:
        """From now on it hears what it wishes. Whether it is the first one, on whose behalf the engine is asked."""
        first, self._joined = not self._joined, True
        group = self._groups.get(wish.filters)
        if group is None:
            group = self._groups[wish.filters] = _Group(wish.fits)
        group.since[listener] = self._lines
        self._listening += 1
        return first

    def leave(self, listener: Listener, wish: Wish) -> None:
        """No more. The last one ends it."""
        group = self._groups[wish.filters]
        del group.since[listener]
        self._listening -= 1
        if not group.since:
            del self._groups[wish.filters]
        if not self._groups:
            self._close()
            self._telling.cancel()

    async def _run(self, connect: Connect) -> None:
        whole = False
        try:
            line = self._line = await connect()
            line.begin(["GET", self._path, "Host: lading"], b"")
            if await self._open(line):
                whole = await self._tell(line)
        except (Lost, OSError):
            pass  # OSError: who asked first is gone, and nobody knows any more who that was
        finally:
            self._close()
            self._opened.set()
            for listener in [listener for group in self._groups.values() for listener in group.since]:
                listener.end(whole=whole)

    async def _open(self, line: Line) -> bool:
        kind, rest = await line.next()
        head, shared = unmarked(rest)
        if kind != b"A" or not shared:
            return False
        self._head = head
        self._opened.set()
        await asyncio.sleep(0)  # those who have waited for it begin: what came with the head is for them, too
        return True

    async def _tell(self, line: Line) -> bool:
        """To the end of the answer; whether that was its own end."""
        while True:
            kind, rest = await line.next()
            if kind == b"X":
                return rest == b"0"
            self._take(line, kind, rest)
            if self._listening > _MANY:
                await self._gather(line)
                with self._hall.others_first():
                    await self._hand_out()
            else:
                await self._hand_out()

    async def _gather(self, line: Line) -> None:
        """What else happens now."""
        clock = asyncio.get_running_loop().time
        until = clock() + _LONGEST
        while clock() < until and not line.ends:
            await asyncio.sleep(_QUIET)
            if not line.waiting:
                break
            while line.waiting and not line.ends:
                self._take(line, *await line.next())

    def _take(self, line: Line, kind: bytes, rest: bytes) -> None:
        """A frame: some lines, of which the last may not be whole."""
        line.taken(len(rest))
        if kind == b"O":
            *lines, self._part = (self._part + rest).split(b"\n")
            self._fresh += [each + b"\n" for each in lines]
            self._lines += len(lines)

    async def _hand_out(self) -> None:
        """What has been gathered, a few clients at a time."""
        lines, self._fresh = self._fresh, []
        first, groups = self._lines - len(lines), tuple(self._groups.values())
        notices = list(map(_notice, lines)) if any(group.fits for group in groups) else []
        for place, group in enumerate(groups, 1):
            if place % _LOOKED_AT == 0:
                await asyncio.sleep(0)
            fits = group.fits
            chosen = range(len(lines)) if fits is None else [n for n, told in enumerate(notices) if fits(told)]
            if chosen:
                await _tell_all(group, {first + n: lines[n] for n in chosen}, first)

    def _close(self) -> None:
        if self._line is not None:
            self._line.close()
        self._hall.forget(self._path, self)


async def _tell_all(group: _Group, lines: Mapping[int, bytes], first: int) -> None:
    """These lines, by their numbers, to all of a group; who came while they were gathered hears the later ones."""
    whole = b"".join(lines.values())
    framed = _chunk(whole)
    for told, (listener, since) in enumerate(tuple(group.since.items()), 1):
        if since > first:
            own = b"".join(line for number, line in lines.items() if number >= since)
            _say(group, listener, own, _chunk(own))
        else:
            _say(group, listener, whole, framed)
        if told % _AT_A_TIME == 0:
            await asyncio.sleep(0)


def _say(group: _Group, listener: Listener, data: bytes, framed: bytes) -> None:
    """To one who has not left meanwhile."""
    if data and listener in group.since:
        listener.hear(framed if listener.chunked else data)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _notice(line: bytes) -> _Notice:
    """An event's document (`domain.notices.notice_document`)."""
    told = json.loads(line)
    actor = told["Actor"]
    return _Notice(told["Type"], told["Action"], actor["ID"], actor["Attributes"])


class Hall:
    """All answers that are being shared, by the path that was asked for."""

    def __init__(self, step_back: Callable[[bool], None] = lambda back: None) -> None:
        """`step_back` lets other processes go first, or not any more."""
        self._open: dict[str, Broadcast] = {}
        self._step_back = step_back
        self._crowds = 0
        self._one_at_a_time = asyncio.Lock()
        self._tellings: set[asyncio.Task[None]] = set()
        self._recent: set[tuple[str, Hashable]] = set()

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, path: str, connect: Connect) -> Broadcast:
        """What is being told to others, or from now on to whoever joins; then `connect` leads to the engine."""
        found = self._open.get(path)
        if found is None:
            found = self._open[path] = Broadcast(self, path, connect)
        return found

    @contextmanager
    def others_first(self) -> Iterator[None]:
        """While many are told nobody waits for us; the engine, which may be at work, has clients that do."""
        self._crowds += 1
        if self._crowds == 1:
            self._step_back(True)
        try:
            yield
        finally:
            self._crowds -= 1
            if not self._crowds:
                self._step_back(False)

    def tell(self, path: str, program: Hashable, connect: Connect) -> None:
        """Tell the engine that one more program hears what others do: it keeps a record of who has looked. Nobody waits
        for that; one of which it is not told is heard all the same. One that asks many times at once has looked once:
        to tell of a thousand takes the engine as long as thirty containers."""
        if (path, program) in self._recent:
            return
        loop = asyncio.get_running_loop()
        self._recent.add((path, program))
        loop.call_later(_AT_ONCE, self._recent.discard, (path, program))
        task = loop.create_task(self._tell(path, connect))
        self._tellings.add(task)
        task.add_done_callback(self._tellings.discard)

    async def _tell(self, path: str, connect: Connect) -> None:
        """One after the other, for a thousand may come at once."""
        async with self._one_at_a_time:
            with suppress(Lost, OSError, TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    line = await connect()
                    try:
                        line.begin(["HEAD", path, "Host: lading"], b"")
                        while (await line.next())[0] != b"X":
                            pass
                    finally:
                        line.close()

    def forget(self, path: str, broadcast: Broadcast) -> None:
        """It is over. Twice is fine."""
        if self._open.get(path) is broadcast:
            del self._open[path]


def unmarked(head: bytes) -> tuple[bytes, bool]:
    """The head as clients get it, and whether it may be shared."""
    lines = head.split(b"\0")
    return b"\0".join(line for line in lines if line != MARK), MARK in lines

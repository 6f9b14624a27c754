"""Who has only looked: at the logs of a container, at a list, at an image. Facts about questions, which change nothing.

They are in streams of their own, `access/<kind>/<key>` for what is in `<kind>/<key>`: programs ask every second for
months, and what is folded for every wish, the life of a container, must not become longer by that.

A log cannot bear an event for each question, either. So the same question (who, by which command line, what, about
which object, and whether it was answered) is recorded at once when it comes for the first time, and what comes again
within a window is counted; the count is recorded when the window is over, and stands for so many questions. As long as
a question keeps coming, its next window begins there. Of one who asks the same with ever other command lines some are
told apart, and the others only counted, together.

The sum of `times` over all records is the number of questions, whatever their order and their distances were.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from domain.messages import Actor, Event, StreamId
from domain.text.safe import legible
from domain.text.units import SECOND

KIND: Literal["access"] = "access"
WINDOW = 15 * 60 * SECOND
"""Nanoseconds after which a count is recorded."""
MOST_LINES = 32
"""So many command lines of one who asks the same about the same are told apart within a window."""
MOST_KEPT = 16_384
"""So many counts are kept at a time; beyond that the oldest windows end early."""
_LONGEST_REASON = 300

Outcome = Literal["answered", "refused"]


class Accessed(Event, stored_as="accessed.v1"):
    """Somebody has asked for `what`, a verb of the command line; of a stream, its beginning was answered.

    It stands for so many `times`. If it is a count, `first` and `last` (ns) are the moments of the first and the last
    one; `merged` says that their command lines were not told apart. Of what was `refused`, `reason` is the latest.
    """

    what: str
    outcome: Outcome = "answered"
    reason: str = ""
    times: int = 1
    first: int = 0
    last: int = 0
    merged: bool = False


def accesses_of(stream: StreamId) -> StreamId:
    """The stream that tells who has looked at what another one is about."""
    return StreamId(KIND, str(stream))


@dataclass(frozen=True, slots=True)
class Access:
    """One question about one object; `refused` is the reason why it was not answered."""

    actor: Actor
    what: str
    object: StreamId
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be recorded, and in whose name."""

    actor: Actor
    stream: StreamId
    event: Accessed


@dataclass(slots=True)
class _Count:
    """Questions that are not recorded yet, and who has asked the latest."""

    actor: Actor
    times: int = 0
    first: int = 0
    last: int = 0
    reason: str = ""

    def add(self, access: Access, now: int) -> None:
        """One more."""
        self.actor, self.reason, self.last = access.actor, access.refused, now
        self.first = self.first or now
        self.times += 1


@dataclass(frozen=True, slots=True)
class _Key:
    """Questions that share a window: all of one user for the same, whatever his process or his command line is."""

    via: str
    user: str
    uid: int
    host: str
    what: str
    object: StreamId
    outcome: Outcome


@dataclass(slots=True)
class _Window:
    """Counts since it was opened: by command lines, and of all the `others`."""

    opened: int
    lines: dict[str, _Count] = field(default_factory=dict)
    others: _Count | None = None


class Tally:
    """Says of every question what is to be recorded now; keeps a bounded number of counts."""

    def __init__(self, *, window: int = WINDOW, most_lines: int = MOST_LINES, most_kept: int = MOST_KEPT) -> None:
        self._length, self._most_lines, self._most_kept = window, most_lines, most_kept
        self._windows: OrderedDict[_Key, _Window] = OrderedDict()  # in the order in which they were opened
        self._kept = 0

    def note(self, access: Access, now: int) -> list[Due]:
        """One more question, at `now` (ns)."""
        due = self.close(now)
        key = _key(access)
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(now)
        command = access.actor.command
        if (count := window.lines.get(command)) is not None:
            count.add(access, now)
        elif len(window.lines) < self._most_lines:
            window.lines[command] = _Count(access.actor)
            self._kept += 1
            due.append(Due(access.actor, accesses_of(key.object), _event(key, reason=access.refused)))
        else:
            if window.others is None:
                window.others = _Count(access.actor)
            window.others.add(access, now)
        while self._kept > self._most_kept:
            due += self._end(*self._windows.popitem(last=False))
        return due

    def close(self, now: int) -> list[Due]:
        """The counts of all windows that are over at `now`; what goes on to be asked begins its next one."""
        due: list[Due] = []
        while self._windows:
            key, window = next(iter(self._windows.items()))
            if 0 <= now - window.opened < self._length:  # a clock that was put back ends them, too
                break
            del self._windows[key]
            due += self._end(key, window)
            lively = {line: _Count(count.actor) for line, count in window.lines.items() if count.times}
            if lively:
                self._windows[key] = _Window(now, lively)
                self._kept += len(lively)
        return due

    def drain(self) -> list[Due]:
        """All counts, and nothing is kept."""
        windows, self._windows = self._windows, OrderedDict()
        return [due for key, window in windows.items() for due in self._end(key, window)]

    @property
    def ends(self) -> int | None:
        """When the next window is over; None without one."""
        return next((window.opened + self._length for window in self._windows.values()), None)

    @property
    def kept(self) -> int:
        """How many counts are kept."""
        return self._kept

    def _end(self, key: _Key, window: _Window) -> Sequence[Due]:
        self._kept -= len(window.lines)
        stream = accesses_of(key.object)
        due = [Due(count.actor, stream, _event(key, count)) for count in window.lines.values() if count.times]
        if window.others is not None:
            nobodys = replace(window.others.actor, command="", pid=0)
            due.append(Due(nobodys, stream, _event(key, window.others, merged=True)))
        return due


def _key(access: Access) -> _Key:
    actor = access.actor
    outcome: Outcome = "refused" if access.refused else "answered"
    return _Key(actor.via, actor.user, actor.uid, actor.host, access.what, access.object, outcome)


def _event(key: _Key, count: _Count | None = None, *, reason: str = "", merged: bool = False) -> Accessed:
    if count is None:
        return Accessed(what=key.what, outcome=key.outcome, reason=_short(reason))
    return Accessed(
        what=key.what,
        outcome=key.outcome,
        reason=_short(count.reason),
        times=count.times,
        first=count.first,
        last=count.last,
        merged=merged,
    )


def _short(reason: str) -> str:
    """It may quote a name, which may be long and no text at all."""
    return legible(reason[:_LONGEST_REASON])

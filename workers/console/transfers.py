"""What people see of a pull or a push while it goes on: a line for each layer and a total on a terminal, elsewhere one
plain line for each step. At most ten times a second, and never faster than the reader."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from typing import Any, Protocol, TypeVar

from domain.images.progress import Part, Progress, State
from domain.text.safe import safe
from domain.text.units import human_duration, human_size
from workers.console.verb import Invocation

_EVERY = 0.1
_STEADY = 1.0
"""Seconds after which a rate means something."""
_T = TypeVar("_T")
_TEXTS: dict[State, str] = {
    "waiting": "Waiting",
    "downloading": "Downloading",
    "downloaded": "Download complete",
    "extracting": "Extracting",
    "complete": "Pull complete",
    "exists": "Already exists",
    "pushing": "Pushing",
    "pushed": "Pushed",
    "mounted": "Mounted from",
}
_PULL: tuple[State, ...] = ("waiting", "downloaded", "complete")
_PUSH: tuple[State, ...] = ("waiting", "pushed")
_AFTER: dict[State, int] = {"waiting": 1, "downloading": 1, "downloaded": 2, "extracting": 2, "complete": 3,
                            "pushing": 1, "pushed": 2}  # fmt: skip

Say = Callable[[str], Awaitable[None]]


class View(Protocol):
    """Shows how far it is."""

    async def update(self, progress: Progress) -> None:
        """As it is now."""


async def shown(
    invocation: Invocation,
    work: Coroutine[Any, Any, _T],
    progress: Progress,
    *,
    pushing: bool = False,
    to_stderr: bool = False,
    quiet: bool = False,
) -> _T:
    """The result of the work, which is shown meanwhile. When the client goes or says ^C, the work is stopped."""
    task = asyncio.ensure_future(work)
    view = _view(invocation, pushing=pushing, to_stderr=to_stderr, quiet=quiet)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_EVERY)
            await view.update(progress)
        return task.result()
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not pushing and progress.moved and not quiet:
            come = human_size(progress.moved)
            await invocation.warn(f"stopped: the {come} that have come are kept for the next pull")
        raise


def _view(invocation: Invocation, *, pushing: bool, to_stderr: bool, quiet: bool) -> View:
    terminal = invocation.call.terminal

    async def say(text: str) -> None:
        if to_stderr:
            await invocation.call.err(text.encode("utf-8", "backslashreplace"))
        else:
            await invocation.out(text)

    if quiet:
        return _Silent()
    if (terminal.stderr_tty if to_stderr else terminal.stdout_tty) and terminal.cols >= 40:
        return _Screen(say, terminal.cols, terminal.rows)
    return _Lines(say, _PUSH if pushing else _PULL)


class _Silent:
    """Shows nothing."""

    async def update(self, progress: Progress) -> None:
        """Nothing."""


class _Lines:
    """One line for each step of each layer, as docker writes them where nobody watches."""

    def __init__(self, say: Say, steps: tuple[State, ...]) -> None:
        self._say, self._steps = say, steps
        self._told: dict[int, int] = {}
        self._note = ""

    async def update(self, progress: Progress) -> None:
        """What is new."""
        lines: list[str] = []
        for place, part in enumerate(progress.parts):
            lines += self._news(place, part)
        if progress.note != self._note:
            self._note = progress.note
            lines += [safe(self._note)] if self._note else []
        if lines:
            await self._say("".join(f"{line}\n" for line in lines))

    def _news(self, place: int, part: Part) -> list[str]:
        told = self._told.get(place, 0)
        if part.state in ("exists", "mounted"):
            self._told[place] = len(self._steps)
            return [] if told == len(self._steps) else [_plain(part, part.state, self._steps)]
        reached = _AFTER.get(part.state, 0)
        self._told[place] = max(told, reached)
        return [_plain(part, state, self._steps) for state in self._steps[told:reached]]


def _plain(part: Part, state: State, steps: tuple[State, ...]) -> str:
    if state == "waiting":
        return f"{part.short}: {'Preparing' if steps is _PUSH else 'Pulling fs layer'}"
    if state == "exists" and steps is _PUSH:
        return f"{part.short}: Layer already exists"
    return f"{part.short}: {_TEXTS[state]}" + (f" {safe(part.source)}" if state == "mounted" else "")


class _Screen:
    """Repaints its own lines; what scrolls away above them is lost to nobody."""

    def __init__(self, say: Say, columns: int, rows: int) -> None:
        self._say, self._columns, self._rows = say, columns, rows or 24
        self._painted = 0
        self._begun = monotonic()
        self._last = ""

    async def update(self, progress: Progress) -> None:
        """Paint it, if anything has changed."""
        lines = self._fitting([_line(part) for part in progress.parts])
        if progress.parts:
            lines.append(_total(progress, monotonic() - self._begun))
        if progress.note:
            lines.append(safe(progress.note))
        text = "".join(f"{line[: self._columns - 1]}\x1b[K\n" for line in lines)
        if text == self._last:
            return
        up = f"\x1b[{self._painted}A" if self._painted else ""
        self._last, self._painted = text, len(lines)
        await self._say(f"{up}{text}\x1b[J")

    def _fitting(self, lines: list[str]) -> list[str]:
        room = max(self._rows - 4, 1)
        return lines if len(lines) <= room else [f"… {len(lines) - room + 1} more layers", *lines[1 - room :]]


def _line(part: Part) -> str:
    if part.state in ("downloading", "pushing"):
        return f"{part.short}: {_TEXTS[part.state]}  {human_size(part.done)}/{human_size(part.size)}"
    return f"{part.short}: {_TEXTS[part.state]}" + (f" {safe(part.source)}" if part.state == "mounted" else "")


def _total(progress: Progress, seconds: float) -> str:
    total, moved = progress.total, progress.moved
    text = f"total: {human_size(moved)}/{human_size(total)}"
    rate = progress.received / seconds if seconds >= _STEADY else 0
    if rate and moved < total:
        text += f"  {human_size(rate)}/s  {human_duration(int((total - moved) / rate * 1e9))} left"
    return text

"""How far a pull or a push is, in the API's words: what is new of each layer since it was last told."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from domain.documents import Document
from domain.images.progress import Part, Progress, State
from domain.text.units import human_size
from workers.gateway.lines import Say

_EVERY = 0.1
_BAR = 50
_PULL: dict[State, str] = {
    "waiting": "Pulling fs layer",
    "downloading": "Downloading",
    "downloaded": "Download complete",
    "extracting": "Extracting",
    "complete": "Pull complete",
    "exists": "Already exists",
}
_PUSH: dict[State, str] = {
    "waiting": "Preparing",
    "pushing": "Pushing",
    "pushed": "Pushed",
    "exists": "Layer already exists",
    "mounted": "Mounted from",
}
_MOVING: frozenset[State] = frozenset({"downloading", "pushing"})
_T = TypeVar("_T")


class Story:
    """Remembers what was told of each layer."""

    def __init__(self, *, pushing: bool = False) -> None:
        self._words = _PUSH if pushing else _PULL
        self._told: dict[int, tuple[State, int]] = {}
        self._note = ""

    def news(self, progress: Progress) -> Iterator[Document]:
        """What has changed since the last time."""
        for place, part in enumerate(progress.parts):
            if place not in self._told and part.state not in ("waiting", "exists", "mounted"):
                yield {"status": self._words["waiting"], "progressDetail": {}, "id": part.short}
            state, done = part.state, part.done if part.state in _MOVING else 0
            if self._told.get(place) != (state, done):
                self._told[place] = state, done
                yield self._line(part, state, done)
        if progress.note != self._note:
            self._note = progress.note
            if progress.note:
                yield {"status": progress.note}

    def _line(self, part: Part, state: State, done: int) -> Document:
        words = self._words.get(state, state) + (f" {part.source}" if state == "mounted" else "")
        if state not in _MOVING:
            return {"status": words, "progressDetail": {}, "id": part.short}
        return {
            "status": words,
            "progressDetail": {"current": done, "total": part.size},
            "progress": bar(done, part.size),
            "id": part.short,
        }


def bar(done: int, size: int) -> str:
    """`[=====>     ]  1.2MB/4.1MB`."""
    share = min(done * _BAR // size, _BAR) if size else 0
    drawn = ("=" * share + ">")[:_BAR].ljust(_BAR)
    return f"[{drawn}]  {human_size(done, digits=4)}/{human_size(size, digits=4)}"


async def watched(work: Coroutine[Any, Any, _T], progress: Progress, say: Say, begin: Document, *,
                  pushing: bool = False) -> _T:
    """The result of the work, which is told meanwhile, once it is known that there is something to do: `begin` goes
    first. Raises: what the work does."""
    story, begun = Story(pushing=pushing), False
    task = asyncio.ensure_future(work)
    try:
        while True:
            await asyncio.wait({task}, timeout=_EVERY)
            ended = task.done()
            if not begun and (progress.parts or (ended and not task.cancelled() and task.exception() is None)):
                begun = True
                await say(begin)
            for document in story.news(progress) if begun else ():
                await say(document)
            if ended:
                return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

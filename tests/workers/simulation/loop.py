"""An event loop with a clock of its own that can be stopped dead at any of its steps.

Time passes only when nothing can be done: a wait of ten seconds costs nothing and always takes the same path. A step is
one round of the loop, so every await of every task lies between two steps. A crash abandons all tasks where they stand,
as SIGKILL does: no `finally` of theirs runs while the test looks.
"""

import asyncio
import contextlib
import selectors
from collections.abc import Coroutine
from typing import Any

MOST = 20_000
"""Steps that no story needs: only timers go round, and nothing comes of it."""


class Crash(BaseException):
    """The process is gone."""


class _Selector(selectors.SelectSelector):
    """Never waits: moves the loop's clock instead, and counts the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.steps = 0
        self.budget: int | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.steps += 1
        if self.budget is not None and self.steps > self.budget:
            raise Crash
        if timeout is None or self.steps > MOST:
            raise RuntimeError("nothing will ever happen: a task waits for what nobody does")
        self.now += max(0.0, timeout)
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`budget` steps, then Crash comes out of `run`."""

    def __init__(self, budget: int | None = None, start: float = 0.0) -> None:
        self._simulated = _Selector()
        self._simulated.now = start
        super().__init__(self._simulated)
        self._simulated.budget = budget
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        """Seconds of the simulated clock."""
        return self._simulated.now

    @property
    def steps(self) -> int:
        """Rounds so far."""
        return self._simulated.steps

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run to the end and bury what is left, or raise Crash and leave all as it was."""
        self.run_until_complete(work)
        self.bury()

    def bury(self) -> None:
        """End every task that was abandoned, once nobody looks at the world any more, and close the loop."""
        self._simulated.budget, self._simulated.steps = None, 0
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        while any(not task.done() for task in tasks):
            with contextlib.suppress(RuntimeError):  # the end of the work that crashed stops the loop once
                self.run_until_complete(asyncio.wait(tasks))
        self.close()

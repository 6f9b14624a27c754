"""Shortage: the kernel has killed processes in a container for lack of memory; its first one may well live on.

A report says how many there were in the run up to now, so the same report again, or a later one that includes it, gives
only what is new.
"""

from collections.abc import Mapping

from domain.container import Container, State
from domain.machine import Move, Transition
from domain.messages import Command, Event, Recorded

MOST_AT_ONCE = 8
"""So many kills of one report become events of their own; the number of all is in each."""

EXISTS = frozenset(State) - {State.ABSENT, State.REMOVED}


class ReportMemoryKills(Command):
    """The kernel has killed `kills` processes in run `attempt` up to now; `victims` are (pid, name) of the last ones,
    as far as they are known, oldest first."""

    attempt: int
    kills: int
    victims: tuple[tuple[int, str], ...] = ()


class OomKilled(Event, stored_as="oom-killed.v1"):
    """The kernel has killed a process of the container because its memory was used up, or the host's.

    `pid` is 0 and `name` empty for one that nobody could tell; `kills` counts those of the run with this one, `limit`
    (bytes, 0 for none) was the container's.
    """

    attempt: int
    kills: int
    pid: int = 0
    name: str = ""
    limit: int = 0


def _report(container: Container, command: ReportMemoryKills) -> tuple[Event, ...]:
    if container.state not in EXISTS or command.attempt != container.attempt:
        return ()
    new = command.kills - container.kills
    limit = container.settled.limits.memory
    return tuple(
        _killed(command, command.kills - behind, behind, limit) for behind in reversed(range(min(new, MOST_AT_ONCE)))
    )


def _killed(command: ReportMemoryKills, number: int, behind: int, limit: int) -> OomKilled:
    """The kill with `behind` others after it."""
    pid, name = command.victims[-1 - behind] if behind < len(command.victims) else (0, "")
    return OomKilled(attempt=command.attempt, kills=number, pid=pid, name=name, limit=limit)


def _counted(container: Container, event: OomKilled, record: Recorded) -> Mapping[str, object]:
    return {"kills": event.kills} if event.attempt == container.attempt else {}


TRANSITION = Transition(
    decisions={ReportMemoryKills: _report},
    moves=(Move(OomKilled, EXISTS, None, _counted),),
)

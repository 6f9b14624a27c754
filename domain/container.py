"""State and Container: the fold of one container's stream."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from operator import attrgetter
from types import MappingProxyType

from domain.network.wishes import Attachment, Lease
from domain.spec import ContainerSpec, ExecSpec

_NOTHING: Mapping[int, str] = MappingProxyType({})
_NOBODY: "Mapping[str, Execution]" = MappingProxyType({})


class State(StrEnum):
    """Where a container stands. Exactly one holds; those in -ing wait for an outcome."""

    ABSENT = "absent"
    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    UNPAUSING = "unpausing"
    STOPPING = "stopping"
    EXITED = "exited"
    RESTARTING = "restarting"
    REMOVING = "removing"
    DEAD = "dead"
    REMOVED = "removed"


LIVE = frozenset({State.RUNNING, State.PAUSING, State.PAUSED, State.UNPAUSING, State.STOPPING})
"""States in which the first process exists."""

LIVELY = LIVE | {State.RESTARTING}
"""States in which a container runs or is about to again: what `ps` shows without `-a`."""

RESTING = frozenset({State.CREATED, State.EXITED, State.DEAD})
"""States in which nothing goes on and nothing will by itself: what can be removed without force."""

TRANSIENT = frozenset({State.STARTING, State.PAUSING, State.UNPAUSING, State.REMOVING})
"""States that end by themselves soon: the next wish waits for their outcome."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One more process in the run `attempt`: what was asked for at position `requested`; `pid` 0 until it was executed,
    `started_at` in ns since the epoch."""

    spec: ExecSpec
    attempt: int
    requested: int
    pid: int = 0
    start_time: int = 0
    started_at: int = 0


@dataclass(frozen=True, slots=True)
class Container:
    """What the events of one stream say; times are ns since the epoch, 0 for never.

    `attempt` counts starts and names the run. `rest` is where a failed start leads back to. `open` maps the position of
    every intent without outcome to its stored name. `requested` is the position of the last stop or kill of this run,
    `manual` says that the user ended it (no restart policy), `then_start` that a restart goes on with a start.
    `restarts` counts the policy's starts since the last one by a user, `streak` those that ended quickly.
    `kills` counts the processes of this run that the kernel has killed for lack of memory.
    `takes_volumes`: its removal takes along the volumes that nobody has named.
    `health` is empty without a check, else starting, healthy or unhealthy, `health_streak` the failures in a row that
    led there. `attached` are the streams that whoever created it took part in at once.
    `attachments` are the networks that it is to be on, `lease` what it has of them in this run, or had in the last one
    (`leased` says which).
    `execs` are the other processes by their id, from the request until the end of each is known.
    """

    id: str
    state: State = State.ABSENT
    version: int = 0
    name: str = ""
    spec: ContainerSpec | None = None
    env: tuple[str, ...] = ()
    created_at: int = 0
    attempt: int = 0
    rest: State = State.CREATED
    pid: int = 0
    start_time: int = 0
    cgroup: str = ""
    boot: str = ""
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    signal: int = 0
    oom: bool = False
    how: str = ""
    error: str = ""
    requested: int = 0
    manual: bool = False
    then_start: bool = False
    restarts: int = 0
    streak: int = 0
    open: Mapping[int, str] = field(default_factory=lambda: _NOTHING)
    kills: int = 0
    takes_volumes: bool = False
    health: str = ""
    health_streak: int = 0
    attached: tuple[str, ...] = ()
    execs: Mapping[str, Execution] = field(default_factory=lambda: _NOBODY)
    attachments: tuple[Attachment, ...] = ()
    lease: Lease | None = None
    leased: bool = False

    def changed(self, changes: Mapping[str, object]) -> "Container":
        """`dataclasses.replace` in a third of its time: every event passes here, and nearly all fields stay."""
        values = dict(zip(_FIELDS, _values_of(self), strict=True))
        values.update(changes)
        changed = object.__new__(Container)
        for name, value in values.items():
            object.__setattr__(changed, name, value)
        return changed

    @property
    def settled(self) -> ContainerSpec:
        """The spec of a container that exists."""
        if self.spec is None:
            raise LookupError(f"container {self.id} was never created")
        return self.spec

    @property
    def short(self) -> str:
        """The first 12 digits of the id, as lists show it."""
        return self.id[:12]


_FIELDS = tuple(each.name for each in fields(Container))
_values_of = attrgetter(*_FIELDS)

"""Containers as lists show them: rows of the projection, their words (STATUS), and the filters of `ps`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.container import LIVE, State
from domain.errors import InvalidValue
from domain.filters import together
from domain.network.ports import Binding, exposed, shown
from domain.resources import NO_LIMITS, Resources
from domain.text.table import shortened
from domain.text.units import SECOND, human_duration

SHOWN = {
    State.CREATED: "created",
    State.STARTING: "created",
    State.RUNNING: "running",
    State.PAUSING: "running",
    State.PAUSED: "paused",
    State.UNPAUSING: "paused",
    State.STOPPING: "running",
    State.EXITED: "exited",
    State.RESTARTING: "restarting",
    State.REMOVING: "removing",
    State.DEAD: "dead",
}
"""The seven names that the industry's clients know."""

_HEALTH = {"starting": "health: starting"}
"""What is shown of a health that does not stand for itself."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One container of a list. `networks` are (name, id), `exposed` (port, protocol). `size` and `virtual` are -1 when
    nobody asked for them."""

    id: str
    name: str
    image: str
    image_id: str
    command: tuple[str, ...]
    labels: Mapping[str, str]
    network: str
    created_at: int
    state: State
    started_at: int
    finished_at: int
    exit_code: int
    error: str
    reason: str
    restarts: int
    health: str = ""
    limits: Resources = NO_LIMITS
    mounts: tuple[tuple[str, str], ...] = ()
    networks: tuple[tuple[str, str], ...] = ()
    ports: tuple[Binding, ...] = ()
    exposed: tuple[tuple[int, str], ...] = ()
    size: int = -1
    virtual: int = -1

    @property
    def status_name(self) -> str:
        """`running`, `exited`, …; a start under way after a restart counts as restarting."""
        if self.state is State.STARTING and self.started_at:
            return "restarting"
        return SHOWN.get(self.state, self.state.value)


def listed(row: Mapping[str, object]) -> Listed:
    """A row of the projection `containers`."""
    command, labels = row["command"], row["labels"]
    return Listed(
        id=str(row["id"]),
        name=str(row["name"]),
        image=str(row["image"]),
        image_id=str(row["image_id"]),
        command=tuple(str(part) for part in command) if isinstance(command, list | tuple) else (),
        labels={str(key): str(value) for key, value in labels.items()} if isinstance(labels, Mapping) else {},
        network=str(row["network"]),
        created_at=_whole(row["created_at"]),
        state=State(str(row["state"])),
        started_at=_whole(row["started_at"]),
        finished_at=_whole(row["finished_at"]),
        exit_code=_whole(row["exit_code"]),
        error=str(row["error"]),
        reason=str(row["reason"]),
        restarts=_whole(row["restarts"]),
        health=str(row["health"]),
        mounts=_pairs(row.get("mounts")),
        networks=_pairs(row.get("networks")),
        ports=tuple(Binding(*each) for each in _items(row.get("ports"))),
        exposed=tuple((port, protocol) for port, protocol in _items(row.get("exposed"))),
        limits=Resources.model_validate(row["limits"]) if row.get("limits") else NO_LIMITS,
    )


def _pairs(value: object) -> tuple[tuple[str, str], ...]:
    return tuple((str(source), str(target)) for source, target in value) if isinstance(value, list | tuple) else ()


def _items(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _whole(value: object) -> int:
    return value if isinstance(value, int) else int(str(value or 0))


def command_line(argv: Sequence[str]) -> str:
    """Program and arguments joined by blanks, arguments that hold one in single quotes: for eyes, not for a shell."""
    return " ".join([*argv[:1], *(f"'{word}'" if " " in word else word for word in argv[1:])])


def status(container: Listed, now: int) -> str:
    """STATUS exactly as scripts know it: `Up 5 seconds (healthy)`, `Exited (3) 2 minutes ago`."""
    name = container.status_name
    if name in ("running", "paused"):
        mark = "Paused" if name == "paused" else _HEALTH.get(container.health, container.health)
        return f"Up {human_duration(now - since(container))}" + (f" ({mark})" if mark else "")
    ended = f"({container.exit_code}) {human_duration(now - since(container))} ago"
    words = {
        "created": "Created",
        "removing": "Removal In Progress",
        "dead": "Dead",
        "restarting": f"Restarting {ended}",
        "exited": f"Exited {ended}",
    }
    return words.get(name, name)


def since(container: Listed) -> int:
    """The moment from which `status` counts."""
    return second(container.started_at if container.status_name in ("running", "paused") else container.finished_at)


def second(moment: int) -> int:
    """The second of a moment, still in ns: lists count whole seconds, so all their times change together."""
    return moment - moment % SECOND


def reason(container: Listed) -> str:
    """Why it does not run, in words; empty when the status says it all."""
    if container.status_name == "created" and container.error:
        return f"start failed ({container.exit_code})"
    return container.reason if container.status_name in ("exited", "restarting", "dead") else ""


def status_with_reason(container: Listed, now: int) -> str:
    """The default table's STATUS: the reason follows what scripts match."""
    words = reason(container)
    return status(container, now) + (f": {words}" if words else "")


# `re` backtracks: patterns that could keep the daemon busy (repeated groups, back references) are refused.
_REPEATS = re.compile(r"[*+?{]")
_COSTLY = re.compile(r"\)\s*[*+{]|\\[0-9]|\(\?P=")

Test = Callable[[Listed], bool]


def filters(values: Sequence[str], others: Mapping[str, Listed]) -> Test:
    """What `--filter` values mean together: the same key or-ed, different keys and-ed.

    `others` finds the containers that `before` and `since` name. Raises OptionError (no `=`), InvalidValue.
    """
    return together(values, lambda key, wanted: _test(key, wanted, others))


def named_in_filters(values: Sequence[str]) -> tuple[str, ...]:
    """The containers that `before` and `since` mention."""
    pairs = [value.partition("=") for value in values]
    return tuple(wanted.strip() for key, _, wanted in pairs if key.strip().lower() in ("before", "since"))


def _test(key: str, wanted: str, others: Mapping[str, Listed]) -> Test:
    simple: dict[str, Callable[[str], Test]] = {
        "id": lambda text: lambda c: c.id.startswith(text),
        "name": _name,
        "label": _label,
        "status": _status,
        "exited": _exited,
        "ancestor": _ancestor,
        "network": lambda text: lambda c: text == c.network or any(text in pair for pair in c.networks),
        "health": _health,
        "is-task": lambda text: lambda _: text in ("false", "0"),
        "volume": lambda wanted: lambda c: any(wanted in pair for pair in c.mounts),
        "publish": lambda text: _ports(text, lambda c: [(each.host_port, each.protocol) for each in c.ports]),
        "expose": lambda text: _ports(text, lambda c: [*c.exposed, *((each.port, each.protocol) for each in c.ports)]),
    }
    if key in simple:
        return simple[key](wanted)
    if key in ("before", "since"):
        edge = others[wanted].created_at
        return (lambda c: c.created_at < edge) if key == "before" else (lambda c: c.created_at > edge)
    raise InvalidValue(f"invalid filter '{key}'")


def _ports(wanted: str, of: Callable[[Listed], Sequence[tuple[int, str]]]) -> Test:
    """`80`, `53/udp` or `8000-8010/tcp`; without a protocol it is tcp."""
    try:
        ports = {(each.port, each.protocol) for each in exposed(wanted)}
    except InvalidValue as error:
        raise InvalidValue(f"invalid filter: {error.message}", hint=error.hint) from error
    return lambda container: not ports.isdisjoint(of(container))


def port_column(container: Listed) -> str:
    """`0.0.0.0:8080->80/tcp, 99/tcp` of what runs."""
    if container.state not in LIVE or container.network == "host":
        return ""
    return shown(container.ports, container.exposed)


def _name(wanted: str) -> Test:
    if len(_REPEATS.findall(wanted)) > 3 or _COSTLY.search(wanted):
        raise InvalidValue(
            f"invalid filter 'name={wanted}'", hint="the pattern is too complex: use at most three of * + ? {}"
        )
    try:
        pattern = re.compile(wanted)
    except re.error:
        return lambda c: wanted in c.name
    return lambda c: pattern.search(c.name) is not None or pattern.search(f"/{c.name}") is not None


def _label(wanted: str) -> Test:
    key, equals, value = wanted.partition("=")
    return lambda c: key in c.labels and (not equals or c.labels[key] == value)


def _status(wanted: str) -> Test:
    if wanted not in SHOWN.values():
        raise InvalidValue(
            f"invalid filter 'status={wanted}'", hint="known: " + ", ".join(dict.fromkeys(SHOWN.values()))
        )
    return lambda c: c.status_name == wanted


def _exited(wanted: str) -> Test:
    try:
        code = int(wanted)
    except ValueError:
        raise InvalidValue(f"invalid filter 'exited={wanted}'") from None
    return lambda c: c.status_name == "exited" and c.exit_code == code


def _ancestor(wanted: str) -> Test:
    bare = wanted.removeprefix("sha256:")
    names = {wanted, wanted.removesuffix(":latest"), f"{wanted}:latest"}
    return lambda c: c.image in names or (len(bare) >= 4 and c.image_id.removeprefix("sha256:").startswith(bare))


def _health(wanted: str) -> Test:
    if wanted not in ("starting", "healthy", "unhealthy", "none"):
        raise InvalidValue(f"invalid filter 'health={wanted}'")
    return lambda c: (c.health or "none") == wanted


_LONG_NAME = 15


def sources(container: Listed, *, full: bool) -> list[str]:
    """Directories of the host and names of volumes; without `full` long names are cut."""
    found = [source for source, _ in container.mounts if source]
    return found if full else [shortened(source, _LONG_NAME) for source in found]


def local_volumes(container: Listed) -> int:
    """How many volumes it uses."""
    return len({source for source, _ in container.mounts if source and not source.startswith("/")})

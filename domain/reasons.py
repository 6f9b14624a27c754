"""Why a container ended, or is as it is: one sentence, who asked, and how sure we are. Pure; it reads one stream.

Three grades that are never mixed: `known` (recorded as a fact), `likely` (follows from what was recorded), `unknown`
(then `looked_at` says what was looked at).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from domain.container import Container, State
from domain.health import TOO_LATE
from domain.lifecycle import MACHINE
from domain.lifecycle.attach import Attached
from domain.lifecycle.create import Created
from domain.lifecycle.exec import ExecExited, ExecFailed, ExecRequested, ExecStarted
from domain.lifecycle.exit import Exited, RestartScheduled
from domain.lifecycle.health import HealthChanged
from domain.lifecycle.kill import KillRequested
from domain.lifecycle.network import (
    Connected,
    ConnectFailed,
    ConnectRequested,
    Disconnected,
    DisconnectFailed,
    DisconnectRequested,
    NetworkGranted,
    NetworkReleased,
    Unlinked,
)
from domain.lifecycle.pause import PauseRequested
from domain.lifecycle.remove import RemoveRequested
from domain.lifecycle.shortage import OomKilled
from domain.lifecycle.start import StartFailed, StartRequested
from domain.lifecycle.stop import StopRequested
from domain.messages import Actor, Recorded
from domain.signals import name as signal_name
from domain.text.units import memory_size

Grade = Literal["known", "likely", "unknown"]
_KILL = 9
_BYSTANDERS = (
    Attached, ExecRequested, ExecStarted, ExecFailed, ExecExited, NetworkGranted, NetworkReleased, ConnectRequested,
    Connected, ConnectFailed, DisconnectRequested, Disconnected, DisconnectFailed, Unlinked,
)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked for the end, when, with which words; `signal` is what was asked for."""

    actor: Actor
    verb: str
    time: int
    position: int
    signal: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One event of the chain that led here, and the time (ns) since the one before."""

    record: Recorded
    took: int


@dataclass(frozen=True, slots=True)
class Reason:
    """The answer of `why`. `asker` None: nobody asked; `signal` and `sender` are empty where none was sent."""

    grade: Grade
    sentence: str
    asker: Asker | None = None
    signal: str = ""
    sender: str = ""
    looked_at: str = ""
    suggestion: str = ""
    chain: tuple[Step, ...] = ()


def reason(records: Sequence[Recorded]) -> Reason:
    """The reason for the state after `records`, all events of one container."""
    container = MACHINE.fold(records[0].stream.key, records)
    chain = _chain(records)
    exited = _last(records, Exited)
    if container.state in _RESTING and exited is not None and not _start_failed_later(records, exited):
        return _of_exit(records, container, exited, chain)
    return _of_state(records, container, chain)


_RESTING = frozenset({State.EXITED, State.RESTARTING, State.REMOVING, State.REMOVED, State.DEAD})


def _last(records: Sequence[Recorded], *kinds: type) -> Recorded | None:
    return next((record for record in reversed(records) if isinstance(record.event, kinds)), None)


def _start_failed_later(records: Sequence[Recorded], exited: Recorded) -> bool:
    failed = _last(records, StartFailed)
    return failed is not None and failed.position > exited.position


def _chain(records: Sequence[Recorded]) -> tuple[Step, ...]:
    """The events of the last run, from the wish to start it on; who watched it, or did something else in it, is no
    reason of its end."""
    begin = max((place for place, record in enumerate(records) if isinstance(record.event, StartRequested)), default=0)
    part = [record for record in records[begin:] if not isinstance(record.event, _BYSTANDERS)]
    return tuple(Step(record, record.time - part[place - 1].time if place else 0) for place, record in enumerate(part))


def _asker(records: Sequence[Recorded], position: int) -> Asker | None:
    found = next((record for record in records if record.position == position), None)
    if found is None:
        return None
    match found.event:
        case StopRequested(signal=signal, then_start=then_start):
            verb = "restart" if then_start else "stop"
        case KillRequested(signal=signal):
            verb = "kill"
        case RemoveRequested(force=True):
            verb, signal = "rm -f", _KILL
        case _:
            return None
    return Asker(found.meta.actor, verb, found.time, found.position, signal)


def _of_exit(records: Sequence[Recorded], container: Container, record: Recorded, chain: tuple[Step, ...]) -> Reason:
    event = record.event
    assert isinstance(event, Exited)
    asker = _asker(records, event.requested)
    sent = signal_name(event.signal) if event.signal else ""
    name = container.name
    if event.how == "reboot":
        return Reason(
            "known",
            f"{name} ended because the host was rebooted",
            chain=chain,
            suggestion=f"lading start {name}, or create it with --restart unless-stopped",
        )
    if event.how == "unknown" or event.code < 0:
        return Reason(
            "unknown",
            f"{name} ended, and its exit status is not known",
            chain=chain,
            looked_at="the exit journal of the supervisor and the kernel's process table",
            suggestion=f"read its last words: lading logs --tail 50 {name}",
        )
    if event.oom and event.how == "self" and event.code:
        return Reason(
            "likely",
            f"{name} ended with status {event.code} after the kernel had killed {_victim(records)} in it: "
            "out of memory",
            None,
            chain=chain,
            suggestion=_more_memory(container),
        )
    if event.how == "oom":
        return Reason(
            "known",
            f"{name} was killed by the kernel: it ran out of memory",
            None,
            sent or "SIGKILL",
            "the kernel",
            chain=chain,
            suggestion=_more_memory(container),
        )
    if asker is not None and not _long_ago(asker, event, record):
        return _asked(records, container, event, asker, chain)
    if event.signal:
        return _foreign_signal(container, event, sent, chain)
    return _by_itself(container, event, chain)


def _victim(records: Sequence[Recorded]) -> str:
    killed = _last(records, OomKilled)
    event = killed.event if killed is not None else None
    return event.name if isinstance(event, OomKilled) and event.name else "a process"


def _more_memory(container: Container) -> str:
    limit = container.settled.limits.memory
    if not limit:
        return "give the host more memory, or make the program use less"
    return f"its limit was {memory_size(limit)}: lading update --memory SIZE --memory-swap SIZE {container.name}"


def _long_ago(asker: Asker, event: Exited, record: Recorded) -> bool:
    """A signal that the program outlived for more than a minute is not why it ended: HUP, USR1 and their like."""
    return asker.verb == "kill" and event.signal != asker.signal and record.time - asker.time > 60_000_000_000


def _asked(
    records: Sequence[Recorded], container: Container, event: Exited, asker: Asker, chain: tuple[Step, ...]
) -> Reason:
    name, who = container.name, _name_of(asker.actor)
    wished, sender = signal_name(asker.signal), f"the engine, for {who}"
    if event.signal == asker.signal and who == "its health check":
        sentence = f"{name} was ended by {wished} because it was unhealthy: {_probe(records)}"
        return Reason("known", sentence, asker, wished, sender, chain=chain)
    if event.signal == asker.signal:
        sentence = f"{name} ended by {wished}, which {who} sent with {asker.verb}"
        return Reason("known", sentence, asker, wished, sender, chain=chain)
    if event.signal == _KILL:
        late = f"{name} did not end within its time after {wished}, so it was killed; {who} asked with {asker.verb}"
        return Reason(
            "known",
            late,
            asker,
            "SIGKILL",
            sender,
            chain=chain,
            suggestion=f"its program ignores {wished}: run it with --init, or set --stop-signal",
        )
    sentence = f"{name} ended with status {event.code} after {who} asked with {asker.verb} ({wished})"
    return Reason("likely", sentence, asker, wished, sender, chain=chain)


def _name_of(actor: Actor) -> str:
    """Who it was, in words; the engine restarts and kills by itself only what is unhealthy."""
    return "its health check" if (actor.via, actor.user) == ("engine", "policy") else actor.user or actor.via


def _foreign_signal(container: Container, event: Exited, sent: str, chain: tuple[Step, ...]) -> Reason:
    sentence = f"{container.name} was ended by {sent}; nobody asked the engine for it"
    looked = "the wishes to the engine and the memory counter of the container: neither sent it"
    if event.signal == _KILL:
        return Reason(
            "likely",
            sentence + ", so another process of the host sent it",
            None,
            sent,
            "a process outside the engine",
            looked,
            chain=chain,
            suggestion="look for kill -9 in the host's own logs (audit, out-of-memory messages of the kernel)",
        )
    return Reason(
        "likely",
        sentence + ": its own process crashed, or another one of the host sent it",
        None,
        sent,
        "itself, or a process outside the engine",
        looked,
        chain=chain,
        suggestion=f"read its last words: lading logs --tail 50 {container.name}",
    )


def _by_itself(container: Container, event: Exited, chain: tuple[Step, ...]) -> Reason:
    name = container.name
    if event.code == 0:
        return Reason("known", f"{name} ended by itself: its command was done (status 0)", chain=chain)
    if event.code > 128 and event.code - 128 <= 64:
        inner = signal_name(event.code - 128)
        return Reason(
            "likely",
            f"{name} ended by itself with status {event.code}, which shells give when a command of theirs "
            f"was ended by {inner}",
            None,
            chain=chain,
            suggestion=f"lading logs --tail 50 {name}",
        )
    return Reason(
        "known",
        f"{name} ended by itself with status {event.code}: its own command decided so",
        chain=chain,
        suggestion=f"lading logs --tail 50 {name}",
    )


def _of_state(records: Sequence[Recorded], container: Container, chain: tuple[Step, ...]) -> Reason:
    name = container.name
    failed = _last(records, StartFailed)
    if container.error and failed is not None and container.state not in _ALIVE:
        event = failed.event
        assert isinstance(event, StartFailed)
        gone = " and was removed" if container.state is State.REMOVED else ""
        return Reason(
            "known",
            f"{name} could not be started{gone}: {event.reason}",
            _starter(records),
            chain=chain,
            suggestion=_mend(event),
        )
    if container.state is State.REMOVED:
        asked = _last(records, RemoveRequested)
        return Reason("known", f"{name} was removed before it ever ran", _remover(asked), chain=chain)
    if container.state is State.PAUSED:
        paused = _last(records, PauseRequested)
        asker = None if paused is None else Asker(paused.meta.actor, "pause", paused.time, paused.position)
        return Reason("known", f"{name} is paused", asker, chain=chain, suggestion=f"lading unpause {name}")
    if container.state is State.CREATED:
        return Reason(
            "known",
            f"{name} was created and never started",
            _starter(records),
            chain=chain,
            suggestion=f"lading start {name}",
        )
    return Reason("known", _alive(container, records), _starter(records), chain=chain)


_ALIVE = frozenset({State.RUNNING, State.PAUSED, State.PAUSING, State.UNPAUSING, State.STOPPING, State.STARTING})


def _alive(container: Container, records: Sequence[Recorded]) -> str:
    again = _last(records, RestartScheduled)
    if container.health == "unhealthy":
        return f"{container.name} is {container.state} and unhealthy: {_probe(records)}"
    if container.restarts and again is not None:
        times = "once" if container.restarts == 1 else f"{container.restarts} times"
        return f"{container.name} is {container.state}: its restart policy has started it {times}"
    if _restarted_for_its_health(records):
        return f"{container.name} is {container.state}: it was restarted because it was unhealthy: {_probe(records)}"
    return f"{container.name} is {container.state}"


def _restarted_for_its_health(records: Sequence[Recorded]) -> bool:
    started, stopped = _last(records, StartRequested), _last(records, StopRequested)
    if started is None or stopped is None or getattr(started.event, "by", "") != "restart":
        return False
    return _name_of(stopped.meta.actor) == "its health check"


def _probe(records: Sequence[Recorded]) -> str:
    """What the probe that decided against it has said."""
    for record in reversed(records):
        if isinstance(record.event, HealthChanged) and record.event.status == "unhealthy":
            event = record.event
            ended = "took too long" if event.exit_code == TOO_LATE else f"ended with status {event.exit_code}"
            words = event.output.strip().partition("\n")[0]
            times = "once" if event.streak == 1 else f"{event.streak} times in a row"
            return f"its check failed {times}, and the last one {ended}" + (f" ({words[:80]})" if words else "")
    return "its check failed"


def _starter(records: Sequence[Recorded]) -> Asker | None:
    found = _last(records, StartRequested) or _last(records, Created)
    if found is None:
        return None
    verb = getattr(found.event, "by", "create")
    return Asker(found.meta.actor, {"user": "start"}.get(verb, verb), found.time, found.position)


def _remover(asked: Recorded | None) -> Asker | None:
    return None if asked is None else Asker(asked.meta.actor, "rm", asked.time, asked.position)


def _mend(event: StartFailed) -> str:
    if event.exit_code == 127:
        return "check the spelling of the command, and that the image has it"
    if event.exit_code == 126:
        return "the command is there and not executable: check its mode, or that it is not a directory"
    return "read the reason above; lading start tries again"

"""The history of one container, step by step: what happened, who asked, what caused it, how long it took. Pure.

Sealed values (the environment) are in no step: of a variable only its name is told.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.accesses import KIND, Accessed
from domain.build.events import CacheStored, StepDone, StepStarted
from domain.container import Container
from domain.images.events import Tagged, Untagged
from domain.lifecycle import MACHINE
from domain.lifecycle.exec import ExecExited
from domain.lifecycle.exit import Exited
from domain.lifecycle.update import LimitsChanged, LimitsFailed, LimitsRequested
from domain.machine import settled_by
from domain.messages import Event, Recorded
from domain.network.ports import Binding, shown
from domain.redact import SECRET, redacted
from domain.signals import name as signal_name
from domain.spec import ContainerSpec, ExecSpec
from domain.text.times import local

_KEY = 12
"""Digits of a key that are shown."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event: `state` after it (of a reference: the image it names then), `took` in ns (None where nothing was
    waited for), `detail` the rest in words."""

    record: Recorded
    event: str
    state: str
    took: int | None
    detail: str

    @property
    def by(self) -> str:
        """Who asked; the engine itself for what follows by rule."""
        actor = self.record.meta.actor
        return actor.user or (str(actor.uid) if actor.uid >= 0 else actor.via)


def steps(records: Sequence[Recorded]) -> Iterator[Step]:
    """Every event of one stream, oldest first; of an entry of the cache also what builds say of it, and of everything
    who has only looked at it: that follows on an event of its own."""
    times = {record.position: record.time for record in records}
    container = Container(id=records[0].stream.key) if records else Container(id="")
    names = ""
    for record in records:
        before, state = container, ""
        if record.stream.kind == "container":
            container = MACHINE.evolve(before, record)
            state = container.state.value
        elif record.stream.kind == "ref":
            state = names = _named(record.event, names)
        told = detail(record.event)
        if record.stream.kind == KIND:
            state = container.state.value if records[0].stream.kind == "container" else names
        elif record.stream != records[0].stream:
            told = f"{record.stream.kind}={record.stream.key[:_KEY]} {told}"
        yield Step(record, title(record.event), state, _took(before, record, times), told)


def _named(event: Event, before: str) -> str:
    """What a reference names after the event: the beginning of an id, or nothing."""
    if isinstance(event, Tagged):
        return event.image_id.removeprefix("sha256:")[:12]
    return "" if isinstance(event, Untagged) else before


def title(event: Event) -> str:
    """`stop-requested` for what is stored as `stop-requested.v1`."""
    return event.stored_as.rpartition(".v")[0] or type(event).__name__


def _took(before: Container, record: Recorded, times: Mapping[int, int]) -> int | None:
    if isinstance(record.event, Exited):
        return _lived(before.started_at, record.event.ended or record.time)
    if isinstance(record.event, ExecExited):
        execution = before.execs.get(record.event.exec_id)
        return _lived(execution.started_at if execution else 0, record.event.ended or record.time)
    if record.stream.kind == "ref":
        settled = bool(record.event.settles) and record.meta.cause in times
        return record.time - times[record.meta.cause] if settled else None
    if isinstance(record.event, StepDone):
        return record.event.took if record.event.how == "ran" else None
    ended = settled_by(before.open, record.event, record.meta.cause)
    begun = [times[position] for position in ended if position in times]
    return record.time - max(begun) if begun else None


def _lived(started: int, ended: int) -> int | None:
    """None for what had ended before its start was written down: it was short, how short nobody has seen."""
    return ended - started if 0 < started < ended else None


def facts(event: Event) -> dict[str, Any]:
    """The event's own data, with sealed values masked."""
    data = event.model_dump(mode="json")
    for name in event.sealed:
        values = data.get(name)
        if isinstance(values, list):
            data[name] = [f"{str(value).partition('=')[0]}={SECRET}" for value in values]
        elif name in data:
            data[name] = SECRET
    return data


def detail(event: Event) -> str:
    """The facts in a few words: `status 137 by SIGKILL`, `image=alpine command='sleep 9'`."""
    if isinstance(event, Accessed):
        return " ".join(_access_words(event))
    if isinstance(event, LimitsRequested | LimitsChanged | LimitsFailed):
        return " ".join(_changes(event))
    if isinstance(event, StepDone | StepStarted):
        return " ".join(_step_words(event))
    if isinstance(event, CacheStored):
        return " ".join(_entry_words(event))
    return " ".join(word for name, value in facts(event).items() for word in _words(name, value))


def _changes(event: LimitsRequested | LimitsChanged | LimitsFailed) -> Iterator[str]:
    """`memory=33554432->67108864`."""
    for name, new in event.limits:
        if (old := getattr(event.before, name)) != new:
            yield f"{name}={old}->{new}"
    if isinstance(event, LimitsFailed):
        yield f"reason={event.reason}"


def _step_words(event: StepDone | StepStarted) -> Iterator[str]:
    """`3 of build: RUN make (cached)`, and why it was not."""
    yield f"{event.number} of {event.stage}: {event.text}"
    if isinstance(event, StepStarted):
        yield f"cause={event.cause!r} inputs={','.join(name for name, _ in event.inputs)}"
    else:
        yield f"({event.how})" + (f" key={event.key[:_KEY]}" if event.key else "")


def _entry_words(event: CacheStored) -> Iterator[str]:
    """`RUN make image=… build=…`, and everything that the step depends on, by name."""
    yield event.text or "the whole image"
    yield f"image={event.image_id.removeprefix('sha256:')[:12]} build={event.build[:12]}"
    if event.source:
        yield f"taken-from={event.source.removeprefix('sha256:')[:12]}"
    yield f"size={event.size} inputs={','.join(name for name, _ in event.inputs)}"


def _access_words(event: Accessed) -> Iterator[str]:
    """`stats 899 times, from … to …`, or `logs refused: No such container: web`."""
    yield event.what
    if event.first:
        times = "once more" if event.times == 1 else f"{event.times} times more"
        yield f"{times}, from {local(event.first)} to {local(event.last)}"
    if event.merged:
        yield "by other command lines"
    if event.outcome == "refused":
        yield f"refused: {event.reason}"


def _exec_words(spec: ExecSpec) -> Iterator[str]:
    yield f"command={redacted(spec.argv)!r}"
    for name in ("user", "workdir"):
        if value := getattr(spec, name):
            yield f"{name}={value}"
    yield from (name for name in ("tty", "stdin", "privileged") if getattr(spec, name))


def _interface_words(value: Mapping[str, Any]) -> Iterator[str]:
    """`shop=10.213.0.5/24`."""
    yield f"{value['network_name']}={','.join(value['addresses'])}"


def _attachment_words(value: Mapping[str, Any]) -> Iterator[str]:
    yield f"network={value['network']}"
    yield from (f"{name}={value[name]}" for name in ("ip", "ip6", "mac") if value[name])
    if value["aliases"]:
        yield f"aliases={','.join(value['aliases'])}"


_OF_NETWORKS: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "interface": _interface_words,
    "interfaces": lambda value: (word for each in value for word in _interface_words(each)),
    "attachment": _attachment_words,
    "bindings": lambda value: iter((f"ports={shown([Binding(**each) for each in value]).replace(', ', ',')}",)),
    "let_go": lambda value: iter((f"let-go={','.join(each.partition('/')[2] for each in value)}",)),
}


def _words(name: str, value: object) -> Iterator[str]:
    if name == "spec" and isinstance(value, Mapping):
        spec = ContainerSpec.model_validate(value)
        yield f"image={spec.image} command={redacted(spec.argv)!r}"
    elif name == "exec" and isinstance(value, Mapping):
        yield from _exec_words(ExecSpec.model_validate(value))
    elif name == "network" and isinstance(value, Mapping):
        subnets = ",".join(one["subnet"] for one in value["addresses"])
        yield f"network={value['name']}" + (f" subnet={subnets}" if subnets else "")
    elif name in _OF_NETWORKS and value:
        yield from _OF_NETWORKS[name](value)
    elif name in ("restart", "old") and isinstance(value, Mapping):
        yield f"{name}={value['name']}" + (f":{value['retries']}" if value["retries"] else "")
    elif name == "output" and value:
        yield f"output={value!r}"
    elif name == "exec_id":
        yield f"exec={str(value)[:12]}"
    elif name in ("image_id", "previous") and isinstance(value, str) and value:
        yield f"{name.removesuffix('_id')}={value.removeprefix('sha256:')[:12]}"
    elif name == "streams" and isinstance(value, list):
        yield f"streams={','.join(map(str, value))}"
    elif name == "size" and isinstance(value, list):
        if any(value):
            yield f"size={'x'.join(map(str, value))}"
    elif name == "signal" and isinstance(value, int) and value:
        yield f"signal={signal_name(value)}"
    elif name == "env" and isinstance(value, list):
        if value:
            yield f"env={','.join(str(item).partition('=')[0] for item in value)}"
    elif name in ("ended", "requested", "boot", "start_time", "cgroup", "image") or value in (
        "",
        None,
        0,
        False,
        [],
        {},
    ):
        if name == "code":
            yield "code=0"
    elif isinstance(value, list | tuple | dict):
        yield f"{name}={value!r}"
    else:
        yield f"{name}={value}"

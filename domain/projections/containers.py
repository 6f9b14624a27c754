"""The containers of this host as `ps` shows them: one row each, gone when the container is removed."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from domain.container import LIVELY, State
from domain.lifecycle import MACHINE
from domain.lifecycle.create import Created
from domain.lifecycle.exec import ExecExited, ExecStarted
from domain.lifecycle.exit import Exited
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
)
from domain.lifecycle.remove import Removed, RemoveFailed, RemoveRequested
from domain.lifecycle.rename import Renamed
from domain.lifecycle.start import Adopted, Started, StartFailed, StartRequested
from domain.lifecycle.stop import StopRequested
from domain.lifecycle.update import LimitsChanged, LimitsFailed, LimitsRequested
from domain.messages import Event, Recorded
from domain.network.wishes import Interface
from domain.projections.fold import Column, Row
from domain.resources import Resources


class Containers:
    """Key: container id. Times in ns since the epoch, 0 for never.

    `execs` counts the other processes that live, `checked` says whether it has a health check, and `health` (empty
    before the first start) what that has found. `limits` holds the fields of `Resources` that were asked for,
    `mounts` pairs of source and target. `network` is the mode of its network, `networks` are those that it is to be on
    (name, id or empty), `addresses` (network, address) and `ports` (see `Binding`) what it has of them while it runs,
    `exposed` (port, protocol).
    `active` is 1 in the states that `ps` shows without `-a` (`LIVELY`), and has no value in all others: by it these few
    of many are found. Its index changes as a run begins and as it ends, and neither within it nor when it is over.
    """

    name = "containers"
    inline = True
    revision = 7
    columns = (
        Column("id", "text"),
        Column("name", "text", unique=True),
        Column("image", "text"),
        Column("image_id", "text"),
        Column("command", "json"),
        Column("labels", "json"),
        Column("network", "text"),
        Column("created_at", "integer"),
        Column("state", "text"),
        Column("active", "integer", indexed=True),
        Column("attempt", "integer"),
        Column("pid", "integer"),
        Column("started_at", "integer"),
        Column("finished_at", "integer"),
        Column("exit_code", "integer"),
        Column("oom", "integer"),
        Column("error", "text"),
        Column("reason", "text"),
        Column("restarts", "integer"),
        Column("rest", "text"),
        Column("auto_remove", "integer"),
        Column("asked", "text"),
        Column("execs", "integer"),
        Column("checked", "integer"),
        Column("health", "text"),
        Column("limits", "json"),
        Column("mounts", "json"),
        Column("networks", "json"),
        Column("addresses", "json"),
        Column("ports", "json"),
        Column("exposed", "json"),
    )

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """Only the container's own stream touches its row."""
        return (record.stream.key,) if record.stream.kind == "container" else ()

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """The row after the event."""
        event: Any = record.event
        if type(event) is Created:  # `isinstance` goes a long way round through pydantic
            return _created(event, record.time, key)
        if row is None or (changed := self.changes(row, record)) is None:
            return None
        return {**row, **changed}

    def changes(self, row: Row, record: Recorded) -> Row | None:
        """What the event changes in the row of its container; None when it makes the row, or ends it."""
        event: Any = record.event
        kind = type(event)
        if kind is Removed or kind is Created:
            return None
        change = _CHANGES.get(kind)
        changed = change(row, event, record) if change else {}
        state = changed["state"] = MACHINE.leads(str(row["state"]), str(row["rest"]), event)
        changed["active"] = 1 if state in LIVELY else None
        return changed


def _created(event: Created, time: int, key: str) -> Row:
    spec = event.spec
    return {
        "id": key,
        "name": event.name,
        "image": spec.image,
        "image_id": spec.image_id,
        "command": list(spec.argv),
        "labels": dict(sorted(spec.labels.items())),
        "network": spec.network_mode,
        "created_at": time,
        "state": State.CREATED.value,
        "active": None,
        "attempt": 0,
        "pid": 0,
        "started_at": 0,
        "finished_at": 0,
        "exit_code": 0,
        "oom": 0,
        "error": "",
        "reason": "",
        "restarts": 0,
        "rest": State.CREATED.value,
        "auto_remove": int(spec.auto_remove),
        "asked": "",
        "execs": 0,
        "checked": int(spec.health is not None),
        "health": "",
        "limits": _limits(spec.limits),
        "mounts": [[mount.source, mount.target] for mount in spec.mounts],
        "networks": [[each.network, each.id] for each in spec.net.attachments],
        "addresses": [],
        "ports": [],
        "exposed": sorted({(each.port, each.protocol) for each in (*spec.net.exposed, *spec.net.publish)}),
    }


def _limits(limits: Resources) -> dict[str, Any]:
    return limits.model_dump(exclude_defaults=True)


def _renamed(row: Row, event: Renamed, record: Recorded) -> dict[str, Any]:
    return {"name": event.name}


def _start_requested(row: Row, event: StartRequested, record: Recorded) -> dict[str, Any]:
    state = str(row["state"])
    rest = State.EXITED.value if state == State.RESTARTING else state
    restarts = int(str(row["restarts"])) + 1 if event.by == "policy" else 0
    return {"attempt": event.attempt, "rest": rest, "error": "", "restarts": restarts, "asked": ""}


def _started(row: Row, event: Started, record: Recorded) -> dict[str, Any]:
    return {
        "pid": event.pid,
        "started_at": record.time,
        "exit_code": 0,
        "oom": 0,
        "reason": "",
        "health": "starting" if row["checked"] else "",
    }


def _adopted(row: Row, event: Adopted, record: Recorded) -> dict[str, Any]:
    return {"pid": event.pid}


def _start_failed(row: Row, event: StartFailed, record: Recorded) -> dict[str, Any]:
    return {"error": event.reason, "exit_code": event.exit_code, "pid": 0}


def _stop_requested(row: Row, event: StopRequested, record: Recorded) -> dict[str, Any]:
    return {"asked": json.dumps(["stop", record.meta.actor.user, event.signal])}


def _kill_requested(row: Row, event: KillRequested, record: Recorded) -> dict[str, Any]:
    return {"asked": json.dumps(["kill", record.meta.actor.user, event.signal])}


def _remove_requested(row: Row, event: RemoveRequested, record: Recorded) -> dict[str, Any]:
    return {"asked": json.dumps(["rm", record.meta.actor.user, 9])} if event.force else {}


def _exited(row: Row, event: Exited, record: Recorded) -> dict[str, Any]:
    return {
        "pid": 0,
        "exit_code": event.code,
        "oom": int(event.oom),
        "finished_at": event.ended or record.time,
        "reason": _reason(row, event),
    }


def _health_changed(row: Row, event: HealthChanged, record: Recorded) -> dict[str, Any]:
    return {"health": event.status}


def _limits_wanted(row: Row, event: LimitsRequested | LimitsChanged, record: Recorded) -> dict[str, Any]:
    return {"limits": _limits(event.limits)}


def _limits_refused(row: Row, event: LimitsFailed, record: Recorded) -> dict[str, Any]:
    return {"limits": _limits(event.before)} if row["limits"] == _limits(event.limits) else {}


def _exec_started(row: Row, event: ExecStarted, record: Recorded) -> dict[str, Any]:
    return {"execs": int(str(row["execs"])) + 1}


def _exec_exited(row: Row, event: ExecExited, record: Recorded) -> dict[str, Any]:
    return {"execs": int(str(row["execs"])) - 1}


def _granted(row: Row, event: NetworkGranted, record: Recorded) -> dict[str, Any]:
    return {
        "networks": [[each.network_name, each.network] for each in event.interfaces],
        "addresses": [pair for each in event.interfaces for pair in _addresses(each)],
        "ports": [[each.port, each.protocol, each.host_ip, each.host_port] for each in event.bindings],
    }


def _addresses(interface: Interface) -> list[list[str]]:
    return [[interface.network_name, address] for address in interface.addresses]


def _released(row: Row, event: NetworkReleased, record: Recorded) -> dict[str, Any]:
    return {"addresses": [], "ports": []}


def _connect(row: Row, event: ConnectRequested | Connected, record: Recorded) -> dict[str, Any]:
    pair = [event.attachment.network, event.attachment.id]
    addresses = _addresses(event.interface) if isinstance(event, ConnectRequested) else []
    return {"networks": [*_others(row, "networks", pair[0]), pair], "addresses": [*_list(row, "addresses"), *addresses]}


def _connect_failed(row: Row, event: ConnectFailed, record: Recorded) -> dict[str, Any]:
    name = event.attachment.network
    return {"networks": _others(row, "networks", name), "addresses": _others(row, "addresses", name)}


def _disconnect(row: Row, event: DisconnectRequested, record: Recorded) -> dict[str, Any]:
    return {"networks": _others(row, "networks", event.name)}


def _disconnected(row: Row, event: Disconnected, record: Recorded) -> dict[str, Any]:
    return {"networks": _others(row, "networks", event.name), "addresses": _others(row, "addresses", event.name)}


def _stayed(row: Row, event: DisconnectFailed, record: Recorded) -> dict[str, Any]:
    pair = [event.name, event.network]
    return {"networks": [*_others(row, "networks", event.name), pair]}


def _list(row: Row, column: str) -> list[Any]:
    found = row[column]
    return list(found) if isinstance(found, list) else []


def _others(row: Row, column: str, network: str) -> list[Any]:
    return [each for each in _list(row, column) if each[0] != network]


def _remove_failed(row: Row, event: RemoveFailed, record: Recorded) -> dict[str, Any]:
    return {"error": event.residue}


_CHANGES: Mapping[type[Event], Callable[[Row, Any, Recorded], dict[str, Any]]] = {
    Renamed: _renamed,
    StartRequested: _start_requested,
    Started: _started,
    Adopted: _adopted,
    StartFailed: _start_failed,
    StopRequested: _stop_requested,
    KillRequested: _kill_requested,
    RemoveRequested: _remove_requested,
    Exited: _exited,
    HealthChanged: _health_changed,
    ExecStarted: _exec_started,
    ExecExited: _exec_exited,
    RemoveFailed: _remove_failed,
    LimitsRequested: _limits_wanted,
    LimitsChanged: _limits_wanted,
    LimitsFailed: _limits_refused,
    NetworkGranted: _granted,
    NetworkReleased: _released,
    ConnectRequested: _connect,
    Connected: _connect,
    ConnectFailed: _connect_failed,
    DisconnectRequested: _disconnect,
    Disconnected: _disconnected,
    DisconnectFailed: _stayed,
}
"""What an event changes in the row besides the state; those that are not here change nothing else."""


def _reason(row: Row, event: Exited) -> str:
    """Why the run ended, in words; empty when there is nothing to say beyond the status."""
    if event.how == "reboot":
        return "the host was rebooted"
    if event.how == "unknown":
        return "unknown: the supervisor was lost"
    if event.how == "oom" or (event.oom and event.how == "self" and event.code):
        return "out of memory"
    if not event.requested or not row["asked"]:
        return ""
    verb, user, signal = json.loads(str(row["asked"]))
    by = f" by {user}" if user else ""
    if verb == "stop":
        late = " after its time was over" if event.signal == 9 and signal != 9 else ""
        return f"stopped{by}{late}"
    return f"removed{by}" if verb == "rm" else f"killed{by}"

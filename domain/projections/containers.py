"""The containers of this host as `ps` shows them: one row each, gone when the container is removed."""

import json
from typing import Any

from domain.container import State
from domain.lifecycle import MACHINE
from domain.lifecycle.create import Created
from domain.lifecycle.exec import ExecExited, ExecStarted
from domain.lifecycle.exit import Exited
from domain.lifecycle.kill import KillRequested
from domain.lifecycle.remove import Removed, RemoveFailed, RemoveRequested
from domain.lifecycle.rename import Renamed
from domain.lifecycle.start import Adopted, Started, StartFailed, StartRequested
from domain.lifecycle.stop import StopRequested
from domain.messages import Recorded
from domain.projections.fold import Column, Row


class Containers:
    """Key: container id. Times in ns since the epoch, 0 for never. `execs` counts the other processes that live."""

    name = "containers"
    inline = True
    revision = 2
    columns = (
        Column("id", "text"),
        Column("name", "text", unique=True),
        Column("image", "text"),
        Column("image_id", "text"),
        Column("command", "json"),
        Column("labels", "json"),
        Column("network", "text"),
        Column("created_at", "integer"),
        Column("state", "text", indexed=True),
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
    )

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """Only the container's own stream touches its row."""
        return (record.stream.key,) if record.stream.kind == "container" else ()

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """The row after the event."""
        if isinstance(record.event, Created):
            return _created(record.event, record.time, key)
        if row is None or isinstance(record.event, Removed):
            return None
        state = MACHINE.leads(str(row["state"]), str(row["rest"]), record.event)
        return {**row, **_changes(row, record), "state": state}


def _created(event: Created, time: int, key: str) -> Row:
    spec = event.spec
    return {
        "id": key,
        "name": event.name,
        "image": spec.image,
        "image_id": spec.image_id,
        "command": list(spec.argv),
        "labels": dict(sorted(spec.labels.items())),
        "network": spec.network,
        "created_at": time,
        "state": State.CREATED.value,
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
    }


def _changes(row: Row, record: Recorded) -> dict[str, Any]:
    event = record.event
    match event:
        case Renamed():
            return {"name": event.name}
        case StartRequested():
            state = str(row["state"])
            rest = State.EXITED.value if state == State.RESTARTING else state
            restarts = int(str(row["restarts"])) + 1 if event.by == "policy" else 0
            return {"attempt": event.attempt, "rest": rest, "error": "", "restarts": restarts, "asked": ""}
        case Started():
            return {
                "pid": event.pid,
                "started_at": record.time,
                "finished_at": 0,
                "exit_code": 0,
                "oom": 0,
                "reason": "",
            }
        case Adopted():
            return {"pid": event.pid}
        case StartFailed():
            return {"error": event.reason, "exit_code": event.exit_code, "pid": 0}
        case StopRequested():
            return {"asked": json.dumps(["stop", record.meta.actor.user, event.signal])}
        case KillRequested():
            return {"asked": json.dumps(["kill", record.meta.actor.user, event.signal])}
        case RemoveRequested() if event.force:
            return {"asked": json.dumps(["rm", record.meta.actor.user, 9])}
        case Exited():
            return {
                "pid": 0,
                "exit_code": event.code,
                "oom": int(event.oom),
                "finished_at": event.ended or record.time,
                "reason": _reason(row, event),
            }
        case ExecStarted():
            return {"execs": int(str(row["execs"])) + 1}
        case ExecExited():
            return {"execs": int(str(row["execs"])) - 1}
        case RemoveFailed():
            return {"error": event.residue}
        case _:
            return {}


def _reason(row: Row, event: Exited) -> str:
    """Why the run ended, in words; empty when there is nothing to say beyond the status."""
    if event.how == "reboot":
        return "the host was rebooted"
    if event.how == "unknown":
        return "unknown: the supervisor was lost"
    if event.oom:
        return "out of memory"
    if not event.requested or not row["asked"]:
        return ""
    verb, user, signal = json.loads(str(row["asked"]))
    by = f" by {user}" if user else ""
    if verb == "stop":
        late = " after its time was over" if event.signal == 9 and signal != 9 else ""
        return f"stopped{by}{late}"
    return f"removed{by}" if verb == "rm" else f"killed{by}"

"""Execs: made, started, resized, looked at."""

import asyncio
import secrets
from functools import partial

from pydantic import Field

from domain.container import State
from domain.errors import CommandFailed, InvalidValue, KernelError, LadingError, NotFound, Refused
from domain.text.keys import parse
from workers.console.streams import STDERR, STDOUT, Left, Wiring, attached
from workers.gateway.call import MULTIPLEXED, RAW, Answer, Call, Duplex, Hijack, Reply
from workers.gateway.documents import Document
from workers.gateway.pending import Exec
from workers.gateway.routes import Route
from workers.gateway.sizes import initial, rows_and_columns
from workers.gateway.streams import Participant
from workers.requests import ExecRequest

_TRIES, _PAUSE = 10, 0.05
_NOT_EXECUTED = 126
"""The status of what was there and could not be executed."""


class _Wish(Document):
    """The body of a request that makes one."""

    AttachStdin: bool = False
    AttachStdout: bool = False
    AttachStderr: bool = False
    DetachKeys: str = ""
    Tty: bool = False
    ConsoleSize: list[int] = Field(default_factory=list)
    Env: list[str] = Field(default_factory=list)
    Cmd: list[str] = Field(default_factory=list)
    Privileged: bool = False
    User: str = ""
    WorkingDir: str = ""


class _Start(Document):
    """The body of a request that starts one."""

    Detach: bool = False
    Tty: bool = False
    ConsoleSize: list[int] = Field(default_factory=list)


async def _create(call: Call) -> Answer:
    wish = await call.model(_Wish, needed=True)
    id = await call.engine.resolve(call.path["name"])
    container = await call.engine.container(id)
    if not wish.Cmd:
        raise InvalidValue("No exec command specified")
    parse(wish.DetachKeys)
    if container.state is State.PAUSED:
        raise Refused(f"Container {container.name} is paused, unpause the container before exec")
    if not container.pid:
        raise Refused(f"container {id} is not running")
    request = ExecRequest(
        command=tuple(wish.Cmd),
        env=tuple(item for item in wish.Env if "=" in item),
        unset=tuple(item for item in wish.Env if "=" not in item),
        user=wish.User,
        workdir=wish.WorkingDir,
        tty=wish.Tty,
        stdin=wish.AttachStdin,
        privileged=wish.Privileged,
    )
    outputs = {STDOUT: wish.AttachStdout, STDERR: wish.AttachStderr}
    streams = frozenset(kind for kind, wanted in outputs.items() if wanted)
    made = Exec(secrets.token_hex(32), id, request, streams, wish.DetachKeys, initial(wish.ConsoleSize))
    call.pending.add(made)
    return Reply(201, {"Id": made.id})


async def _start(call: Call) -> Answer:
    wish = await call.model(_Start)
    made = call.pending.find(call.path["id"])
    if made.started:
        raise Refused(f"exec command {made.id} has already run" if made.exit_code is not None
                      else f"exec command {made.id} is already running")
    size = initial(wish.ConsoleSize) if any(wish.ConsoleSize) else made.size
    made.started = True
    if wish.Detach:
        return await _start_detached(call, made)
    # Whether output is framed is said here, by who reads it, and not where the exec was made.
    multiplexed = not wish.Tty and call.version >= (1, 42)
    try:
        await call.engine.exec(made.container, made.request, call.who, size=size, exec_id=made.id)
    except CommandFailed as error:
        made.exit_code = error.exit_code
        told = f"exec failed: {error.message}"
        return Hijack(partial(_tell_failure, told, wish.Tty), MULTIPLEXED if multiplexed else RAW)
    except KernelError as error:
        made.exit_code = _NOT_EXECUTED
        return Hijack(partial(_tell_failure, error.message, wish.Tty), MULTIPLEXED if multiplexed else RAW)
    except LadingError:
        made.started = False
        raise
    return Hijack(partial(_together, call, made, wish.Tty), MULTIPLEXED if multiplexed else RAW)


async def _start_detached(call: Call, made: Exec) -> Answer:
    request = made.request.model_copy(update={"stdin": False})
    try:
        await call.engine.exec(made.container, request, call.who, watched=False, exec_id=made.id)
    except CommandFailed as error:
        made.exit_code = error.exit_code
        raise
    return Reply()


async def _tell_failure(reason: str, raw: bool, duplex: Duplex) -> None:
    """As the industry's engine does it: the reason takes the place of what the command would have written."""
    await Participant(duplex, raw=raw).out(f"{reason}\r\n".encode())


async def _together(call: Call, made: Exec, raw: bool, duplex: Duplex) -> None:
    request = made.request
    wiring = Wiring(made.streams, stdin=request.stdin, tty=request.tty, once=True, keys=parse(made.keys))
    frames = call.engine.exec_output(made.container, made.id)
    participant = Participant(duplex, raw=raw)
    await duplex.begin()  # a command that waits for its input writes nothing first
    left = await attached(participant, call.engine, made.container, wiring, frames, exec_id=made.id)
    if left is Left.ENDED:  # clients ask for the status as soon as the output has ended
        made.exit_code = await _exit_code(call, made)


async def _inspect(call: Call) -> Answer:
    made = call.pending.find(call.path["id"])
    container = await call.engine.container(made.container)
    running = container.execs.get(made.id)
    if made.started and running is None and made.exit_code is None:
        made.exit_code = await _exit_code(call, made)
    program, *arguments = made.request.command
    return Reply(document={
        "ID": made.id,
        "Running": running is not None and bool(running.pid),
        "ExitCode": made.exit_code,
        "ProcessConfig": {
            "tty": made.request.tty,
            "entrypoint": program,
            "arguments": arguments,
            "privileged": made.request.privileged,
            **({"user": made.request.user} if made.request.user else {}),
        },
        "OpenStdin": made.request.stdin,
        "OpenStderr": STDERR in made.streams,
        "OpenStdout": STDOUT in made.streams,
        "CanRemove": made.exit_code is not None,
        "ContainerID": made.container,
        "DetachKeys": "",
        "Pid": running.pid if running is not None else 0,
    })


async def _exit_code(call: Call, made: Exec) -> int | None:
    try:
        return await call.engine.exec_exit(made.container, made.id)
    except NotFound:
        return None  # it was asked for, and nothing is known of an end yet


async def _resize(call: Call) -> Answer:
    made = call.pending.find(call.path["id"])
    rows, columns = rows_and_columns(call)
    if not made.started:
        made.size = rows, columns
        return Reply()
    for _ in range(_TRIES):
        try:
            input = await call.engine.input(made.container, made.id)
        except (NotFound, Refused):
            if made.exit_code is not None:
                raise
            await asyncio.sleep(_PAUSE)  # it was asked for in the same moment
            continue
        try:
            await input.resize(rows, columns)
        finally:
            input.close()
        return Reply()
    raise NotFound(f"exec {made.id} is not running")


ROUTES = (
    Route("POST", "/containers/{name}/exec", _create),
    Route("POST", "/exec/{id}/start", _start),
    Route("POST", "/exec/{id}/resize", _resize),
    Route("GET", "/exec/{id}/json", _inspect),
)

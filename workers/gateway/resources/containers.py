"""Containers: made, started, stopped, changed, removed; listed and looked at."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from signal import SIGKILL

from pydantic import ValidationError

from domain.container import LIVE, Container, State
from domain.errors import Ambiguous, InvalidValue, NotFound, Refused
from domain.lifecycle.kill import Kill
from domain.lifecycle.pause import Pause
from domain.lifecycle.remove import Remove
from domain.lifecycle.rename import Rename
from domain.lifecycle.start import Start
from domain.lifecycle.stop import Restart, Stop
from domain.lifecycle.unpause import Unpause
from domain.lifecycle.update import Update
from domain.messages import Command
from domain.names import container_name
from domain.signals import number
from domain.text.keys import parse
from workers import inspection
from workers.console import processes, pruning
from workers.console.networks import advice
from workers.gateway import creating, listing, wishes
from workers.gateway.call import EMPTY, Answer, Call, Reply, Stream
from workers.gateway.commits import commit
from workers.gateway.routes import Route
from workers.gateway.sizes import initial, rows_and_columns
from workers.requests import CreateRequest

_NOT_MODIFIED = Reply(status=304)
_CONDITIONS = ("not-running", "next-exit", "removed")


async def _create(call: Call) -> Answer:
    wish = await call.model(wishes.Create, needed=True)
    request = _request(wish, call.text("name").removeprefix("/"), call.text("platform"))
    warnings = [*(await call.engine.advice(request.resources) if request.resources else ()),
                *filter(None, (advice(request.networking),))]
    size = initial(wish.HostConfig.ConsoleSize)
    try:
        id = await call.engine.create(request, call.who)
    except NotFound as error:
        if isinstance(error, Ambiguous) or error.message.startswith("No such image"):
            raise
        # Clients understand a 404 here as a missing image, and pull it.
        raise InvalidValue(error.message, hint=error.hint) from error
    call.pending.resize(id, size)
    return Reply(201, {"Id": id, "Warnings": warnings})


def _request(wish: wishes.Create, name: str, platform: str) -> CreateRequest:
    if name:
        container_name(name)
    try:
        return creating.request(wish, name, platform)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidValue(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


async def _list(call: Call) -> Answer:
    most = max(call.number("limit") or 0, 0)
    wanted = call.filters(listing.FILTERS)
    rows = await listing.chosen(call.engine, wanted, everything=call.flag("all"), most=most)
    return Reply(document=await listing.documents(call.engine, rows, sizes=call.flag("size")))


async def _inspect(call: Call) -> Answer:
    document = await inspection.container(call.engine, call.path["name"], size=call.flag("size"))
    call.reading.about("container", inspection.key("container", document))
    return Reply(document=document)


async def _found(call: Call) -> Container:
    id = await call.engine.resolve(call.path["name"])
    call.reading.about("container", id)
    return await call.engine.container(id)


async def _do(call: Call, command: Command, *, unless: Callable[[Container], bool] = lambda _: False) -> Answer:
    """Carry out a command; nothing to do is an answer of its own."""
    container = await _found(call)
    if unless(container):
        return _NOT_MODIFIED
    await call.engine.execute(container.id, command, call.who)
    return EMPTY


async def _start(call: Call) -> Answer:
    parse(call.text("detachKeys"))
    size = call.pending.size(await call.engine.resolve(call.path["name"]))
    return await _do(call, Start(size=size), unless=lambda container: container.state in LIVE - {State.PAUSED})


async def _stop(call: Call) -> Answer:
    command = Stop(signal=_signal(call), timeout=call.number("t"))
    return await _do(call, command, unless=lambda c: not c.pid and c.state is not State.RESTARTING)


async def _restart(call: Call) -> Answer:
    return await _do(call, Restart(signal=_signal(call), timeout=call.number("t")))


async def _kill(call: Call) -> Answer:
    """Who kills for good is answered when it is dead."""
    signal, container = number(call.text("signal", "KILL")), await _found(call)
    await call.engine.execute(container.id, Kill(signal=signal), call.who)
    if signal == SIGKILL:
        await call.engine.wait_exit(container.id, container.attempt)
    return EMPTY


async def _pause(call: Call) -> Answer:
    return await _do(call, Pause())


async def _unpause(call: Call) -> Answer:
    return await _do(call, Unpause())


def _signal(call: Call) -> int | None:
    text = call.text("signal")
    return number(text) if text else None


async def _rename(call: Call) -> Answer:
    name = call.text("name").removeprefix("/")
    if not name:
        raise InvalidValue("Neither old nor new names may be empty")
    return await _do(call, Rename(name=container_name(name)))


async def _update(call: Call) -> Answer:
    wish = await call.model(wishes.Update, needed=True)
    container = await _found(call)
    command = Update(restart=creating.policy_of(wish.RestartPolicy), limits=creating.changes(wish))
    warnings = await call.engine.advice_on(container.id, command)
    await call.engine.execute(container.id, command, call.who)
    return Reply(document={"Warnings": list(warnings) or None})


async def _remove(call: Call) -> Answer:
    if call.flag("link"):
        return await _unlink(call)
    return await _do(call, Remove(force=call.flag("force"), volumes=call.flag("v")))


async def _unlink(call: Call) -> Answer:
    """The path is that of a link: `CONTAINER/NAME`."""
    container, _, name = call.path["name"].removeprefix("/").rpartition("/")
    if not container:
        raise Refused("Conflict, cannot remove the default link name of the container")
    await call.engine.unlink(await call.engine.resolve(container), name, call.who)
    return EMPTY


async def _prune(call: Call) -> Answer:
    wanted = call.filters(("until", "label", "label!"))
    pairs = [f"{name}={value}" for name, values in wanted.items() for value in values]
    gone = await pruning.containers(call.engine, call.who, pruning.chosen(pairs, time.time_ns()), dry=False)
    return Reply(document={"ContainersDeleted": list(gone.lines) or None, "SpaceReclaimed": gone.size})


async def _top(call: Call) -> Answer:
    columns = processes.columns(call.text("ps_args", "-ef").split())
    container = await _found(call)
    if container.state not in LIVE:
        raise Refused(f"container {container.id} is not running")
    found = await asyncio.to_thread(processes.read, await call.engine.processes(container.id))
    rows = [[column.text(process) for column in columns] for process in found]
    return Reply(document={"Titles": [column.title for column in columns], "Processes": rows})


async def _resize(call: Call) -> Answer:
    rows, columns = rows_and_columns(call)
    container = await _found(call)
    if not container.pid:
        call.pending.resize(container.id, (rows, columns))
        raise Refused(f"Container {container.id} is not running")
    try:
        input = await call.engine.input(container.id)
    except (NotFound, Refused):
        return Reply()  # it has no terminal, and nobody to tell a size
    try:
        await input.resize(rows, columns)
    finally:
        input.close()
    return Reply()


async def _wait(call: Call) -> Answer:
    condition = call.text("condition", "not-running")
    if condition not in _CONDITIONS:
        raise InvalidValue(f"invalid condition: {condition!r}")
    container = await _found(call)
    return Stream(_until(call, container, condition))


async def _until(call: Call, container: Container, condition: str) -> AsyncIterator[bytes]:
    """The status once the condition is met; the head of the answer is sent at once, and tells that it is waited for. A
    run that ends is told although another one follows."""
    runs = bool(container.pid) or container.state in (State.STARTING, State.RESTARTING)
    if condition == "not-running" and not runs:
        status = container.exit_code
    elif condition != "removed":
        run = container.attempt if container.pid or container.state is State.STARTING else container.attempt + 1
        await call.engine.until_run(container.id, run)
        status = await call.engine.wait_exit(container.id, run)
    else:
        await call.engine.wait_removed(container.id)
        status = (await call.engine.container(container.id)).exit_code
    yield Reply(document={"StatusCode": status}).content


ROUTES = (
    Route("GET", "/containers/json", _list, reads="ps"),
    Route("POST", "/containers/create", _create),
    Route("POST", "/containers/prune", _prune, since=(1, 25)),
    Route("GET", "/containers/{name}/json", _inspect, reads="inspect"),
    Route("GET", "/containers/{name}/top", _top, reads="top"),
    Route("POST", "/containers/{name}/start", _start),
    Route("POST", "/containers/{name}/stop", _stop),
    Route("POST", "/containers/{name}/restart", _restart),
    Route("POST", "/containers/{name}/kill", _kill),
    Route("POST", "/containers/{name}/pause", _pause),
    Route("POST", "/containers/{name}/unpause", _unpause),
    Route("POST", "/containers/{name}/rename", _rename),
    Route("POST", "/containers/{name}/update", _update),
    Route("POST", "/containers/{name}/resize", _resize),
    Route("POST", "/containers/{name}/wait", _wait),
    Route("DELETE", "/containers/{name...}", _remove),
    Route("POST", "/commit", commit),
)

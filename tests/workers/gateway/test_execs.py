"""Execs through the API: made, started, hijacked, looked at."""

import asyncio

import pytest

from domain.errors import CommandFailed, KernelError
from tests.workers.console.fakes import FakeEngine
from tests.workers.gateway.client import Client
from workers.gateway.streams import frame

OUTPUTS = {"AttachStdout": True, "AttachStderr": True}


async def _made(client: Client, **wish: object) -> str:
    answer = await client.ask("POST", "/containers/web/exec", {"Cmd": ["id", "-u"], **OUTPUTS, **wish})
    assert answer.status == 201, answer.body
    id: str = answer.document["Id"]
    return id


async def test_an_exec_is_a_stream_and_then_a_status(client: Client, engine: FakeEngine) -> None:
    """Clients ask for the status as soon as the stream has ended."""
    container = await client.run()
    engine.exec_writes, engine.exec_status = [(1, b"0\n"), (2, b"no\n")], 3
    id = await _made(client, User="web", WorkingDir="/srv", Env=["A=b", "UNSET"])
    before = (await client.ask("GET", f"/exec/{id}/json")).document
    assert (before["Running"], before["ExitCode"], before["ContainerID"]) == (False, None, container)
    answer = await client.ask("POST", f"/exec/{id}/start", {}, headers=("Upgrade: tcp", "Connection: Upgrade"))
    assert (answer.status, answer.body) == (101, frame(1, b"0\n") + frame(2, b"no\n"))
    after = (await client.ask("GET", f"/exec/{id}/json")).document
    assert (after["ExitCode"], after["ProcessConfig"]["entrypoint"]) == (3, "id")
    request = engine.execs[0]
    assert (request.user, request.workdir, request.env) == ("web", "/srv", ("A=b",))
    assert (await client.ask("POST", f"/exec/{id}/start", {})).status == 409


async def test_one_with_a_terminal_is_raw_and_has_a_size(client: Client, engine: FakeEngine) -> None:
    """Said when it is made, or when it is started."""
    await client.run()
    engine.exec_writes = [(1, b"$ ")]
    first = await _made(client, Tty=True, ConsoleSize=[30, 100])
    assert (await client.ask("POST", f"/exec/{first}/start", {"Tty": True})).body == b"$ "
    second = await _made(client, Tty=True)
    assert (await client.ask("POST", f"/exec/{second}/resize?h=5&w=6")).status == 200
    await client.ask("POST", f"/exec/{second}/start", {"Tty": True})
    assert engine.sizes[-2:] == [(30, 100), (5, 6)]
    assert (await client.ask("POST", f"/exec/{second}/resize?h=7&w=8")).status == 200
    assert engine.input_of(second).resized == [(7, 8)]


async def test_what_is_typed_reaches_it_and_ends_with_the_client(client: Client, engine: FakeEngine) -> None:
    """Half of the connection is closed, the other half still tells the output."""
    await client.run()
    id = await _made(client, AttachStdin=True)
    engine.exec_lasts.clear()
    engine.input_of(id).react = lambda data: None if data else engine.exec_lasts.set()
    answer = await client.ask("POST", f"/exec/{id}/start", {}, input=(b"one", b"two"))
    assert (answer.status, engine.input_of(id).got) == (200, b"onetwo")


async def test_the_head_does_not_wait_for_output(client: Client, engine: FakeEngine) -> None:
    """A command that waits for its input has none."""
    await client.run()
    engine.exec_lasts.clear()
    wire = client.wire("POST", f"/exec/{await _made(client, AttachStdin=True)}/start", {}, stays=True)
    starting = asyncio.create_task(client.api.answer(wire))
    async with asyncio.timeout(5):
        await wire.begun.wait()
        engine.exec_lasts.set()
        await starting
    assert (wire.hijacked, wire.body) == (True, b"")


async def test_a_detached_one_is_answered_at_once(client: Client, engine: FakeEngine) -> None:
    """Nothing is hijacked."""
    await client.run()
    answer = await client.ask("POST", f"/exec/{await _made(client, AttachStdin=True)}/start", {"Detach": True})
    assert (answer.status, answer.hijacked, engine.execs[0].stdin) == (200, False, False)


@pytest.mark.parametrize("detach", [False, True])
async def test_a_command_that_is_not_there(client: Client, engine: FakeEngine, detach: bool) -> None:
    """The reason takes the place of the output, and the status is the shell's."""
    await client.run()
    engine.exec_error = CommandFailed("exec: not found", exit_code=127)
    id = await _made(client)
    answer = await client.ask("POST", f"/exec/{id}/start", {"Detach": detach})
    assert b"exec: not found" in answer.body
    assert answer.status == (400 if detach else 200)
    assert (await client.ask("GET", f"/exec/{id}/json")).document["ExitCode"] == 127


async def test_what_the_kernel_refuses_is_told_in_the_place_of_the_output(client: Client, engine: FakeEngine) -> None:
    """Clients that have asked for a hijacked connection read no other answer: a user that is not there."""
    await client.run()
    engine.exec_error = KernelError("unable to find user nope: no matching entries in passwd file")
    id = await _made(client, User="nope")
    answer = await client.ask("POST", f"/exec/{id}/start", {})
    assert (answer.status, answer.hijacked, answer.body[8:]) == (
        200, True, b"unable to find user nope: no matching entries in passwd file\r\n")
    assert (await client.ask("GET", f"/exec/{id}/json")).document["ExitCode"] == 126


async def test_refusals(client: Client) -> None:
    """Each with its own status."""
    await client.create()
    assert (await client.ask("POST", "/containers/web/exec", {"Cmd": ["id"]})).status == 409
    await client.ask("POST", "/containers/web/start")
    assert (await client.ask("POST", "/containers/web/exec", {"Cmd": []})).status == 400
    assert (await client.ask("POST", "/containers/web/exec", {"Cmd": ["id"], "DetachKeys": "?!"})).status == 400
    assert (await client.ask("POST", "/containers/none/exec", {"Cmd": ["id"]})).status == 404
    gone = await client.ask("GET", "/exec/abc/json")
    assert (gone.status, gone.message) == (404, "No such exec instance: abc")
    assert (await client.ask("POST", "/exec/abc/start", {})).status == 404
    await client.ask("POST", "/containers/web/pause")
    paused = await client.ask("POST", "/containers/web/exec", {"Cmd": ["id"]})
    assert (paused.status, "is paused" in paused.message) == (409, True)

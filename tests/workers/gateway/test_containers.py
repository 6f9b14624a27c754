"""Containers through the API: statuses and documents that clients rely on."""

import asyncio

import pytest

from domain.container import State
from domain.errors import CommandFailed
from domain.lifecycle.attach import Attached
from domain.lifecycle.files import NoteCopiedIn, NoteExported
from domain.lifecycle.kill import KillRequested
from domain.ports.logs import LogFrame
from tests.workers.console.fakes import FakeEngine
from tests.workers.console.filefakes import archive
from tests.workers.gateway.client import ANN, Client
from workers.gateway.streams import frame


async def test_a_container_is_made_started_stopped_and_removed(client: Client) -> None:
    """With the statuses by which clients know what there was to do."""
    id = await client.create()
    assert (await client.ask("GET", "/containers/web/json")).document["State"]["Status"] == "created"
    assert [(await client.ask("POST", "/containers/web/start")).status for _ in range(2)] == [204, 304]
    assert (await client.ask("GET", f"/containers/{id[:12]}/json")).document["State"]["Running"] is True
    assert (await client.ask("DELETE", "/containers/web")).status == 409
    assert [(await client.ask("POST", "/containers/web/stop?t=1")).status for _ in range(2)] == [204, 304]
    assert (await client.ask("DELETE", "/containers/web?v=1")).status == 204
    gone = await client.ask("DELETE", "/containers/web")
    assert (gone.status, gone.message) == (404, "No such container: web")


async def test_what_clients_do_is_in_the_history_with_their_name(client: Client, engine: FakeEngine) -> None:
    """Whom the socket has proven, and the command line that was typed."""
    id = await client.run()
    asked = [record for record in await engine.history(id) if record.meta.actor.user]
    assert {record.meta.actor for record in asked} == {ANN}


async def test_pause_rename_restart_and_kill(client: Client, engine: FakeEngine) -> None:
    """Each has its answer, also when it makes no sense."""
    id = await client.run()
    assert (await client.ask("POST", "/containers/web/pause")).status == 204
    assert (await client.ask("POST", "/containers/web/pause")).status == 409
    assert (await client.ask("POST", "/containers/web/unpause")).status == 204
    assert (await client.ask("POST", "/containers/web/rename?name=shop")).status == 204
    assert (await client.ask("POST", "/containers/shop/rename?name=")).status == 400
    assert (await client.ask("POST", "/containers/shop/restart?t=0")).status == 204
    assert (await client.ask("POST", "/containers/shop/kill?signal=NONSENSE")).status == 400
    assert (await client.ask("POST", "/containers/shop/kill?signal=SIGHUP")).status == 204
    assert any(isinstance(r.event, KillRequested) and r.event.signal == 1 for r in await engine.history(id))
    await client.ask("POST", "/containers/shop/stop?t=0")
    rests = await client.ask("POST", "/containers/shop/kill")
    assert rests.status == 409
    assert "is not running" in rests.message


async def test_an_update_changes_what_it_names(client: Client) -> None:
    """Zeros stand for what nobody has said."""
    await client.create()
    body = {"Memory": 64 << 20, "CpuShares": 0, "RestartPolicy": {"Name": "always"}}
    assert (await client.ask("POST", "/containers/web/update", body)).document == {"Warnings": None}
    host = (await client.ask("GET", "/containers/web/json")).document["HostConfig"]
    assert (host["Memory"], host["RestartPolicy"]["Name"]) == (64 << 20, "always")
    assert (await client.ask("POST", "/containers/web/update", {"Devices": [{"PathOnHost": "/dev/x"}]})).status == 400


async def test_the_list_has_what_clients_show(client: Client) -> None:
    """Filters in both spellings, and a number that counts the newest of all."""
    await client.run("web", Labels={"a": "b"}, Cmd=["echo", "two words"])
    await client.create("db")
    listed = (await client.ask("GET", "/containers/json")).document
    assert [(each["Names"], each["State"], each["Command"]) for each in listed] == [
        (["/web"], "running", "echo 'two words'")]
    assert (await client.ask("GET", "/containers/json?size=1")).document[0]["SizeRootFs"] > 0
    for target, names in (("all=1", ["/db", "/web"]), ("limit=1", ["/db"]), ('filters={"label":["a=b"]}', ["/web"]),
                          ('filters={"label":{"a=b":true,"x":false}}', ["/web"]),
                          ('filters={"status":["created"]}', ["/db"]), ('filters={"name":["^w"]}&all=1', ["/web"])):
        found = (await client.ask("GET", f"/containers/json?{target}")).document
        assert [name for each in found for name in each["Names"]] == names, target


async def test_prune_removes_what_rests(client: Client) -> None:
    """And says what."""
    await client.run("web")
    id = await client.create("old", Labels={"keep": "no"})
    answer = await client.ask("POST", '/containers/prune?filters={"label":["keep=no"]}')
    assert answer.document == {"ContainersDeleted": [id], "SpaceReclaimed": 5}
    assert (await client.ask("POST", "/containers/prune")).document["ContainersDeleted"] is None


async def test_a_command_that_is_not_there_is_a_bad_request(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The docker CLI makes 127 of its text."""
    await client.create()
    async def fails(*args: object, **kwargs: object) -> None:
        raise CommandFailed('exec: "x": executable file not found in $PATH', exit_code=127)
    monkeypatch.setattr(client.engine, "execute", fails)
    answer = await client.ask("POST", "/containers/web/start")
    assert (answer.status, "executable file not found" in answer.message) == (400, True)


@pytest.mark.parametrize("condition", ["", "not-running", "next-exit", "removed"])
async def test_wait_answers_at_once_and_tells_the_status_later(
    client: Client, engine: FakeEngine, condition: str
) -> None:
    """Clients start the container once they have the head."""
    await client.create(HostConfig={"AutoRemove": condition == "removed"})
    if condition in ("", "not-running"):
        await client.ask("POST", "/containers/web/start")
    wire = client.wire("POST", f"/containers/web/wait?condition={condition}")
    waiting = asyncio.create_task(client.api.answer(wire))
    async with asyncio.timeout(5):
        await wire.begun.wait()
        assert not wire.sent
        if condition in ("next-exit", "removed"):
            await client.ask("POST", "/containers/web/start")
        await client.ask("POST", "/containers/web/stop?t=0")
        await waiting
    assert wire.document["StatusCode"] == (await engine.container(next(iter(engine.logs.written), "1" * 64))).exit_code


async def test_a_condition_that_nobody_knows_is_refused(client: Client) -> None:
    """Before anything is waited for."""
    await client.create()
    assert (await client.ask("POST", "/containers/web/wait?condition=someday")).status == 400


def _written(engine: FakeEngine, id: str) -> None:
    engine.logs.written[id] = [LogFrame(10**18 + 1, 1, b"out\n"), LogFrame(10**18 + 2, 2, b"err\n")]


async def test_logs_are_frames_that_name_their_stream(client: Client, engine: FakeEngine) -> None:
    """Raw ones only where there is a terminal."""
    _written(engine, await client.create())
    answer = await client.ask("GET", "/containers/web/logs?stdout=1&stderr=1")
    assert answer.headers["Content-Type"] == "application/vnd.docker.multiplexed-stream"
    assert answer.body == frame(1, b"out\n") + frame(2, b"err\n")
    assert (await client.ask("GET", "/containers/web/logs?stderr=1&tail=1")).body == frame(2, b"err\n")
    stamped = await client.ask("GET", "/containers/web/logs?stdout=1&timestamps=1")
    assert stamped.body == frame(1, b"2001-09-09T01:46:40.000000001Z out\n")
    _written(engine, await client.create("tty", Tty=True))
    assert (await client.ask("GET", "/containers/tty/logs?stdout=1")).body == b"out\n"


async def test_logs_of_a_time(client: Client, engine: FakeEngine) -> None:
    """In seconds with a fraction, as the docker CLI says it, or as a date."""
    _written(engine, await client.create())
    for since in ("1000000000.000000002", "2001-09-09T01:46:40.000000002Z"):
        answer = await client.ask("GET", f"/containers/web/logs?stdout=1&stderr=1&since={since}")
        assert answer.body == frame(2, b"err\n")
    assert (await client.ask("GET", "/containers/web/logs?stdout=1&since=yesterday")).status == 400
    assert (await client.ask("GET", "/containers/web/logs")).status == 400


async def test_attaching_before_the_start_misses_nothing(client: Client, engine: FakeEngine) -> None:
    """As the docker CLI does it: attach, wait for its head, start."""
    id = await client.create(OpenStdin=True, StdinOnce=True)
    upgrade = ("Connection: Upgrade", "Upgrade: tcp")
    wire = client.wire("POST", "/containers/web/attach?stream=1&stdin=1&stdout=1&stderr=1", headers=upgrade,
                       input=(b"typed",))
    attaching = asyncio.create_task(client.api.answer(wire))
    async with asyncio.timeout(5):
        await wire.begun.wait()
        assert (wire.status, wire.hijacked, wire.headers["Upgrade"]) == (101, True, "tcp")
        engine.after_start = lambda id: engine.logs.written[id].append(LogFrame(1, 1, b"first"))
        await client.ask("POST", "/containers/web/start")
        while not engine.input_of(id).ended:
            await asyncio.sleep(0)
        await client.ask("POST", "/containers/web/stop?t=0")
        await attaching
    assert (wire.body, engine.input_of(id).got) == (frame(1, b"first"), b"typed")
    assert any(isinstance(record.event, Attached) for record in await engine.history(id))


async def test_attaching_without_an_upgrade_is_an_answer_that_does_not_end(client: Client, engine: FakeEngine) -> None:
    """Older clients do that; output of before comes with `logs`."""
    id = await client.run()
    _written(engine, id)
    answer = await client.ask("POST", "/containers/web/attach?logs=1&stdout=1&stderr=1", version="/v1.41")
    assert (answer.status, answer.hijacked) == (200, True)
    assert answer.headers["Content-Type"] == "application/vnd.docker.raw-stream"
    assert answer.body == frame(1, b"out\n") + frame(2, b"err\n")


async def test_attaching_to_a_paused_container_is_refused(client: Client) -> None:
    """With a status: the connection has not become a stream yet."""
    await client.run()
    await client.ask("POST", "/containers/web/pause")
    answer = await client.ask("POST", "/containers/web/attach?stream=1&stdout=1")
    assert (answer.status, answer.hijacked) == (409, False)


async def test_a_terminal_gets_its_size(client: Client, engine: FakeEngine) -> None:
    """With the start, and whenever it changes."""
    id = await client.create(Tty=True, HostConfig={"ConsoleSize": [30, 100]})
    assert (await client.ask("POST", "/containers/web/resize?h=3&w=1")).status == 409
    await client.ask("POST", "/containers/web/start")
    assert engine.sizes == [(3, 1)]
    assert (await client.ask("POST", "/containers/web/resize?h=40&w=120")).status == 200
    assert engine.input_of(id).resized == [(40, 120)]
    for wrong in ("h=40", "h=a&w=1", "h=70000&w=1"):
        assert (await client.ask("POST", f"/containers/web/resize?{wrong}")).status == 400


async def test_figures_once_and_again(client: Client, engine: FakeEngine) -> None:
    """Two looks make a share of processors; who does not run has none."""
    id = await client.run()
    engine.files.live.append(id)
    once = (await client.ask("GET", "/containers/web/stats?stream=0&one-shot=1")).document
    assert (once["name"], once["precpu_stats"]["cpu_usage"]["total_usage"]) == ("/web", 0)
    two = (await client.ask("GET", "/containers/web/stats?stream=0")).document
    assert two["cpu_stats"]["cpu_usage"]["total_usage"] > two["precpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert two["memory_stats"] == {"usage": 1 << 20, "limit": 1 << 30,
                                   "stats": {"inactive_file": 0, "total_inactive_file": 0}}


async def test_what_is_in_a_container_comes_and_goes_as_an_archive(client: Client, engine: FakeEngine) -> None:
    """And is noted, with its size."""
    id = await client.create()
    engine.files.tree |= {"/etc": "directory", "/etc/hosts": "file"}
    engine.files.differences = [("C", "/etc"), ("A", "/etc/new"), ("D", "/gone")]
    changed = (await client.ask("GET", "/containers/web/changes")).document
    assert [(each["Kind"], each["Path"]) for each in changed] == [(0, "/etc"), (1, "/etc/new"), (2, "/gone")]
    exported = await client.ask("GET", "/containers/web/export")
    assert exported.body == archive("/", ".")
    put = await client.ask("PUT", "/containers/web/archive?path=/etc", streams_body=True, input=(b"tar", b"!"))
    assert (put.status, engine.files.spreads) == (200, [("/etc", b"tar!", False)])
    assert engine.files.noted == [(id, NoteExported(bytes=len(archive("/", ".")))),
                                  (id, NoteCopiedIn(path="/etc", bytes=4))]
    for path, status in (("/nothing", 404), ("/etc/hosts", 400), ("", 400)):
        assert (await client.ask("PUT", f"/containers/web/archive?path={path}", body=b"x")).status == status
    assert (await client.ask("GET", "/containers/web/archive?path=/nothing")).status == 404
    assert (await client.ask("HEAD", "/containers/web/archive?path=/nothing")).status == 404


async def test_a_commit_says_in_instructions_what_its_body_wants(client: Client, engine: FakeEngine) -> None:
    """The body of old clients, and the changes of newer ones."""
    await client.create()
    target = "/commit?container=web&repo=shop&tag=2&comment=why&author=ann&changes=ENV%20A=b"
    answer = await client.ask("POST", target, {"Cmd": ["run"], "Labels": {"a": "b"}, "User": "web"})
    assert answer.status == 201, answer.body
    assert (await client.ask("POST", "/commit")).status == 400


async def test_a_hundred_who_wait_are_all_answered(client: Client) -> None:
    """At the same time, and with the same status."""
    await client.run()
    wires = [client.wire("POST", "/containers/web/wait") for _ in range(100)]
    tasks = [asyncio.create_task(client.api.answer(wire)) for wire in wires]
    async with asyncio.timeout(5):
        for wire in wires:
            await wire.begun.wait()
        await client.ask("POST", "/containers/web/stop?t=0")
        await asyncio.gather(*tasks)
    assert {wire.ended for wire in wires} == {0}
    assert (await client.engine.container("1" * 64)).state is State.EXITED

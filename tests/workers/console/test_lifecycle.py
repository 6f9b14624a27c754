"""start, stop, restart, kill, pause, unpause, rm, rename, wait: what they print and how they end."""

import asyncio

import pytest

from domain.container import Container
from domain.lifecycle.start import StartFailed
from domain.messages import Command
from tests.workers.console.fakes import ROOT, FakeCall, FakeEngine, Prompt, Terminal
from workers.mover import Caller

ID = "1" * 64


@pytest.fixture
async def web(prompt: Prompt) -> str:
    """A running container called web."""
    await prompt.ok("run", "-d", "--name", "web", "alpine:3.10", "sleep", "9")
    return ID


async def state(engine: FakeEngine, id: str = ID) -> str:
    """Where it stands."""
    return (await engine.container(id)).state.value


@pytest.mark.parametrize(
    ("verb", "after"),
    [("stop", "exited"), ("kill", "exited"), ("pause", "paused"), ("restart", "running"), ("start", "running")],
)
@pytest.mark.usefixtures("web")
async def test_success_is_the_argument_exactly_as_typed(
    engine: FakeEngine, prompt: Prompt, verb: str, after: str
) -> None:
    """Not the id it was resolved to."""
    assert (await prompt.ok(verb, "/web")).out == "/web\n"
    assert await state(engine) == after
    await prompt.ok("rm", "-f", "web")


@pytest.mark.parametrize("verb", ["stop", "kill", "pause", "unpause", "restart", "start", "rm", "wait"])
@pytest.mark.usefixtures("web")
async def test_a_failure_does_not_stop_the_others(prompt: Prompt, verb: str) -> None:
    """Each success on stdout, each failure on stderr, status 1."""
    await prompt.ok("run", "-d", "--name", "db", "alpine:3.10")
    prepare = {"unpause": ["pause"], "rm": ["stop"], "wait": ["stop"]}.get(verb, [])
    for word in prepare:
        await prompt.ok(word, "web", "db")
    answer = await prompt(verb, "web", "missing", "db")
    assert answer.status == 1
    assert answer.lines == (["143", "143"] if verb == "wait" else ["web", "db"])
    assert "Error response from daemon: No such container: missing\n" in answer.err


@pytest.mark.usefixtures("web")
async def test_stop_is_silent_about_what_has_stopped(prompt: Prompt) -> None:
    """Twice is fine."""
    await prompt.ok("stop", "web")
    assert (await prompt.ok("stop", "web")).out == "web\n"


@pytest.mark.usefixtures("web")
async def test_stop_takes_signal_and_time(engine: FakeEngine, prompt: Prompt) -> None:
    """--time is the old spelling, and says so on stdout."""
    answer = await prompt.ok("stop", "-s", "INT", "--time", "3", "web")
    assert answer.lines == ["Flag --time has been deprecated, use --timeout instead", "web"]
    wish = next(r.event for r in await engine.history(ID) if r.event.stored_as == "stop-requested.v1")
    assert (wish.model_dump()["signal"], wish.model_dump()["timeout"]) == (2, 3)


@pytest.mark.usefixtures("web")
async def test_a_signal_that_is_none_is_refused(prompt: Prompt) -> None:
    """For kill by the engine, for stop as a flag."""
    answer = await prompt("kill", "-s", "NOPE", "web")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.startswith("Error response from daemon: invalid signal: NOPE\n")
    assert (await prompt("stop", "-s", "0", "web")).status == 125


@pytest.mark.usefixtures("web")
async def test_kill_says_what_cannot_be_killed(prompt: Prompt) -> None:
    """With the words that scripts match."""
    await prompt.ok("kill", "-s", "SIGHUP", "web")
    await prompt.ok("kill", "web")
    answer = await prompt("kill", "web")
    assert answer.err == f"Error response from daemon: cannot kill container: web: container {ID} is not running\n"


@pytest.mark.usefixtures("web")
async def test_pausing_twice_and_starting_what_is_paused_are_refused(prompt: Prompt) -> None:
    """With the words that scripts match."""
    await prompt.ok("pause", "web")
    assert "already paused" in (await prompt("pause", "web")).err
    answer = await prompt("start", "web")
    assert "cannot start a paused container, try unpause instead" in answer.err
    assert answer.err.endswith("Error: failed to start containers: web\n")
    await prompt.ok("unpause", "web")
    assert "is not paused" in (await prompt("unpause", "web")).err


@pytest.mark.usefixtures("web")
async def test_rm_of_what_runs_needs_force(engine: FakeEngine, prompt: Prompt) -> None:
    """And says what to do."""
    answer = await prompt("rm", "web")
    assert answer.status == 1
    assert answer.err == (
        'Error response from daemon: cannot remove container "web": container is running: '
        "stop the container before removing or force remove\n"
    )
    assert (await prompt("rm", "--dry-run", "web")).err == answer.err
    assert (await prompt.ok("rm", "--dry-run", "-f", "web")).out == "web\n"
    assert (await prompt.ok("ps", "--format", "{{.Names}}")).lines == ["web"]
    assert (await prompt.ok("rm", "-fv", "web")).out == "web\n"
    assert (await prompt("rm", "--dry-run", "web")).status == 1


async def test_rm_of_a_missing_one_is_no_failure_with_force(prompt: Prompt) -> None:
    """The message stays, the status is 0."""
    for line, status in ((["rm", "x"], 1), (["rm", "-f", "x"], 0)):
        answer = await prompt(*line)
        assert (answer.status, answer.out) == (status, "")
        assert answer.err == "Error response from daemon: No such container: x\n"


@pytest.mark.usefixtures("web")
async def test_rename_prints_nothing(prompt: Prompt) -> None:
    """ps shows the new name at once, the old one is free."""
    assert (await prompt.ok("rename", "web", "/shop")).out == ""
    assert (await prompt.ok("ps", "--format", "{{.Names}}")).out == "shop\n"
    for new in ("x", "a b", "-a"):
        assert (await prompt("rename", "--", "shop", new)).status == 1
    assert "may be empty" in (await prompt("rename", "shop", "")).err


@pytest.mark.usefixtures("web")
async def test_an_id_prefix_must_fit_one_container(prompt: Prompt) -> None:
    """Ambiguity is told, nothing is picked."""
    assert (await prompt.ok("stop", "11")).out == "11\n"
    for _ in range(16):
        await prompt.ok("create", "alpine:3.10")
    answer = await prompt("start", "1")
    assert (answer.status, answer.out) == (1, "")
    assert "multiple IDs found with provided prefix: 1" in answer.err


async def test_start_attached_gives_output_and_status_of_this_run(engine: FakeEngine, prompt: Prompt) -> None:
    """What earlier runs have written is not shown again."""
    await prompt.ok("create", "--name", "job", "alpine:3.10")

    def act(id: str) -> None:
        engine.write(id, b"run\n")
        engine.exit(id, 4)

    engine.after_start = act
    for _ in range(2):
        answer = await prompt("start", "-a", "job")
        assert (answer.status, answer.out, answer.err) == (4, "run\n", "")


async def test_start_attached_takes_one_container(prompt: Prompt) -> None:
    """Two outputs cannot share one terminal."""
    answer = await prompt("start", "-a", "a", "b")
    assert (answer.status, answer.err) == (1, "you cannot start and attach multiple containers at once\n")


@pytest.mark.usefixtures("web")
async def test_start_attached_to_what_runs_shows_what_comes(engine: FakeEngine, prompt: Prompt) -> None:
    """It joins; signals go to the container."""
    engine.write(ID, b"before\n")
    call = FakeCall(["start", "-a", "web"])
    running = asyncio.ensure_future(prompt(call=call))
    while call.on_signal is None:
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    engine.write(ID, b"after\n")
    await call.on_signal(15)
    answer = await running
    assert (answer.status, answer.out) == (143, "after\n")


async def test_start_that_fails_is_status_1_even_for_a_missing_command(engine: FakeEngine, prompt: Prompt) -> None:
    """127 is only for run."""
    await prompt.ok("create", "--name", "job", "alpine:3.10", "nope")
    engine.start_error = StartFailed(attempt=1, reason="executable file not found", exit_code=127)
    answer = await prompt("start", "job")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.splitlines()[-1] == "Error: failed to start containers: job"
    assert (await prompt("start", "-a", "job")).status == 1


@pytest.mark.usefixtures("web")
async def test_wait_prints_the_status_and_uses_it_on_request(engine: FakeEngine, prompt: Prompt) -> None:
    """It waits; afterwards it answers at once."""
    waiting = asyncio.ensure_future(prompt("wait", "web"))
    await asyncio.sleep(0)
    engine.exit(ID, 3)
    assert (await waiting).out == "3\n"
    assert (await prompt("wait", "--exit-code", "web")).status == 3


async def test_wait_gives_up_when_the_client_is_gone(prompt: Prompt) -> None:
    """Nothing is left waiting in the daemon."""
    await prompt.ok("run", "-d", "alpine:3.10")
    call = FakeCall(["wait", ID])
    waiting = asyncio.ensure_future(prompt(call=call))
    await asyncio.sleep(0)
    call.closed.set()
    async with asyncio.timeout(5):
        await waiting


async def test_arguments_are_echoed_without_what_a_terminal_obeys(engine: FakeEngine, prompt: Prompt) -> None:
    """Also in errors."""
    answer = await prompt("stop", "x\x1b[2J")
    assert "\x1b" not in answer.err
    assert "x\\x1b[2J" in answer.err


async def test_every_argument_is_a_request_of_its_own(engine: FakeEngine, prompt: Prompt) -> None:
    """A repeated request gets its old answer; two arguments are not one request."""
    for name in ("one1", "two2"):
        await prompt.ok("run", "-d", "--name", name, "alpine:3.10")
    await prompt(call=FakeCall(["stop", "one1", "two2"], who=Caller(ROOT, "call")))
    wishes = [r.meta.command_id for r in engine.store.records if r.event.stored_as == "stop-requested.v1"]
    assert wishes == ["call", "call/1"]


@pytest.mark.usefixtures("web")
async def test_a_long_wait_says_what_it_waits_for(
    engine: FakeEngine, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal only, and only when it is long."""
    monkeypatch.setattr("workers.console.patience.AFTER", 0.0)
    execute, told = engine.execute, asyncio.Event()

    async def slow(id: str, command: Command, who: Caller, *, wait: bool = True) -> Container:
        await told.wait()
        return await execute(id, command, who)

    monkeypatch.setattr(engine, "execute", slow)
    call = FakeCall(["stop", "-t", "5", "web"], terminal=Terminal(stderr_tty=True))
    stopping = asyncio.ensure_future(prompt(call=call))
    while not call.stderr:
        await asyncio.sleep(0)
    told.set()
    answer = await stopping
    assert (answer.out, answer.err) == ("web\n", "stopping web: waiting for SIGTERM, KILL after 5 s\n")
    assert (await prompt.ok("start", "web")).err == ""


@pytest.mark.usefixtures("web")
async def test_update_changes_the_restart_policy_of_what_runs(engine: FakeEngine, prompt: Prompt) -> None:
    """The names come back as they were typed; who changed what is in the history."""
    await prompt.ok("run", "-d", "--name", "db", "alpine:3.10")
    answer = await prompt("update", "--restart", "on-failure:3", "/web", "missing", "db")
    assert (answer.status, answer.lines) == (1, ["/web", "db"])
    assert answer.err == "Error response from daemon: No such container: missing\n"
    assert (await engine.container(ID)).settled.restart.retries == 3
    shown = await prompt.ok("inspect", "-f", "{{json .HostConfig.RestartPolicy}}", "web")
    assert shown.out == '{"Name":"on-failure","MaximumRetryCount":3}\n'


@pytest.mark.usefixtures("web")
async def test_update_without_a_flag_or_with_one_of_another_version_is_refused(prompt: Prompt) -> None:
    """Nothing is ignored in silence."""
    answer = await prompt("update", "web")
    assert answer.status == 1
    assert "you must provide one or more flags when using this command" in answer.err
    answer = await prompt("update", "--cpu-rt-period", "64", "web")
    assert answer.status == 125
    assert "--cpu-rt-period is not supported by this version of lading" in answer.err
    assert (await prompt("update", "--restart", "always:3", "web")).status == 125
    assert (await prompt("update", "--restart", "sometimes", "web")).status == 125


async def test_update_of_what_removes_itself_is_refused(prompt: Prompt) -> None:
    """A restart policy contradicts --rm."""
    await prompt.ok("run", "-d", "--rm", "--name", "once", "alpine:3.10")
    answer = await prompt("update", "--restart", "always", "once")
    assert answer.status == 1
    assert "because AutoRemove is enabled" in answer.err


async def test_wait_answers_for_what_is_removed(engine: FakeEngine, prompt: Prompt) -> None:
    """By its name then, and by its id."""
    await prompt.ok("run", "-d", "--rm", "--name", "once", "alpine:3.10")
    engine.exit(ID, 7)
    for name in ("once", ID):
        assert (await prompt.ok("wait", name)).out == "7\n"
    assert (await prompt("wait", "--exit-code", "once")).status == 7
    answer = await prompt("wait", "never")
    assert (answer.status, answer.out) == (1, "")


async def test_wait_can_end_with_the_status_of_the_last(engine: FakeEngine, prompt: Prompt) -> None:
    """Of several the last one that was named; a failure is told as one."""
    for name, code in (("one", 3), ("two", 300), ("three", 0)):
        await prompt.ok("run", "-d", "--name", name, "alpine:3.10")
        engine.exit(await engine.resolve(name), code)
    answer = await prompt("wait", "--exit-code", "three", "one")
    assert (answer.status, answer.out) == (3, "0\n3\n")
    assert (await prompt("wait", "--exit-code", "one", "three")).status == 0
    assert (await prompt("wait", "--exit-code", "two")).status == 300 & 0xFF
    assert (await prompt("wait", "--exit-code", "one", "nobody")).status == 1

"""run -it, attach, start -ai and exec: what is connected, how it ends, and what is refused before anything happens."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from domain.container import State
from domain.errors import CommandFailed, Refused, Unavailable
from domain.lifecycle.attach import Attached
from domain.lifecycle.pause import Pause
from domain.lifecycle.stop import Stop
from domain.messages import StreamId
from tests.workers.console.fakes import ROOT, Answer, FakeCall, FakeEngine, Prompt, Terminal
from workers.console.dispatch import dispatch
from workers.mover import Caller

ID, EXEC = "1" * 64, "1" * 64
HERE = Terminal(cols=100, rows=30, stdin_tty=True, stdout_tty=True, stderr_tty=True)
DETACH = b"\x10\x11"


def at_terminal(line: str, typed: bytes = b"", *, stays: bool = True) -> FakeCall:
    """A person at a terminal who has typed this."""
    return FakeCall(line.split(), terminal=HERE, input=typed, stays=stays)


def piped(line: str, typed: bytes = b"") -> FakeCall:
    """A script that pipes this in."""
    return FakeCall(line.split(), input=typed, terminal=Terminal(cols=0, rows=0))


def ends_after(engine: FakeEngine, wanted: bytes, status: int = 0) -> None:
    """The container ends as soon as this was typed (nothing: at the end of its input)."""

    def react(data: bytes) -> None:
        if (wanted and wanted in engine.inputs[ID].got) or not data:
            engine.exit(ID, status)

    engine.input_of(ID).react = react


async def told(prompt: Prompt, call: FakeCall) -> Answer:
    """The answer, in time."""
    return await asyncio.wait_for(prompt(call=call), 10)


async def running(engine: FakeEngine, prompt: Prompt, options: str) -> None:
    """A container in the background."""
    await prompt.ok("run", "-d", "--name", "box", *options.split(), "alpine:3.10", "sh")


async def at_rest() -> None:
    """Let everybody do what they can do; nothing here waits for a clock."""
    for _ in range(50):
        await asyncio.sleep(0)


def attachments(engine: FakeEngine) -> list[Attached]:
    """What was recorded of who took part."""
    return [r.event for r in engine.store.records if isinstance(r.event, Attached)]


async def test_run_it_is_a_terminal_of_the_clients_size(engine: FakeEngine, prompt: Prompt) -> None:
    """From the first moment on, and raw; at the end it is given back."""
    ends_after(engine, b"exit\r", 7)
    call = at_terminal("run -it --rm alpine:3.10", b"exit\r")
    assert (await told(prompt, call)).status == 7
    spec = (await engine.container(ID)).settled
    assert (spec.tty, spec.stdin, spec.stdin_once) == (True, True, True)
    assert engine.sizes == [(30, 100)]
    assert engine.inputs[ID].got == b"exit\r"
    assert engine.inputs[ID].resized == [(30, 100)]
    assert call.modes == ["raw", "back"]
    assert engine.inputs[ID].closed
    assert call.on_signal is None
    assert attachments(engine) == [Attached(streams=("stdin", "stdout", "stderr"), tty=True)]


@pytest.mark.parametrize("spelling", ["-it", "-ti", "-i -t", "--interactive --tty", "-t=true -i"])
async def test_all_spellings_of_it_mean_the_same(engine: FakeEngine, prompt: Prompt, spelling: str) -> None:
    """Fingers know one of them."""
    assert (await told(prompt, at_terminal(f"run {spelling} alpine:3.10", DETACH))).status == 0
    spec = (await engine.container(ID)).settled
    assert (spec.tty, spec.stdin) == (True, True)


async def test_it_in_the_background_keeps_its_input_open(engine: FakeEngine, prompt: Prompt) -> None:
    """-itd: nobody ends the input of what runs in the background; no terminal is needed for it."""
    answer = await told(prompt, piped("run -itd alpine:3.10"))
    assert (answer.status, answer.out) == (0, f"{ID}\n")
    spec = (await engine.container(ID)).settled
    assert (spec.tty, spec.stdin, spec.stdin_once) == (True, True, False)
    assert (engine.inputs, attachments(engine)) == ({}, [])


async def test_what_is_piped_in_reaches_the_process_and_then_its_end(engine: FakeEngine, prompt: Prompt) -> None:
    """And the output that follows still arrives."""

    def answers(data: bytes) -> None:
        if not data:
            engine.write(ID, b"done\xff")
            engine.exit(ID, 3)

    engine.input_of(ID).react = answers
    call = piped("run -i alpine:3.10 wc", b"one\ntwo\x10\x11")
    assert await asyncio.wait_for(dispatch(call, engine, engine.now), 10) == 3
    assert (engine.inputs[ID].got, engine.inputs[ID].ended) == (b"one\ntwo\x10\x11", True)
    assert (call.stdout, call.modes) == (b"done\xff", [])


async def test_without_i_nothing_is_read_from_the_client(engine: FakeEngine, prompt: Prompt) -> None:
    """`echo x | lading run IMAGE cat` prints nothing."""
    engine.after_start = lambda id: engine.exit(id, 0)
    assert (await told(prompt, piped("run alpine:3.10 cat", b"x"))).status == 0
    assert engine.inputs == {}
    assert not (await engine.container(ID)).settled.stdin


async def test_the_keys_leave_run_without_a_word(engine: FakeEngine, prompt: Prompt) -> None:
    """The container goes on; what was typed before them arrived."""
    call = at_terminal("run -it alpine:3.10", b"ls\r\x10\x11rest")
    answer = await told(prompt, call)
    assert (answer.status, answer.out, answer.err) == (0, "", "")
    assert engine.inputs[ID].got == b"ls\r"
    assert (await engine.container(ID)).state is State.RUNNING
    assert call.modes == ["raw", "back"]


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("attach box", DETACH),
        ("attach --detach-keys a,ctrl-x box", b"a\x18"),
        ("exec -it box sh", DETACH),
        ("exec -it --detach-keys=x box sh", b"x"),
    ],
)
async def test_the_keys_leave_attach_and_exec_with_1_and_a_word(
    engine: FakeEngine, prompt: Prompt, line: str, typed: bytes
) -> None:
    """As the standard CLI does."""
    await running(engine, prompt, "-it")
    engine.exec_lasts.clear()
    call = at_terminal(line, typed)
    answer = await told(prompt, call)
    assert answer.status == 1
    assert answer.err.splitlines()[-1] == "read escape sequence"
    assert call.modes == ["raw", "back"]
    assert (await engine.container(ID)).state is State.RUNNING


async def test_the_keys_leave_start_without_a_word(engine: FakeEngine, prompt: Prompt) -> None:
    """As they leave run."""
    await prompt.ok("create", "-it", "--name", "box", "alpine:3.10")
    answer = await told(prompt, at_terminal("start -ai box", b"x" + DETACH))
    assert (answer.status, answer.out, answer.err) == (0, "", "")
    assert engine.inputs[ID].got == b"x"


@pytest.mark.parametrize(
    ("line", "status", "instead"),
    [
        ("run -it alpine:3.10", 1, "leave out -t"),
        ("run -i -t --rm alpine:3.10", 1, "leave out -t"),
        ("attach box", 1, "--no-stdin"),
        ("exec -it box sh", 1, "leave out -t"),
        ("start -ai cold", 1, "leave out -i"),
    ],
)
async def test_a_terminal_inside_needs_one_outside(
    engine: FakeEngine, prompt: Prompt, line: str, status: int, instead: str
) -> None:
    """Nothing is created, started or executed, and what is said to do instead can be done."""
    await running(engine, prompt, "-it")
    await prompt.ok("create", "-it", "--name", "cold", "alpine:3.10")
    before = len(engine.store.records)
    answer = await told(prompt, piped(line))
    assert (answer.status, answer.out) == (status, "")
    assert "the input device is not a TTY" in answer.err
    assert instead in answer.err
    assert len(engine.store.records) == before


async def test_a_terminal_alone_needs_none_outside(engine: FakeEngine, prompt: Prompt) -> None:
    """`run -t` in a script is for programs that want to see one."""
    engine.after_start = lambda id: engine.exit(id, 0)
    call = piped("run -t alpine:3.10 tty")
    assert (await told(prompt, call)).status == 0
    assert call.modes == ["size", "back"]
    assert engine.sizes == [(0, 0)]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("run --detach-keys ctrl-! alpine:3.10", 125),
        ("run -d --detach-keys nonsense alpine:3.10", 125),
        ("start -a --detach-keys ctrl- box", 1),
        ("attach --detach-keys a,,b box", 1),
        ("exec --detach-keys ctrl-PP box true", 1),
    ],
)
async def test_bad_keys_are_refused_before_anything_happens(
    engine: FakeEngine, prompt: Prompt, line: str, status: int
) -> None:
    """With the right form."""
    await running(engine, prompt, "-i")
    before = len(engine.store.records)
    answer = await told(prompt, at_terminal(line))
    assert (answer.status, answer.out) == (status, "")
    assert "invalid detach keys" in answer.err
    assert "ctrl-p,ctrl-q" in answer.err
    assert len(engine.store.records) == before


async def test_attach_and_detach_exclude_each_other(prompt: Prompt) -> None:
    """Which one did they mean?"""
    answer = await prompt("run", "-d", "-a", "stdout", "alpine:3.10")
    assert (answer.status, answer.out) == (1, "")
    assert "cannot specify both --attach and --detach" in answer.err


async def test_only_input_prints_the_id_and_ends_with_the_input(engine: FakeEngine, prompt: Prompt) -> None:
    """`-a stdin`: feed it and go."""
    answer = await told(prompt, piped("run -i -a stdin alpine:3.10 cat", b"food"))
    assert (answer.status, answer.out) == (0, f"{ID}\n")
    assert (engine.inputs[ID].got, engine.inputs[ID].ended) == (b"food", True)


async def test_attach_repeats_nothing_and_ends_with_the_status(engine: FakeEngine, prompt: Prompt) -> None:
    """Only what comes from now on."""
    await running(engine, prompt, "")
    engine.write(ID, b"before")
    call = piped("attach box")
    task = asyncio.ensure_future(told(prompt, call))
    await at_rest()
    assert call.on_signal is not None
    engine.write(ID, b"after")
    engine.exit(ID, 5)
    answer = await task
    assert (answer.status, answer.out) == (5, "after")


async def test_everybody_who_is_attached_gets_the_status(engine: FakeEngine, prompt: Prompt) -> None:
    """Two people at one terminal."""
    await running(engine, prompt, "-it")
    both = [asyncio.ensure_future(told(prompt, at_terminal("attach box", typed))) for typed in (b"a", b"b")]
    await at_rest()
    assert sorted(engine.inputs[ID].got) == sorted(b"ab")
    engine.exit(ID, 9)
    assert [(await task).status for task in both] == [9, 9]


async def test_attach_makes_the_program_draw_again(engine: FakeEngine, prompt: Prompt) -> None:
    """One column more and back: a signal each time."""
    await running(engine, prompt, "-it")
    await told(prompt, at_terminal("attach box", DETACH))
    assert engine.inputs[ID].resized[-2:] == [(30, 101), (30, 100)]


async def test_attach_says_how_to_leave(engine: FakeEngine, prompt: Prompt) -> None:
    """To a person, not to a script."""
    await running(engine, prompt, "-it")
    answer = await told(prompt, at_terminal("attach --detach-keys ctrl-x,x box", b"\x18x"))
    assert answer.err.splitlines()[0] == "attached to box; ctrl-x x leaves it running"


async def test_no_stdin_only_watches(engine: FakeEngine, prompt: Prompt) -> None:
    """No terminal is needed for that, and no key arrives."""
    await running(engine, prompt, "-it")
    call = piped("attach --no-stdin box", b"x")
    task = asyncio.ensure_future(told(prompt, call))
    await at_rest()
    engine.exit(ID, 0)
    assert (await task).status == 0
    assert engine.inputs[ID].got == b""


@pytest.mark.parametrize("once", [True, False])
async def test_attaching_ends_the_input_only_of_what_was_created_attached(
    engine: FakeEngine, prompt: Prompt, once: bool
) -> None:
    """What runs in the background keeps its input when a client goes."""
    if once:
        await prompt.ok("create", "-i", "--name", "box", "alpine:3.10", "cat")
        await prompt.ok("start", "box")
    else:
        await running(engine, prompt, "-i")
    task = asyncio.ensure_future(told(prompt, piped("attach box", b"x")))
    await at_rest()
    assert (engine.inputs[ID].got, engine.inputs[ID].ended) == (b"x", once)
    engine.exit(ID, 0)
    await task


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        ("created", "You cannot attach to a stopped container, start it first"),
        ("exited", "You cannot attach to a stopped container, start it first"),
        ("paused", "You cannot attach to a paused container, unpause it first"),
    ],
)
async def test_attach_needs_a_container_that_runs(
    engine: FakeEngine, prompt: Prompt, state: str, wanted: str
) -> None:
    """And says what to do."""
    await prompt.ok("create", "--name", "box", "alpine:3.10")
    who = Caller(ROOT)
    if state != "created":
        await prompt.ok("start", "box")
        await engine.execute(ID, Pause() if state == "paused" else Stop(), who)
    answer = await told(prompt, piped("attach box"))
    assert (answer.status, answer.out, answer.err) == (1, "", f"Error response from daemon: {wanted}\n")
    assert attachments(engine) == []


async def test_exec_gives_output_and_status_of_the_command(engine: FakeEngine, prompt: Prompt) -> None:
    """And passes everything on that was typed."""
    await running(engine, prompt, "")
    engine.exec_writes, engine.exec_status = [(1, b"out"), (2, b"err")], 4
    line = "exec -e A=1 -e MINE --env-file vars -u nobody -w /srv --privileged box cmd -x"
    call = FakeCall(
        line.split(),
        environment={"MINE": "m"},
        files={"vars": b"B=2\n"},
    )
    answer = await told(prompt, call)
    assert (answer.status, answer.out, answer.err) == (4, "out", "err")
    (request,) = engine.execs
    assert (request.command, request.env) == (("cmd", "-x"), ("B=2", "A=1", "MINE=m"))
    assert (request.user, request.workdir, request.privileged) == ("nobody", "/srv", True)
    assert (request.tty, request.stdin, call.on_signal) == (False, False, None)


async def test_exec_i_passes_input_and_its_end(engine: FakeEngine, prompt: Prompt) -> None:
    """Half-closed: output follows."""
    await running(engine, prompt, "")
    engine.exec_lasts.clear()
    engine.input_of(EXEC).react = lambda data: None if data else engine.exec_lasts.set()
    await told(prompt, piped("exec -i box cat", b"food"))
    assert (engine.inputs[EXEC].got, engine.inputs[EXEC].ended) == (b"food", True)


async def test_exec_it_has_the_clients_size(engine: FakeEngine, prompt: Prompt) -> None:
    """As run -it."""
    await running(engine, prompt, "")
    engine.sizes.clear()
    call = at_terminal("exec -it box sh", b"x")
    await told(prompt, call)
    assert engine.sizes == [(30, 100)]
    assert call.modes == ["raw", "back"]


async def test_exec_d_returns_at_once(engine: FakeEngine, prompt: Prompt) -> None:
    """Without a word, and without the client's input."""
    await running(engine, prompt, "")
    engine.exec_lasts.clear()
    answer = await told(prompt, piped("exec -d -i box sleep 100", b"x"))
    assert (answer.status, answer.out, answer.err) == (0, "", "")
    assert EXEC not in engine.inputs


async def test_a_command_that_cannot_be_executed_says_so_on_stdout(engine: FakeEngine, prompt: Prompt) -> None:
    """Where the standard CLI puts it; with -d it is a refusal like any other."""
    await running(engine, prompt, "")
    engine.exec_error = CommandFailed('exec: "nope": executable file not found in $PATH', exit_code=127)
    answer = await told(prompt, piped("exec box nope"))
    assert (answer.status, answer.err) == (127, "")
    assert answer.out == 'exec failed: exec: "nope": executable file not found in $PATH\n'
    answer = await told(prompt, piped("exec -d box nope"))
    assert (answer.status, answer.out) == (1, "")
    assert "executable file not found" in answer.err


@pytest.mark.parametrize(
    ("act", "wanted"),
    [
        (Stop(), f"container {ID} is not running"),
        (Pause(), "Container box is paused, unpause the container before exec"),
    ],
)
async def test_exec_needs_a_container_that_runs(
    engine: FakeEngine, prompt: Prompt, act: Stop | Pause, wanted: str
) -> None:
    """The words that scripts match."""
    await running(engine, prompt, "")
    await engine.execute(ID, act, Caller(ROOT))
    answer = await told(prompt, piped("exec box true"))
    assert (answer.status, answer.out, answer.err) == (1, "", f"Error response from daemon: {wanted}\n")


async def test_a_client_that_goes_leaves_the_process_alone(engine: FakeEngine, prompt: Prompt) -> None:
    """The call ends, nothing else does."""
    await running(engine, prompt, "-it")
    call = at_terminal("attach box")
    task = asyncio.ensure_future(told(prompt, call))
    await at_rest()
    call.deserted = True
    call.closed.set()
    assert (await task).status == 0
    assert (await engine.container(ID)).state is State.RUNNING
    assert (engine.inputs[ID].ended, engine.inputs[ID].closed) == (False, True)


@pytest.mark.parametrize("deserted", [True, False])
async def test_a_killed_client_at_a_pipe_has_ended_its_input(
    engine: FakeEngine, prompt: Prompt, deserted: bool
) -> None:
    """`producer | lading run -i IMAGE consumer`: the consumer does not wait for ever; but it goes on when the engine
    is only being restarted."""
    call = piped("run -i alpine:3.10 cat", b"x")
    call.stays = True
    task = asyncio.ensure_future(told(prompt, call))
    await at_rest()
    call.deserted = deserted
    call.closed.set()
    await task
    assert (engine.inputs[ID].ended, engine.inputs[ID].closed) == (deserted, True)


class Leaving(FakeCall):
    """A client that says ten things, one in each turn of the loop, and has hung up behind the last one."""

    async def stdin(self) -> AsyncIterator[bytes]:
        """What it has said is here, also when it is not."""
        for number in range(10):
            await asyncio.sleep(0)
            yield b"%d" % number
        await self.closed.wait()
        raise Unavailable("the client went away")


@pytest.mark.parametrize("turns", range(0, 40, 2))
async def test_what_a_client_has_said_is_told_also_when_it_is_gone(
    engine: FakeEngine, prompt: Prompt, turns: int
) -> None:
    """In whatever turn of the loop its end is noticed, with a process that takes its input slowly."""
    input = engine.input_of(ID)
    write = input.write

    async def slowly(data: bytes) -> None:
        await asyncio.sleep(0)
        await write(data)

    input.write = slowly  # type: ignore[method-assign]
    call = Leaving(["run", "-i", "alpine:3.10", "cat"], terminal=Terminal(cols=0, rows=0))
    task = asyncio.ensure_future(told(prompt, call))
    async with asyncio.timeout(10):
        while not input.got:
            await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    call.deserted = True
    call.closed.set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (input.got, input.ended, input.closed) == (b"0123456789", True, True)


async def test_input_that_nobody_reads_any_more_is_no_error(engine: FakeEngine, prompt: Prompt) -> None:
    """`yes | lading run -i IMAGE head -1`: the status is told."""
    engine.after_start = lambda id: engine.exit(id, 0)

    async def refuse(data: bytes) -> None:
        raise Refused("its process is gone")

    engine.input_of(ID).write = refuse  # type: ignore[method-assign]
    assert (await told(prompt, piped("run -i alpine:3.10 head", b"y\n" * 9))).status == 0


async def test_what_was_attached_is_in_the_history(engine: FakeEngine, prompt: Prompt) -> None:
    """Who watched, and who could type."""
    await running(engine, prompt, "-i")
    task = asyncio.ensure_future(told(prompt, piped("attach --no-stdin box")))
    await at_rest()
    engine.exit(ID, 0)
    await task
    assert attachments(engine) == [Attached(streams=("stdout", "stderr"))]
    assert StreamId("container", ID) in {r.stream for r in engine.store.records if isinstance(r.event, Attached)}

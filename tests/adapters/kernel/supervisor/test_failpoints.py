"""SIGKILL at every named place of a run's life: the start is carried out once, and everything comes to its end."""

import json
import re
from pathlib import Path

import pytest

from adapters.kernel.supervisor import faults
from domain import failpoints
from domain.errors import CommandFailed, LadingError
from domain.isolation import Isolation
from domain.spec import ExecSpec, LogConfig
from tests.adapters.kernel.supervisor.machine import Machine, wait_until

kernel = [pytest.mark.kernel, pytest.mark.slow]

PROGRAMS = Path(faults.__file__).parent
IN_A_LIFE = (
    "warden.before-cgroup", "warden.after-cgroup", "warden.before-clone", "warden.after-clone", "warden.after-hold",
    "warden.before-go", "warden.after-go", "warden.before-answer", "warden.log-rotate", "warden.log-header",
    "warden.log-data", "warden.after-drain", "warden.before-journal", "warden.after-journal", "warden.before-rmdir",
    "warden.after-rmdir", "zygote.before-clone", "zygote.after-clone",
)
IN_ROTATION = ("warden.log-rotate", "warden.log-header", "warden.log-data", "warden.log-drop")
IN_THE_SCRIBE = ("scribe.before-write", "scribe.after-write", "scribe.rotating", "scribe.renamed", "scribe.rotated")
AFTER_A_DEATH = ("keeper.before-hand-back", "keeper.before-reap", "warden.before-succession", "warden.in-succession",
                 "warden.recover-run")
IN_AN_EXEC = {
    "warden.before-entering": 1, "warden.before-clone": 2, "warden.after-clone": 2, "warden.after-hold": 2,
    "warden.before-go": 2, "warden.after-go": 2, "warden.before-answer": 2, "warden.before-lend": 1,
    "warden.before-adoption": 1,
    "warden.before-journal": 1, "warden.after-journal": 1, "zygote.before-clone": 2, "zygote.after-clone": 2,
}
"""At which passing: the container's own start comes first."""
IN_THE_CHILD = ("zygote.child",)
OF_THE_PLAN = ("host.MakeGroup", "host.MakeDirectory")
CHILD_OF_THE_PLAN = ("child.Opaque", "child.PivotRoot", "child.AttachTerminals", "child.Mask", "child.WaitForGo")


@pytest.mark.parametrize("point", IN_A_LIFE + OF_THE_PLAN)
@pytest.mark.kernel
@pytest.mark.slow
async def test_a_run_survives_a_kill(machine: Machine, point: str) -> None:
    """The command ran exactly once, with its true status and all its output."""
    machine.failpoints = f"{point}=kill"
    async with machine.connected():
        id, process = await machine.start("echo $$ one; echo two >&2; exit 42")
        report = await machine.end(id)
        assert (report.code, report.how, report.pid) == (42, "self", process.pid)
        assert await machine.output(id, 1) == b"1 one\n"
        assert await machine.output(id, 2) == b"two\n"


@pytest.mark.parametrize("tty", [False, True], ids=["pipes", "terminal"])
@pytest.mark.parametrize("point", IN_AN_EXEC)
@pytest.mark.kernel
@pytest.mark.slow
async def test_an_exec_survives_a_kill(machine: Machine, point: str, tty: bool) -> None:
    """It was executed exactly once, its status is the true one, and all it has written reaches the daemon."""
    machine.failpoints = f"{point}=kill@{IN_AN_EXEC[point]}"
    async with machine.connected():
        id, _ = await machine.start("sleep 1000")
        exec_id, process = await machine.exec(id, "echo -n x >>/count; echo one; exit 42", tty=tty)
        output = await machine.exec_output(id, exec_id)
        report = await machine.end(id, exec_id=exec_id)
        assert (report.code, report.how, report.pid) == (42, "self", process.pid)
        assert output == (b"one\r\n" if tty else b"one\n")
        count, _ = await machine.exec(id, "cat /count")
        assert await machine.exec_output(id, count) == b"x"
        await machine.runtime.kill_all(id)
        assert (await machine.end(id)).code == 137


@pytest.mark.parametrize("role", ["warden", "keeper", "zygote"])
@pytest.mark.parametrize("tty", [False, True], ids=["pipes", "terminal"])
@pytest.mark.kernel
@pytest.mark.slow
async def test_an_exec_that_runs_survives_a_kill(machine: Machine, role: str, tty: bool) -> None:
    """Its input, its output and its status go on as if nothing had happened."""
    async with machine.connected() as runtime:
        id, _ = await machine.start("sleep 1000")
        script = "read a; echo got $a; read b; echo got $b; exit 7"
        exec_id, process = await machine.exec(id, script, tty=tty, stdin=True)
        frames = runtime.exec_output(id, exec_id)
        input = await runtime.input(id, exec_id)
        await input.write(b"one\n")
        seen = b""
        while b"got one" not in seen:
            seen += (await anext(frames)).data
        machine.kill(role)
        await input.write(b"two\n")
        async for frame in frames:
            seen += frame.data
        assert seen.endswith(b"got two\r\n" if tty else b"got one\ngot two\n")
        report = await machine.end(id, exec_id=exec_id)
        assert (report.code, report.how, report.pid) == (7, "self", process.pid)
        await runtime.kill_all(id)
        await machine.end(id)


@pytest.mark.parametrize("point", ["child.EnterNamespaces", "child.EnterWorkdir", "child.Cross"])
@pytest.mark.kernel
@pytest.mark.slow
async def test_an_exec_killed_before_it_executes_has_failed(machine: Machine, point: str) -> None:
    """It is no exit, the container goes on, and the next one is executed."""
    machine.failpoints = f"{point}=kill"
    async with machine.connected() as runtime:
        id, _ = await machine.start("sleep 1000")
        with pytest.raises(LadingError, match="killed before"):
            await machine.exec(id, "exit 3")
        assert list(await runtime.exits()) == []
        machine.kill("zygote")  # the next one is not armed
        exec_id, _ = await machine.exec(id, "exit 3")
        assert (await machine.end(id, exec_id=exec_id)).code == 3
        await runtime.kill_all(id)
        assert (await machine.end(id)).code == 137


@pytest.mark.parametrize(("point", "passing"), [("warden.after-go", 2), ("warden.before-adoption", 1)])
@pytest.mark.kernel
@pytest.mark.slow
async def test_why_nothing_was_executed_is_known_after_a_kill(machine: Machine, point: str, passing: int) -> None:
    """What could not be executed was born already, and has said so to nobody who lives."""
    machine.failpoints = f"{point}=kill@{passing}"
    async with machine.connected() as runtime:
        id, _ = await machine.start("printf 'x\\0' >/bad; chmod +x /bad; echo ready; exec sleep 1000")
        await machine.written(id, b"ready")
        with pytest.raises(CommandFailed, match="exec format error") as caught:
            await runtime.exec(id, 1, "ab", ExecSpec(argv=("/bad",)), machine.specs[id], ())
        assert caught.value.exit_code == 126
        assert list(await runtime.exits()) == []
        await runtime.kill_all(id)
        assert (await machine.end(id)).code == 137


@pytest.mark.parametrize("point", ["child.ShareNamespace", "child.PrepareLent", "child.Cross"])
@pytest.mark.kernel
@pytest.mark.slow
async def test_a_guest_killed_before_it_executes_has_failed(machine: Machine, point: str) -> None:
    """Of a container that shares the processes of another one nothing is left, and that one goes on."""
    machine.failpoints = f"{point}=kill"
    async with machine.connected() as runtime:
        id, _ = await machine.start("sleep 1000")
        guest = Isolation(pid=f"container:{id}", ipc=f"container:{id}")
        with pytest.raises(LadingError, match="killed before"):
            await machine.start("exit 3", isolation=guest)
        assert len(await runtime.running()) == 1
        machine.kill("zygote")  # the next one is not armed
        another, _ = await machine.start("exit 3", isolation=guest)
        assert (await machine.end(another)).code == 3
        await runtime.kill_all(id)
        assert (await machine.end(id)).code == 137


@pytest.mark.parametrize("point", ["warden.before-clone", "warden.after-clone", "warden.after-hold", "warden.after-go",
                                   "warden.before-answer", "warden.before-adoption"])
@pytest.mark.kernel
@pytest.mark.slow
async def test_a_guest_survives_a_kill(machine: Machine, point: str) -> None:
    """It is executed exactly once, and its status is the true one."""
    machine.failpoints = f"{point}=kill@{1 if point == 'warden.before-adoption' else 2}"
    async with machine.connected() as runtime:
        id, _ = await machine.start("sleep 1000")
        guest, process = await machine.start("echo $$ one; exit 42", isolation=Isolation(pid=f"container:{id}"))
        report = await machine.end(guest)
        assert (report.code, report.how, report.pid) == (42, "self", process.pid)
        assert (await machine.output(guest, 1)).endswith(b" one\n")
        await runtime.kill_all(id)
        assert (await machine.end(id)).code == 137


@pytest.mark.kernel
@pytest.mark.slow
async def test_a_terminal_that_cannot_be_bound_is_a_failed_start(machine: Machine) -> None:
    """As with every other step."""
    machine.failpoints = "child.BindConsole=kill"
    async with machine.connected():
        with pytest.raises(LadingError, match="killed before"):
            await machine.start("exit 0", tty=True)
        assert machine.groups() == []


@pytest.mark.parametrize("passing", [1, 2, 3, 7])
@pytest.mark.parametrize("point", IN_ROTATION)
@pytest.mark.kernel
@pytest.mark.slow
async def test_rotation_survives_a_kill(machine: Machine, point: str, passing: int) -> None:
    """What is kept is the end of what was written, without a hole; and what is gone was counted to the byte."""
    machine.failpoints = f"{point}=kill@{passing}"
    lines = b"".join(b"line %d\n" % number for number in range(1, 20_001))
    script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done"
    async with machine.connected():
        id, _ = await machine.start(script, log=LogConfig(options={"max-size": "16k", "max-file": "3"}))
        report = await machine.end(id)
        kept = await machine.output(id)
        assert (report.code, report.how) == (0, "self")
        assert lines.endswith(kept)
        first = await anext(machine.logs.frames(id))
        assert first.missed == len(lines) - len(kept) >= report.log_dropped
        directory = machine.data / "logs" / id
        wait_until(lambda: len([*directory.glob("*.log")]) <= 3, "nobody reads: the oldest are deleted")


@pytest.mark.parametrize("point", IN_THE_SCRIBE)
@pytest.mark.kernel
@pytest.mark.slow
async def test_a_scribe_that_is_killed_loses_and_doubles_no_line(machine: Machine, point: str) -> None:
    """Also when the warden dies while the next one still writes; nothing of it delays the container or its end."""
    machine.failpoints = f"{point}=kill@3"
    script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done; printf end"
    async with machine.connected():
        log = LogConfig(driver="json-file", options={"max-size": "200k", "max-file": "20"})
        id, _ = await machine.start(script, log=log)
        assert (await machine.end(id)).code == 0
        machine.kill("warden")
        directory = machine.data / "logs" / id
        wait_until(lambda: not (directory / "json").exists() and (directory / "json.state").exists(), "all is written")
        paths = sorted(directory.glob("*-json.log*"), key=lambda path: -int(path.suffix[1:].replace("log", "0")))
        logged = [json.loads(line)["log"] for path in paths for line in path.read_bytes().splitlines()]
        assert logged == [*(f"line {number}\n" for number in range(1, 20_001)), "end"]
        wait_until(lambda: not (machine.data / "state" / "scribe").exists(), "nothing is left to write")


@pytest.mark.parametrize("point", AFTER_A_DEATH)
@pytest.mark.parametrize("role", ["warden", "keeper"])
@pytest.mark.kernel
@pytest.mark.slow
async def test_a_recovery_survives_a_kill(machine: Machine, point: str, role: str) -> None:
    """The second death comes while the first one is being mended. Where both were gone the status may be unknown, but
    the container ends, is reported, and another one can be started."""
    machine.failpoints = f"{point}=kill"
    async with machine.connected():
        id, _ = await machine.start("echo one; sleep 0.2; echo two; exit 42")
        machine.kill(role)
        report = await machine.end(id)
        assert (report.code, report.how) in ((42, "self"), (137, "unknown"), (-1, "unknown"))
        if report.how == "self":
            assert await machine.output(id) == b"one\ntwo\n"
        other, _ = await machine.start("exit 7")
        assert (await machine.end(other)).code == 7


@pytest.mark.parametrize("point", IN_THE_CHILD + CHILD_OF_THE_PLAN)
@pytest.mark.kernel
@pytest.mark.slow
async def test_a_child_killed_before_it_executes_is_a_failed_start(machine: Machine, point: str) -> None:
    """It is no exit: nothing has run."""
    machine.failpoints = f"{point}=kill"
    async with machine.connected() as runtime:
        with pytest.raises(LadingError, match="killed before"):
            await machine.start("exit 0")
        assert machine.groups() == []
        assert await runtime.exits() == []


def test_every_failpoint_of_the_small_processes_is_swept() -> None:
    """A new one must be added to the lists above."""
    texts = [file.read_text() for file in PROGRAMS.glob("*.py")]
    named = {name for text in texts for name in re.findall(r'failpoint\("([\w.-]+)"\)', text)}
    assert named == {*IN_A_LIFE, *IN_AN_EXEC, *IN_ROTATION, *IN_THE_SCRIBE, *AFTER_A_DEATH, *IN_THE_CHILD}


def test_a_fault_is_armed_for_the_passing_and_the_process_it_names() -> None:
    """`@N` counts, a recovery point is for the respawned process only."""
    try:
        faults.arm("one=error@2; x.recover-y=error", 0)
        failpoints.failpoint("one")
        with pytest.raises(OSError, match="one"):
            failpoints.failpoint("one")
        failpoints.failpoint("one")
        failpoints.failpoint("x.recover-y")
        faults.arm("one=error; x.recover-y=error", 1)
        failpoints.failpoint("one")
        with pytest.raises(OSError, match="recover"):
            failpoints.failpoint("x.recover-y")
    finally:
        failpoints.arm(None)

"""Execs: processes more in a container, with everything that may come in between."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from domain.errors import CommandFailed, KernelError, LadingError, NotFound
from domain.spec import ExecSpec
from tests.adapters.kernel.supervisor.machine import Machine, many_deaths, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

SLEEP = "sleep 1000"


async def _over(machine: Machine, id: str) -> None:
    await machine.runtime.kill_all(id)
    assert (await machine.end(id)).code == 137


async def test_an_exec_is_inside_of_everything(machine: Machine) -> None:
    """The namespaces, the groups and the root of the first process; and it is not number 1."""
    async with machine.connected():
        id, first = await machine.start("echo mine >/file; exec sleep 1000")
        await asyncio.sleep(0.1)
        exec_id, more = await machine.exec(id, SLEEP)
        for name in ("cgroup", "ipc", "mnt", "net", "pid", "uts", "user"):
            assert os.readlink(f"/proc/{more.pid}/ns/{name}") == os.readlink(f"/proc/{first.pid}/ns/{name}"), name
        assert Path(f"/proc/{more.pid}/cgroup").read_text() == Path(f"/proc/{first.pid}/cgroup").read_text()
        assert more.cgroup == first.cgroup
        assert await machine.told(id, "cat /file; echo $$") != "mine\n1\n"
        await machine.runtime.exec_signal(id, exec_id, 9)
        assert (await machine.end(id, exec_id=exec_id)).signal == 9
        await _over(machine, id)


async def test_user_groups_directory_and_environment_are_those_asked_for(machine: Machine) -> None:
    """What is not asked for is the container's."""
    async with machine.connected():
        id, _ = await machine.start("mkdir -p /etc /home/ann; echo ann:x:1000:100::/home/ann:/bin/sh >/etc/passwd; "
                                    "echo wheel:x:10:ann >/etc/group; echo ready; exec sleep 1000", workdir="/home")
        await machine.written(id, b"ready")
        assert await machine.told(id, "pwd; echo $HOME; id -u; id -G") == "/home\n/\n0\n0\n"
        assert await machine.told(id, "pwd; echo $HOME; id -u; id -G; echo $A $PATH", user="ann", workdir="/home/ann",
                                  env=("A=b", "PATH=/bin")) == "/home/ann\n/home/ann\n1000\n100 10\nb /bin\n"
        assert await machine.told(id, "id -u; id -G", user="4242:7") == "4242\n7\n"
        assert await machine.told(id, "echo hi >/dev/stdout", user="ann") == "hi\n"
        for user in ("bob", "ann:nogroup", "2147483648"):
            with pytest.raises(CommandFailed) as caught:
                await machine.exec(id, "true", user=user)
            assert caught.value.exit_code == 125
        await _over(machine, id)


@pytest.mark.parametrize(("wishes", "code"), [
    ({"argv": ("nonesuch",)}, 127), ({"argv": ("/nonesuch",)}, 127), ({"argv": ("/data",)}, 126),
    ({"argv": ("/bin",)}, 126), ({"argv": ("/bin/true",), "workdir": "/missing"}, 127),
    ({"argv": ("/bin/true",), "workdir": "/data"}, 127), ({"argv": ("/proc/self/exe",)}, 127),
    ({"argv": ("/proc/1/exe",)}, 126),
    ({"argv": ("/bin/true",), "workdir": "/proc/self/fd/4"}, 127)])
async def test_what_cannot_be_executed_says_so(machine: Machine, wishes: dict[str, Any], code: int) -> None:
    """As for a first process, with the same numbers; the container and the next exec go on."""
    async with machine.connected() as runtime:
        id, _ = await machine.start("echo data >/data; echo ready; exec sleep 1000")
        await machine.written(id, b"ready")
        with pytest.raises(CommandFailed) as caught:
            await runtime.exec(id, 1, "ab", ExecSpec(**wishes), machine.specs[id], ())
        assert caught.value.exit_code == code
        assert await machine.told(id, "echo next") == "next\n"
        await _over(machine, id)


async def test_a_terminal_of_an_exec_is_of_the_containers_instance(machine: Machine) -> None:
    """Whether or not the container has one itself; with its size, and its user as the owner."""
    async with machine.connected() as runtime:
        for tty, number in ((False, 0), (True, 1)):
            id, _ = await machine.start("sleep 1000", tty=tty)
            said = await machine.told(id, "tty; stty size; echo $TERM; : >/dev/tty", tty=True, size=(12, 34), user="7")
            assert said == f"/dev/pts/{number}\r\n12 34\r\nxterm\r\n"
            script = "trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.02; done"
            exec_id, _ = await machine.exec(id, script, tty=True)
            frames = runtime.exec_output(id, exec_id)
            assert (await anext(frames)).data == b"ready\r\n"
            await (await runtime.input(id, exec_id)).resize(50, 60)
            assert [frame.data async for frame in frames] == [b"50 60\r\n"]
            await _over(machine, id)


async def test_a_frozen_container_makes_an_exec_wait_and_nobody_else(machine: Machine) -> None:
    """The newborn process is frozen with the rest; others are started meanwhile, and it goes on with the thaw."""
    async with machine.connected() as runtime:
        id, _ = await machine.start(SLEEP)
        await runtime.freeze(id)
        waiting = asyncio.create_task(machine.exec(id, "exit 4"))
        other, _ = await machine.start("exit 5")
        assert (await machine.end(other)).code == 5
        assert not waiting.done()
        await runtime.thaw(id)
        exec_id, _ = await waiting
        assert (await machine.end(id, exec_id=exec_id)).code == 4
        await _over(machine, id)


async def test_a_frozen_container_can_be_killed_with_an_exec_under_way(machine: Machine) -> None:
    """The end of a container never waits for one who waits for it."""
    async with machine.connected() as runtime:
        id, _ = await machine.start(SLEEP)
        await runtime.freeze(id)
        waiting = asyncio.create_task(machine.exec(id, "exit 4"))
        await asyncio.sleep(0.3)
        await _over(machine, id)
        with pytest.raises(LadingError):
            await waiting


async def test_execs_end_with_their_container_and_are_told_before_it(machine: Machine) -> None:
    """Eight of them, in the middle of whatever they do."""
    async with machine.connected() as runtime:
        id, _ = await machine.start(SLEEP)
        execs = [(await machine.exec(id, "while :; do echo x; done" if n % 2 else SLEEP))[0] for n in range(8)]
        await runtime.signal(id, signal.SIGKILL)
        await machine.end(id)
        assert all((id, 1, exec_id) in machine.exits for exec_id in execs)
        assert {machine.exits[id, 1, exec_id].code for exec_id in execs} == {137}
        with pytest.raises(NotFound):
            await machine.exec(id, "true")


async def test_an_exec_belongs_to_one_run(machine: Machine) -> None:
    """Of another attempt nothing is executed."""
    async with machine.connected() as runtime:
        id, _ = await machine.start(SLEEP, attempt=2)
        with pytest.raises(NotFound):
            await runtime.exec(id, 1, "ab", ExecSpec(argv=("true",)), machine.specs[id], ())
        await runtime.kill_all(id)
        await machine.end(id, 2)


async def test_an_exec_is_over_when_its_process_is(machine: Machine) -> None:
    """A child of it that goes on with its output keeps nobody waiting; what it has written until then is there."""
    async with machine.connected():
        id, _ = await machine.start(SLEEP)
        exec_id, _ = await machine.exec(id, "sleep 1000 & echo before; exit 6")
        assert await machine.exec_output(id, exec_id) == b"before\n"
        assert (await machine.end(id, exec_id=exec_id)).code == 6
        await _over(machine, id)


async def test_an_exec_that_has_closed_its_outputs_still_gets_its_input(machine: Machine) -> None:
    """It is over when its process is, though nothing more comes from it; also when the warden dies meanwhile."""
    async with machine.connected() as runtime:
        id, _ = await machine.start(SLEEP)
        exec_id, _ = await machine.exec(id, "echo begun; exec >&- 2>&-; cat >/got; exit 5", stdin=True)
        frames = runtime.exec_output(id, exec_id)
        assert (await anext(frames)).data == b"begun\n"
        over = asyncio.ensure_future(anext(frames, None))
        machine.kill("warden")
        await machine.whole()
        input = await runtime.input(id, exec_id)
        await input.write(b"said late")
        assert not over.done()
        await input.end()
        assert await over is None
        assert (await machine.end(id, exec_id=exec_id)).code == 5
        assert await machine.told(id, "cat /got") == "said late"
        await _over(machine, id)


async def test_output_that_nobody_takes_waits_and_is_then_whole(machine: Machine) -> None:
    """A reader that dawdles stops the process, not the engine, and loses nothing."""
    async with machine.connected() as runtime:
        id, _ = await machine.start(SLEEP)
        exec_id, _ = await machine.exec(id, "dd if=/dev/zero bs=65536 count=64 2>/dev/null; touch /done")
        frames = runtime.exec_output(id, exec_id)
        size = len((await anext(frames)).data)
        await asyncio.sleep(0.3)
        assert (await machine.told(id, "ls /done 2>&1 || true")).endswith("No such file or directory\n")
        async for frame in frames:
            size += len(frame.data)
        assert size == 64 << 16
        assert (await machine.end(id, exec_id=exec_id)).code == 0
        await _over(machine, id)


async def test_output_that_was_let_go_is_dropped(machine: Machine) -> None:
    """Its client is gone: the process goes on to its end."""
    async with machine.connected() as runtime:
        id, _ = await machine.start(SLEEP)
        exec_id, _ = await machine.exec(id, "dd if=/dev/zero bs=65536 count=64 2>/dev/null; exit 8")
        frames = runtime.exec_output(id, exec_id)
        await anext(frames)
        await frames.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert (await machine.end(id, exec_id=exec_id)).code == 8
        await _over(machine, id)


async def test_an_exec_whose_daemon_is_gone_neither_blocks_nor_waits(machine: Machine) -> None:
    """Its output goes nowhere and its input has ended; the next daemon hears how it ended."""
    machine.acknowledges = False
    async with machine.connected():
        id, _ = await machine.start(SLEEP)
        flood, _ = await machine.exec(id, "dd if=/dev/zero bs=65536 count=64 2>/dev/null; exit 8")
        reader, _ = await machine.exec(id, "cat; exit 9", stdin=True)
        screen, _ = await machine.exec(id, "dd if=/dev/zero bs=65536 count=16 2>/dev/null; exit 7", tty=True)
    machine.acknowledges = True
    async with machine.connected() as runtime:
        for exec_id, code in ((flood, 8), (reader, 9), (screen, 7)):
            assert (await machine.end(id, exec_id=exec_id)).code == code
            with pytest.raises(NotFound):
                await machine.exec_output(id, exec_id)
        assert list(await runtime.exits()) == []
        await _over(machine, id)


@many_deaths
async def test_a_new_warden_does_not_take_what_the_daemon_reads(machine: Machine) -> None:
    """The daemon tells it what it has; not a byte is missing."""
    async with machine.connected() as runtime:
        id, _ = await machine.start(SLEEP)
        script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 3"
        exec_id, _ = await machine.exec(id, script)
        frames = runtime.exec_output(id, exec_id)
        seen = (await anext(frames)).data
        for role in ("warden", "keeper", "warden"):
            await machine.whole()
            machine.kill(role)
        async for frame in frames:
            seen += frame.data
        assert seen == b"".join(b"line %d\n" % number for number in range(3000))
        assert (await machine.end(id, exec_id=exec_id)).code == 3
        await _over(machine, id)


async def test_a_zygote_that_dies_with_a_child_half_born_keeps_no_container_from_ending(machine: Machine) -> None:
    """Nobody knows that child's number; it ends, and is reaped, all the same."""
    machine.failpoints = "zygote.after-clone=kill@2"
    async with machine.connected():
        id, _ = await machine.start(SLEEP)
        assert await machine.told(id, "echo done") == "done\n"
        await _over(machine, id)


async def test_memory_that_runs_out_in_an_exec_is_told(machine: Machine) -> None:
    """The container's limit holds for it as well; the next exec of the same container is not blamed."""
    async with machine.connected():
        id, _ = await machine.start(SLEEP)
        limited = [Path(group, name) for group in machine.groups() for name in ("memory.limit_in_bytes", "memory.max")
                   if Path(group, name).exists()]
        limited[0].write_text(str(8 << 20))
        exec_id, _ = await machine.exec(id, "exec dd if=/dev/zero of=/dev/shm/x bs=65536 count=1000")
        report = await machine.end(id, exec_id=exec_id)
        assert (report.code, report.signal, report.oom, report.how) == (137, 9, True, "oom")
        limited[0].write_text(str(64 << 20))
        killed, _ = await machine.exec(id, "kill -9 $$")
        report = await machine.end(id, exec_id=killed)
        assert (report.code, report.oom, report.how) == (137, False, "signal")
        await _over(machine, id)


async def test_the_process_limit_holds_for_execs(machine: Machine) -> None:
    """They are in the group like everything else; so is, for a moment, who has given birth to them."""
    async with machine.connected():
        id, _ = await machine.start(SLEEP)
        limit = next(path for group in machine.groups() if (path := Path(group, "pids.max")).exists())
        limit.write_text("4")
        assert "fork" in await machine.told(id, "(sleep 1 & sleep 1 & sleep 1 & sleep 1 & wait) 2>&1; true")
        await _over(machine, id)


async def test_many_execs_leave_nothing_behind(machine: Machine) -> None:
    """Sixty of them, eight at a time: descriptors of the small processes are as before, and there is no zombie."""
    async with machine.connected() as runtime:
        id, first = await machine.start(SLEEP)
        await machine.told(id, "true")
        before = machine.descriptors()
        ours = len(os.listdir("/proc/self/fd"))
        for _ in range(8):
            said = await asyncio.gather(*(machine.told(id, "echo hi", tty=bool(n % 2)) for n in range(8)))
            assert {line.strip() for line in said} == {"hi"}
        await runtime.running()
        wait_until(lambda: machine.descriptors() <= before, "no descriptor is left")
        assert len(os.listdir("/proc/self/fd")) <= ours
        assert list(await runtime.processes(id)) == [first.pid]
        children = Path(f"/proc/{machine.pid('warden')}/task/{machine.pid('warden')}/children").read_text().split()
        assert sorted(map(int, children)) == sorted([first.pid, machine.pid("zygote")])
        await _over(machine, id)


async def test_a_broken_exec_request_is_refused(machine: Machine) -> None:
    """What no plan looks like is answered; the container lives."""
    async with machine.connected() as runtime:
        id, _ = await machine.start(SLEEP)
        for child in ("[[", '[["None"]]', '[["Execute"]]', '[["EnterNamespaces", 0]]'):
            with pytest.raises((KernelError, CommandFailed)):
                await runtime._borrow({"op": "exec", "id": id, "attempt": 1, "exec": "ab", "flags": 0, "child": child})
        assert await machine.told(id, "echo next") == "next\n"
        await _over(machine, id)

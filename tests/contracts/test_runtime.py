"""What every Runtime does, whether it has a kernel or not."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.memory.runtime import MemoryRuntime
from domain.errors import CommandFailed, InvalidValue, KernelError, NotFound, Refused
from domain.isolation import Isolation
from domain.ports.runtime import ExitReport, StartedProcess
from domain.spec import ContainerSpec, ExecSpec
from tests.adapters.kernel.supervisor import conftest
from tests.adapters.kernel.supervisor.machine import Machine

layers, machine = conftest.layers, conftest.machine

SLEEP = ("/bin/sleep", "1000")


class Bench:
    """A runtime under test and everything it has reported."""

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime
        self.reports: list[ExitReport] = []
        self.changed = asyncio.Condition()
        self.refusals = 0

    async def heard(self, report: ExitReport) -> None:
        """The listener; it fails as often as it was told to, and does not acknowledge by itself."""
        if self.refusals:
            self.refusals -= 1
            raise KernelError("not now")
        async with self.changed:
            self.reports.append(report)
            self.changed.notify_all()

    async def start(self, *argv: str, id: str = "", attempt: int = 1,
                    isolation: Isolation | None = None) -> tuple[str, StartedProcess]:
        """Start a command."""
        id = id or os.urandom(32).hex()
        spec = ContainerSpec(image="busybox", image_id="sha256:0", command=argv, hostname="box", isolation=isolation)
        return id, await self.runtime.start(id, attempt, spec, (), ("busybox",))

    async def interactive(self, *argv: str, tty: bool = False, size: tuple[int, int] = (0, 0)) -> str:
        """Start a command with an input."""
        id = os.urandom(32).hex()
        spec = ContainerSpec(image="busybox", image_id="sha256:0", command=argv, hostname="box", stdin=True, tty=tty)
        await self.runtime.start(id, 1, spec, (), ("busybox",), size=size)
        return id

    async def exec(self, id: str, *argv: str, exec_id: str = "", **wishes: Any) -> tuple[str, StartedProcess]:
        """One more process in a container."""
        exec_id = exec_id or os.urandom(32).hex()
        spec = ContainerSpec(image="busybox", image_id="sha256:0", command=SLEEP, hostname="box")
        return exec_id, await self.runtime.exec(id, 1, exec_id, ExecSpec(argv=argv, **wishes), spec, ())

    async def output(self, id: str, exec_id: str) -> bytes:
        """All that an exec writes, once it has ended."""
        async with asyncio.timeout(20):
            return b"".join([frame.data async for frame in self.runtime.exec_output(id, exec_id)])

    async def report(self, id: str, attempt: int = 1, exec_id: str = "") -> ExitReport:
        """The exit of a run, or of an exec in it, once it was told."""
        def found() -> list[ExitReport]:
            return [report for report in self.reports
                    if (report.id, report.attempt, report.exec_id) == (id, attempt, exec_id)]

        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(lambda: found())
        return found()[0]


@pytest.fixture(params=["memory", pytest.param("kernel", marks=[pytest.mark.kernel, pytest.mark.slow])])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Each implementation, connected and with a listener."""
    if request.param == "memory":
        bench = Bench(MemoryRuntime())
        bench.runtime.on_exit(bench.heard)
        yield bench
        return
    real: Machine = request.getfixturevalue("machine")
    async with real.new_runtime() as runtime:
        bench = Bench(runtime)
        runtime.on_exit(bench.heard)
        yield bench


async def test_a_started_process_is_running_until_it_ends(bench: Bench) -> None:
    """By its id: attempt, pid, start time."""
    id, process = await bench.start(*SLEEP)
    assert (await bench.runtime.running())[id] == (1, process)
    assert list(await bench.runtime.processes(id)) == [process.pid]
    await bench.runtime.kill_all(id)
    await bench.report(id)
    assert id not in await bench.runtime.running()


@pytest.mark.parametrize(("argv", "code"), [
    (("/bin/true",), 0), (("/bin/false",), 1), (("/bin/sh", "-c", "exit 42"), 42)])
async def test_an_exit_tells_the_code(bench: Bench, argv: tuple[str, ...], code: int) -> None:
    """And who it was, and when."""
    id, process = await bench.start(*argv)
    report = await bench.report(id)
    assert (report.code, report.signal, report.oom, report.how) == (code, 0, False, "self")
    assert (report.pid, report.start_time) == (process.pid, process.start_time)
    assert report.time > 0


async def test_a_killed_process_ended_by_signal(bench: Bench) -> None:
    """As a shell counts."""
    id, _ = await bench.start(*SLEEP)
    await bench.runtime.signal(id, 9)
    report = await bench.report(id)
    assert (report.code, report.signal, report.how) == (137, 9, "signal")


async def test_a_first_process_without_handlers_only_hears_kill(bench: Bench) -> None:
    """The rule of number 1: `stop` of such a container takes its whole patience."""
    id, _ = await bench.start(*SLEEP)
    await bench.runtime.signal(id, 15)
    assert id in await bench.runtime.running()
    await bench.runtime.signal(id, 9)
    assert (await bench.report(id)).signal == 9


async def test_a_start_with_a_known_key_is_done_once(bench: Bench) -> None:
    """While it runs, after it has ended, after its exit was acknowledged; several at once, too."""
    id = os.urandom(32).hex()
    answers = await asyncio.gather(*(bench.start(*SLEEP, id=id) for _ in range(4)))
    assert len({process for _, process in answers}) == 1
    await bench.runtime.kill_all(id)
    report = await bench.report(id)
    assert (await bench.start(*SLEEP, id=id)) == answers[0]
    await bench.runtime.acknowledge(report)
    assert (await bench.start(*SLEEP, id=id)) == answers[0]
    assert await bench.runtime.running() == {}
    _, second = await bench.start("/bin/true", id=id, attempt=2)
    assert second != answers[0][1]
    await bench.report(id, 2)


async def test_a_command_that_is_not_there_cannot_be_started(bench: Bench) -> None:
    """127, nothing runs, nothing is reported, and the same attempt may be tried again."""
    id = os.urandom(32).hex()
    for _ in range(2):
        with pytest.raises(CommandFailed) as caught:
            await bench.start("nonesuch", id=id)
        assert caught.value.exit_code == 127
    assert await bench.runtime.running() == {}
    assert list(await bench.runtime.exits()) == []
    assert list(await bench.runtime.processes(id)) == []


async def test_an_exit_is_told_until_it_is_acknowledged(bench: Bench) -> None:
    """A listener that fails is called again; a later listener hears what nobody has acknowledged."""
    bench.refusals = 2
    id, _ = await bench.start("/bin/false")
    report = await bench.report(id)
    assert list(await bench.runtime.exits()) == [report]
    bench.reports.clear()
    bench.runtime.on_exit(bench.heard)
    assert await bench.report(id) == report
    await bench.runtime.acknowledge(report)
    await bench.runtime.acknowledge(report)
    assert list(await bench.runtime.exits()) == []


async def test_a_frozen_container_can_be_killed(bench: Bench) -> None:
    """And a thawed one goes on."""
    id, _ = await bench.start(*SLEEP)
    await bench.runtime.freeze(id)
    await bench.runtime.thaw(id)
    await bench.runtime.thaw(id)
    await bench.runtime.freeze(id)
    await bench.runtime.kill_all(id)
    assert (await bench.report(id)).signal == 9


async def test_what_has_ended_is_not_found(bench: Bench) -> None:
    """Killing all is the exception: there is nothing left to do."""
    id, _ = await bench.start("/bin/true")
    await bench.report(id)
    for wish in (bench.runtime.signal(id, 15), bench.runtime.freeze(id), bench.runtime.thaw(id)):
        with pytest.raises(NotFound):
            await wish
    await bench.runtime.kill_all(id)
    await bench.runtime.kill_all("ab" * 32)


async def test_removing_twice_or_something_that_never_was_is_fine(bench: Bench) -> None:
    """A removal that was cut short is done again from the beginning."""
    id, _ = await bench.start(*SLEEP)
    await bench.runtime.remove(id)
    await bench.runtime.remove(id)
    await bench.runtime.remove("ab" * 32)
    assert (await bench.report(id)).signal == 9
    assert list(await bench.runtime.processes(id)) == []


async def test_strays_are_ended_and_named(bench: Bench) -> None:
    """What the log does not know must not stay."""
    mine, _ = await bench.start(*SLEEP)
    stray, _ = await bench.start(*SLEEP)
    assert list(await bench.runtime.strays({mine})) == [stray]
    await bench.report(stray)
    assert set(await bench.runtime.running()) == {mine}
    assert list(await bench.runtime.strays({mine})) == []
    await bench.runtime.kill_all(mine)
    await bench.report(mine)


async def test_an_id_is_never_a_path(bench: Bench) -> None:
    """It becomes the name of directories and control groups."""
    wishes: list[Callable[[str], Any]] = [
        bench.runtime.kill_all, bench.runtime.processes, bench.runtime.writable_size,
        lambda id: bench.start(*SLEEP, id=id)]
    for wish in wishes:
        with pytest.raises(InvalidValue):
            await wish("../" + "a" * 61)


async def test_a_watcher_hears_the_bell(bench: Bench) -> None:
    """Once more after each clearing; nobody rings when nothing happens."""
    id = os.urandom(32).hex()
    async with bench.runtime.watch(id) as watch:
        await bench.start("/bin/sh", "-c", "exit 3", id=id) if isinstance(bench.runtime, MemoryRuntime) else \
            await bench.start("/bin/sh", "-c", "echo hello", id=id)
        async with asyncio.timeout(10):
            await watch.bell()
    await bench.report(id)


async def test_nothing_was_written_is_a_size_of_nothing(bench: Bench, tmp_path: Path) -> None:
    """Also of a container that was never started."""
    assert await bench.runtime.writable_size("ab" * 32) == 0


@pytest.mark.parametrize("kind", ["pid", "ipc"])
async def test_a_namespace_is_shared_with_a_container_that_runs(bench: Bench, kind: str) -> None:
    """Else nothing is started; who shares the processes of one that ends, ends."""
    lender = os.urandom(32).hex()
    with pytest.raises(CommandFailed, match=f"cannot join {kind.upper()} of a non running container: {lender}"):
        await bench.start(*SLEEP, isolation=Isolation.model_validate({kind: f"container:{lender}"}))
    await bench.start(*SLEEP, id=lender)
    guest, _ = await bench.start(*SLEEP, isolation=Isolation.model_validate({kind: f"container:{lender}"}))
    await bench.runtime.kill_all(lender)
    assert (await bench.report(lender)).signal == 9
    if kind == "ipc":
        assert guest in await bench.runtime.running()
        await bench.runtime.kill_all(guest)
    assert (await bench.report(guest)).code == 137


async def test_an_exec_is_one_more_process_of_the_container(bench: Bench) -> None:
    """Its end is told with its id; that of the container is not touched."""
    id, first = await bench.start(*SLEEP)
    exec_id, process = await bench.exec(id, *SLEEP)
    assert sorted(await bench.runtime.processes(id)) == sorted((first.pid, process.pid))
    assert (await bench.runtime.running())[id] == (1, first)
    assert (await bench.runtime.execs())[id] == {exec_id}
    await bench.runtime.exec_signal(id, exec_id, 9)
    report = await bench.report(id, exec_id=exec_id)
    assert id not in await bench.runtime.execs()
    assert (report.code, report.signal, report.how) == (137, 9, "signal")
    assert (report.pid, report.start_time) == (process.pid, process.start_time)
    assert list(await bench.runtime.processes(id)) == [first.pid]
    await bench.runtime.kill_all(id)
    await bench.report(id)


async def test_a_kill_of_an_exec_reaches_what_it_has_started(bench: Bench) -> None:
    """Its shell is not all there is: what was left would run on until the container ends."""
    if isinstance(bench.runtime, MemoryRuntime):
        pytest.skip("its processes start no others")
    id, first = await bench.start(*SLEEP)
    exec_id, _ = await bench.exec(id, "/bin/sh", "-c", "sleep 600; true")
    while len(await bench.runtime.processes(id)) < 3:
        await asyncio.sleep(0.01)
    await bench.runtime.exec_signal(id, exec_id, 9)
    await bench.report(id, exec_id=exec_id)
    while await bench.runtime.processes(id) != [first.pid]:
        await asyncio.sleep(0.01)
    await bench.runtime.kill_all(id)
    await bench.report(id)


async def test_an_exec_is_no_first_process(bench: Bench) -> None:
    """The rule of number 1 does not protect it: TERM ends it."""
    id, _ = await bench.start(*SLEEP)
    exec_id, _ = await bench.exec(id, *SLEEP)
    await bench.runtime.exec_signal(id, exec_id, 15)
    assert (await bench.report(id, exec_id=exec_id)).code == 143
    with pytest.raises(NotFound):
        await bench.runtime.exec_signal(id, exec_id, 15)
    await bench.runtime.kill_all(id)
    await bench.report(id)


@pytest.mark.parametrize(("argv", "code"), [
    (("/bin/true",), 0), (("/bin/false",), 1), (("/bin/sh", "-c", "exit 42"), 42)])
async def test_the_exit_of_an_exec_tells_the_code(bench: Bench, argv: tuple[str, ...], code: int) -> None:
    """As for a first process; and it waits to be acknowledged."""
    id, _ = await bench.start(*SLEEP)
    exec_id, _ = await bench.exec(id, *argv)
    report = await bench.report(id, exec_id=exec_id)
    assert (report.code, report.signal, report.how) == (code, 0, "self")
    assert list(await bench.runtime.exits()) == [report]
    await bench.runtime.acknowledge(report)
    assert list(await bench.runtime.exits()) == []
    await bench.runtime.kill_all(id)
    await bench.report(id)


async def test_an_exec_with_a_known_id_is_done_once(bench: Bench) -> None:
    """Several at once, and when it has ended."""
    id, _ = await bench.start(*SLEEP)
    exec_id = os.urandom(32).hex()
    answers = await asyncio.gather(*(bench.exec(id, *SLEEP, exec_id=exec_id) for _ in range(4)))
    assert len({process for _, process in answers}) == 1
    await bench.runtime.exec_signal(id, exec_id, 9)
    report = await bench.report(id, exec_id=exec_id)
    assert await bench.exec(id, *SLEEP, exec_id=exec_id) == answers[0]
    await bench.runtime.acknowledge(report)
    assert await bench.exec(id, *SLEEP, exec_id=exec_id) == answers[0]
    await bench.runtime.kill_all(id)
    await bench.report(id)
    assert len([report for report in bench.reports if report.exec_id]) == 1


async def test_an_exec_ends_with_its_container(bench: Bench) -> None:
    """And is told before it: the end of a run is the last word about it."""
    id, _ = await bench.start(*SLEEP)
    exec_id, _ = await bench.exec(id, *SLEEP)
    await bench.runtime.signal(id, 9)
    await bench.report(id)
    report = await bench.report(id, exec_id=exec_id)
    assert (report.code, report.signal) == (137, 9)
    assert [told.exec_id for told in bench.reports] == [exec_id, ""]
    with pytest.raises(NotFound):
        await bench.exec(id, *SLEEP)


async def test_an_exec_of_what_is_not_there_fails(bench: Bench) -> None:
    """127, and nothing of it is reported; the container goes on, and the same exec may be tried again."""
    id, first = await bench.start(*SLEEP)
    exec_id = os.urandom(32).hex()
    for _ in range(2):
        with pytest.raises(CommandFailed) as caught:
            await bench.exec(id, "nonesuch", exec_id=exec_id)
        assert caught.value.exit_code == 127
    assert list(await bench.runtime.exits()) == []
    assert list(await bench.runtime.processes(id)) == [first.pid]
    await bench.runtime.kill_all(id)
    await bench.report(id)


async def test_there_is_no_exec_where_nothing_runs(bench: Bench) -> None:
    """The run is over, or never was."""
    id, _ = await bench.start("/bin/true")
    await bench.report(id)
    for gone in (id, "ab" * 32):
        with pytest.raises(NotFound):
            await bench.exec(gone, "/bin/true")
    with pytest.raises(NotFound):
        await bench.output(id, "ab" * 32)
    with pytest.raises(NotFound):
        await bench.runtime.input(id)


async def test_what_an_exec_writes_goes_to_who_asks(bench: Bench) -> None:
    """Also when it had ended before; once."""
    id, _ = await bench.start(*SLEEP)
    exec_id, _ = await bench.exec(id, "/bin/echo", "hello", "there")
    await bench.report(id, exec_id=exec_id)
    assert await bench.output(id, exec_id) == b"hello there\n"
    with pytest.raises(NotFound):
        await bench.output(id, exec_id)
    await bench.runtime.kill_all(id)
    await bench.report(id)


async def test_an_exec_reads_its_input_to_the_end(bench: Bench) -> None:
    """Bytes in, the same bytes out; `end` is the end of file."""
    id, _ = await bench.start(*SLEEP)
    exec_id, _ = await bench.exec(id, "/bin/cat", stdin=True)
    input = await bench.runtime.input(id, exec_id)
    data = bytes(range(256)) * 2000
    reading = asyncio.create_task(bench.output(id, exec_id))
    await input.write(data)
    await input.end()
    await input.end()
    assert await reading == data
    assert (await bench.report(id, exec_id=exec_id)).code == 0
    with pytest.raises(Refused):
        await input.write(b"too late")
    input.close()
    input.close()
    await bench.runtime.kill_all(id)
    await bench.report(id)


async def test_without_stdin_the_input_is_empty(bench: Bench) -> None:
    """What reads it ends at once, and nobody can write to it."""
    id, _ = await bench.start(*SLEEP)
    exec_id, _ = await bench.exec(id, "/bin/cat")
    assert (await bench.report(id, exec_id=exec_id)).code == 0
    with pytest.raises(Refused):
        await bench.runtime.input(id)
    await bench.runtime.kill_all(id)
    await bench.report(id)


async def test_a_container_reads_what_several_write(bench: Bench) -> None:
    """One that lets go ends nothing; one that ends it ends it for all."""
    id = await bench.interactive("/bin/cat")
    one, other = await bench.runtime.input(id), await bench.runtime.input(id)
    await one.write(b"one\n")
    one.close()
    await other.write(b"other\n")
    await other.resize(10, 20)
    third = await bench.runtime.input(id)
    await other.end()
    assert (await bench.report(id)).code == 0
    with pytest.raises(Refused):
        await third.write(b"too late")
    with pytest.raises(NotFound):
        await bench.runtime.input(id)
    other.close()
    third.close()


async def test_a_writer_waits_for_a_process_that_does_not_read(bench: Bench) -> None:
    """Back-pressure instead of loss; when the process ends the writer hears it."""
    id = await bench.interactive(*SLEEP)
    input = await bench.runtime.input(id)
    writing = asyncio.create_task(input.write(bytes(1 << 21)))
    done, _ = await asyncio.wait([writing], timeout=0.2)
    assert not done
    await bench.runtime.kill_all(id)
    with pytest.raises(Refused):
        async with asyncio.timeout(5):
            await writing
    await bench.report(id)
    input.close()


async def test_on_a_terminal_a_byte_ends_the_input(bench: Bench) -> None:
    """Ending it otherwise does nothing: the terminal is still there."""
    id, _ = await bench.start(*SLEEP)
    exec_id, _ = await bench.exec(id, "/bin/cat", tty=True)
    input = await bench.runtime.input(id, exec_id)
    await input.end()
    await input.resize(10, 20)
    await input.write(b"line\n\x04")
    assert b"line" in await bench.output(id, exec_id)
    assert (await bench.report(id, exec_id=exec_id)).code == 0
    input.close()
    await bench.runtime.kill_all(id)
    await bench.report(id)

"""Terminals and inputs of first processes: as a person at a keyboard would have them."""

import asyncio
from typing import Any

import pytest

from domain.errors import Refused
from tests.adapters.kernel.supervisor.machine import Machine, many_deaths, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

LINES = b"".join(b"line %d\r\n" % number for number in range(8000))
COUNTING = "i=0; while [ $i -lt 8000 ]; do echo line $i; i=$((i+1)); [ $((i % 100)) = 0 ] && sleep 0.01; done; exit 42"


async def test_a_terminal_has_its_size_and_its_name_before_anything_is_written(machine: Machine) -> None:
    """One that is its process's own, in the container's own instance."""
    async with machine.connected():
        script = "tty; stty size; echo $TERM; tty </dev/tty; echo console >/dev/console; echo /dev/pts/*"
        id, _ = await machine.start(script, tty=True, size=(31, 101))
        assert (await machine.end(id)).code == 0
        said = (await machine.output(id)).decode().split("\r\n")
        assert said == ["/dev/pts/0", "31 101", "xterm", "/dev/tty", "console", "/dev/pts/0 /dev/pts/ptmx", ""]
        assert await machine.output(id, 2) == b""


@pytest.mark.parametrize("wishes", [{"tty": True}, {"stdin": True}, {}], ids=["terminal", "pipes", "output only"])
async def test_a_user_may_open_its_own_streams_again(machine: Machine, wishes: dict[str, Any]) -> None:
    """/dev/stdout and its like are opened by name, with the rights of the one who runs."""
    async with machine.connected():
        id, _ = await machine.start("echo one >/dev/stdout; echo two >/dev/stderr; : </dev/stdin", user="1000:1000",
                                    **wishes)
        assert (await machine.end(id)).code == 0
        output = (await machine.output(id, 1)) + (await machine.output(id, 2))
        assert output.replace(b"\r", b"") == b"one\ntwo\n"


async def test_what_is_typed_is_echoed_and_read(machine: Machine) -> None:
    """Line by line; control-c is a signal, control-d the end."""
    async with machine.connected() as runtime:
        id, _ = await machine.start("trap 'echo interrupted' INT; read a; echo got $a; cat; echo over", tty=True)
        input = await runtime.input(id)
        await input.write(b"hello\n")
        await machine.written(id, b"hello\r\ngot hello\r\n")
        await input.write(b"more\n")
        await machine.written(id, b"more\r\nmore\r\n")
        await input.write(b"\x04")
        assert (await machine.end(id)).code == 0
        assert (await machine.output(id)).endswith(b"over\r\n")
        with pytest.raises(Refused):
            await input.write(b"too late")


async def test_control_c_interrupts(machine: Machine) -> None:
    """The process in the foreground of the terminal hears of it."""
    async with machine.connected() as runtime:
        id, _ = await machine.start("trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.02; done",
                                    tty=True)
        await machine.written(id, b"ready")
        await (await runtime.input(id)).write(b"\x03")
        assert (await machine.end(id)).code == 5
        assert b"interrupted" in await machine.output(id)


async def test_a_new_size_is_told_to_the_process(machine: Machine) -> None:
    """By SIGWINCH; sizes that no terminal has are made to fit."""
    async with machine.connected() as runtime:
        id, _ = await machine.start("trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done", tty=True,
                                    size=(10, 20))
        await machine.written(id, b"ready")
        input = await runtime.input(id)
        await input.resize(44, 155)
        await machine.written(id, b"44 155\r\n")
        await input.resize(1 << 20, -1)
        await input.resize(45, 156)
        await machine.written(id, b"45 156\r\n")
        await runtime.kill_all(id)
        await machine.end(id)


@pytest.mark.parametrize("roles", [(), ("warden",), ("keeper",), ("warden", "warden"),
                                   pytest.param(("warden", "keeper"), marks=many_deaths)],
                         ids=lambda roles: "+".join(roles) or "nobody")
async def test_a_terminal_loses_nothing_when_a_small_process_dies(machine: Machine, roles: tuple[str, ...]) -> None:
    """What it has written is whole, and its status the true one."""
    async with machine.connected():
        id, _ = await machine.start(COUNTING, tty=True)
        for role in roles:
            await asyncio.sleep(0.15)
            await machine.whole()
            machine.kill(role)
        assert (await machine.end(id)).code == 42
        assert await machine.output(id) == LINES


async def test_a_terminal_may_be_left_and_opened_again(machine: Machine) -> None:
    """Between the two nobody in the container has it, and the engine neither spins nor takes that for the end."""
    async with machine.connected() as runtime:
        id, _ = await machine.start("echo one; exec <&- >&- 2>&-; sleep 0.3; exec >/dev/console; echo two", tty=True)
        await machine.written(id, b"one")
        before = _cpu(machine.pid("warden"))
        assert (await machine.end(id)).code == 0
        assert _cpu(machine.pid("warden")) - before < 20  # of a hundredth of a second each
        assert await machine.output(id) == b"one\r\ntwo\r\n"
        assert await runtime.running() == {}


def _cpu(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize("wishes", [{"init": True}, {"read_only": True}, {"user": "1000"}],
                         ids=["init", "read-only", "user"])
async def test_a_terminal_goes_with_everything_else(machine: Machine, wishes: dict[str, Any]) -> None:
    """Options do not stand in each other's way."""
    async with machine.connected():
        id, _ = await machine.start("tty; test -w /dev/console && test -c /dev/console && echo right", tty=True,
                                    **wishes)
        assert (await machine.end(id)).code == 0
        assert await machine.output(id) == b"/dev/pts/0\r\nright\r\n"


@many_deaths
async def test_megabytes_go_through_cat_while_small_processes_die(machine: Machine) -> None:
    """Bytes of every kind, in order; the writer waits for the reader and for nobody else."""
    data = bytes(range(256)) * (4 << 12)
    async with machine.connected() as runtime:
        id, _ = await machine.start("cat; exit 9", stdin=True)
        input = await runtime.input(id)
        for number in range(4):
            await input.write(data[number << 20:number + 1 << 20])
            await machine.whole()
            machine.kill(("warden", "zygote", "keeper", "warden")[number])
        await input.end()
        assert (await machine.end(id)).code == 9
        assert await machine.output(id) == data


async def test_what_is_pasted_into_a_raw_terminal_arrives_whole(machine: Machine) -> None:
    """Much more than the kernel keeps for a program that is busy: the one who pastes waits."""
    data = b"".join(b"line %d of what was pasted\n" % number for number in range(8000))
    async with machine.connected() as runtime:
        id, _ = await machine.start("stty raw -echo; echo ready; sleep 0.3; "
                                    f"dd bs={len(data)} count=1 iflag=fullblock 2>/dev/null; exit 3", tty=True)
        await machine.written(id, b"ready")
        await (await runtime.input(id)).write(data)
        assert (await machine.end(id)).code == 3
        assert await machine.output(id) == b"ready\n" + data


async def test_an_input_that_nobody_has_stays_open(machine: Machine) -> None:
    """Clients, and daemons, come and go; the process reads on."""
    async with machine.connected() as runtime:
        id, _ = await machine.start("read a; echo got $a; read b; echo got $b; cat; echo over", stdin=True)
        input = await runtime.input(id)
        await input.write(b"one\n")
        input.close()
    async with machine.connected() as runtime:
        input = await runtime.input(id)
        await input.write(b"two\n")
        await machine.written(id, b"got two")
        machine.kill("warden")
        await input.end()
        assert (await machine.end(id)).code == 0
        assert await machine.output(id) == b"got one\ngot two\nover\n"


async def test_terminals_leave_nothing_behind(machine: Machine) -> None:
    """Twenty of them, each with two inputs: as many descriptors as before."""
    async with machine.connected() as runtime:
        await machine.end((await machine.start("true", tty=True))[0])
        before = machine.descriptors()
        for _ in range(20):
            id, _ = await machine.start("cat", tty=True)
            for _ in range(2):
                await (await runtime.input(id)).resize(3, 4)
            await (await runtime.input(id)).write(b"\x04")
            await machine.end(id)
        wait_until(lambda: machine.descriptors() <= before, "no descriptor is left")

"""SIGKILL for the small processes while containers run and print: nothing of what a container did may be lost."""

import asyncio
import os
import random
import signal

import pytest

from tests.adapters.kernel.supervisor.machine import Machine, many_deaths

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

COUNTING = ("i=0; while [ $i -lt {lines} ]; do echo line $i; i=$((i+1)); [ $((i % {pace})) = 0 ] && sleep 0.01; done; "
            "exit 42")


def counted(lines: int) -> bytes:
    """What `COUNTING` prints."""
    return b"".join(b"line %d\n" % number for number in range(lines))


@pytest.mark.parametrize("roles", [("zygote",), ("warden",), ("keeper",)], ids=lambda roles: "+".join(roles))
async def test_a_container_survives_the_death_of_its_supervisor(machine: Machine, roles: tuple[str, ...]) -> None:
    """Its output is whole, and its exit status is the true one."""
    async with machine.connected():
        id, process = await machine.start(COUNTING.format(lines=3000, pace=50))
        await asyncio.sleep(0.1)
        machine.kill(*roles)
        report = await machine.end(id)
        assert (report.code, report.how, report.pid) == (42, "self", process.pid)
        assert await machine.output(id) == counted(3000)
        other, _ = await machine.start("exit 7")
        assert (await machine.end(other)).code == 7


@many_deaths
async def test_random_kills_lose_no_line_and_no_status(machine: Machine) -> None:
    """Keeper, warden and zygote die at any moment, one at a time; six containers print and must not notice."""
    chance = random.Random(20)
    async with machine.connected():
        scripts = [COUNTING.format(lines=3000 + n, pace=20).replace("exit 42", f"exit {42 + n}") for n in range(6)]
        runs = [(await machine.start(script))[0] for script in scripts]
        for _ in range(6):
            await machine.whole()
            await asyncio.sleep(chance.uniform(0, 0.1))
            machine.kill(chance.choice(["keeper", "warden", "zygote"]))
        for number, id in enumerate(runs):
            assert (await machine.end(id)).code == 42 + number
            assert await machine.output(id) == counted(3000 + number)


@many_deaths
async def test_keeper_and_warden_dying_in_turn_keep_the_container(machine: Machine) -> None:
    """Each finds in the other all it needs, any number of times."""
    async with machine.connected():
        id, _ = await machine.start(COUNTING.format(lines=4000, pace=20))
        for role in ("warden", "keeper", "warden", "keeper", "keeper", "warden"):
            await machine.whole()
            machine.kill(role)
        assert (await machine.end(id)).code == 42
        assert await machine.output(id) == counted(4000)


async def test_a_status_is_true_when_the_process_ends_while_nobody_watches(machine: Machine) -> None:
    """The warden is dead, the container ends, the next warden learns the status from whoever has reaped it."""
    async with machine.connected():
        for role in ("warden", "keeper"):
            id, _ = await machine.start("sleep 0.05; echo bye; exit 9")
            await machine.whole()
            os.kill(machine.pid(role), signal.SIGSTOP)
            await asyncio.sleep(0.2)
            machine.kill(role)
            assert (await machine.end(id)).code == 9
            assert await machine.output(id) == b"bye\n"


async def test_when_keeper_and_warden_die_at_once_containers_are_ended_and_reported(machine: Machine) -> None:
    """Nobody owns them any more: they are killed, their status is unknown, and the daemon is told to look."""
    lost = asyncio.Event()

    async def on_lost() -> None:
        lost.set()

    async with machine.connected() as runtime:
        runtime.on_lost(on_lost)
        id, process = await machine.start("echo here; sleep 1000")
        await machine.written(id, b"here\n")
        machine.kill("keeper", "warden")
        report = await machine.end(id)
        assert (report.code, report.signal, report.how) == (137, 9, "unknown")
        assert (report.pid, report.start_time) == (process.pid, process.start_time)
        assert await machine.output(id) == b"here\n"
        async with asyncio.timeout(5):
            await lost.wait()
        assert await runtime.running() == {}

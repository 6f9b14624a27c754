"""Output that somebody needs is not deleted: the container waits instead, and nobody else does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from domain.ports.logs import LogFrame
from domain.ports.runtime import Watch
from domain.spec import LogConfig
from tests.adapters.kernel.supervisor.machine import Machine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

TINY = LogConfig(options={"max-size": "20k", "max-file": "2"})
SCRIPT = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); echo line $i; done; printf end"
OUTPUT = b"".join(b"line %d\n" % number for number in range(1, 60_001)) + b"end"
IDS = tuple(digit * 64 for digit in "ab")


async def follow(machine: Machine, id: str, watch: Watch, *, hold: bool) -> AsyncIterator[LogFrame]:
    """Frames until the end of the run; what was taken is let go."""
    last = False

    async def more() -> bool:
        nonlocal last
        if last:
            return False
        bell, end = asyncio.ensure_future(watch.bell()), asyncio.ensure_future(machine.end(id))
        await asyncio.wait((bell, end), return_when=asyncio.FIRST_COMPLETED)
        last = end.done()
        for waiting in (bell, end):
            waiting.cancel()
        return True

    async for frame in machine.logs.frames(id, follow=more):
        yield frame
        if hold:
            watch.hold(frame.position)


@asynccontextmanager
async def held_up(machine: Machine, id: str) -> AsyncIterator[Watch]:
    """A container that waits, and the watch it waits for."""
    async with machine.runtime.watch(id, hold=0, with_start=True) as watch:
        await machine.start(SCRIPT, id, log=TINY)
        async with asyncio.timeout(20):
            stored, quiet = 0, 0
            while quiet < 5 or stored < 5_000:  # small frames leave less room for bytes
                await asyncio.sleep(0.1)
                before, stored = stored, await machine.logs.end(id)
                quiet = quiet + 1 if stored == before else 0
        yield watch


async def test_a_container_waits_for_the_one_who_holds_its_output_and_no_other_does(machine: Machine) -> None:
    """The first byte is still there; another container is started, prints and ends as if nothing were."""
    held, other = IDS
    async with machine.connected(), held_up(machine, held) as watch:
        assert await machine.logs.end(held) < 45_000
        await machine.start("echo quick", other)
        assert (await machine.end(other, seconds=5)).code == 0
        assert await machine.output(other) == b"quick\n"
        frames = [frame async for frame in follow(machine, held, watch, hold=True)]
        assert b"".join(frame.data for frame in frames) == OUTPUT
        assert not any(frame.missed for frame in frames)


async def test_a_hold_ends_with_its_watch(machine: Machine) -> None:
    """The reader has gone: the container goes on."""
    async with machine.connected():
        async with held_up(machine, IDS[0]):
            pass
        assert (await machine.end(IDS[0])).code == 0
        assert OUTPUT.endswith(await machine.output(IDS[0]))


async def test_a_hold_ends_with_the_connection(machine: Machine) -> None:
    """The daemon was killed: nobody waits for a reader that cannot come back."""
    async with machine.connected(), held_up(machine, IDS[0]):
        await machine.runtime.__aexit__(None, None, None)
        async with machine.connected():
            assert (await machine.end(IDS[0])).code == 0


@pytest.mark.parametrize("roles", [("warden",), ("keeper",)])
async def test_a_hold_survives_the_supervisor(machine: Machine, roles: tuple[str, ...]) -> None:
    """The next warden deletes nothing before readers could come back; killed in the middle, again and again."""
    async with machine.connected() as runtime, held_up(machine, IDS[0]) as watch:
        found, frames = b"", follow(machine, IDS[0], watch, hold=True)
        async for frame in frames:
            assert not frame.missed
            if len(found) // 100_000 < (len(found) + len(frame.data)) // 100_000:
                machine.kill(*roles)
            found += frame.data
        assert found == OUTPUT
        assert await runtime.running() == {}

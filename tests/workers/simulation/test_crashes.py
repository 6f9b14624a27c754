"""Crash the daemon at every step of every story; the next one must bring log, kernel and projections to agree."""

import asyncio
from pathlib import Path

import pytest

from domain.container import LIVE, Container, State
from domain.lifecycle import MACHINE
from domain.lifecycle.commit import Committed
from domain.lifecycle.exec import ExecExited, ExecFailed, ExecStarted
from domain.lifecycle.exit import Exited
from domain.lifecycle.health import HealthChanged
from domain.lifecycle.kill import KillRequested
from domain.lifecycle.network import Connected, Disconnected, Unlinked
from domain.lifecycle.pause import PauseRequested
from domain.lifecycle.remove import Removed
from domain.lifecycle.rename import Renamed
from domain.lifecycle.start import Started, StartFailed
from domain.lifecycle.unpause import UnpauseRequested
from domain.lifecycle.update import Updated
from domain.messages import StreamId
from domain.network.files import LOOPBACK
from tests.workers.simulation.loop import Crash, SimulatedLoop
from tests.workers.simulation.stories import STORIES
from tests.workers.simulation.world import Story, World, root_file_system

PROOF = {
    "created": (),
    "ran": (Started,),
    "ended": (Exited,),
    "signalled": (KillRequested,),
    "paused": (PauseRequested,),
    "unpaused": (UnpauseRequested,),
    "committed": (Committed,),
    "renamed": (Renamed,),
    "removed": (Removed,),
    "refused": (StartFailed,),
    "gave-up": (Exited,),
    "executed": (ExecStarted,),
    "execution-ended": (ExecExited,),
    "execution-refused": (ExecFailed,),
    "updated": (Updated,),
    "unwell-once": (HealthChanged,),
    "connected": (Connected,),
    "disconnected": (Disconnected,),
    "unlinked": (Unlinked,),
}
"""What must be in a container's history when its caller was told so."""
QUIET = 60.0
"""Simulated seconds after which everything that a recovery has begun has ended."""


def world_with_image(directory: Path) -> World:
    """A host that knows one image called base."""
    world = World(directory)
    archive = root_file_system(directory / "base.tar")

    async def prepare() -> None:
        async with world.daemon() as engine:
            await engine.images.images.import_(archive, reference="base")

    SimulatedLoop().run(prepare())
    world.crash()
    return world


class Morgue:
    """Loops of daemons that died. Their tasks are kept as they were until the world was looked at."""

    def __init__(self) -> None:
        self._loops: list[SimulatedLoop] = []

    def live(self, world: World, story: Story | None, budget: int | None, start: float) -> int | None:
        """Run a story (None: only begin and wait) in a daemon that dies after `budget` steps; the steps it took, or
        None if it died."""
        loop = SimulatedLoop(budget, start)
        steps = 0

        async def act() -> None:
            nonlocal steps
            async with world.daemon() as engine:
                await (story(world, engine) if story is not None else asyncio.sleep(QUIET))
            steps = loop.steps

        try:
            loop.run(act())
        except Crash:
            self._loops.append(loop)
        world.crash()
        return steps or None

    def bury(self) -> None:
        """Nobody looks any more."""
        while self._loops:
            self._loops.pop().bury()


def survived(tmp_path: Path, name: str, *budgets: int) -> None:
    """Daemons die after so many steps, the first one during the story, the others while they recover; then one lives.

    Raises: AssertionError when log, kernel and projections do not agree at the end.
    """
    morgue, world = Morgue(), world_with_image(tmp_path)
    story: Story | None = STORIES[name]
    try:
        for number, budget in enumerate(budgets):
            morgue.live(world, story, budget, 1.0 + 500.0 * number)
            story = None
        morgue.live(world, None, None, 100_000.0)
        asyncio.run(check(world))
    except AssertionError as error:
        raise AssertionError(f"{name} with crashes after {budgets} steps: {error}") from error
    finally:
        morgue.bury()


def length(tmp_path: Path, name: str) -> int:
    """Steps of a story without a crash."""
    steps = Morgue().live(world_with_image(tmp_path), STORIES[name], None, 1.0)
    assert steps
    return steps


async def containers(world: World) -> dict[str, Container]:
    """The fold of every container, from the log alone."""
    records = await world.store.read(0, 100_000)
    ids = dict.fromkeys(record.stream.key for record in records if record.stream.kind == "container")
    return {id: MACHINE.fold(id, await world.store.load(StreamId("container", id))) for id in ids}


async def check(world: World) -> None:
    """The invariants; a failed assertion names what does not agree."""
    found = await containers(world)
    living, rows = world.runtime.living, {row["id"]: row for row in await world.store.views.select("containers")}
    for id, container in found.items():
        assert (container.state in LIVE) == (id in living), f"{container.state} but pid {living.get(id)}"
        assert not container.pid or container.pid == living[id]
        assert (container.state is State.PAUSED) == (id in world.runtime.frozen)
        assert container.state not in {State.STARTING, State.PAUSING, State.UNPAUSING, State.STOPPING, State.REMOVING}
        executed = {(id, exec_id): execution.pid for exec_id, execution in container.execs.items()}
        assert executed == {key: pid for key, pid in world.runtime.living_execs.items() if key[0] == id}
        assert not container.open, f"{container.state} still has {dict(container.open)}"
        assert (container.state is State.REMOVED) == (id not in rows)
        assert id not in rows or rows[id]["state"] == container.state.value
    assert not set(living) - set(found), "a process that is in no log"
    assert len(set(world.runtime.starts)) == len(world.runtime.starts), "an attempt was started twice"
    begun = [exec_id for _, exec_id, *_ in world.runtime.executed]
    assert len(set(begun)) == len(begun), "a command was executed twice"
    assert not await world.runtime.exits(), "an exit that nobody has acknowledged"
    assert not await world.store.open_intents()
    await check_networks(world, found)
    await check_told(world, found)


async def check_networks(world: World, found: dict[str, Container]) -> None:
    """Everybody who runs has what the log says, nobody else has anything, and no two have one address."""
    held = {(c.id, c.lease.attempt): c.lease for c in found.values() if c.leased and c.lease is not None}
    assert {id for id, _ in held} == {c.id for c in found.values() if c.state in LIVE and c.settled.net.attachments}
    kernel = world.network
    assert {run: {n: e.addresses for n, e in each.items()} for run, each in kernel.attached.items()} == {
        run: {each.network: each.addresses for each in lease.interfaces} for run, lease in held.items()}
    assert {run: each for run, each in kernel.held.items() if each} == {
        run: lease.bindings for run, lease in held.items() if lease.bindings}
    rows = await world.store.views.select("addresses")
    live = {str(row["held"]) for row in rows if row["live"]}
    assert live == {key for lease in held.values() for each in lease.interfaces for key in each.held}
    assert {str(row["container"]) for row in rows} <= {c.id for c in found.values() if c.state is not State.REMOVED}
    names = {name for zone in kernel.zones.values() for name in zone.names}
    assert {c.name for c in found.values() if c.leased} == names & {c.name for c in found.values()}
    for (id, attempt), lease in held.items():
        assert world.runtime.places[id, attempt] == kernel._places[id, attempt], "it is in another network"
        assert own_addresses(world, id) == {host for each in lease.interfaces for host in each.hosts}


def own_addresses(world: World, id: str) -> set[str]:
    """Those under which a container finds itself in its /etc/hosts."""
    loopback = {line.partition("\t")[0] for line in LOOPBACK}
    lines = world.runtime.files[id]["/etc/hosts"].splitlines()
    return {line.partition("\t")[0] for line in lines if line} - loopback


async def check_told(world: World, found: dict[str, Container]) -> None:
    """What a caller was told stays true."""
    for what, id in world.told:
        assert id in found, f"{what} was told of a container that is in no log"
        history = await world.store.load(StreamId("container", id))
        for proof in PROOF[what]:
            assert any(isinstance(record.event, proof) for record in history), f"{what} was told without {proof}"


@pytest.mark.parametrize("name", sorted(STORIES))
def test_a_story_without_a_crash_ends_in_agreement(tmp_path: Path, name: str) -> None:
    """The yardstick: nothing is wrong when nothing goes wrong."""
    world = world_with_image(tmp_path)
    assert Morgue().live(world, STORIES[name], None, 1.0)
    Morgue().live(world, None, None, 100_000.0)
    asyncio.run(check(world))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(STORIES))
def test_a_crash_at_any_step_is_mended_by_the_next_daemon(tmp_path: Path, name: str) -> None:
    """Whatever was under way, the log, the kernel and the projections agree again, and no promise is broken."""
    for step in range(1, length(tmp_path, name) + 1):
        survived(tmp_path, name, step)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(STORIES))
def test_a_crash_during_the_recovery_from_a_crash_is_mended_too(tmp_path: Path, name: str) -> None:
    """A recovery is interrupted at steps spread over its whole length."""
    for step in range(3, length(tmp_path, name), 7):
        for second in range(1, 60, 6):
            survived(tmp_path, name, step, second)

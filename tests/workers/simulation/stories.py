"""What people do; each step tells the world what its caller was told."""

from collections.abc import Mapping

from domain.container import State
from domain.errors import CommandFailed
from domain.lifecycle.commit import Commit
from domain.lifecycle.kill import Kill
from domain.lifecycle.pause import Pause
from domain.lifecycle.remove import Remove
from domain.lifecycle.rename import Rename
from domain.lifecycle.start import Start
from domain.lifecycle.stop import Restart, Stop
from domain.lifecycle.unpause import Unpause
from domain.messages import Command
from domain.spec import RestartPolicy
from tests.workers.simulation.world import WHO, Story, World
from workers.engine import Engine
from workers.requests import CreateRequest

NEVER_AGAIN = RestartPolicy(name="on-failure", retries=2)


async def _do(world: World, engine: Engine, id: str, command: Command, what: str) -> None:
    await engine.execute(id, command, WHO)
    world.tell(what, id)


async def short_run(world: World, engine: Engine) -> None:
    """`run --rm true`, then its exit status, then gone."""
    id = await engine.run(CreateRequest(image="base", command=("true",), name="short", auto_remove=True), WHO)
    world.tell("ran", id)
    assert await engine.wait_exit(id, 1) == 0
    await engine.wait_removed(id)
    world.tell("removed", id)


async def whole_life(world: World, engine: Engine) -> None:
    """create, start, stop, start, kill, rm."""
    id = await engine.create(CreateRequest(image="base", command=("serve",), name="web"), WHO)
    world.tell("created", id)
    await _do(world, engine, id, Start(), "ran")
    await _do(world, engine, id, Stop(), "ended")
    await _do(world, engine, id, Start(), "ran")
    await _do(world, engine, id, Kill(signal=9), "signalled")
    assert await engine.wait(id) == 137
    world.tell("ended", id)
    await _do(world, engine, id, Remove(), "removed")


async def deaf_to_stop(world: World, engine: Engine) -> None:
    """A process that does not hear TERM is killed when the time is over."""
    id = await engine.run(CreateRequest(image="base", command=("sleep", "9"), name="deaf"), WHO)
    world.tell("ran", id)
    await _do(world, engine, id, Stop(timeout=3), "ended")
    await _do(world, engine, id, Remove(), "removed")


async def frozen(world: World, engine: Engine) -> None:
    """pause, unpause, pause, stop; then rm -f of what runs."""
    id = await engine.run(CreateRequest(image="base", command=("serve",), name="cold"), WHO)
    world.tell("ran", id)
    await _do(world, engine, id, Pause(), "paused")
    await _do(world, engine, id, Unpause(), "unpaused")
    await _do(world, engine, id, Pause(), "paused")
    await _do(world, engine, id, Remove(force=True), "removed")


async def snapshot(world: World, engine: Engine) -> None:
    """commit of a running container, a run of what came out, rename, restart, rm -f."""
    id = await engine.run(CreateRequest(image="base", command=("serve",), name="db"), WHO)
    world.tell("ran", id)
    (world.directory / id).mkdir(exist_ok=True)
    await engine.commit(id, Commit(reference="db:snap"), WHO)
    world.tell("committed", id)
    await _do(world, engine, id, Rename(name="db-old"), "renamed")
    await _do(world, engine, id, Restart(timeout=1), "ran")
    other = await engine.run(CreateRequest(image="db:snap", command=("serve",), name="db"), WHO)
    world.tell("ran", other)
    await _do(world, engine, id, Remove(force=True), "removed")
    await _do(world, engine, other, Remove(force=True), "removed")


async def failing(world: World, engine: Engine) -> None:
    """A command that is not there, and one that fails twice and is started again by its policy."""
    id = await engine.create(CreateRequest(image="base", command=("nosuch",), name="bad"), WHO)
    world.tell("created", id)
    try:
        await engine.execute(id, Start(), WHO)
    except CommandFailed:
        world.tell("refused", id)
    again = await engine.run(CreateRequest(image="base", command=("crash",), name="loop", restart=NEVER_AGAIN), WHO)
    world.tell("created", again)
    await engine._mover.until(again, lambda c: c.restarts == 2 and c.state is State.EXITED)
    world.tell("gave-up", again)


STORIES: Mapping[str, Story] = {
    story.__name__: story for story in (short_run, whole_life, deaf_to_stop, frozen, snapshot, failing)
}

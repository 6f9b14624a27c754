"""What people do; each step tells the world what its caller was told."""

from collections.abc import Mapping

from adapters.memory.runtime import Behaviour
from domain.container import State
from domain.errors import CommandFailed, KernelError
from domain.lifecycle.attach import Attach
from domain.lifecycle.commit import Commit
from domain.lifecycle.kill import Kill
from domain.lifecycle.pause import Pause
from domain.lifecycle.remove import Remove
from domain.lifecycle.rename import Rename
from domain.lifecycle.start import Start
from domain.lifecycle.stop import Restart, Stop
from domain.lifecycle.unpause import Unpause
from domain.lifecycle.update import Update
from domain.messages import Command
from domain.network.asked import NetworkingWish, NetworkWish
from domain.spec import RestartPolicy
from tests.workers.simulation.world import WHO, Story, World
from workers.engine import Engine
from workers.requests import CreateRequest, ExecRequest, HealthRequest, NetworkRequest

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
    assert [await engine.wait_exit(id, run) for run in (1, 2)] == [143, 137]
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


async def executing(world: World, engine: Engine) -> None:
    """Commands in a running container: one that ends, one that is not there, one that the end of the run ends."""
    attach = Attach(streams=("stdin",))
    id = await engine.run(CreateRequest(image="base", command=("serve",), name="box"), WHO, attach=attach)
    world.tell("ran", id)
    short = await engine.exec(id, ExecRequest(command=("sh", "-c", "exit 3"), env=("A=1",)), WHO)
    world.tell("executed", id)
    assert await engine.exec_exit(id, short) == 3
    world.tell("execution-ended", id)
    try:
        await engine.exec(id, ExecRequest(command=("nosuch",)), WHO)
    except CommandFailed:
        world.tell("execution-refused", id)
    long = await engine.exec(id, ExecRequest(command=("sleep", "9")), WHO)
    await _do(world, engine, id, Restart(timeout=1), "ran")
    assert await engine.exec_exit(id, long) == 137
    await engine.exec(id, ExecRequest(command=("sleep", "9")), WHO)
    await _do(world, engine, id, Remove(force=True), "removed")


async def looked_after(world: World, engine: Engine) -> None:
    """A container that is well, then is not, is restarted for that, and well again; its policy is changed meanwhile."""
    health = HealthRequest(test=("CMD", "probe"), interval=1.0, retries=2, action="restart")
    world.runtime.plays("probe", Behaviour())
    id = await engine.run(CreateRequest(image="base", command=("serve",), name="well", health=health), WHO)
    world.tell("ran", id)
    await engine._mover.until(id, lambda c: c.health == "healthy")
    await _do(world, engine, id, Update(restart=RestartPolicy(name="always")), "updated")
    world.runtime.plays("probe", Behaviour(code=1))
    await engine._mover.until(id, lambda c: c.attempt == 2)
    world.runtime.plays("probe", Behaviour())
    await engine._mover.until(id, lambda c: c.attempt == 2 and c.health == "healthy")
    world.tell("unwell-once", id)
    await _do(world, engine, id, Remove(force=True), "removed")


async def networked(world: World, engine: Engine) -> None:
    """Two containers on a network of their own, with ports and a fixed address: connect, restart, rename, disconnect; a
    third one finds its port taken until its holder is gone."""
    shop = await engine.networks.create(NetworkRequest(name="shop"), WHO)
    request = CreateRequest(image="base", command=("serve",), name="web", network="shop",
                            networking=NetworkingWish(publish=("8080:80", "81"), links=("db:store",)))
    web = await engine.run(request, WHO)
    world.tell("ran", web)
    fixed = NetworkWish(name="shop", ip=str((await engine.networks.find(shop)).network.subnets[0][9]))
    db = await engine.run(CreateRequest(image="base", command=("serve",), name="db",
                                        networking=NetworkingWish(networks=(fixed,))), WHO)
    world.tell("ran", db)
    await engine.connect("bridge", web, NetworkWish(name="bridge"), (), WHO)
    world.tell("connected", web)
    await _do(world, engine, web, Restart(timeout=1), "ran")
    await _do(world, engine, web, Rename(name="www"), "renamed")
    await engine.disconnect("bridge", web, WHO, force=False)
    world.tell("disconnected", web)
    await engine.unlink(web, "store", WHO)
    world.tell("unlinked", web)
    other = await engine.create(request.model_copy(update={"name": "other"}), WHO)
    world.tell("created", other)
    try:
        await engine.execute(other, Start(), WHO)
    except KernelError:
        world.tell("refused", other)
    await _do(world, engine, web, Stop(timeout=1), "ended")
    await _do(world, engine, other, Start(), "ran")
    await _do(world, engine, other, Remove(force=True), "removed")
    await _do(world, engine, db, Stop(timeout=1), "ended")
    await _do(world, engine, db, Remove(), "removed")


STORIES: Mapping[str, Story] = {
    story.__name__: story
    for story in (short_run, whole_life, deaf_to_stop, frozen, snapshot, failing, executing, looked_after, networked)
}

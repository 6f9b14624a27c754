"""Who was told that a wish is fulfilled sees it in the next list."""

from pathlib import Path

from domain.lifecycle.remove import Remove
from domain.lifecycle.rename import Rename
from domain.lifecycle.stop import Stop
from tests.workers.console.fakes import FakeCall
from tests.workers.simulation.test_crashes import Morgue, world_with_image
from tests.workers.simulation.world import WHO, World
from workers.console.dispatch import dispatch
from workers.engine import Engine
from workers.requests import CreateRequest


async def _listed(engine: Engine, *options: str) -> list[str]:
    call = FakeCall(["ps", "-a", *options])
    assert await dispatch(call, engine, lambda: 10**18) == 0
    rows = call.stdout.decode().splitlines()[1:]
    return [row.split()[-1] + (" up" if " Up " in row else "") for row in rows]


async def _changes(world: World, engine: Engine) -> None:
    """Each command, then a list: the kept one, and one with a filter."""
    assert await _listed(engine) == []
    web, db = [
        await engine.run(CreateRequest(image="base", command=("serve",), name=name), WHO) for name in ("web", "db")
    ]
    assert await _listed(engine) == ["db up", "web up"]
    await engine.execute(web, Rename(name="front"), WHO)
    assert await _listed(engine) == ["db up", "front up"]
    await engine.execute(db, Stop(), WHO)
    assert await _listed(engine) == ["db", "front up"]
    assert await _listed(engine, "--filter", "status=exited") == ["db"]
    await engine.execute(db, Remove(), WHO)
    assert await _listed(engine) == ["front up"]
    for number in range(30):
        await engine.execute(web, Rename(name=f"name{number}"), WHO)
        assert await _listed(engine) == [f"name{number} up"]


def test_a_list_right_after_a_command_shows_it(tmp_path: Path) -> None:
    """Also before the relay has told anybody of it."""
    morgue, world = Morgue(), world_with_image(tmp_path)
    assert morgue.live(world, _changes, None, 1.0)

"""A disk that is full for a while: what was due then happens when there is room again."""

import asyncio
from pathlib import Path
from typing import Any, NoReturn

import pytest

from domain.container import State
from domain.errors import StorageError
from domain.spec import RestartPolicy
from tests.workers.simulation.test_crashes import Morgue, check, world_with_image
from tests.workers.simulation.world import WHO, World
from workers.engine import Engine
from workers.requests import CreateRequest


async def _full(*arguments: Any, **options: Any) -> NoReturn:
    raise StorageError("no space left on device")


def test_a_restart_that_could_not_be_written_down_happens_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would ever ask for it again, and the container would wait for ever."""

    async def story(world: World, engine: Engine) -> None:
        once = RestartPolicy(name="on-failure", retries=1)
        wish = CreateRequest(image="base", command=("crash",), name="loop", restart=once)
        id = await engine.run(wish, WHO)
        assert await engine._mover.until(id, lambda c: c.state is State.RESTARTING, 1.0)
        with monkeypatch.context() as patch:
            patch.setattr(world.store, "append", _full)
            await asyncio.sleep(30)
        container = await engine._mover.until(id, lambda c: c.state is State.EXITED, 30.0)
        assert container is not None
        assert container.restarts == 1

    world = world_with_image(tmp_path)
    assert Morgue().live(world, story, None, 1.0)
    asyncio.run(check(world))

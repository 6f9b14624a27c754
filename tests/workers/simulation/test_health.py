"""Health checks over simulated time: when probes begin, what they lead to, and what survives the daemon."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from adapters.memory.runtime import Behaviour
from domain.container import State
from domain.lifecycle.health import HealthChanged
from domain.lifecycle.kill import Kill
from domain.lifecycle.pause import Pause
from domain.lifecycle.stop import Stop
from domain.lifecycle.unpause import Unpause
from domain.spec import RestartPolicy
from tests.workers.simulation.loop import Crash
from tests.workers.simulation.test_crashes import Morgue, check, world_with_image
from tests.workers.simulation.world import WHO, Story, World
from workers.engine import Engine
from workers.health import SPREAD
from workers.probes import BEGUN_AT_ONCE
from workers.requests import CreateRequest, ExecRequest, HealthRequest

Act = Callable[[World, Engine, str], Awaitable[None]]
HEALTH = HealthRequest(test=("CMD", "probe"), interval=10.0, timeout=5.0, retries=3)
SLACK = 0.5


def lived(tmp_path: Path, act: Act, health: HealthRequest = HEALTH, **request: object) -> World:
    """A container with a check in a daemon; `act` says what happens to it. Log and kernel must agree afterwards."""
    world = world_with_image(tmp_path)
    world.runtime.plays("probe", Behaviour())

    async def story(world: World, engine: Engine) -> None:
        wanted = CreateRequest.model_validate(
            {"image": "base", "command": ("serve",), "name": "web", "health": health, **request}
        )
        await act(world, engine, await engine.run(wanted, WHO))

    steady: Story = story
    assert Morgue().live(world, steady, None, 1.0)
    Morgue().live(world, None, None, 100_000.0)
    asyncio.run(check(world))
    return world


async def after(seconds: float) -> None:
    """So many probes of every ten seconds have begun."""
    await asyncio.sleep(seconds * (1 + SPREAD) + SLACK)


async def changes(engine: Engine, id: str) -> list[str]:
    """What the log says about its health."""
    return [r.event.status for r in await engine.history(id) if isinstance(r.event, HealthChanged)]


def test_a_container_is_healthy_after_its_first_good_probe_and_says_so_once(tmp_path: Path) -> None:
    """A thousand probes that say the same are one event."""

    async def act(world: World, engine: Engine, id: str) -> None:
        assert (await engine.container(id)).health == "starting"
        await after(10)
        assert (await engine.container(id)).health == "healthy"
        await after(300)
        assert await changes(engine, id) == ["healthy"]
        verdict = engine.health(id)
        assert verdict is not None
        assert (verdict.status, verdict.streak, len(verdict.probes)) == ("healthy", 0, 5)

    lived(tmp_path, act)


def test_failures_in_a_row_make_it_unhealthy_and_one_success_well_again(tmp_path: Path) -> None:
    """With what the deciding probe has said."""

    async def act(world: World, engine: Engine, id: str) -> None:
        await after(10)
        world.runtime.plays("probe", Behaviour(code=1, says=b"no answer\n"))
        await after(20)
        assert (await engine.container(id)).health == "healthy"
        await after(10)
        last = (await engine.history(id))[-1].event
        assert last == HealthChanged(status="unhealthy", streak=3, exit_code=1, output="no answer\n")
        world.runtime.plays("probe", Behaviour())
        await after(10)
        assert await changes(engine, id) == ["healthy", "unhealthy", "healthy"]

    lived(tmp_path, act)


def test_a_probe_that_takes_too_long_is_killed_and_counts_as_a_failure(tmp_path: Path) -> None:
    """There is never more than one of them in the container."""

    async def act(world: World, engine: Engine, id: str) -> None:
        world.runtime.plays("probe", Behaviour(lasts=True, says=b"hm"))
        await after(10)
        assert len(world.runtime.living_execs) == 1
        await after(60)
        assert len(world.runtime.living_execs) <= 1
        verdict = engine.health(id)
        assert verdict is not None
        assert (verdict.status, verdict.probes[0].exit_code) == ("unhealthy", -1)
        assert verdict.probes[0].output == "Health check exceeded timeout (5s): hm"

    lived(tmp_path, act)


def test_a_probe_that_cannot_be_executed_is_a_failure(tmp_path: Path) -> None:
    """It says why."""

    async def act(world: World, engine: Engine, id: str) -> None:
        await after(30)
        verdict = engine.health(id)
        assert verdict is not None
        assert (verdict.status, verdict.probes[-1].exit_code) == ("unhealthy", 127)
        assert "executable file not found" in verdict.probes[-1].output

    lived(tmp_path, act, HEALTH.model_copy(update={"test": ("CMD", "nosuch")}))


def test_a_paused_container_is_not_probed(tmp_path: Path) -> None:
    """And a probe that is caught by the pause says nothing."""

    async def act(world: World, engine: Engine, id: str) -> None:
        world.runtime.plays("probe", Behaviour(lasts=True))
        await after(10)
        await engine.execute(id, Pause(), WHO)
        world.runtime.plays("probe", Behaviour())
        begun = len(world.runtime.executed)
        await after(100)
        assert len(world.runtime.executed) == begun
        await engine.execute(id, Unpause(), WHO)
        await after(10)
        assert await changes(engine, id) == ["healthy"]
        verdict = engine.health(id)
        assert verdict is not None
        assert all(probe.exit_code == 0 for probe in verdict.probes)

    lived(tmp_path, act)


def test_a_probe_that_a_freeze_keeps_from_beginning_makes_room_for_others(tmp_path: Path) -> None:
    """Ten frozen containers must not keep an eleventh from being looked after; a late beginner is ended."""

    async def act(world: World, engine: Engine, id: str) -> None:
        execute, thawed = world.runtime.exec, asyncio.Event()

        async def frozen(owner: str, *arguments: object, **more: object) -> object:
            if owner != id:
                await thawed.wait()
            return await execute(owner, *arguments, **more)  # type: ignore[arg-type]

        world.runtime.exec = frozen  # type: ignore[method-assign, assignment]
        world.runtime.plays("late", Behaviour(lasts=True))
        late = HEALTH.model_copy(update={"test": ("CMD", "late")})
        for number in range(10):
            await engine.run(CreateRequest(image="base", command=("serve",), name=f"n{number}", health=late), WHO)
        await after(40)
        assert (await engine.container(id)).health == "healthy"
        world.runtime.plays("probe", Behaviour(code=1))
        await after(90)
        assert (await engine.container(id)).health == "unhealthy"
        thawed.set()
        world.runtime.exec = execute  # type: ignore[method-assign]
        await asyncio.sleep(1)
        containers = [owner for owner, _ in world.runtime.living_execs]
        assert len(set(containers)) == len(containers)

    lived(tmp_path, act)


def test_nothing_is_probed_after_a_stop(tmp_path: Path) -> None:
    """And a start begins with nothing known."""

    async def act(world: World, engine: Engine, id: str) -> None:
        await after(10)
        await engine.execute(id, Stop(), WHO)
        begun = len(world.runtime.executed)
        await after(100)
        assert len(world.runtime.executed) == begun

    lived(tmp_path, act)


def test_what_is_unhealthy_is_restarted_if_the_user_wants_it(tmp_path: Path) -> None:
    """In the name of the policy; the next run is looked after as well."""

    async def act(world: World, engine: Engine, id: str) -> None:
        world.runtime.plays("probe", Behaviour(code=1))
        await after(30)
        world.runtime.plays("probe", Behaviour())
        await engine._mover.until(id, lambda c: c.attempt == 2 and c.health == "healthy")
        (asked,) = [r for r in await engine.history(id) if r.event.stored_as == "stop-requested.v1"]
        assert asked.meta.actor.user == "policy"

    lived(tmp_path, act, HEALTH.model_copy(update={"action": "restart"}))


def test_what_is_unhealthy_is_killed_if_the_user_wants_it_and_the_restart_policy_decides(tmp_path: Path) -> None:
    """A kill is no restart, but a policy may make it one."""

    async def act(world: World, engine: Engine, id: str) -> None:
        world.runtime.plays("probe", Behaviour(code=1))
        await engine._mover.until(id, lambda c: c.attempt == 2 and c.state is State.RUNNING)
        world.runtime.plays("probe", Behaviour())
        await engine.execute(id, Kill(), WHO)

    killed = HEALTH.model_copy(update={"action": "kill"})
    lived(tmp_path, act, killed, restart=RestartPolicy(name="on-failure"))


def test_many_probes_do_not_begin_at_the_same_moment(tmp_path: Path) -> None:
    """What was started together drifts apart, and only a few are started at a time."""
    begun: list[int] = []

    async def act(world: World, engine: Engine, id: str) -> None:
        under_way = 0
        execute = world.runtime.exec

        async def slowly(*arguments: object, **more: object) -> object:
            nonlocal under_way
            under_way += 1
            begun.append(under_way)
            await asyncio.sleep(0.01)
            try:
                return await execute(*arguments, **more)  # type: ignore[arg-type]
            finally:
                under_way -= 1

        world.runtime.exec = slowly  # type: ignore[method-assign, assignment]
        for number in range(40):
            await engine.run(CreateRequest(image="base", command=("serve",), name=f"n{number}", health=HEALTH), WHO)
        await after(20)
        world.runtime.exec = execute  # type: ignore[method-assign]

    lived(tmp_path, act)
    assert len(begun) >= 40
    assert max(begun) <= BEGUN_AT_ONCE


def test_the_verdict_survives_the_daemon_and_probing_goes_on(tmp_path: Path) -> None:
    """A restart of the engine is nothing that a container notices."""
    morgue, world = Morgue(), world_with_image(tmp_path)
    world.runtime.plays("probe", Behaviour())
    told: list[str] = []

    async def begin(world: World, engine: Engine) -> None:
        id = await engine.run(CreateRequest(image="base", command=("serve",), name="web", health=HEALTH), WHO)
        await after(10)
        told.append(id)

    async def go_on(world: World, engine: Engine) -> None:
        (id,) = told
        assert (await engine.container(id)).health == "healthy"
        world.runtime.plays("probe", Behaviour(code=1))
        await after(30)
        assert await changes(engine, id) == ["healthy", "unhealthy"]

    assert morgue.live(world, begin, None, 1.0)
    assert morgue.live(world, go_on, None, 1_000.0)


def test_a_daemon_that_ends_leaves_no_probe_behind(tmp_path: Path) -> None:
    """Nobody would ever end one that hangs."""
    morgue, world = Morgue(), world_with_image(tmp_path)
    world.runtime.plays("probe", Behaviour(lasts=True))

    async def begin(world: World, engine: Engine) -> None:
        await engine.run(CreateRequest(image="base", command=("serve",), name="web", health=HEALTH), WHO)
        await after(10)
        assert len(world.runtime.living_execs) == 1

    assert morgue.live(world, begin, None, 1.0)
    assert not world.runtime.living_execs


def test_a_probe_whose_daemon_was_killed_is_ended_by_the_next_one(tmp_path: Path) -> None:
    """It is in no log; an exec that a person has asked for goes on."""
    morgue, world = Morgue(), world_with_image(tmp_path)
    world.runtime.plays("probe", Behaviour(lasts=True))

    async def begin(world: World, engine: Engine) -> None:
        id = await engine.run(CreateRequest(image="base", command=("serve",), name="web", health=HEALTH), WHO)
        await engine.exec(id, ExecRequest(command=("sleep", "9")), WHO)
        while len(world.runtime.living_execs) < 2:
            await asyncio.sleep(0.1)
        raise Crash

    assert morgue.live(world, begin, None, 1.0) is None
    assert len(world.runtime.living_execs) == 2
    world.runtime.plays("probe", Behaviour())
    assert morgue.live(world, lambda world, engine: after(1), None, 1_000.0)
    assert len(world.runtime.living_execs) == 1
    morgue.bury()

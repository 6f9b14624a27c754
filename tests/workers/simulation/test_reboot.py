"""A host that was rebooted: what ran has ended, and only what wants it is started again."""

import asyncio
from pathlib import Path

import pytest

from domain.container import State
from domain.isolation import Isolation
from domain.lifecycle.exec import ExecExited
from domain.lifecycle.exit import Exited
from domain.lifecycle.stop import Stop
from domain.spec import RestartPolicy
from tests.workers.simulation.test_crashes import Morgue, check, containers, world_with_image
from tests.workers.simulation.world import WHO, World
from workers.engine import Engine
from workers.requests import CreateRequest, ExecRequest


async def _four(world: World, engine: Engine) -> None:
    """One without a policy, one that is always to run, and two that a user has stopped."""
    await engine.run(CreateRequest(image="base", command=("serve",), name="plain"), WHO)
    await engine.run(
        CreateRequest(image="base", command=("serve",), name="always", restart=RestartPolicy(name="always")), WHO
    )
    stopped = await engine.run(
        CreateRequest(image="base", command=("serve",), name="stopped", restart=RestartPolicy(name="unless-stopped")),
        WHO,
    )
    await engine.execute(stopped, Stop(), WHO)
    again = await engine.run(
        CreateRequest(image="base", command=("serve",), name="again", restart=RestartPolicy(name="always")), WHO
    )
    await engine.execute(again, Stop(), WHO)


def test_a_reboot_ends_what_ran_and_starts_what_its_policy_wants(tmp_path: Path) -> None:
    """`Up` after a reboot would be a lie, and `always` means always."""
    morgue, world = Morgue(), world_with_image(tmp_path)
    morgue.live(world, _four, None, 1.0)
    world.reboot()
    morgue.live(world, None, None, 1_000.0)
    found = {container.name: container for container in asyncio.run(containers(world)).values()}
    assert (found["plain"].state, found["plain"].exit_code, found["plain"].how) == (State.EXITED, 255, "reboot")
    assert (found["always"].state, found["always"].attempt, found["always"].boot) == (State.RUNNING, 2, "second boot")
    assert found["stopped"].state is State.EXITED
    assert found["stopped"].how != "reboot"
    assert (found["again"].state, found["again"].attempt) == (State.RUNNING, 2), "always, also after a stop"
    asyncio.run(check(world))


@pytest.mark.slow
@pytest.mark.parametrize("steps", [4, 10, 16, 22, 40])
def test_a_daemon_that_dies_while_it_recovers_from_a_reboot_leaves_no_policy_undone(tmp_path: Path, steps: int) -> None:
    """Whenever that is: the next one of the same boot still starts what is always to run."""
    morgue, world = Morgue(), world_with_image(tmp_path)
    morgue.live(world, _four, None, 1.0)
    world.reboot()
    morgue.live(world, None, steps, 1_000.0)
    morgue.live(world, None, None, 2_000.0)
    found = {container.name: container.state for container in asyncio.run(containers(world)).values()}
    asyncio.run(check(world))
    morgue.bury()
    assert (found["always"], found["again"], found["stopped"]) == (State.RUNNING, State.RUNNING, State.EXITED)


async def _guests(world: World, engine: Engine) -> None:
    """Each shares the processes of the one before it."""
    always = RestartPolicy(name="always")
    await engine.run(CreateRequest(image="base", command=("serve",), name="g0", restart=always), WHO)
    for number in (1, 2, 3):
        shared = Isolation(pid=f"container:g{number - 1}")
        wish = CreateRequest(image="base", command=("serve",), name=f"g{number}", restart=always, isolation=shared)
        await engine.run(wish, WHO)


def test_after_a_reboot_who_lends_a_namespace_is_started_before_who_shares_it(tmp_path: Path) -> None:
    """Whatever order their ids are in."""
    morgue, world = Morgue(), world_with_image(tmp_path)
    morgue.live(world, _guests, None, 1.0)
    world.reboot()
    morgue.live(world, None, None, 1_000.0)
    found = asyncio.run(containers(world)).values()
    assert {(container.name, container.state) for container in found} == {
        (f"g{number}", State.RUNNING) for number in range(4)}
    asyncio.run(check(world))


async def _executing(world: World, engine: Engine) -> None:
    """Two containers in which somebody has a process."""
    for name in ("one", "two"):
        id = await engine.run(CreateRequest(image="base", command=("serve",), name=name), WHO)
        await engine.exec(id, ExecRequest(command=("sleep", "9")), WHO)


def test_a_reboot_ends_what_was_executed(tmp_path: Path) -> None:
    """Each gets its end in the history, and the reason is the true one."""
    morgue, world = Morgue(), world_with_image(tmp_path)
    morgue.live(world, _executing, None, 1.0)
    world.reboot()
    morgue.live(world, None, None, 1_000.0)
    ends = [r.event for r in asyncio.run(world.store.read(0, 1000)) if isinstance(r.event, ExecExited)]
    assert [(end.code, end.how) for end in ends] == [(137, "reboot")] * 2
    asyncio.run(check(world))


def test_a_lost_supervisor_ends_what_was_executed(tmp_path: Path) -> None:
    """Nobody knows how, and that is what the history says."""
    morgue, world = Morgue(), world_with_image(tmp_path)
    morgue.live(world, _executing, None, 1.0)
    world.runtime.rebooted()  # of processes nothing is left, of the boot everything
    morgue.live(world, None, None, 1_000.0)
    ends = [r.event for r in asyncio.run(world.store.read(0, 1000)) if isinstance(r.event, ExecExited)]
    assert [(end.code, end.how) for end in ends] == [(137, "unknown")] * 2
    asyncio.run(check(world))


def test_a_second_daemon_of_the_same_boot_adds_no_exit(tmp_path: Path) -> None:
    """A restart of the engine is no reboot."""
    morgue, world = Morgue(), world_with_image(tmp_path)
    morgue.live(world, _four, None, 1.0)
    morgue.live(world, None, None, 1_000.0)
    records = asyncio.run(world.store.read(0, 1000))
    assert sum(isinstance(record.event, Exited) for record in records) == 2
    asyncio.run(check(world))

"""Acts that fail in a way nobody has foreseen: whoever asked is told soon, and log and kernel agree."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest

from domain.container import State
from domain.errors import KernelError, LadingError
from domain.lifecycle.commit import Commit
from domain.lifecycle.kill import Kill
from domain.lifecycle.pause import Pause
from domain.lifecycle.remove import Remove
from domain.lifecycle.start import Start
from domain.lifecycle.stop import Stop
from domain.lifecycle.unpause import Unpause
from domain.lifecycle.update import Update
from domain.messages import Command
from domain.network.asked import NetworkingWish, NetworkWish
from tests.workers.simulation.test_crashes import Morgue, check, own_addresses, world_with_image
from tests.workers.simulation.world import WHO, World
from workers.engine import Engine
from workers.lifecycle import ACTS
from workers.lifecycle.given_up import GIVEN_UP, reason_of
from workers.lifecycle.worker import TRIES
from workers.requests import CreateRequest, ExecRequest, NetworkRequest

SOON = 30.0
"""Simulated seconds."""

Wish = Callable[[Engine, str], Awaitable[object]]


def _command(command: Command) -> Wish:
    return lambda engine, id: engine.execute(id, command, WHO)


async def _exec(engine: Engine, id: str) -> object:
    return await engine.exec(id, ExecRequest(command=("serve",)), WHO)


async def _connect(engine: Engine, id: str) -> None:
    await engine.networks.create(NetworkRequest(name="more"), WHO)
    await engine.connect("more", id, NetworkWish(name="more"), (), WHO)


async def _disconnect(engine: Engine, id: str) -> None:
    await engine.disconnect("home", id, WHO, force=True)


WISHES: dict[str, tuple[Wish, State, State]] = {
    "start-requested.v1": (_command(Start()), State.EXITED, State.EXITED),
    "stop-requested.v1": (_command(Stop()), State.RUNNING, State.RUNNING),
    "kill-requested.v1": (_command(Kill(signal=10)), State.RUNNING, State.RUNNING),
    "pause-requested.v1": (_command(Pause()), State.RUNNING, State.RUNNING),
    "unpause-requested.v1": (_command(Unpause()), State.PAUSED, State.PAUSED),
    "commit-requested.v1": (_command(Commit(reference="made:1")), State.RUNNING, State.RUNNING),
    "exec-requested.v1": (_exec, State.RUNNING, State.RUNNING),
    "limits-requested.v1": (_command(Update(limits={"pids_limit": 9})), State.RUNNING, State.RUNNING),
    "remove-requested.v1": (_command(Remove(force=True)), State.EXITED, State.DEAD),
    "connect-requested.v1": (_connect, State.RUNNING, State.RUNNING),
    "disconnect-requested.v1": (_disconnect, State.RUNNING, State.RUNNING),
}
"""For every act: who asks for it, in which state of the container, and the state after it was given up."""

SETTLED_BY_EXITS = {"stop-requested.v1": State.EXITED, "exec-requested.v1": State.RUNNING}
"""Once they have done their work its outcome comes from the kernel: the end of the container, or of the command, which
is killed when the act is given up."""


async def _brought_to(engine: Engine, state: State) -> str:
    await engine.networks.create(NetworkRequest(name="home"), WHO)
    id = await engine.run(CreateRequest(image="base", command=("serve",), name="web", network="home"), WHO)
    if state is State.EXITED:
        await engine.execute(id, Stop(), WHO)
    if state is State.PAUSED:
        await engine.execute(id, Pause(), WHO)
    return id


def test_every_act_can_be_given_up() -> None:
    """And every one is tried here."""
    assert GIVEN_UP.keys() == ACTS.keys() == WISHES.keys()


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", WISHES)
def test_a_defect_in_an_act_is_told_to_the_caller_and_log_and_kernel_agree(
    kind: str, late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it shows before the act has done anything or after it has done all."""
    wish, state, left = WISHES[kind]
    act, tries = ACTS[kind], 0

    async def broken(*arguments: Any) -> NoReturn:
        nonlocal tries
        tries += 1
        if late:
            await act(*arguments)
        raise ValueError("no\nway")

    async def story(world: World, engine: Engine) -> None:
        id = await _brought_to(engine, state)
        with monkeypatch.context() as patch:
            patch.setitem(cast(dict[str, object], ACTS), kind, broken)
            told = await asyncio.wait_for(_told(wish(engine, id)), SOON)
            await asyncio.sleep(SOON)
        container = await engine.container(id)
        assert dict(container.open) == {}
        if late and kind in SETTLED_BY_EXITS:
            assert (told, container.state) == ("done", SETTLED_BY_EXITS[kind])
        else:
            assert told.endswith("internal error: ValueError: no way")
            assert (tries, container.state) == (TRIES, left)
        await engine.execute(id, Remove(force=True), WHO)

    world = world_with_image(tmp_path)
    assert Morgue().live(world, story, None, 1.0)
    asyncio.run(check(world))


def test_a_run_that_ends_while_it_is_connected_leaves_its_names_and_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel refuses what has no process any more; that brings nobody back who has left."""

    async def story(world: World, engine: Engine) -> None:
        await engine.networks.create(NetworkRequest(name="home"), WHO)
        request = CreateRequest(image="base", command=("serve",), name="web", network="home",
                                networking=NetworkingWish(publish=("8080:80",)))
        id = await engine.run(request, WHO)

        async def gone(*arguments: Any) -> NoReturn:
            await engine.execute(id, Kill(signal=9), WHO)
            await engine.wait(id)
            raise KernelError("no such process")

        with monkeypatch.context() as patch:
            patch.setattr(world.network, "change", gone)
            await _told(_connect(engine, id))
        assert engine._leases.roster.members == {}
        other = await engine.run(request.model_copy(update={"name": "other"}), WHO)
        for each in (id, other):
            await engine.execute(each, Remove(force=True), WHO)

    world = world_with_image(tmp_path)
    assert Morgue().live(world, story, None, 1.0)
    asyncio.run(check(world))


@pytest.mark.parametrize("state", [State.RUNNING, State.EXITED])
def test_nobody_is_connected_to_a_network_that_is_removed_meanwhile(state: State, tmp_path: Path) -> None:
    """It was there when the wish was looked at, and is gone when its turn comes."""

    async def story(world: World, engine: Engine) -> None:
        id = await _brought_to(engine, state)
        await engine.networks.create(NetworkRequest(name="more"), WHO)
        async with engine.networks.guard:
            removal = asyncio.create_task(engine.networks.remove("more", WHO))
            await asyncio.sleep(1)
            connecting = asyncio.create_task(_told(engine.connect("more", id, NetworkWish(name="more"), (), WHO)))
            await asyncio.sleep(1)
        assert await removal == "more"
        assert await connecting == "network more not found"
        assert [each.network for each in (await engine.container(id)).attachments] == ["home"]
        await engine.execute(id, Remove(force=True), WHO)

    world = world_with_image(tmp_path)
    assert Morgue().live(world, story, None, 1.0)
    asyncio.run(check(world))


@pytest.mark.parametrize("kind", ["connect-requested.v1", "disconnect-requested.v1"])
def test_what_the_kernel_refuses_leaves_names_and_hosts_as_they_were(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written while the kernel is still at it."""
    wish, state, _ = WISHES[kind]

    async def refused(*arguments: Any) -> NoReturn:
        await asyncio.sleep(1)
        raise KernelError("no interface today")

    async def story(world: World, engine: Engine) -> None:
        id = await _brought_to(engine, state)
        before = own_addresses(world, id), dict(world.network.zones)
        with monkeypatch.context() as patch:
            patch.setattr(world.network, "change", refused)
            assert await _told(wish(engine, id)) == "no interface today"
        assert (own_addresses(world, id), dict(world.network.zones)) == before

    world = world_with_image(tmp_path)
    assert Morgue().live(world, story, None, 1.0)
    asyncio.run(check(world))


def test_a_connect_to_a_new_network_waits_for_no_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has ever had an address there, and who had which is folded in the background."""
    asked: list[str] = []

    async def story(world: World, engine: Engine) -> None:
        id = await _brought_to(engine, State.RUNNING)
        select = world.store.views.select

        async def spied(projection: str, **wishes: Any) -> Sequence[Mapping[str, object]]:
            asked.append(projection)
            return await select(projection, **wishes)

        with monkeypatch.context() as patch:
            patch.setattr(world.store.views, "select", spied)
            await _connect(engine, id)

    assert Morgue().live(world_with_image(tmp_path), story, None, 1.0)
    assert "addresses" in asked
    assert "tenures" not in asked


async def _told(wish: Awaitable[object]) -> str:
    try:
        await wish
    except LadingError as error:
        return error.message
    return "done"


def test_what_was_not_told_yet_is_carried_out_when_the_defect_has_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure or two are none."""
    act, tries = ACTS["start-requested.v1"], 0

    async def at_last(*arguments: Any) -> object:
        nonlocal tries
        tries += 1
        if tries < TRIES:
            raise RuntimeError
        return await act(*arguments)

    async def story(world: World, engine: Engine) -> None:
        id = await engine.run(CreateRequest(image="base", command=("serve",), name="web"), WHO)
        assert ((await engine.container(id)).state, tries) == (State.RUNNING, TRIES)

    monkeypatch.setitem(cast(dict[str, object], ACTS), "start-requested.v1", at_last)
    world = world_with_image(tmp_path)
    assert Morgue().live(world, story, None, 1.0)
    asyncio.run(check(world))


def test_work_that_can_neither_be_done_nor_undone_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log says nothing about the kernel that nobody knows; the next daemon finishes it."""
    act = ACTS["start-requested.v1"]

    async def broken(*arguments: Any) -> NoReturn:
        await act(*arguments)
        raise ValueError

    async def no_kill(id: str) -> None:
        raise OSError

    async def story(world: World, engine: Engine) -> None:
        asking = asyncio.ensure_future(engine.run(CreateRequest(image="base", command=("serve",), name="web"), WHO))
        await asyncio.sleep(SOON)
        assert not asking.done()

    world = world_with_image(tmp_path)
    with monkeypatch.context() as patch:
        patch.setitem(cast(dict[str, object], ACTS), "start-requested.v1", broken)
        patch.setattr(world.runtime, "kill_all", no_kill)
        assert Morgue().live(world, story, None, 1.0)
    assert Morgue().live(world, None, None, 1000.0)
    asyncio.run(check(world))
    assert world.runtime.living


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\n b"), "internal error: ValueError: a b"),
        (KeyError(), "internal error: KeyError"),
        (ValueError("\x1b[2J"), r"internal error: ValueError: \x1b[2J"),
        (KernelError("mount: no space"), "mount: no space"),
    ],
)
def test_the_reason_is_one_line_that_a_terminal_can_show(error: Exception, line: str) -> None:
    """Errors of ours say it in their own words."""
    assert reason_of(error) == line


async def _joined_in_vain(world: World, engine: Engine) -> None:
    other = await engine.create(CreateRequest(image="base", command=("serve",), name="other"), WHO)
    id = await engine.create(
        CreateRequest(image="base", command=("serve",), name="web", network=f"container:{other}"), WHO
    )
    with pytest.raises(KernelError, match="cannot join network of a non running container: other") as told:
        await engine.execute(id, Start(), WHO)
    assert told.value.hint == "lading start other"


def test_the_hint_of_a_refused_start_reaches_the_caller(tmp_path: Path) -> None:
    """It travels with the reason, through the log."""
    world = world_with_image(tmp_path)
    assert Morgue().live(world, _joined_in_vain, None, 1.0)
    asyncio.run(check(world))

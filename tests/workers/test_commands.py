"""Wishes of programs: JSON in, JSON out, over the bus in memory."""

import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from adapters.memory.bus import MemoryBus
from domain.errors import CommandFailed
from domain.messages import Actor
from tests.workers.console.fakes import ROOT, FakeEngine
from workers.commands import MOST_OUTPUT, Programs
from workers.engine import Engine
from workers.mover import Caller
from workers.requests import CreateRequest

ID = "1" * 64


@pytest.fixture
async def engine() -> FakeEngine:
    """One running container called web."""
    engine = FakeEngine()
    engine.images.add("a", "alpine:3.10", Cmd=["sh"])
    await engine.run(CreateRequest(image="alpine:3.10", name="web"), Caller(ROOT))
    return engine


@pytest.fixture
async def bus(engine: FakeEngine) -> AsyncIterator[MemoryBus]:
    """Programs are answered on it."""
    bus = MemoryBus("ann")
    programs = Programs(bus, "here", cast(Engine, engine), lambda who: Actor(via="nats", user=who, host="here"))
    await programs.begin()
    yield bus
    await bus.close()


async def ask(bus: MemoryBus, verb: str, **payload: Any) -> dict[str, Any]:
    """The answer to ann's wish."""
    answer = await bus.request(f"lading.here.cmd.ann.{verb}", json.dumps(payload).encode(), 5.0)
    return cast(dict[str, Any], json.loads(answer))


async def test_exec_answers_with_status_and_output(engine: FakeEngine, bus: MemoryBus) -> None:
    """Both outputs apart, as text; who asked is in the history."""
    engine.exec_writes, engine.exec_status = [(1, b"out\xff"), (2, b"err"), (1, b"!")], 3
    answer = await ask(bus, "exec", container="web", exec={"command": ["id"], "env": ["A=1"], "user": "www"})
    assert answer == {
        "ok": True, "container": ID, "exec": "1" * 64, "status": 3, "stdout": "out\ufffd!", "stderr": "err",
        "truncated": False,
    }  # fmt: skip
    (asked,) = [r for r in await engine.history(ID) if r.event.stored_as == "exec-requested.v1"]
    assert asked.meta.actor.user == "ann"
    assert engine.execs[0].stdin is False


async def test_exec_tells_only_the_beginning_of_much(engine: FakeEngine, bus: MemoryBus) -> None:
    """An answer fits into one message; the command is not held up by that."""
    engine.exec_writes = [(1, b"x" * 100_000)] * 5
    answer = await ask(bus, "exec", container="web", exec={"command": ["yes"]})
    assert (len(answer["stdout"]), answer["truncated"]) == (MOST_OUTPUT, True)


async def test_exec_can_be_left_alone(engine: FakeEngine, bus: MemoryBus) -> None:
    """The answer comes when the command was executed."""
    engine.exec_lasts.clear()
    answer = await ask(bus, "exec", container="web", exec={"command": ["serve"]}, detach=True)
    assert answer == {"ok": True, "container": ID, "exec": "1" * 64}


async def test_what_cannot_be_executed_is_a_refusal(engine: FakeEngine, bus: MemoryBus) -> None:
    """With its kind."""
    engine.exec_error = CommandFailed("no such command", exit_code=127)
    answer = await ask(bus, "exec", container="web", exec={"command": ["nosuch"]})
    assert (answer["ok"], answer["error"], answer["message"]) == (False, "CommandFailed", "no such command")
    wrong: tuple[dict[str, Any], ...] = ({}, {"exec": {"command": []}}, {"exec": {"command": ["id"], "surprise": 1}})
    for payload in wrong:
        assert (await ask(bus, "exec", container="web", **payload))["error"] == "InvalidValue"
    engine.exit(ID, 0)
    refused = await ask(bus, "exec", container="web", exec={"command": ["id"]})
    assert (refused["error"], refused["message"]) == ("Refused", f"container {ID} is not running")


async def test_update_and_wait(engine: FakeEngine, bus: MemoryBus) -> None:
    """`wait` answers for what is removed, too."""
    policy = {"name": "on-failure", "retries": 3}
    answer = await ask(bus, "update", container="web", restart=policy)
    assert answer == {"ok": True, "container": ID, "state": "running"}
    assert (await engine.container(ID)).settled.restart.retries == 3
    assert (await ask(bus, "update", container="web"))["error"] == "InvalidValue"
    engine.exit(ID, 0)
    assert (await ask(bus, "rm", container="web"))["ok"]
    assert await ask(bus, "wait", container="web") == {"ok": True, "container": ID, "status": 0}

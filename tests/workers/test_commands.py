"""Wishes of programs: JSON in, JSON out, over the bus in memory."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest
from pydantic import BaseModel

from adapters.memory.bus import MemoryBus
from domain.accesses import Accessed
from domain.errors import CommandFailed
from domain.images.credentials import Credentials
from domain.messages import Actor
from tests.workers.console.fakes import ROOT, FakeEngine
from workers.commands import MOST_OUTPUT, Programs, Wish
from workers.engine import Engine
from workers.mover import Caller
from workers.requests import CreateRequest, models_in, strangers

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


@pytest.mark.parametrize(("view", "what"), [
    ("containers", ["ps"]), ("refs", ["images"]), ("events", ["events"]), ("tenures", []), ("nonsense", []),
])
async def test_a_question_is_recorded_as_what_the_command_line_calls_it(
    engine: FakeEngine, bus: MemoryBus, view: str, what: list[str]
) -> None:
    """Who looks is in the history whatever he looks with; what is about the history itself is not."""
    engine.record_accesses()
    await bus.request(f"lading.here.q.ann.{view}", b"{}", 5.0)
    await engine.accesses.settled()
    looked = [record for record in engine.store.records if isinstance(record.event, Accessed)]
    assert [record.event.what for record in looked if isinstance(record.event, Accessed)] == what
    assert all((str(record.stream), record.meta.actor.user) == ("access/host/here", "ann") for record in looked)


async def test_a_question_that_is_refused_is_recorded_as_refused(
    engine: FakeEngine, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not answered, and the history must not say so."""
    engine.record_accesses()

    async def select(*args: object, **more: object) -> None:
        raise LookupError("no such column: colour")

    monkeypatch.setattr(engine.views, "select", select)
    await bus.request("lading.here.q.ann.containers", b"{}", 5.0)
    await engine.accesses.settled()
    (looked,) = [record.event for record in engine.store.records if isinstance(record.event, Accessed)]
    assert (looked.outcome, looked.reason) == ("refused", "no such column: colour")


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


def _models(model: type[BaseModel], wish: Callable[[object], object], path: str) -> Iterator[tuple[str, Any]]:
    """Each model in a payload: the path of its fields, and what wraps a value of it into a whole payload."""
    yield path, wish
    for name, field in model.model_fields.items():
        for inner in models_in(field.annotation):
            many = "tuple" in str(field.annotation)
            place = f"{path}{name}.{'0.' if many else ''}"
            yield from _models(inner, _inside(wish, name, many=many), place)


def _inside(wish: Callable[[object], object], name: str, *, many: bool) -> Callable[[object], object]:
    return lambda value: wish({name: [value] if many else value})


INNER = dict(_models(Wish, lambda value: value, ""))


def test_wishes_have_models_inside_of_models() -> None:
    """Or the next test would prove nothing."""
    assert {"", "request.", "exec.", "restart.", "request.isolation.", "request.mounts.0.", "request.health.",
            "request.resources.", "request.resources.read_bps.0."} <= set(INNER)


@pytest.mark.parametrize("path", INNER)
@pytest.mark.parametrize("name", ["stranger", "", "\x1b[2J", "é"], ids=ascii)
async def test_a_field_that_nobody_knows_is_refused_wherever_it_stands(bus: MemoryBus, path: str, name: str) -> None:
    """Who mistypes a wish for confinement would else believe that it was heard. Its full path is told."""
    payload = json.dumps(INNER[path]({name: 1}))
    answer = json.loads(await bus.request("lading.here.cmd.ann.run", payload.encode(), 5.0))
    assert answer["ok"] is False
    assert answer["message"] == f"unknown field: {ascii(path + name)[1:-1]}"


def test_what_is_known_is_no_stranger() -> None:
    """Also where the value is of the wrong kind: that is told by somebody else."""
    wishes: tuple[object, ...] = (
        {"request": {"image": "a", "labels": {"any": "x"}, "isolation": None, "mounts": [1, "x", None]}},
        {"request": 1}, {"restart": []}, {"limits": {"memory": 1}}, [], None, 7)
    for wish in wishes:
        assert list(strangers(Wish, wish)) == [], wish


async def test_a_program_pulls_and_pushes(engine: FakeEngine, bus: MemoryBus) -> None:
    """With a key for this one request; for the platform that it asks for."""
    engine.images.remote["reg:5000/web:1"] = "5"
    key = {"user": "ann", "password": "right"}
    answer = await ask(bus, "pull", reference="reg:5000/web:1", platform="arm64", registry=key)
    assert answer == {"ok": True, "image": f"sha256:{'5' * 64}", "digest": f"sha256:{'9' * 64}", "news": True}
    kind, reference, keys, platform = engine.images.done[-1]
    assert (kind, reference, platform) == ("pull", "reg:5000/web:1", "linux/arm64")
    assert keys == {"reg:5000": Credentials("ann", "right")}
    assert await ask(bus, "push", reference="reg:5000/web:1", registry=key) == {
        "ok": True, "digest": f"sha256:{'9' * 64}", "size": 735,
    }  # fmt: skip
    assert engine.images.done[-1] == ("push", "reg:5000/web:1", Credentials("ann", "right"))


@pytest.mark.parametrize(
    ("verb", "payload", "error"),
    [
        ("pull", {"reference": "reg:5000/nothing:1"}, "NotFound"),
        ("pull", {"reference": "UPPER/x"}, "InvalidValue"),
        ("pull", {"reference": "x", "platform": "windows/amd64"}, "InvalidValue"),
        ("pull", {"reference": "x", "registry": {"user": "ann", "pass": "secret"}}, "InvalidValue"),
        ("push", {"reference": f"x@sha256:{'1' * 64}"}, "InvalidValue"),
        ("push", {"reference": "nothing:1"}, "NotFound"),
        ("push", {"reference": "alpine:3.10", "platform": "arm64"}, "NotFound"),
    ],
)
async def test_what_cannot_be_pulled_or_pushed_is_a_refusal(
    bus: MemoryBus, verb: str, payload: dict[str, Any], error: str
) -> None:
    """With its kind, and no word of a secret."""
    answer = await ask(bus, verb, **payload)
    assert (answer["ok"], answer["error"]) == (False, error)
    assert "secret" not in str(answer)

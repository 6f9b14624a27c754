"""Builds in the API's words, and how far things are."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import pytest

from domain.errors import InvalidValue, NotFound, Refused, StepFailed, Unavailable
from domain.images.progress import Part, Progress
from domain.resources import Resources
from domain.spec import Ulimit
from tests.workers.console.fakes import FakeEngine
from tests.workers.gateway.client import ANN, Client, FakeWire
from workers.accesses import Reading, Unrecorded
from workers.build.request import BuildRequest, Ended, Step
from workers.console.contexts import Sources
from workers.gateway import building
from workers.gateway.call import Call, Stream
from workers.gateway.lines import Say, told
from workers.gateway.pending import Pending
from workers.gateway.progress import Story, bar, watched
from workers.mover import Caller


def call(query: str) -> Call:
    """A request with this query."""
    wire = FakeWire(["POST", f"/build?{query}", ""])
    parameters = parse_qs(query, keep_blank_values=True)
    return Call("POST", (1, 50), {}, parameters, {}, FakeEngine(), Caller(), Pending(), wire,
                Reading(Unrecorded(), ANN, ""))


def asked(query: str) -> BuildRequest:
    """What the builder is asked for."""
    building.refuse_unsupported(call(query))
    return building.request(call(query), Sources("FROM scratch\n", "Dockerfile"), "", fresh=False)


NOTHING = BuildRequest(dockerfile="FROM scratch\n")


@pytest.mark.parametrize(("query", "wanted"), [
    ("", {}),
    ("version=1&isolation=default&squash=0&networkmode=default&rm=1&cachefrom=null&securityopt=null&target=&t=", {}),
    ("t=a:1&t=b", {"references": ("a:1", "b")}),
    ('buildargs={"A":"1","B":null}&labels={"x":"y"}', {"arguments": {"A": "1"}, "labels": {"x": "y"}}),
    ("target=test&nocache=1", {"target": "test", "no_cache": True}),
    ("extrahosts=a:1.2.3.4&extrahosts=b:host-gateway", {"hosts": ("a:1.2.3.4", "b:host-gateway")}),
    ("rm=0", {"keep": True}), ("rm=0&forcerm=1", {}),
    ("memory=1000&memswap=-1&cpushares=5&cpuperiod=6&cpuquota=7&cpusetcpus=0&cpusetmems=1", {"resources": Resources(
        memory=1000, memory_swap=-1, cpu_shares=5, cpu_period=6, cpu_quota=7, cpuset_cpus="0", cpuset_mems="1")}),
    ('ulimits=[{"Name":"nofile","Soft":1,"Hard":2}]&shmsize=9',
     {"ulimits": (Ulimit(name="nofile", soft=1, hard=2),), "shm_size": 9}),
])  # fmt: skip
def test_the_query_says_what_is_to_be_built(query: str, wanted: dict[str, Any]) -> None:
    """Defaults that clients always send ask for nothing."""
    assert asked(query) == NOTHING.model_copy(update=wanted)


@pytest.mark.parametrize(("query", "word"), [
    ("version=2", "BuildKit"), ("squash=1", "squash"), ("isolation=hyperv", "isolation"), ("outputs=[1]", "outputs"),
    ("cgroupparent=/x", "cgroupparent"), ('securityopt=["seccomp=x"]', "securityopt"), ("buildargs=[1]", "buildargs"),
    ("buildargs=x", "buildargs"), ('buildargs={"A":{}}', "buildargs"), ('labels={"A":1}', "labels"),
    ("memory=much", "memory"), ("ulimits=[1]", "ulimits"),
])  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name(query: str, word: str) -> None:
    """Nothing is dropped silently."""
    with pytest.raises(InvalidValue, match=word):
        asked(query)


async def test_an_engine_without_a_builder_says_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the body is."""
    def nothing(engine: FakeEngine) -> None:
        raise Unavailable("this engine builds nothing")
    monkeypatch.setattr(FakeEngine, "builder", property(nothing))
    assert (await client.ask("POST", "/build", body=b"FROM alpine:3.10")).status == 503


async def shown(*, cached: bool = True) -> list[str]:
    """What a build of three steps tells."""
    found: list[str] = []

    async def say(document: Mapping[str, object]) -> None:
        found.append(str(document["stream"]))

    screen = building.Screen(say, cached=cached)
    steps = [Step(number, 3, "", text) for number, text in enumerate(("FROM scratch", "ENV A=1", "RUN x"), 1)]
    async with screen.shown():
        for step in steps:
            await screen.step(step)
            if step.number == 3:
                await screen.running(step, "c" * 64, "")
                await screen.output(step, 1, b"fine\n")
                await screen.output(step, 2, b"oops\n")
            how: Any = "ran" if step.number == 3 else "set"
            await screen.ended(step, Ended(how, 5, 7, f"sha256:{'e' * 64}"))
    return found


async def test_a_build_is_told_line_by_line() -> None:
    """What a command writes as errors is red; settings after steps of the cache were found there."""
    lines = await shown()
    assert lines[0] == "Step 1/3 : FROM scratch\n"
    assert "\x1b[91moops\n\x1b[0m" in lines
    assert lines.count(" ---> Using cache\n") == 1
    assert (await shown(cached=False)).count(" ---> Using cache\n") == 0


async def collected(stream: Stream) -> list[dict[str, Any]]:
    """The lines of an answer."""
    return [json.loads(piece) async for piece in stream.pieces]


async def test_what_fails_before_a_word_is_a_refusal_and_later_a_line() -> None:
    """A command that fails tells its status."""

    async def silent(say: Say) -> None:
        raise NotFound("no such thing")

    async def talking(say: Say) -> None:
        await say({"stream": "hello"})
        raise StepFailed("it returned 3", exit_code=3)

    with pytest.raises(NotFound):
        await told(silent)
    assert await collected(await told(silent, mildly=True)) == [
        {"errorDetail": {"message": "no such thing"}, "error": "no such thing"}
    ]
    assert await collected(await told(talking)) == [
        {"stream": "hello"}, {"errorDetail": {"code": 3, "message": "it returned 3"}, "error": "it returned 3"}
    ]  # fmt: skip


async def test_work_that_nobody_listens_to_is_called_off() -> None:
    """A client that is gone wants nothing any more, and a slow one is waited for."""
    said, ended = 0, asyncio.Event()

    async def work(say: Say) -> None:
        nonlocal said
        try:
            while True:
                await say({"n": said})
                said += 1
        finally:
            ended.set()

    stream = await told(work)
    await anext(stream.pieces)
    await asyncio.sleep(0.01)
    assert said < 200
    await stream.pieces.aclose()  # type: ignore[attr-defined]
    await asyncio.wait_for(ended.wait(), 5)


def test_each_layer_is_told_when_something_of_it_is_new() -> None:
    """Its states by their words, and how much has come."""
    progress, story = Progress([Part(f"sha256:{'1' * 64}", 100), Part(f"sha256:{'2' * 64}", 5, "exists")]), Story()
    first = [document["status"] for document in story.news(progress)]
    assert first == ["Pulling fs layer", "Already exists"]
    assert list(story.news(progress)) == []
    progress.parts[0].state, progress.parts[0].done = "downloading", 50
    (line,) = story.news(progress)
    assert line == {"status": "Downloading", "progressDetail": {"current": 50, "total": 100}, "id": "1" * 12,
                    "progress": bar(50, 100)}  # fmt: skip
    progress.say("the registry wants us to wait")
    assert [document["status"] for document in story.news(progress)] == ["the registry wants us to wait"]


def test_a_push_has_words_of_its_own() -> None:
    """A layer that is new to us begins at the beginning."""
    parts = [Part(f"sha256:{'1' * 64}", 9, "mounted", source="team/x"), Part(f"sha256:{'2' * 64}", 9, "pushing", 3)]
    words = [document["status"] for document in Story(pushing=True).news(Progress(parts))]
    assert words == ["Mounted from team/x", "Preparing", "Pushing"]


@pytest.mark.parametrize(("done", "size", "drawn"), [
    (0, 0, ">" + " " * 49), (0, 9, ">" + " " * 49), (50, 100, "=" * 25 + ">" + " " * 24), (9, 9, "=" * 50),
    (99, 9, "=" * 50),
])  # fmt: skip
def test_a_bar_is_as_long_as_its_part_of_the_whole(done: int, size: int, drawn: str) -> None:
    """It never leaves its brackets."""
    assert bar(done, size).startswith(f"[{drawn}]")


async def test_work_that_fails_before_anything_moves_tells_nothing() -> None:
    """So its refusal can be the answer."""
    said: list[object] = []

    async def say(document: Mapping[str, object]) -> None:
        said.append(document)

    async def refused() -> None:
        raise Refused("no")

    with pytest.raises(Refused):
        await watched(refused(), Progress(), say, {"status": "begin"})
    assert said == []

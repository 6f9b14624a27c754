"""Verbs that only look are in the history, too, and `audit` shows who has looked."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import pytest

from domain.host import HostStarted
from domain.images.events import PullRequested, Tagged, Untagged
from domain.messages import Meta, StreamId
from tests.workers.console.fakes import FakeCall, FakeEngine, Prompt
from workers.accesses import Unrecorded
from workers.console.commands import NOUNS, VERBS
from workers.console.dispatch import dispatch

ID = "1" * 64
WEB, HOST, IMAGE = f"access/container/{ID}", "access/host/here", f"access/image/sha256:{'a' * 64}"
LOOKING = {
    "ps", "logs", "images", "diff", "events", "history", "info", "inspect", "port", "save", "search", "stats", "top",
}
"""`audit` and `why` are about the history itself; `version` and `completion` are the client's business."""


@pytest.fixture
async def engine(engine: FakeEngine, prompt: Prompt) -> FakeEngine:
    """A container runs; from then on it is recorded who looks."""
    await prompt.ok("run", "-d", "--name", "web", "alpine:3.10", "sleep", "9")
    engine.record_accesses()
    return engine


def test_every_verb_that_looks_says_what_it_is_recorded_as() -> None:
    """In the words of the command line, whatever client asks for the same."""
    assert {name for name, verb in VERBS.items() if verb.reads} == LOOKING
    below = {f"{noun} {name}": verb.reads for noun, (_, verbs, _) in NOUNS.items() for name, verb in verbs.items()}
    assert all(below[name] == name for name in ("network ls", "volume ls", "system df"))
    assert {below[f"{noun} inspect"] for noun in ("container", "image", "network", "volume")} == {"inspect"}


@pytest.mark.parametrize(("line", "stream", "what"), [
    ("ps", HOST, "ps"),
    ("ps -a -q", HOST, "ps"),
    ("container ls", HOST, "ps"),
    ("images", HOST, "images"),
    ("logs web", WEB, "logs"),
    ("inspect web", WEB, "inspect"),
    ("container inspect web", WEB, "inspect"),
    ("port web", WEB, "inspect"),
    ("diff web", WEB, "diff"),
    ("inspect alpine:3.10", IMAGE, "inspect"),
    ("history alpine:3.10", IMAGE, "history"),
    ("save alpine:3.10", IMAGE, "save"),
    ("network ls", HOST, "network ls"),
    ("volume ls", HOST, "volume ls"),
    ("info", HOST, "info"),
    ("events --since 0 --until 0s", HOST, "events"),
])
async def test_who_looks_is_in_the_history_of_what_he_looks_at(
    engine: FakeEngine, prompt: Prompt, line: str, stream: str, what: str
) -> None:
    """Once; the second time he is counted."""
    for _ in range(2):
        await prompt.ok(*line.split())
    assert await engine.recorded() == [(stream, what, "")]


async def test_who_hangs_up_while_he_is_answered_has_looked(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever takes all but the last byte of an image would be in no history."""
    taken = asyncio.Event()

    async def save(names: Sequence[str]) -> AsyncIterator[bytes]:
        yield b"nearly all of it"
        taken.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(engine.images, "save", save)
    saving = asyncio.create_task(dispatch(FakeCall(("save", "alpine:3.10")), engine, engine.now))
    await asyncio.wait_for(taken.wait(), 5)
    saving.cancel()
    await asyncio.gather(saving, return_exceptions=True)
    assert await engine.recorded() == [(IMAGE, "save", "")]


async def test_a_stream_is_recorded_when_it_begins(engine: FakeEngine) -> None:
    """Not when it ends, which may be next week."""
    call = FakeCall(("events",))
    listening = asyncio.create_task(dispatch(call, engine, engine.now))
    async with asyncio.timeout(5):
        while await engine.recorded() != [(HOST, "events", "")]:
            await asyncio.sleep(0)
    call.closed.set()
    await listening


async def test_refusals_are_recorded_where_somebody_can_find_them(engine: FakeEngine, prompt: Prompt) -> None:
    """With the object that they are about, or with the host when there is none; a typing mistake is no question."""
    await prompt.ok("create", "--name", "quiet", "--log-driver", "none", "alpine:3.10")
    assert (await prompt("logs", "quiet")).status == 1
    assert (await prompt("logs", "nothing")).status == 1
    assert (await prompt("logs", "--nonsense", "web")).status == 125
    assert (await prompt("inspect", "web", "nothing")).status == 1
    assert await engine.recorded() == [
        (f"access/container/{'2' * 64}", "logs", "configured logging driver does not support reading"),
        (HOST, "logs", "No such container: nothing"),
        (HOST, "inspect", "Error: No such object: nothing"),
        (WEB, "inspect", ""),
    ]


async def test_audit_shows_who_has_looked_or_leaves_it_out(engine: FakeEngine, prompt: Prompt) -> None:
    """Each at its place, with the state it had then; also of a container that is gone."""
    nobody = await prompt("audit", "--access", "only", "web")
    assert nobody.err == "none of its 3 events tells of somebody who has only looked\n"
    await prompt.ok("logs", "web")
    await prompt.ok("rm", "-f", "web")
    shape = ("--format", "{{.Event}} {{.State}} {{.By}} {{.Detail}}")
    lines = (await prompt.ok("audit", *shape, ID)).lines
    assert lines[3] == "accessed running root logs"
    assert [line.split()[0] for line in lines[:3]] == ["created", "start-requested", "started"]
    assert (await prompt.ok("audit", "--access", "only", *shape, ID)).lines == ["accessed running root logs"]
    without = (await prompt.ok("audit", "--access", "none", *shape, ID)).lines
    assert without == [line for line in lines if not line.startswith("accessed")]
    (document,) = [json.loads(line) for line in (await prompt.ok("audit", "--access=only", "--json", ID)).lines]
    assert document["data"] == {
        "what": "logs", "outcome": "answered", "reason": "", "times": 1, "first": 0, "last": 0, "merged": False}
    assert (await prompt("audit", "--access", "some", ID)).status == 125
    assert "accessed" not in (await prompt.ok("why", ID)).out


async def test_a_name_of_an_image_tells_of_what_it_meant_then(engine: FakeEngine, prompt: Prompt) -> None:
    """Who has looked at the image before it had the name, or after, has not looked at that."""
    name, image_id = StreamId("ref", "site:1"), f"sha256:{'a' * 64}"
    await prompt.ok("history", "alpine:3.10")
    await engine.accesses.settled()
    engine.store.add(name, Tagged(image_id=image_id), Meta())
    await prompt.ok("inspect", "alpine:3.10")
    await engine.accesses.settled()
    engine.store.add(name, Untagged(image_id=image_id), Meta())
    await prompt.ok("save", "alpine:3.10")
    engine.store.add(StreamId("ref", "never:1"), PullRequested(), Meta())
    assert (await prompt("audit", "image", "never:1")).status == 0, "it has never meant anything"
    shape = ("--access", "only", "--format", "{{.Detail}}")
    assert (await prompt.ok("audit", *shape, "site:1")).lines == ["inspect"]
    assert (await prompt.ok("audit", *shape, "image", "alpine:3.10")).lines == ["history", "inspect", "save"]


async def test_the_host_tells_who_has_looked_at_lists(engine: FakeEngine, prompt: Prompt) -> None:
    """And its own life beside it."""
    assert (await prompt("audit", "host")).status == 1, "there is no host yet in this fake"
    engine.store.add(StreamId("host", "here"), HostStarted(boot="b"), Meta())
    await prompt.ok("ps")
    await prompt.ok("network", "ls")
    lines = (await prompt.ok("audit", "--format", "{{.Event}} {{.Detail}}", "host")).lines
    assert [line.strip() for line in lines] == ["host-started", "accessed ps", "accessed network ls"]


async def test_it_can_be_turned_off(engine: FakeEngine, prompt: Prompt) -> None:
    """Then nothing is recorded of who only looks."""
    engine.accesses = Unrecorded()
    before = len(engine.store.records)
    await prompt.ok("ps")
    await prompt.ok("logs", "web")
    assert len(engine.store.records) == before

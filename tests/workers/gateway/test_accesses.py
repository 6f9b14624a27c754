"""Requests that only look are in the history, too; those that ask nothing of anybody are not."""

import pytest

from domain.accesses import Accessed
from domain.errors import StorageError
from domain.messages import Actor, StreamId
from tests.workers.console.fakes import FakeEngine
from tests.workers.gateway.client import ANN, Client
from workers.accesses import Unrecorded
from workers.gateway.resources import ROUTES

WEB = f"access/container/{'1' * 64}"
HOST = "access/host/here"
NOT_RECORDED = {
    "/_ping", "/version",  # how clients find out whom they talk to
    "/containers/{name}/export", "/containers/{name}/archive", "/containers/{name}/attach/ws",  # by events of their own
    "/exec/{id}/json",  # how one's own exec has ended
    "/containers/{name}/checkpoints", "/plugins", "/plugins/privileges", "/plugins/{name...}/json",  # there are none
    "/configs", "/configs/{name}", "/nodes", "/nodes/{name}", "/secrets", "/secrets/{name}", "/services",
    "/services/{name}", "/services/{name}/logs", "/swarm", "/swarm/unlockkey", "/tasks", "/tasks/{name}",
    "/tasks/{name}/logs",
}


@pytest.fixture
def engine(engine: FakeEngine) -> FakeEngine:
    """It records who looks."""
    engine.record_accesses()
    return engine


def test_every_request_that_looks_says_what_it_is_recorded_as() -> None:
    """A route that is added and forgotten here would be a way to look without a trace."""
    looking = {route.pattern for route in ROUTES if route.method == "GET" and not route.reads}
    assert looking - NOT_RECORDED == set()
    assert [route.pattern for route in ROUTES if route.method != "GET" and route.reads] == []


@pytest.mark.parametrize(("target", "stream", "what"), [
    ("/containers/json", HOST, "ps"),
    ("/containers/web/json", WEB, "inspect"),
    ("/containers/web/logs?stdout=1", WEB, "logs"),
    ("/containers/web/stats?stream=0&one-shot=1", WEB, "stats"),
    ("/containers/web/changes", WEB, "diff"),
    ("/images/json", HOST, "images"),
    ("/images/alpine:3.10/json", f"access/image/sha256:{'a' * 64}", "inspect"),
    ("/images/alpine:3.10/history", f"access/image/sha256:{'a' * 64}", "history"),
    ("/images/alpine:3.10/get", f"access/image/sha256:{'a' * 64}", "save"),
    ("/networks", HOST, "network ls"),
    ("/volumes", HOST, "volume ls"),
    ("/volumes/data", "access/volume/data", "inspect"),
    ("/info", HOST, "info"),
])
async def test_who_looks_is_in_the_history_of_what_he_looks_at(
    engine: FakeEngine, client: Client, target: str, stream: str, what: str
) -> None:
    """With his user and command line, once; the second time he is counted."""
    await client.run()
    await client.ask("POST", "/volumes/create", {"Name": "data"})
    for _ in range(3):
        assert (await client.ask("GET", target)).status == 200
    assert await engine.recorded() == [(stream, what, "")]
    (record,) = [record for record in engine.store.records if isinstance(record.event, Accessed)]
    assert record.meta.actor == ANN
    await engine.accesses.end()
    last = engine.store.records[-1].event
    assert isinstance(last, Accessed)
    assert (last.what, last.times) == (what, 2)


async def test_a_stream_is_recorded_before_its_first_byte(engine: FakeEngine, client: Client) -> None:
    """Whoever follows for days is known from the beginning; listening to events is no event that is told."""
    await client.run()
    answer = await client.ask("GET", "/events?since=0&until=1764087400")
    assert (await engine.recorded())[0] == (HOST, "events", "")
    assert b"access" not in answer.body
    assert (await client.ask("HEAD", "/events")).body == b""
    assert len(await engine.recorded()) == 1, "the gateway's process says so of those who hear what others hear"


async def test_refusals_are_recorded_where_somebody_can_find_them(engine: FakeEngine, client: Client) -> None:
    """With the object that they are about, or with the host when there is none."""
    await client.create(HostConfig={"LogConfig": {"Type": "none"}})
    assert (await client.ask("GET", "/containers/web/logs?stdout=1")).status == 409
    assert (await client.ask("GET", "/containers/nothing/logs?stdout=1")).status == 404
    assert (await client.ask("GET", "/networks/nothing")).status == 404
    assert await engine.recorded() == [
        (WEB, "logs", "configured logging driver does not support reading"),
        (HOST, "logs", "No such container: nothing"),
        (HOST, "inspect", "network nothing not found"),
    ]


@pytest.mark.parametrize(("method", "target"), [
    ("GET", "/_ping"), ("HEAD", "/_ping"), ("GET", "/version"), ("GET", "/nothing"), ("GET", "/plugins"),
    ("POST", "/containers/web/wait?condition=removed"), ("HEAD", "/containers/web/archive?path=/"),
])
async def test_what_asks_nothing_leaves_no_trace(
    engine: FakeEngine, client: Client, method: str, target: str
) -> None:
    """Every client negotiates before each request; who waits learns only how his own container ends."""
    await client.run("job")
    await client.ask(method, target)
    assert await engine.recorded() == []


class _Refusing(Unrecorded):
    """A register that cannot do its work."""

    def note(self, actor: Actor, what: str, object: StreamId | None, refused: str = "") -> None:
        """Never."""
        raise StorageError("the disk is full")


async def test_nothing_is_recorded_of_who_changes_something(engine: FakeEngine, client: Client) -> None:
    """That has events of its own."""
    engine.accesses = _Refusing()
    await client.run()
    assert (await client.ask("POST", "/containers/web/stop")).status == 204
    assert (await client.ask("DELETE", "/containers/web")).status == 204

"""The engine itself: facts, events, space, logins; and what other engines have."""

import asyncio
import json

import pytest

from tests.workers.console.fakes import EPOCH, SECOND, FakeEngine
from tests.workers.gateway.client import Client
from workers.gateway.moments import moment


async def test_facts_have_what_clients_look_for(client: Client) -> None:
    """docker info fails on a missing Swarm or RegistryConfig."""
    facts = (await client.ask("GET", "/info")).document
    assert facts["Swarm"]["LocalNodeState"] == "inactive"
    assert facts["IndexServerAddress"] == "https://index.docker.io/v1/"
    assert facts["LoggingDriver"] == "json-file"
    assert facts["Plugins"]["Network"] == ["bridge", "host", "null"]
    assert {"ServerVersion", "Containers", "MemTotal", "RegistryConfig", "Warnings"} <= facts.keys()


async def test_past_events_are_told_in_the_industrys_shape(client: Client) -> None:
    """From the first one on; the names of the first version beside today's."""
    id = await client.run(Labels={"tier": "front"})
    until = EPOCH // SECOND + 1000
    answer = await client.ask("GET", f"/events?since=0&until={until}")
    events = [json.loads(line) for line in answer.body.splitlines()]
    assert [event["Action"] for event in events] == ["import", "tag", "create", "start"]
    start = events[-1]
    assert (start["status"], start["id"], start["from"], start["Type"], start["scope"]) == (
        "start", id, "alpine:3.10", "container", "local"
    )  # fmt: skip
    assert start["Actor"] == {"ID": id, "Attributes": {"image": "alpine:3.10", "name": "web", "tier": "front"}}
    assert start["time"] == start["timeNano"] // SECOND


@pytest.mark.parametrize(("filters", "actions"), [
    ({"type": ["image"]}, ["import", "tag"]), ({"event": ["start", "create"]}, ["create", "start"]),
    ({"container": ["web"], "event": {"start": True}}, ["start"]), ({"label": ["tier=front", "none"]}, []),
    ({"daemon": ["box"]}, []), ({"type": ["container"], "event": ["create"]}, ["create"]),
])  # fmt: skip
async def test_filters_choose_events(client: Client, filters: dict[str, object], actions: list[str]) -> None:
    """The same key or-ed, different keys and labels and-ed."""
    await client.run(Labels={"tier": "front"})
    target = f"/events?since=0&until={EPOCH // SECOND + 1000}&filters={json.dumps(filters)}"
    lines = (await client.ask("GET", target)).body.splitlines()
    assert [json.loads(line)["Action"] for line in lines] == actions


async def test_events_follow_and_begin_with_the_head_at_once(engine: FakeEngine, client: Client) -> None:
    """Who waits for something knows from the head that he misses nothing."""
    wire = client.wire("GET", '/events?filters={"event":["create"]}')
    following = asyncio.ensure_future(client.api.answer(wire))
    await wire.begun.wait()
    while not engine.tidings.listeners:
        await asyncio.sleep(0)
    await client.create()
    while not wire.sent:
        await asyncio.sleep(0)
    assert json.loads(wire.sent[0])["Action"] == "create"
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert not engine.tidings.listeners


@pytest.mark.parametrize("query", ['filters={"nope":["x"]}', "since=yesterdayish", "since=5.x"])
async def test_events_that_cannot_be_meant_are_refused(client: Client, query: str) -> None:
    """Before anything is waited for."""
    assert (await client.ask("GET", f"/events?{query}")).status == 400


@pytest.mark.parametrize(("text", "when"), [
    ("0", 0), ("1.5", 1_500_000_000), ("1764087362.000000001", EPOCH + 1), ("10m", EPOCH - 600 * SECOND),
    ("2025-11-25T16:16:02Z", EPOCH),
])  # fmt: skip
def test_moments_are_seconds_or_as_people_write_them(text: str, when: int) -> None:
    """Never numbers of events: clients do not know those."""
    assert moment(text, EPOCH) == when


async def test_the_space_is_told_by_kind(engine: FakeEngine, client: Client) -> None:
    """With what each thing takes, and who uses it."""
    await client.ask("POST", "/volumes/create", {"Name": "data"})
    await client.run(HostConfig={"Binds": ["data:/data"]})
    engine.store.rows["build_cache"] = {}
    found = (await client.ask("GET", "/system/df")).document
    assert (found["LayersSize"], found["BuildCache"]) == (12_000_000, [])
    assert [(image["Containers"], image["SharedSize"]) for image in found["Images"]] == [(1, 0)]
    assert [container["SizeRw"] for container in found["Containers"]] == [5]
    assert [volume["UsageData"]["RefCount"] for volume in found["Volumes"]] == [1]
    part = (await client.ask("GET", "/system/df?type=volume")).document
    assert (len(part["Volumes"]), part["Images"]) == (1, None)
    assert (await client.ask("GET", "/system/df?type=nope")).status == 400


async def test_a_login_is_asked_of_the_registry(engine: FakeEngine, client: Client) -> None:
    """A wrong password is no right one."""
    body = {"username": "ann", "password": "right", "serveraddress": "https://reg.example.com/v2/"}
    answer = await client.ask("POST", "/auth", body)
    assert (answer.status, answer.document["Status"]) == (200, "Login Succeeded")
    assert engine.images.done == [("login", "reg.example.com", "ann")]
    wrong = await client.ask("POST", "/auth", {**body, "password": "wrong"})
    assert (wrong.status, "unauthorized" in wrong.message) == (401, True)
    assert (await client.ask("POST", "/auth")).status == 400


@pytest.mark.parametrize(("method", "target", "status", "word"), [
    ("GET", "/swarm", 503, "not a swarm manager"), ("GET", "/nodes", 503, "not a swarm manager"),
    ("GET", "/services", 503, "not a swarm manager"), ("GET", "/tasks/x", 503, "not a swarm manager"),
    ("POST", "/services/create", 503, "not a swarm manager"), ("GET", "/secrets", 503, "not a swarm manager"),
    ("POST", "/configs/create", 503, "not a swarm manager"), ("PUT", "/volumes/x", 503, "not a swarm manager"),
    ("POST", "/swarm/leave?force=1", 503, "not part of a swarm"), ("POST", "/swarm/init", 501, "not supported"),
    ("POST", "/plugins/pull?remote=x", 501, "not supported"), ("GET", "/plugins/a/b/json", 404, "not found"),
    ("GET", "/containers/web/checkpoints", 501, "experimental"), ("POST", "/session", 501, "BuildKit"),
])  # fmt: skip
async def test_what_others_have_is_answered_as_where_it_was_never_begun(
    client: Client, method: str, target: str, status: int, word: str
) -> None:
    """Clients know these answers."""
    answer = await client.ask(method, target)
    assert (answer.status, word in answer.message) == (status, True)


async def test_there_are_no_plugins(client: Client) -> None:
    """An empty list, as clients expect one."""
    assert (await client.ask("GET", "/plugins")).document == []

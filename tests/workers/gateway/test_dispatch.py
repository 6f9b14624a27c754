"""Requests on their way: versions, routes, bodies, and every kind of refusal."""

import pytest

from domain import errors
from domain.errors import LadingError
from tests.workers.gateway.client import Client
from workers.gateway.call import Answer, Call, Reply
from workers.gateway.errors import STATUSES, Denied, status_of
from workers.gateway.resources import ROUTES
from workers.gateway.routes import NEWEST, Route, find


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", ["", "/v1.24", "/v1.41", "/v1.50"])
async def test_a_ping_tells_the_newest_version_in_every_version(client: Client, version: str, method: str) -> None:
    """Clients choose theirs by it, also those that ask only for the head."""
    answer = await client.ask(method, "/_ping", version=version)
    assert (answer.status, answer.headers["Api-Version"], answer.headers["Ostype"]) == (200, "1.50", "linux")
    assert answer.body == (b"OK" if method == "GET" else b"")


@pytest.mark.parametrize(("version", "words"), [("/v1.51", "is too new. Maximum supported API version is 1.50"),
                                                ("/v1.23", "is too old. Minimum supported API version is 1.24")])
async def test_a_version_that_is_not_served_is_refused_with_the_bounds(
    client: Client, version: str, words: str
) -> None:
    """The docker CLI shows this text."""
    answer = await client.ask("GET", "/_ping", version=version)
    assert answer.status == 400
    assert words in answer.message


@pytest.mark.parametrize("target", ["/nothing", "/containers", "/containers//json", "/v1.50/v1.50/_ping", "*"])
async def test_what_is_no_route_is_not_found(client: Client, target: str) -> None:
    """In the words of the industry's engine."""
    answer = await client.ask("GET", target, version="")
    assert (answer.status, answer.message) == (404, "page not found")


async def _nothing(call: Call) -> Answer:
    return Reply()


def test_a_route_is_found_by_method_path_and_version() -> None:
    """Names of images hold slashes, those of containers do not; an older version knows less."""
    images = Route("GET", "/images/{name...}/json", _nothing)
    containers = Route("GET", "/containers/{name}/json", _nothing, since=(1, 30))
    routes = (images, containers)
    found = find(routes, "GET", "/images/docker.io/library/busybox:1/json", NEWEST)
    assert found is not None
    assert found.path == {"name": "docker.io/library/busybox:1"}
    coded = find(routes, "GET", "/images/a%2Fb/json", NEWEST)
    assert coded is not None
    assert coded.path == {"name": "a/b"}
    assert find(routes, "GET", "/containers/a/b/json", NEWEST) is None
    assert find(routes, "GET", "/containers/a/json", (1, 29)) is None
    assert find(routes, "POST", "/containers/a/json", NEWEST) is None


def test_no_two_routes_are_the_same() -> None:
    """The second one would never be reached."""
    keys = [(route.method, route.pattern) for route in ROUTES]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("error", [kind for kind in vars(errors).values()
                                   if isinstance(kind, type) and issubclass(kind, LadingError)])
def test_every_error_of_the_domain_has_a_status(error: type[LadingError]) -> None:
    """400 for what cannot be meant, 404, 409, 503, and 500 for the engine's own troubles."""
    made = error("no", exit_code=1) if error in (errors.StepFailed, errors.CommandFailed) else error("no")
    assert status_of(made) in {400, 404, 409, 500, 503}
    assert status_of(Denied(501, "no")) == 501
    assert STATUSES[-1][0] is LadingError


async def test_a_defect_is_an_answer_and_not_the_end(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The next request is answered as ever, and what a query says is not in the log."""
    async def broken(name: str) -> str:
        raise ZeroDivisionError
    monkeypatch.setattr(client.engine, "resolve", broken)
    answer = await client.ask("GET", "/containers/web/json?buildargs=hunter2")
    assert answer.status == 500
    assert "has failed inside" in answer.message
    assert "/containers/web/json failed" in caplog.text
    assert "hunter2" not in caplog.text
    assert (await client.ask("GET", "/_ping")).status == 200


@pytest.mark.parametrize(("body", "words"), [
    (b"{", "invalid JSON"), (b"", "got EOF while reading"), (b"[]", "is no object"), (b'"x"', "is no object"),
    (b"\xff\xfe", "invalid JSON"), (b"[" * 100_000, "invalid JSON"), (b'{"Image": "a\0b"}', "invalid JSON"),
    (b'{"Image": 5}', "Image"), (b'{"Image": "a", "Cmd": 5}', "Cmd"), (b'{"Image": "a", "Labels": []}', "Labels"),
    (b'{"Image": "a", "HostConfig": {"Memory": "lots"}}', "HostConfig.Memory"),
    (b'{"Image": "a", "HostConfig": {"Mounts": [{"Type": 3}]}}', "HostConfig.Mounts.0.Type"),
    (b'{"Image": "a", "HostConfig": []}', "HostConfig"),
    (b'{"Image": "a", "Tty": "yes"}', "Tty"), (b'{"Image": "a", "Tty": 1}', "Tty"),
    (b'{"Image": "a", "HostConfig": {"Memory": "67108864"}}', "HostConfig.Memory"),
    (b'{"Image": "a", "HostConfig": {"Memory": 1.5}}', "HostConfig.Memory"),
    (b'{"Image": "a", "HostConfig": {"Memory": 9223372036854775808}}', "out of range"),
    (b'{"Image": "a", "HostConfig": {"Memory": %s}}' % (b"9" * 5000), "out of range"),
    (b'{"Image": "a", "HostConfig": {"Memory": NaN}}', "NaN is no value"),
    (b'{"Image": "a", "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": 80}]}}}', "HostPort"),
])
async def test_a_body_that_cannot_be_read_is_refused_with_the_place(client: Client, body: bytes, words: str) -> None:
    """It makes nothing."""
    answer = await client.ask("POST", "/containers/create", body=body)
    assert answer.status == 400
    assert words in answer.message
    assert (await client.ask("GET", "/containers/json?all=1")).document == []


async def test_a_body_that_is_a_stream_is_read_whole(client: Client) -> None:
    """Chunked ones are."""
    pieces = (b'{"Image"', b': "alpine:3.10"}')
    answer = await client.ask("POST", "/containers/create", streams_body=True, input=pieces)
    assert answer.status == 201


async def test_half_a_body_is_a_bad_request(client: Client) -> None:
    """Nothing is made of it."""
    answer = await client.ask("POST", "/containers/create", streams_body=True, input=(b'{"Ima',), broken=True)
    assert (answer.status, answer.message) == (400, "bad request: it ended in the middle")


async def test_a_body_without_end_is_not_kept(client: Client) -> None:
    """Whoever sends more than a document can be is refused."""
    answer = await client.ask("POST", "/containers/create", streams_body=True, input=(b" " * 65536,) * 100)
    assert answer.status == 400
    assert "bytes" in answer.message


@pytest.mark.parametrize("query", ["filters={", "filters=[]", 'filters={"status":3}', 'filters={"nonsense":["a"]}',
                                   "limit=many", 'filters={"status":["asleep"]}'])
async def test_a_query_that_cannot_be_meant_is_refused(client: Client, query: str) -> None:
    """Never taken for no wish at all."""
    assert (await client.ask("GET", f"/containers/json?{query}")).status == 400


async def test_a_hint_for_people_at_the_command_line_is_not_told(client: Client) -> None:
    """The client's user has another command line."""
    await client.create()
    answer = await client.ask("POST", "/containers/create?name=web", {"Image": "alpine:3.10"})
    assert answer.status == 409
    assert answer.message.startswith('Conflict. The container name "/web" is already in use by container "')
    assert "lading" not in answer.message


async def test_fields_are_known_in_any_case_of_letters(client: Client) -> None:
    """As the industry's engine reads them; docker-py writes one so."""
    await client.ask("POST", "/containers/create?name=web", {"image": "alpine:3.10", "hostconfig": {"memory": 1 << 26}})
    assert (await client.ask("GET", "/containers/web/json")).document["HostConfig"]["Memory"] == 1 << 26

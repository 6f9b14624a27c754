"""The client against servers that break, lie, or mean harm: nothing is believed, everything is bounded."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.registry.session import Session
from adapters.registry.web import Web
from domain.errors import LadingError, NotFound, Refused
from domain.images.credentials import Credentials
from domain.images.denials import Asked, RegistryDenied, RegistryFailed
from domain.images.manifest import LARGEST_MANIFEST
from domain.images.registries import Endpoint, Registries
from tests.adapters.registry.conftest import Client, Memory, blob, fetched, push, stopped
from tests.adapters.registry.servers import Certificate, Reply, Request, Scripted, scripted, sha

DATA = bytes(range(256)) * 1024
DOCUMENT = json.dumps({"schemaVersion": 2}).encode()
ANN = Credentials("ann", "secret")


def served(reply: Callable[[Request], Reply]) -> Callable[[Request], Reply]:
    """A registry that is one, and gives these replies below `/v2/team/app/`."""
    return lambda request: Reply() if request.path == "/v2/" else reply(request)


def ranged(request: Request, data: bytes = DATA) -> Reply:
    """As a server that knows ranges answers."""
    start = request.headers.get("range", "")
    if not start:
        return Reply(200, data)
    offset = int(start.removeprefix("bytes=").removesuffix("-"))
    return Reply(206, data[offset:], {"Content-Range": f"bytes {offset}-{len(data) - 1}/{len(data)}"})


def test_a_download_that_is_cut_goes_on_where_it_was(client: Client) -> None:
    """Again and again; only what is missing is asked for, and what moves is never given up."""
    def cut(request: Request) -> Reply:
        reply = ranged(request)
        reply.cut = 30_000
        return reply

    with scripted(served(cut)) as server:
        assert fetched(client.source(f"{server.host}/team/app:v1"), blob(DATA)) == DATA
        starts = [one.headers.get("range") for one in server.asked("GET", "/v2/team/app/blobs")]
    assert starts[:3] == [None, "bytes=30000-", "bytes=60000-"]
    assert len(starts) == 9
    assert client.stop.waited == []


def test_a_server_without_ranges_sends_all_and_what_is_known_is_dropped(client: Client) -> None:
    """Docker gives up here after a minute."""
    with scripted(served(lambda request: Reply(200, DATA))) as server:
        sink = Memory(bytearray(DATA[:100_000]))
        client.source(f"{server.host}/team/app:v1").download(blob(DATA), sink)
    assert bytes(sink.data) == DATA


@pytest.mark.parametrize("content_range", ["", "bytes 7-9/10", "bytes 200000-262143/262144", "items 1-2/3"])
def test_another_part_than_asked_for_is_refused(client: Client, content_range: str) -> None:
    """The sink gets nothing that does not belong there."""
    with scripted(served(lambda request: Reply(206, DATA[5:], {"Content-Range": content_range}))) as server:
        sink = Memory(bytearray(DATA[:6]))
        with pytest.raises(Refused):
            client.source(f"{server.host}/team/app:v1").download(blob(DATA), sink)
    assert bytes(sink.data) == DATA[:6]


def test_a_blob_never_grows_beyond_its_size(client: Client) -> None:
    """An endless body ends with the byte too many."""
    with scripted(served(lambda request: Reply(endless=True))) as server:
        sink = Memory()
        with pytest.raises(Refused, match="is larger than the 1000 bytes"):
            client.source(f"{server.host}/team/app:v1").download(blob(b"y" * 1000), sink)
    assert sink.offset <= 1000


def test_a_blob_that_stays_short_is_given_up(client: Client) -> None:
    """After a growing wait each time."""
    with scripted(served(lambda request: ranged(request, DATA[:10]))) as server, pytest.raises(LadingError):
        fetched(client.source(f"{server.host}/team/app:v1"), blob(DATA))
    assert client.stop.waited == sorted(client.stop.waited)


@pytest.mark.parametrize("which", ["v1", sha(b"other")])
def test_a_manifest_that_is_not_what_was_asked_for_is_refused(client: Client, which: str) -> None:
    """By its digest, or by what the registry itself says it is; elsewhere there was a way past it (CVE-2026-111361)."""
    reply = Reply(200, DOCUMENT, {"Docker-Content-Digest": sha(b"other")})
    with scripted(served(lambda request: reply)) as server, pytest.raises(Refused, match="arrived damaged"):
        client.source(f"{server.host}/team/app:v1").manifest(which)


@pytest.mark.parametrize("reply", [Reply(endless=True), Reply(200, b" " * (LARGEST_MANIFEST + 1))])
def test_a_huge_manifest_is_not_read(client: Client, reply: Reply) -> None:
    """4 MiB are plenty; elsewhere one is read whole, however large (CVE-2017-11468)."""
    with scripted(served(lambda request: reply)) as server, pytest.raises(Refused, match="too large"):
        client.source(f"{server.host}/team/app:v1").manifest("v1")


def test_a_redirect_to_another_host_takes_no_password_along(client: Client) -> None:
    """Blobs often lie somewhere else.

    CVE-2020-15157.
    """
    with scripted(lambda request: Reply(200, DATA)) as storage:
        def registry(request: Request) -> Reply:
            if "authorization" not in request.headers:
                return Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
            return Reply(307, headers={"Location": f"http://{storage.host}/away?signature=1"})

        with scripted(registry) as server:
            assert fetched(client.source(f"{server.host}/team/app:v1", ANN), blob(DATA)) == DATA
        (request,) = storage.requests
    assert "authorization" not in request.headers
    assert request.query == {"signature": "1"}


def test_redirects_in_a_circle_end(client: Client) -> None:
    """After five."""
    with (
        scripted(served(lambda request: Reply(307, headers={"Location": request.path}))) as server,
        pytest.raises(Refused, match="in circles"),
    ):
        client.source(f"{server.host}/team/app:v1").manifest("v1")
    assert len(server.requests) < 10


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://x/", "http://", "//"])
def test_a_redirect_to_what_is_no_web_address_is_refused(client: Client, location: str) -> None:
    """No file of this machine is read."""
    with (
        scripted(served(lambda request: Reply(307, headers={"Location": location}))) as server,
        pytest.raises(LadingError),
    ):
        client.source(f"{server.host}/team/app:v1").manifest("v1")


def test_a_password_goes_to_no_token_service_without_tls(
    client: Client, configured: Callable[[Registries, dict[str, str]], Client]
) -> None:
    """Not even when the registry asks for it; a registry of this machine may."""
    challenge = {"WWW-Authenticate": 'Bearer realm="ftp://evil.example/token",service="x"'}
    with (
        scripted(lambda request: Reply(401, headers=challenge)) as server,
        pytest.raises(Refused, match="token service that cannot be one"),
    ):
        client.source(f"{server.host}/team/app:v1", ANN).manifest("v1")


@pytest.fixture
def strict(certificate: Certificate, tmp_path: Path) -> Iterator[Callable[[Scripted], Session]]:
    """Sessions of ann with servers that are treated as those elsewhere are, although they are on this machine."""
    made: list[Web] = []

    def session(server: Scripted) -> Session:
        folder = tmp_path / server.host
        folder.mkdir()
        (folder / "ca.crt").write_bytes(certificate.authority.read_bytes())
        made.append(Web(str(tmp_path), {}))
        return Session(made[-1], Endpoint(server.host, server.host), ANN)

    yield session
    for web in made:
        web.close()


def test_a_registry_that_does_not_speak_tls_gets_no_request_in_the_clear(
    strict: Callable[[Scripted], Session],
) -> None:
    """Elsewhere whoever stands in between breaks TLS, and the client goes on without (CVE-2014-5277)."""
    with scripted(lambda request: Reply()) as server, pytest.raises(RegistryDenied, match="does not speak TLS"):
        strict(server).login(Asked(server.host, server.host))
    assert server.requests == []


@pytest.mark.parametrize(("reply", "says"), [
    (Reply(401, headers={"WWW-Authenticate": 'Bearer realm="http://token.example/t",service="x"'}), "without TLS"),
    (Reply(307, headers={"Location": "http://token.example/"}), "without TLS"),
])  # fmt: skip
def test_a_registry_cannot_send_a_password_into_the_clear(
    strict: Callable[[Scripted], Session], certificate: Certificate, reply: Reply, says: str
) -> None:
    """Neither by the token service that it names, nor by a redirect; nobody is asked for the address of that host.

    CVE-2019-10214, CVE-2026-65388.
    """
    with scripted(lambda request: reply, certificate) as server, pytest.raises(Refused, match=says):
        strict(server).login(Asked(server.host, server.host))


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
def test_where_a_redirect_leads_nobody_can_ask_for_a_password(client: Client, scheme: str) -> None:
    """Elsewhere who serves a layer from another host answers that he wants to know who asks, names a token service, and
    is sent the password that was meant for the registry (CVE-2020-15157, CVE-2026-65388)."""
    def thief(request: Request) -> Reply:
        return Reply(401, headers={"WWW-Authenticate": f'{scheme} realm="http://{request.headers["host"]}/t"'})

    with scripted(thief) as storage:
        away = Reply(307, headers={"Location": f"http://{storage.host}/layer"})
        with scripted(served(lambda request: away)) as server, pytest.raises(RegistryDenied):
            fetched(client.source(f"{server.host}/team/app:v1", ANN), blob(DATA))
        assert [request.path for request in storage.requests] == ["/layer"]
        assert "authorization" not in storage.requests[0].headers


def test_429_waits_as_long_as_was_asked_and_says_so(client: Client) -> None:
    """Then it goes on."""
    replies = [Reply(429, headers={"Retry-After": "43"}), Reply(200, DOCUMENT)]
    with scripted(served(lambda request: replies.pop(0))) as server:
        assert client.source(f"{server.host}/team/app:v1").manifest("v1") == DOCUMENT
    assert client.stop.waited == [43.0]
    assert client.notes == [f"{server.host} limits pulls: waiting 43 s as it asked", ""]


def test_429_for_a_day_is_told_and_not_waited_for(client: Client) -> None:
    """With what helps."""
    with (
        scripted(served(lambda request: Reply(429, headers={"Retry-After": "86400"}))) as server,
        pytest.raises(RegistryFailed, match="toomanyrequests") as caught,
    ):
        client.source(f"{server.host}/team/app:v1").manifest("v1")
    assert "lading login" in caught.value.hint
    assert client.stop.waited == []


def test_a_registry_that_fails_is_asked_again_and_given_up_in_the_end(client: Client) -> None:
    """Each pause is longer than the one before."""
    with (
        scripted(served(lambda request: Reply(503, b"busy"))) as server,
        pytest.raises(RegistryFailed, match="status 503: busy"),
    ):
        client.source(f"{server.host}/team/app:v1").manifest("v1")
    assert client.stop.waited == [0.5, 1.0, 2.0, 4.0]


def test_a_server_that_hangs_up_on_everything_is_unreachable(client: Client) -> None:
    """One line, no stack of exceptions."""
    with scripted(lambda request: Reply(200, b"xx", claimed=100)) as server, pytest.raises(RegistryFailed) as caught:
        client.source(f"{server.host}/team/app:v1").manifest("v1")
    assert "\n" not in caught.value.message
    assert server.host in caught.value.message


def test_foreign_words_are_harmless_and_short(client: Client) -> None:
    """A terminal obeys nothing that a registry says."""
    body = json.dumps({"errors": [{"code": "DENIED", "message": "\x1b[2J" + "x" * 5000}]}).encode()
    with scripted(served(lambda request: Reply(403, body))) as server, pytest.raises(RegistryDenied) as caught:
        client.source(f"{server.host}/team/app:v1").manifest("v1")
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 600


def test_mirrors_are_asked_first_and_passed_over_when_they_fail(
    configured: Callable[[Registries, dict[str, str]], Client],
) -> None:
    """What a mirror lacks, or damages, the registry itself gives."""
    empty, wrong = (lambda request: Reply(404)), (lambda request: Reply(200, b"{}"))
    with scripted(served(empty)) as first, scripted(served(wrong)) as second, scripted(
        served(lambda request: Reply(200, DOCUMENT))
    ) as server:
        mirrors = {server.host: (f"http://{first.host}/cache", f"http://{second.host}")}
        client = configured(Registries(mirrors=mirrors, certificates="/nonexistent"), {})
        assert client.source(f"{server.host}/team/app:v1").manifest(sha(DOCUMENT)) == DOCUMENT
        assert first.requests[0].path == f"/v2/cache/team/app/manifests/{sha(DOCUMENT)}"
        assert second.requests


class Uploads:
    """A registry that takes one upload; `quirk` is what is odd about it."""

    def __init__(self, quirk: str = "") -> None:
        self.quirk, self.data, self.turn = quirk, b"", 0

    def __call__(self, request: Request) -> Reply:
        """What it answers."""
        self.turn += 1
        if request.method == "HEAD":
            return Reply(404)
        if request.method == "POST":
            if self.quirk == "mount refused" and "mount" in request.query:
                return Reply(202, headers={"Location": "/v2/team/app/blobs/uploads/never"})
            return Reply(202, headers={"Location": f"/v2/team/app/blobs/uploads/u?state={self.turn}"})
        assert request.query["state"] == str(self.turn - 1), "the location of the last answer"
        if request.method == "PATCH":
            if self.quirk == "no large bodies" and len(request.body) > 8 << 20:
                self.turn = 0
                return Reply(413)
            self.data += request.body
            headers = {"Location": f"u?state={self.turn}", "Range": f"0-{len(self.data) - 1}"}
            if self.quirk == "claims more":
                headers["Range"] = f"0-{len(self.data) + 9}"
            return Reply(202, headers=headers)
        self.data += request.body
        return Reply(201) if request.query["digest"] == sha(self.data) else Reply(
            400, b'{"errors":[{"code":"DIGEST_INVALID","message":"wrong digest"}]}'
        )


def test_an_upload_follows_the_location_of_the_last_answer(client: Client, tmp_path: Path) -> None:
    """Relative, absolute, with a state in it; and PATCH has a length."""
    data = DATA * 8
    with scripted(served(Uploads())) as server:
        assert push(client.target(f"{server.host}/team/app:v1"), data, tmp_path) == "pushed"
        (patch,) = server.asked("PATCH", "/v2/team/app/blobs/uploads/u")
    assert patch.headers["content-length"] == str(len(data))
    assert "transfer-encoding" not in patch.headers


def test_a_registry_that_takes_no_large_bodies_gets_small_ones(client: Client, tmp_path: Path) -> None:
    """413 comes from what stands before it, mostly."""
    data = DATA * 40
    with scripted(served(Uploads("no large bodies"))) as server:
        assert push(client.target(f"{server.host}/team/app:v1"), data, tmp_path) == "pushed"
        ranges = [one.headers.get("content-range") for one in server.asked("PATCH", "/v2")]
    assert ranges == [None, "0-8388607", f"8388608-{len(data) - 1}"]


def test_a_mount_that_becomes_a_session_is_followed_by_an_upload(client: Client, tmp_path: Path) -> None:
    """202 means: send it yourself."""
    with scripted(served(Uploads("mount refused"))) as server:
        assert push(client.target(f"{server.host}/team/app:v1", mounts=("other/app",)), b"x", tmp_path) == "pushed"


def test_a_registry_that_has_more_than_was_sent_is_not_believed(client: Client, tmp_path: Path) -> None:
    """Its ranges are compared with our own count every time."""
    with scripted(served(Uploads("claims more"))) as server, pytest.raises(Refused, match="bytes, but"):
        push(client.target(f"{server.host}/team/app:v1"), DATA * 8, tmp_path)


def test_who_has_stopped_gets_nothing_more(client: Client) -> None:
    """Ctrl-C is heard between two pieces."""
    with scripted(served(lambda request: Reply(200, DATA))) as server:
        client.stop = stopped()  # type: ignore[assignment]
        with pytest.raises(Refused, match="cancelled"):
            fetched(client.source(f"{server.host}/team/app:v1"), blob(DATA))


def test_no_registry_at_all_is_one_line(client: Client) -> None:
    """Nobody listens there."""
    with pytest.raises(RegistryFailed, match=r"127\.0\.0\.1:1 cannot be reached: connection refused"):
        client.source("127.0.0.1:1/team/app:v1").manifest("v1")


def test_an_unknown_manifest_is_not_found(client: Client) -> None:
    """Plain texts are errors, too."""
    with scripted(served(lambda request: Reply(404, b"nothing here"))) as server, pytest.raises(NotFound):
        client.source(f"{server.host}/team/app:v1").manifest("v1")

"""The client against Debian's registry: plain, with TLS, with passwords, with tokens."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.registry.registries import RemoteRegistries
from domain.errors import LadingError, NotFound
from domain.images.credentials import Credentials
from domain.images.denials import RegistryDenied
from domain.images.manifest import DOCKER_MANIFEST, Descriptor, composed
from domain.images.registries import Registries
from tests.adapters.registry.conftest import Client, blob, fetched, push
from tests.adapters.registry.servers import Certificate, Registry, TokenService, distribution, raw, scripted, sha

pytestmark = pytest.mark.slow
ANN = Credentials("ann", "secret")
BOB = Credentials("ann", "wrong")
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
LARGE = bytes(range(256)) * 8192


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that lets everybody in."""
    with distribution(tmp_path_factory.mktemp("plain")) as registry:
        yield registry


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One with a password."""
    with distribution(tmp_path_factory.mktemp("private"), htpasswd=True) as registry:
        yield registry


def manifest(*layers: bytes) -> tuple[str, bytes]:
    """A manifest over the config and these layers, which are plain tars."""
    kind = "application/vnd.oci.image.layer.v1.tar"
    return composed(blob(CONFIG), [Descriptor(media_type=kind, digest=sha(one), size=len(one)) for one in layers])


def pushed(client: Client, name: str, folder: Path, *layers: bytes, credentials: Credentials | None = None) -> str:
    """An image of these layers under its name; the digest."""
    target = client.target(name, credentials or Credentials())
    for data in (CONFIG, *layers):
        push(target, data, folder)
    kind, document = manifest(*layers)
    return target.put_manifest(name.rpartition(":")[2], kind, document)


def test_what_was_pushed_comes_back_byte_by_byte(plain: Registry, client: Client, tmp_path: Path) -> None:
    """Small blobs go up in one request, large ones as a stream; by tag and by digest the manifest is the same."""
    digest = pushed(client, f"{plain.host}/team/app:v1", tmp_path, b"small", LARGE)
    source = client.source(f"{plain.host}/team/app:v1")
    assert sha(source.manifest("v1")) == digest
    assert source.manifest(digest) == source.manifest("v1") == manifest(b"small", LARGE)[1]
    assert source.digest("v1") == digest
    assert fetched(source, blob(LARGE)) == LARGE


def test_what_is_there_is_not_sent_again(plain: Registry, client: Client, tmp_path: Path) -> None:
    """The second push of a blob is one question."""
    target = client.target(f"{plain.host}/again/app:v1")
    assert push(target, b"once", tmp_path) == "pushed"
    assert push(target, b"once", tmp_path) == "exists"


def test_a_blob_of_another_repository_is_mounted(plain: Registry, client: Client, tmp_path: Path) -> None:
    """Not a byte is sent for it."""
    pushed(client, f"{plain.host}/mount/one:v1", tmp_path, LARGE)
    target = client.target(f"{plain.host}/mount/two:v1", mounts=("mount/none", "mount/one"))
    assert push(target, LARGE, tmp_path) == "mounted from mount/one"


def test_all_tags_are_listed(plain: Registry, client: Client, tmp_path: Path) -> None:
    """For pull -a."""
    for tag in ("one", "two"):
        pushed(client, f"{plain.host}/tags/app:{tag}", tmp_path)
    assert set(client.source(f"{plain.host}/tags/app:one").tags()) == {"one", "two"}


def test_a_missing_tag_and_a_missing_repository_are_told_apart_from_faults(plain: Registry, client: Client) -> None:
    """One clear line, with the words that scripts match."""
    with pytest.raises(NotFound, match=r"manifest for .*nothing/here:v9 not found: manifest unknown"):
        client.source(f"{plain.host}/nothing/here:v9").manifest("v9")


def test_a_registry_without_a_search_finds_by_name(plain: Registry, client: Client, tmp_path: Path) -> None:
    """`_catalog` stands in."""
    pushed(client, f"{plain.host}/look/needle:v1", tmp_path)
    hits = client.registries.search(plain.host, "needle", 25, Credentials())
    assert [hit.name for hit in hits] == ["look/needle"]


def test_an_uploaded_manifest_keeps_its_media_type(plain: Registry, client: Client, tmp_path: Path) -> None:
    """The registry gives it back as what it was."""
    pushed(client, f"{plain.host}/kind/app:v1", tmp_path)
    status, body = raw("GET", f"http://{plain.host}/v2/kind/app/manifests/v1", headers={"Accept": DOCKER_MANIFEST})
    assert (status, json.loads(body)["mediaType"]) == (200, DOCKER_MANIFEST)


def test_a_private_registry_wants_a_login_and_says_how(private: Registry, client: Client) -> None:
    """Nobody is told that the image does not exist."""
    with pytest.raises(RegistryDenied, match="no basic auth credentials") as caught:
        client.source(f"{private.host}/team/app:v1").manifest("v1")
    assert caught.value.hint == f"lading login {private.host}"


def test_a_wrong_password_is_refused_at_login_and_at_pull(private: Registry, client: Client) -> None:
    """And is in no text."""
    for act in (
        lambda: client.registries.login(private.host, BOB),
        lambda: client.source(f"{private.host}/team/app:v1", BOB).manifest("v1"),
    ):
        with pytest.raises(RegistryDenied, match="unauthorized") as caught:
            act()
        assert "wrong" not in caught.value.message + caught.value.hint


def test_the_right_password_pushes_and_pulls(private: Registry, client: Client, tmp_path: Path) -> None:
    """Basic authentication on every request."""
    client.registries.login(private.host, ANN)
    digest = pushed(client, f"{private.host}/team/app:v1", tmp_path, LARGE, credentials=ANN)
    assert sha(client.source(f"{private.host}/team/app:v1", ANN).manifest("v1")) == digest


def test_tls_with_an_authority_of_ones_own(
    certificate: Certificate, configured: Callable[[Registries, dict[str, str]], Client], tmp_path: Path
) -> None:
    """`certs.d/HOST:PORT/ca.crt`, as everybody keeps it; the wrong one is an error, even on loopback."""
    with distribution(tmp_path / "registry", certificate=certificate) as registry:
        folder = tmp_path / "certs" / registry.host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(certificate.authority.read_bytes())
        trusting = configured(Registries(certificates=str(tmp_path / "certs")), {})
        digest = pushed(trusting, f"{registry.host}/tls/app:v1", tmp_path, LARGE)
        assert sha(trusting.source(f"{registry.host}/tls/app:v1").manifest("v1")) == digest
        other = Certificate.make(tmp_path)
        (folder / "ca.crt").write_bytes(other.authority.read_bytes())
        wary = configured(Registries(certificates=str(tmp_path / "certs")), {})
        with pytest.raises(RegistryDenied, match=r"certificate of .* is not to be trusted"):
            wary.source(f"{registry.host}/tls/app:v1").manifest("v1")


def test_loopback_needs_no_authority(certificate: Certificate, client: Client, tmp_path: Path) -> None:
    """Whoever listens on this machine is believed, as by every engine."""
    with distribution(tmp_path / "registry", certificate=certificate) as registry:
        assert pushed(client, f"{registry.host}/tls/app:v1", tmp_path).startswith("sha256:")


@pytest.fixture
def guarded(certificate: Certificate, tmp_path: Path) -> Iterator[tuple[Registry, TokenService]]:
    """A registry with a token service whose tokens live a minute."""
    service = TokenService(certificate)
    with (
        scripted(service) as server,
        distribution(
            tmp_path / "registry", certificate=certificate, token_service=f"http://{server.host}/token?x=1"
        ) as registry,
    ):
        yield registry, service


def test_tokens_are_fetched_for_what_is_done(
    guarded: tuple[Registry, TokenService], client: Client, tmp_path: Path
) -> None:
    """Push asks for both rights, a mount for the other repository's too, and one token does for all requests."""
    registry, service = guarded
    pushed(client, f"{registry.host}/open/one:v1", tmp_path, LARGE, credentials=ANN)
    assert service.given == [["repository:open/one:pull,push"]]
    target = client.target(f"{registry.host}/open/two:v1", ANN, mounts=("open/one",))
    assert push(target, LARGE, tmp_path) == "mounted from open/one"
    assert service.given[-1] == ["repository:open/two:pull,push", "repository:open/one:pull"]
    source = client.source(f"{registry.host}/open/one:v1")
    assert fetched(source, blob(LARGE)) == LARGE, "anonymous"
    assert service.given[-1] == ["repository:open/one:pull"]


def test_an_empty_token_is_not_called_a_missing_image(
    guarded: tuple[Registry, TokenService], client: Client, tmp_path: Path
) -> None:
    """Token services give everybody a token, and say no only later."""
    registry, _ = guarded
    pushed(client, f"{registry.host}/closed/app:v1", tmp_path, credentials=ANN)
    with pytest.raises(LadingError, match="does not exist or needs a login") as caught:
        client.source(f"{registry.host}/closed/app:v1").manifest("v1")
    assert "lading login" in caught.value.hint
    with pytest.raises(RegistryDenied, match="unauthorized"):
        client.source(f"{registry.host}/closed/app:v1", BOB).manifest("v1")


def test_an_identity_token_is_exchanged(
    guarded: tuple[Registry, TokenService], client: Client, tmp_path: Path
) -> None:
    """By POST, never in an address."""
    registry, _ = guarded
    held = Credentials(identity_token="refresh-me")
    assert pushed(client, f"{registry.host}/closed/app:v1", tmp_path, credentials=held).startswith("sha256:")
    assert base64.b64encode(b"refresh-me").decode() not in registry.log.read_text(errors="replace")


def test_a_token_that_runs_out_in_the_middle_is_renewed(
    guarded: tuple[Registry, TokenService], client: Client, tmp_path: Path
) -> None:
    """A long push survives its token."""
    registry, service = guarded
    target = client.target(f"{registry.host}/open/late:v1", ANN)
    push(target, b"one", tmp_path)
    session = target._sessions[0]
    (scopes, (token, until)), = session._tokens.items()
    session._tokens[scopes] = (type(token)("e30.e30.e30"), until)
    assert push(target, b"two", tmp_path) == "pushed"
    assert len(service.given) == 2


def test_a_proxy_of_the_environment_is_used_unless_it_must_not(
    plain: Registry, configured: Callable[[Registries, dict[str, str]], Client]
) -> None:
    """HTTP_PROXY, and NO_PROXY."""
    import urllib.request

    from tests.adapters.registry.servers import Reply, Request

    def forward(request: Request) -> Reply:
        assert request.path.startswith("/v2/") or request.path.startswith("http")
        return Reply(200, b"{}")

    with scripted(forward) as proxy:
        lax = Registries(insecure=("registry.invalid",), certificates="/nonexistent")
        through = configured(lax, {"http_proxy": f"http://{proxy.host}", "HTTPS_PROXY": ""})
        through.source("registry.invalid/team/app:v1").manifest("v1")
        assert proxy.requests[-1].headers["host"] == "registry.invalid"
        past = configured(lax, {"http_proxy": f"http://{proxy.host}", "no_proxy": "127.0.0.1"})
        with pytest.raises(NotFound):
            past.source(f"{plain.host}/no/proxy:v1").manifest("v1")
    assert urllib.request is not None


def test_sessions_of_two_users_are_two(plain: Registry, client: Client) -> None:
    """What one may do, the other learns nothing of."""
    registries: RemoteRegistries = client.registries
    endpoint = registries.configuration.endpoint(plain.host)
    assert registries._session(endpoint, ANN) is registries._session(endpoint, Credentials("ann", "secret"))
    assert registries._session(endpoint, ANN) is not registries._session(endpoint, BOB)

"""One certificate for all, and hands that pull and push single blobs."""

import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.registry.registries import RemoteRegistries
from adapters.registry.repository import Repository
from domain.images.credentials import ANONYMOUS, Credentials
from domain.images.manifest import Descriptor
from domain.images.reference import parse
from domain.images.registries import Registries
from tests.adapters.registry.servers import Certificate, sha


@dataclass
class Memory:
    """A sink in memory."""

    data: bytearray = field(default_factory=bytearray)

    @property
    def offset(self) -> int:
        """Bytes that are here."""
        return len(self.data)

    def take(self, data: bytes) -> None:
        """The next ones."""
        self.data += data


@dataclass
class Impatient:
    """Nobody stops, and nobody waits in earnest: what would be waited is written down."""

    waited: list[float] = field(default_factory=list)

    def is_set(self) -> bool:
        """No."""
        return False

    def wait(self, timeout: float) -> bool:
        """At once."""
        self.waited.append(timeout)
        return False


@dataclass
class Client:
    """Registries as one user sees them."""

    registries: RemoteRegistries
    stop: Impatient = field(default_factory=Impatient)
    notes: list[str] = field(default_factory=list)

    def source(self, name: str, credentials: Credentials = ANONYMOUS) -> Repository:
        """To pull from."""
        return self.registries.source(parse(name), lambda host: credentials, self.stop, self.notes.append)

    def target(self, name: str, credentials: Credentials = ANONYMOUS, *, mounts: tuple[str, ...] = ()) -> Repository:
        """To push to."""
        return self.registries.target(parse(name), credentials, self.stop, self.notes.append, mounts=mounts)


@pytest.fixture
def client() -> Iterator[Client]:
    """Without any configuration."""
    registries = RemoteRegistries(Registries(certificates="/nonexistent"), {})
    yield Client(registries)
    registries.close()


@pytest.fixture
def configured() -> Iterator[Callable[[Registries, dict[str, str]], Client]]:
    """Makes clients with a configuration and an environment."""
    made: list[RemoteRegistries] = []

    def make(configuration: Registries, environ: dict[str, str]) -> Client:
        made.append(RemoteRegistries(configuration, environ))
        return Client(made[-1])

    yield make
    for registries in made:
        registries.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Of this machine, by an authority that nobody knows."""
    return Certificate.make(tmp_path_factory.mktemp("tls"))


def blob(data: bytes) -> Descriptor:
    """What points to these bytes."""
    return Descriptor(digest=sha(data), size=len(data))


def fetched(source: Repository, descriptor: Descriptor) -> bytes:
    """The whole blob."""
    sink = Memory()
    source.download(descriptor, sink)
    return bytes(sink.data)


def push(target: Repository, data: bytes, folder: Path) -> str:
    """Upload these bytes; what became of it."""
    path = folder / "blob"
    path.write_bytes(data)
    with io.FileIO(path) as file:
        return target.upload(blob(data), file.fileno(), lambda count: None)


def stopped() -> threading.Event:
    """Somebody who has stopped already."""
    event = threading.Event()
    event.set()
    return event

"""The store of images, and the registries that they come from and go to."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from domain.images.credentials import Credentials
from domain.images.manifest import Descriptor, Platform
from domain.images.model import Image, Registered
from domain.images.progress import Progress
from domain.images.reference import Reference
from domain.images.registries import Registries
from domain.images.search import Hit
from domain.ports.bus import Stop


class ImageStore(Protocol):
    """Contents of images: blobs and extracted layers. It appends nothing; callers record what it returns."""

    async def import_tar(
        self,
        archive: Path,
        *,
        message: str = "",
        changes: Sequence[str] = (),
        platform: Platform | None = None,
        spent: bool = False,
    ) -> Image:
        """One layer from a tar of a root file system (any compression), for this machine or `platform`. A file that is
        `spent` afterwards is nobody's any more: it is emptied, so that it need not reach the disk before the image
        counts. Raises Refused."""

    async def load(
        self, archive: Path, *, platform: Platform | None = None, spent: bool = False
    ) -> Sequence[Registered]:
        """Every image of a docker-archive or OCI archive with its references; of those for several platforms the one
        for this machine, or only what is for `platform`. Raises Refused."""

    async def commit(
        self,
        upper: Path,
        parent: Image,
        image_config: dict[str, object],
        *,
        author: str = "",
        message: str = "",
        created_by: str = "",
    ) -> Image:
        """A new image: the parent's layers and one from the overlay upper directory."""

    def layer_paths(self, image: Image) -> Sequence[str]:
        """Short directory names of the layers below `layer_root()`, lowest first, for an overlay mount."""

    def layer_root(self) -> Path:
        """The directory the short names are relative to."""

    async def sweep(self, images: Sequence[Image], manifests: Sequence[str] = (), *, spare: bool = True) -> int:
        """Delete every blob, layer and left-over that none of `images` and `manifests` (digests), nor a running
        operation, needs; bytes freed. With `spare` what an interrupted pull has brought stays for a day."""

    async def pull(
        self,
        connect: "Callable[[Stop], Source]",
        which: str,
        *,
        name: str,
        platform: Platform | None = None,
        progress: Progress,
    ) -> "Fetched":
        """The image called `which` (a tag or a digest) in a repository, which `connect` gives.

        `name` is what it is called in errors, and under what its downloads are found again after a crash, until
        `settle`. Raises: Refused, NotFound, Unavailable, StorageError.
        """

    def settle(self, name: str) -> None:
        """What the pull of that name has brought is in the log."""

    async def push(
        self,
        connect: "Callable[[Stop], Target]",
        image: Image,
        tag: str,
        *,
        digests: Sequence[str] = (),
        progress: Progress,
    ) -> "Sent":
        """Bring the image to a repository and let `tag` mean it there; with the manifest below one of `digests` under
        which it is known, if all of that is here. Raises: Refused, Unavailable, StorageError."""

    def save(self, images: Sequence[tuple[Image, Sequence[str], Sequence[str]]]) -> AsyncIterator[bytes]:
        """An archive of these images, each with its references and the digests it is known by. Raises: StorageError."""

    async def weigh(self, images: Sequence[Image], manifests: Sequence[str] = (), *, spare: bool = True) -> int:
        """The bytes that such a sweep would free now."""

    async def inventory(self) -> Mapping[str, int]:
        """Bytes of everything in the store by kind: layers, blobs, ingest (interrupted downloads), stubs (mount
        points), other (what has no business there)."""

    async def check(self, images: Sequence[Image], manifests: Sequence[str]) -> Sequence[str]:
        """What is missing or damaged, one sentence each; every blob is hashed again."""

    async def verify(self, image: Image) -> None:
        """Raises StorageError when a layer or the config of the image is missing or damaged."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a pull has brought: `digest` is what the name meant, a manifest or an index."""

    image: Image
    digest: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What a tag means in a registry after a push: digest and size of the manifest."""

    digest: str
    size: int


class Sink(Protocol):
    """Where the bytes of a blob go; `offset` is how many it has."""

    @property
    def offset(self) -> int:
        """Bytes that are here."""

    def take(self, data: bytes) -> None:
        """The next ones."""


class Source(Protocol):
    """A repository of a registry that is pulled from, for one user. It blocks: for threads. Nothing that comes was
    verified but what is said here."""

    def manifest(self, which: str) -> bytes:
        """The manifest or index called `which` (a tag, or a digest that it has), exactly as it came.

        Raises: NotFound, Refused, Unavailable.
        """

    def digest(self, which: str) -> str:
        """The digest that a tag has at the moment; empty when the registry does not say it without more.

        Raises: NotFound, Refused, Unavailable.
        """

    def tags(self) -> Sequence[str]:
        """All tags there are. Raises: NotFound, Refused, Unavailable."""

    def download(self, blob: Descriptor, sink: Sink) -> None:
        """All of the blob that the sink does not have; never more than its size, and less only if this raises:
        NotFound, Refused, Unavailable."""


class Target(Protocol):
    """A repository of a registry that is pushed to, for one user. It blocks: for threads."""

    def upload(self, blob: Descriptor, fd: int, told: Callable[[int], None]) -> str:
        """Bring a blob there from a file; `told` hears how many bytes have gone. What became of it: `exists`, `mounted
        from REPOSITORY` or `pushed`. Raises: Refused, Unavailable."""

    def put_manifest(self, which: str, kind: str, data: bytes) -> str:
        """Let the tag mean this manifest of that media type; its digest. Raises: Refused, Unavailable."""


class Remotes(Protocol):
    """The registries of the world. What is not said to be quick blocks: for threads."""

    @property
    def configuration(self) -> Registries:
        """Where names lead."""

    def source(
        self,
        reference: Reference,
        credentials: Callable[[str], Credentials],
        stop: Stop,
        note: Callable[[str], None] = ...,
    ) -> Source:
        """Where the reference is pulled from; `credentials` gives those for a host, `note` is told why nothing moves.
        Quick."""

    def target(
        self,
        reference: Reference,
        credentials: Credentials,
        stop: Stop,
        note: Callable[[str], None] = ...,
        *,
        mounts: Sequence[str] = (),
    ) -> Target:
        """Where the reference is pushed to; `mounts` are repositories of the same registry that may have the blobs.
        Quick."""

    def login(self, host: str, credentials: Credentials) -> None:
        """Returns when the registry accepts them. Raises: Refused, Unavailable."""

    def search(self, host: str, term: str, limit: int, credentials: Credentials) -> Sequence[Hit]:
        """What the registry finds, best first. Raises: NotFound (it has no search), Refused, Unavailable."""

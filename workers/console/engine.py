"""What the verbs need of the engine, as Protocols; `workers.engine` and `workers.images` implement them."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from domain.container import Container
from domain.health import Verdict
from domain.images.credentials import Credentials
from domain.images.manifest import Platform
from domain.images.model import Image, Registered
from domain.images.progress import Progress
from domain.images.reference import Reference
from domain.images.search import Hit
from domain.lifecycle.attach import Attach
from domain.lifecycle.commit import Commit
from domain.lifecycle.update import Update
from domain.messages import Command, Recorded
from domain.network.asked import NetworkWish
from domain.network.wishes import Interface
from domain.ports.events import EventStore, Views
from domain.ports.files import Access
from domain.ports.images import Sent
from domain.ports.logs import LogFrame, LogReader
from domain.ports.runtime import Input
from domain.resources import Resources
from workers import networks, volumedesk
from workers.accesses import Register
from workers.build.builder import Builder
from workers.console.board import Board
from workers.imagedesk import Content
from workers.mover import Caller
from workers.requests import CreateRequest, ExecRequest, NetworkRequest, VolumeRequest
from workers.sampler import Sampler
from workers.tidings import Tidings
from workers.transfers import Arrived, Described, Keys


class Images(Protocol):
    """Images by name."""

    async def find(self, name: str) -> Registered:
        """By reference, id or prefix of an id. Raises NotFound."""

    async def all(self) -> Sequence[Registered]:
        """Every image with its references."""

    async def tag(self, source: str, target: str, who: Caller) -> None:
        """Give an image another name. Raises Refused, NotFound."""

    async def remove(self, name: str, who: Caller, *, force: bool, prune: bool) -> Sequence[str]:
        """What was done, as lines. Raises Refused, NotFound."""

    async def would_remove(self, name: str, *, force: bool, prune: bool) -> Sequence[str]:
        """What `remove` would do, as lines. Raises what it would."""

    async def unused(
        self, test: Callable[[Image], bool], *, everything: bool, gone: Collection[str] = ()
    ) -> Sequence[str]:
        """Ids of images that no container uses, except those in `gone`, in the order in which they can go; without
        `everything` only those without a tag."""

    async def prune(self, image_ids: Sequence[str], who: Caller) -> tuple[Sequence[str], Sequence[str], int]:
        """References that were dropped, ids of images and layers that were deleted, and bytes freed."""

    async def would_free(self, image_ids: Sequence[str]) -> int:
        """The bytes that `prune` of these would free."""

    async def inventory(self) -> Mapping[str, int]:
        """Bytes in the store by kind: layers, blobs, ingest, stubs; as `unknown` what nobody can account for."""

    async def check(self) -> Sequence[str]:
        """What is missing or damaged in the store, one sentence each."""

    async def require(self, name: str, platform: Platform) -> None:
        """Returns when the image is here, and for this platform. Raises NotFound."""

    async def import_stream(
        self,
        content: Content,
        reference: str,
        who: Caller,
        *,
        message: str,
        changes: Sequence[str],
        platform: Platform | None = None,
    ) -> str:
        """An image of one layer; its id. Raises Refused."""

    async def load_stream(
        self, content: Content, who: Caller, platform: Platform | None = None
    ) -> Sequence[str]:
        """All images of an archive; one line for each. Raises Refused."""

    def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        """An archive of these images. Raises NotFound."""

    def expand(self, name: str, *, default_tag: bool = True) -> Reference:
        """The reference that somebody means, with its registry. Raises InvalidValue."""

    def hosts(self, reference: Reference) -> Sequence[str]:
        """Whose credentials a pull may need, the registry itself last."""

    async def pull(
        self, reference: Reference, who: Caller, keys: Keys, progress: Progress, platform: Platform | None
    ) -> Arrived:
        """Bring what the reference means in its registry. Raises NotFound, Refused, Unavailable, StorageError."""

    async def push(self, reference: Reference, who: Caller, credentials: Credentials, progress: Progress) -> Sent:
        """Bring what it names here to its registry. Raises NotFound, Refused, Unavailable, StorageError."""

    async def digest_for(self, reference: Reference, keys: Keys, platform: Platform) -> str:
        """The digest of what the reference means for a platform. Raises NotFound, Refused, Unavailable."""

    async def remote_tags(self, reference: Reference, keys: Keys) -> Sequence[str]:
        """All tags in the registry. Raises NotFound, Refused, Unavailable."""

    async def described(self, reference: Reference, keys: Keys) -> Described:
        """What the reference means in its registry. Raises NotFound, Refused, Unavailable."""

    async def local_tags(self, repository: str) -> Sequence[str]:
        """All tags here."""

    async def login(self, host: str, credentials: Credentials) -> None:
        """Returns when the registry accepts them. Raises Refused, Unavailable."""

    async def search(self, host: str, term: str, limit: int, credentials: Credentials) -> Sequence[Hit]:
        """What the registry finds. Raises NotFound, Refused, Unavailable."""


class Volumes(Protocol):
    """Volumes by name."""

    async def all(self) -> Sequence[volumedesk.Known]:
        """Every volume, by name."""

    async def find(self, name: str) -> volumedesk.Known:
        """By its name. Raises NotFound."""

    async def size(self, name: str) -> int:
        """Bytes of its contents."""

    async def create(self, request: VolumeRequest, who: Caller) -> str:
        """A volume, unless it is there already; its name. Raises Refused, KernelError."""

    async def remove(self, name: str, who: Caller) -> None:
        """Take it away with its contents. Raises Refused, NotFound, KernelError."""

    async def check_removal(self, name: str) -> None:
        """Whether it could be removed now. Raises Refused, NotFound."""

    async def prune(self, chosen: Sequence[str], who: Caller) -> Sequence[str]:
        """Take away those of `chosen` that nobody uses; the names of those that went."""

    async def left_by(self, id: str) -> Sequence[volumedesk.Known]:
        """The volumes that this container uses and no other one does."""


class Networks(Protocol):
    """Networks by name."""

    async def all(self) -> Sequence[networks.Known]:
        """Every network, by name."""

    async def find(self, name: str) -> networks.Known:
        """By id, name, or the beginning of an id. Raises NotFound, Ambiguous."""

    async def members(self, network: networks.Known) -> Mapping[str, tuple[str, Interface | None]]:
        """The containers that live on it: id → name and what it has there."""

    async def wanted(self, network: networks.Known, gone: Collection[str] = ()) -> bool:
        """Whether any container, also one at rest, is to be on it; those in `gone` (ids) are on nothing."""

    async def create(self, request: NetworkRequest, who: Caller) -> str:
        """A new network; its id. Raises Refused, KernelError."""

    async def remove(self, name: str, who: Caller) -> str:
        """Take it away; its name. Raises Refused, NotFound, KernelError."""

    async def check_removal(self, name: str) -> str:
        """Whether it could be; its name. Raises Refused, NotFound."""

    async def prune(self, chosen: Sequence[str], who: Caller) -> Sequence[str]:
        """Take away those of `chosen` (ids) that nobody uses; the names of those that went."""


class Gateway(Protocol):
    """The process that serves the Docker Engine API."""

    @property
    def path(self) -> str:
        """Where it listens; empty while it is not wanted."""

    @property
    def pid(self) -> int:
        """Its process; 0 while there is none."""

    async def start(self, path: str) -> str:
        """Serve at a path, or where the configuration says; returns where. Raises Refused, Unavailable."""

    async def stop(self) -> None:
        """Serve no more."""


class Files(Protocol):
    """Containers' files and figures."""

    @property
    def sampler(self) -> Sampler:
        """What containers use, again and again."""

    def reach(
        self, id: str, *, writable: bool = False, whole: bool = True
    ) -> AbstractAsyncContextManager[Access]:
        """The files of a container, running or not; without `whole` only its root file system. Raises NotFound,
        Refused, KernelError."""

    def changes(self, id: str) -> AsyncIterator[tuple[str, str]]:
        """(`A`, `C` or `D`, path), parents before what is in them. Raises NotFound, Refused, StorageError."""

    async def note(self, id: str, fact: Command, who: Caller) -> None:
        """Write down what has happened to its files."""


class Report(Protocol):
    """The result of a check of the log."""

    @property
    def checked(self) -> int:
        """Events that were read."""

    @property
    def findings(self) -> Sequence[object]:
        """What is wrong, each with a text; empty when all is well."""

    @property
    def only_tables(self) -> bool:
        """Whether the log is in order, and only what is made from it is not."""


class Engine(Protocol):
    """The facade over everything that the daemon can do."""

    @property
    def views(self) -> Views:
        """Rows of the projections."""

    @property
    def board(self) -> Board:
        """The containers, as lists show them."""

    @property
    def accesses(self) -> Register:
        """Who only looks is noted there."""

    @property
    def tidings(self) -> Tidings:
        """What has happened and what happens, for any number of listeners."""

    @property
    def store(self) -> EventStore:
        """The log; the console only reads it."""

    @property
    def images(self) -> Images:
        """Images by name."""

    @property
    def volumes(self) -> Volumes:
        """Volumes by name."""

    @property
    def networks(self) -> Networks:
        """Networks by name."""

    @property
    def builder(self) -> Builder:
        """Builds."""

    @property
    def gateway(self) -> Gateway:
        """The gateway of the Docker Engine API."""

    @property
    def files(self) -> Files:
        """Files of containers, and what they use."""

    @property
    def logs(self) -> LogReader:
        """What containers have written."""

    @property
    def host(self) -> str:
        """The name of this host."""

    @property
    def version(self) -> str:
        """The version of the engine."""

    async def advice(self, limits: Resources) -> Sequence[str]:
        """What of these limits this host goes without, in sentences. Raises InvalidValue, Refused for the others."""

    async def advice_on(self, id: str, wish: Update) -> Sequence[str]:
        """The same for what an update makes of a container's limits."""

    async def create(self, request: CreateRequest, who: Caller) -> str:
        """A new container; its id. Raises Refused, NotFound."""

    async def run(
        self, request: CreateRequest, who: Caller, *, attach: Attach | None = None, size: tuple[int, int] = (0, 0)
    ) -> str:
        """Create and start in one; its id once it runs. `attach` is recorded in the same breath, `size` is that of its
        terminal at first: rows and columns. Raises CommandFailed and KernelError, too."""

    async def exec(
        self,
        id: str,
        request: ExecRequest,
        who: Caller,
        *,
        size: tuple[int, int] = (0, 0),
        watched: bool = True,
        exec_id: str = "",
    ) -> str:
        """One more process in a running container; its exec id (`exec_id`, if it has one already) once it was
        executed. What one that is not `watched` writes is dropped.
        Raises Refused, NotFound, CommandFailed (126, 127)."""

    def exec_output(self, id: str, exec_id: str) -> AsyncIterator[LogFrame]:
        """What that process writes, for one listener, until its end. Raises NotFound."""

    async def exec_exit(self, id: str, exec_id: str) -> int:
        """Its exit status, once it has ended."""

    async def input(self, id: str, exec_id: str = "") -> Input:
        """The input and the terminal of the first process, or of an exec. Raises NotFound, Refused."""

    async def execute(
        self, id: str, command: Command, who: Caller, *, wait: bool = True, attach: Attach | None = None
    ) -> Container:
        """Carry out a wish; with `wait`, return when its outcome is known; `attach` is recorded in the same breath.
        Raises what the domain says."""

    async def connect(self, network: str, id: str, wish: NetworkWish, links: Sequence[str], who: Caller) -> None:
        """Connect a container to one network more, at once if it runs. Raises Refused, NotFound, KernelError."""

    async def disconnect(self, network: str, id: str, who: Caller, *, force: bool) -> None:
        """Disconnect it from a network, from its last one with `force`. Raises Refused, NotFound, KernelError."""

    async def unlink(self, id: str, name: str, who: Caller) -> None:
        """Let it forget the name that it alone has for another container. Raises NotFound, Refused."""

    async def commit(self, id: str, command: Commit, who: Caller) -> str:
        """Make an image of the container; its id. Raises Refused."""

    async def resolve(self, name: str) -> str:
        """The id behind an id, name or prefix of an id. Raises NotFound, Ambiguous."""

    async def resolve_past(self, name: str) -> str:
        """The same, also for what is removed or had that name once. Raises NotFound, Ambiguous."""

    async def wait(self, id: str) -> int:
        """The exit status once the container does not run any more."""

    async def wait_exit(self, id: str, attempt: int) -> int:
        """The exit status of one run."""

    async def until_run(self, id: str, attempt: int) -> Container:
        """The container as soon as it runs for that time, has done so, or is gone."""

    async def wait_removed(self, id: str) -> None:
        """Returns when nothing is left of it."""

    def output(
        self, id: str, *, from_start: bool, hold: float | None = None, begun: Callable[[], None] = lambda: None
    ) -> AsyncIterator[LogFrame]:
        """What the container writes until this run of it ends; `hold`: see `follow`.

        With `from_start` all of the run that this caller has just started (`run` and `execute` with `attach` keep it
        for him), of another one all that is stored; else what comes once `begun` was called.
        """

    def upcoming(
        self, id: str, *, run: int, hold: float, begun: Callable[[], None] = lambda: None
    ) -> AsyncIterator[LogFrame]:
        """What the container writes in a run that has not begun when `begun` is called, from its first byte on; of one
        that has begun what comes."""

    async def processes(self, id: str) -> Sequence[int]:
        """Host pids of the container's processes."""

    def stored(
        self, id: str, *, since: int | None = None, until: int | None = None, tail: int | None = None
    ) -> AsyncIterator[LogFrame]:
        """Frames of the log as it is now; what they have `missed` was deleted before they were read."""

    def follow(
        self, id: str, *, since: int | None = None, until: int | None = None, tail: int | None = None,
        restarts: bool = False, hold: float | None = None,
    ) -> AsyncIterator[LogFrame]:
        """Frames of the log, then what comes, until the run ends, or (`restarts`) the container does not run any more.

        `hold` is how many seconds the caller may take for one frame before output that he has not read may be deleted
        by rotation (`workers.streams.PATIENT`: for ever); without it that may happen at once. A frame tells what was
        `missed` before it.
        """

    async def writable_size(self, id: str) -> int:
        """Bytes that the container has written over its image."""

    def health(self, id: str) -> Verdict | None:
        """What the probes of a container have found lately; None without a check."""

    async def container(self, id: str) -> Container:
        """The fold of its stream."""

    async def history(self, id: str) -> Sequence[Recorded]:
        """All events of one container, oldest first."""

    async def info(self) -> Mapping[str, object]:
        """Facts about the engine and its host."""

    async def verify(self) -> Report:
        """Read the whole log again and check its chain."""

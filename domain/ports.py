"""What the domain and the workers need from outside; adapters implement it, `adapters.memory` fakes it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from domain.copying import Found
from domain.images.credentials import Credentials
from domain.images.manifest import Descriptor, Platform
from domain.images.model import Image, Registered
from domain.images.progress import Progress
from domain.images.reference import Reference
from domain.images.registries import Registries
from domain.images.search import Hit
from domain.messages import Append, Meta, Recorded, StreamId
from domain.mounts import Mount
from domain.network.ports import Binding, Publication
from domain.network.setup import DEFAULT_LINK, Bridge, Place, Sandbox
from domain.network.subnets import DEFAULT_BRIDGE
from domain.network.zones import Zone
from domain.projections.fold import Row
from domain.resources import Resources
from domain.runtime.control import Control
from domain.spec import ContainerSpec, ExecSpec
from domain.volumes.driver import LocalMount


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """Work that was recorded and whose outcome is not: `kind` is the stored name of the intent at `position`."""

    position: int
    stream: StreamId
    kind: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command answered, stored with its events: a retried command gets this again."""

    first: int
    last: int
    body: str

NO_FILES: Mapping[str, str] = MappingProxyType({})
"""No files of its own."""


class EventStore(Protocol):
    """The log of this host: the only truth."""

    async def load(self, stream: StreamId) -> Sequence[Recorded]:
        """All events of one stream in order; sealed fields readable while the stream's key exists."""

    async def append(self, batch: Sequence[Append], meta: Meta, *, reply: str | None = None) -> Sequence[Recorded]:
        """Store all events of `batch` in one transaction, with the inline projections, the intents and (if both
        `meta.command_id` and `reply` are given) the reply. Durable when it returns.

        Raises: Conflict (a stream is not at its expected version, or the command id was used), NameTaken (a set rule),
        StorageError (nothing was stored, and nothing more will be accepted if the disk failed).
        """

    async def replied(self, command_id: str) -> Reply | None:
        """The stored reply of a command, if it was already carried out."""

    async def read(
        self, after: int, limit: int = 1000, *, streams: Sequence[StreamId] | None = None
    ) -> Sequence[Recorded]:
        """Up to `limit` events with a position above `after`, in order."""

    async def open_intents(self) -> Sequence[OpenIntent]:
        """What is still to be done, oldest first."""

    async def head(self) -> int:
        """The position of the last event; 0 for an empty log."""

    async def position_at(self, time: int) -> int:
        """The last position whose time (ns) is at or before `time`."""


class Views(Protocol):
    """The projections' rows, for queries."""

    async def at(
        self,
        projection: str,
        position: int,
        *,
        where: dict[str, object] | None = None,
        prefix: tuple[str, str] | None = None,
        order: str = "",
        descending: bool = False,
        limit: int | None = None,
    ) -> Sequence[Row]:
        """`select` on a temporal projection, as its rows were after the event at a position."""

    async def get(self, projection: str, key: str) -> Row | None:
        """One row by its key."""

    async def select(
        self,
        projection: str,
        *,
        where: dict[str, object] | None = None,
        prefix: tuple[str, str] | None = None,
        order: str = "",
        descending: bool = False,
        limit: int | None = None,
    ) -> Sequence[Row]:
        """Rows with equal columns (a value may be a list: any of them), a text column's prefix, in order."""


@dataclass(frozen=True, slots=True)
class StartedProcess:
    """The first process of a container: `start_time` in clock ticks since boot identifies the pid's owner."""

    pid: int
    start_time: int
    cgroup: str


@dataclass(frozen=True, slots=True)
class Victim:
    """A process that was killed for lack of memory; the name is its own choice."""

    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class MemoryKills:
    """So many processes of run `attempt` were killed for lack of memory up to now; `victims` are the last ones of them
    whose names are known, oldest first."""

    id: str
    attempt: int
    kills: int
    victims: tuple[Victim, ...] = ()


@dataclass(frozen=True, slots=True)
class ExitReport:
    """How the first process of attempt `attempt` of container `id` ended; `time` in ns since the epoch.

    `code` is the wait status as a shell shows it (128 + signal for signals); -1 when nobody knows. `how` is `self`,
    `signal`, `oom`, `reboot` or `unknown`. With an `exec_id` it is that process which ended, not the first one.
    `log_dropped` bytes of the container's output, of this run and earlier ones, were deleted by rotation up to then,
    `log_lost` of this run could not be stored at all. `kills` are those for lack of memory, if there were any.
    """

    id: str
    attempt: int
    pid: int
    start_time: int
    code: int
    signal: int
    oom: bool
    how: str
    time: int
    exec_id: str = ""
    log_dropped: int = 0
    log_lost: int = 0
    kills: MemoryKills | None = None


class Input(Protocol):
    """The input of a process, and its terminal if it has one. Several may be open on one process at a time."""

    async def write(self, data: bytes) -> None:
        """Returns when the kernel has taken all of it, which may mean waiting for a process that does not read.

        Raises: Refused when the input was ended or its process is gone.
        """

    async def end(self) -> None:
        """End the input for good, for every client: the process reads end of file. Nothing on a terminal, where that
        is a byte (^D)."""

    async def resize(self, rows: int, cols: int) -> None:
        """Tell the terminal its size (the kernel sends SIGWINCH); without a terminal nothing happens."""

    def close(self) -> None:
        """Let go of it; the process does not notice."""


class Watch(Protocol):
    """One who wants to know when a container writes."""

    async def bell(self) -> None:
        """Returns as soon as the container may have written something since the last time."""

    def ring(self) -> None:
        """Let `bell` return as if it had."""

    def hold(self, position: int | None) -> None:
        """From `position` on the watcher still needs the output; None: it needs nothing, take no care of it."""


class Runtime(Protocol):
    """Processes of containers. `key` of a run is (container id, attempt)."""

    async def start(
        self, id: str, attempt: int, spec: ContainerSpec, env: Sequence[str], layers: Sequence[str],
        *, size: tuple[int, int] = (0, 0), place: Place | None = None, files: Mapping[str, str] = NO_FILES
    ) -> StartedProcess:
        """Start the first process and return once it was executed. Twice with one key does the thing once.

        `size` is that of its terminal at first: rows and columns, zeros if nobody knows. `place` is its network, made
        by a `NetworkDriver`; without one `spec.network` says. `files` are to be found in it besides the usual ones, or
        instead of them: path → text.

        Raises: CommandFailed (126/127/125), KernelError, Unavailable. After an error nothing of the attempt is left.
        """

    async def exec(
        self, id: str, attempt: int, exec_id: str, exec: ExecSpec, spec: ContainerSpec, env: Sequence[str],
        *, size: tuple[int, int] = (0, 0)
    ) -> StartedProcess:
        """Start one more process in the container that run `attempt` is, with its confinement; return once it was
        executed. Twice with one `exec_id` does the thing once. Its end is reported like that of a first process.

        `env` is the container's environment with the exec's own on top. Raises: CommandFailed (126/127/125),
        NotFound (the run is over), KernelError, Unavailable.
        """

    def exec_output(self, id: str, exec_id: str) -> AsyncIterator["LogFrame"]:
        """What the process writes, to the one who asks first, until its end; it waits in the kernel's pipes, and so
        does the process in the end, for a taker who dawdles. What nobody asks for within some ten seconds, what a
        taker leaves who stops early, and all that comes when this daemon is gone, is dropped. Raises: NotFound."""

    async def exec_signal(self, id: str, exec_id: str, signal: int) -> None:
        """Send to that process; KILL reaches all of its process group, what it has started there as well. Raises
        NotFound when it has ended."""

    async def execs(self) -> dict[str, frozenset[str]]:
        """All live execs: container id → exec ids."""

    async def input(self, id: str, exec_id: str = "") -> Input:
        """The input of the first process, or of an exec. Raises: NotFound (it has ended), Refused (it was started
        without an input and without a terminal)."""

    async def signal(self, id: str, signal: int) -> None:
        """Send to the first process. Raises NotFound when it has ended."""

    async def kill_all(self, id: str) -> None:
        """SIGKILL for every process of the container, also frozen ones; no error when there is none."""

    async def freeze(self, id: str) -> None:
        """Returns when the kernel reports frozen. Raises NotFound, KernelError."""

    async def thaw(self, id: str) -> None:
        """Returns when every process runs again."""

    async def running(self) -> dict[str, tuple[int, StartedProcess]]:
        """All live first processes: container id → (attempt, process)."""

    async def place(self, id: str) -> Place:
        """The network that the first process of a container is in. Raises: NotFound when it does not run."""

    async def exits(self) -> Sequence[ExitReport]:
        """Exits that were reported and not acknowledged."""

    def on_exit(self, listener: Callable[[ExitReport], Awaitable[None]]) -> None:
        """Call `listener` for every exit, at least once, until acknowledged."""

    def on_memory_kills(self, listener: Callable[[MemoryKills], Awaitable[None]]) -> None:
        """Call `listener` when the kernel has killed in a container that lives on; sooner or later for every kill, and
        again for those of a time when nobody listened."""

    async def acknowledge(self, report: ExitReport) -> None:
        """The exit is in the log: forget it."""

    def watch(
        self, id: str, *, hold: int | None = None, with_start: bool = False
    ) -> AbstractAsyncContextManager[Watch]:
        """Hear the bell of a container, which need not exist yet; `with_start`: it begins with its next start.

        From position `hold` on (see `LogFrame`) nothing of its output is deleted by rotation, until the watch ends or
        lets go, or this daemon ends; where that takes more room than is allowed, the container waits.
        """

    async def remove(self, id: str) -> None:
        """Delete every trace: cgroups, writable layer. Twice is fine. Raises KernelError, naming the residue."""

    async def strays(self, known: set[str]) -> Sequence[str]:
        """Kill and delete what lies under our roots and belongs to no container in `known`; returns what was found."""

    async def check(self, spec: ContainerSpec) -> None:
        """Raises: InvalidValue for what a container needs of this host and will not find."""

    async def control(self, *, disks: bool = False) -> Control:
        """What the control groups of this host can limit; with `disks` also whether any of its disks heeds weights."""

    async def limit(self, id: str, before: Resources, after: Resources) -> None:
        """Change the limits of a container that runs; nothing for one that does not. Twice is fine.

        Raises: KernelError, naming what the kernel refuses; then the limits are those of `before`.
        """

    async def processes(self, id: str) -> Sequence[int]:
        """Host pids of all processes of the container."""

    async def rewrite_hosts(self, id: str, gone: frozenset[str], new: tuple[str, ...]) -> None:
        """Take these lines out of /etc/hosts of a container that runs, and put those in that it lacks; whatever else is
        there stays. Twice is fine. Raises KernelError."""

    async def writable_size(self, id: str) -> int:
        """Apparent bytes in the writable layer."""


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


class VolumeStore(Protocol):
    """Contents of volumes. It appends nothing."""

    def mountpoint(self, name: str) -> str:
        """Where the contents lie on this host. Raises: InvalidValue for what is no name."""

    async def make(self, name: str) -> None:
        """An empty place, unless there is one. Raises: KernelError."""

    async def delete(self, name: str) -> None:
        """Delete the contents; no error when there are none. Raises: KernelError, naming what stays."""

    async def size(self, name: str) -> int:
        """Bytes of the contents."""

    async def mount(self, name: str, what: LocalMount) -> None:
        """Mount the contents where they lie, unless something is mounted there. Raises: KernelError."""

    async def unmount(self, name: str) -> None:
        """Take that away again; no error when nothing is. Raises: KernelError while somebody uses it."""

    async def mounted(self) -> Sequence[str]:
        """Names of the volumes on whose place something is mounted."""


class Stop(Protocol):
    """Set when nobody wants the result any more; may be looked at and waited for by threads."""

    def is_set(self) -> bool:
        """Whether it is."""

    def wait(self, timeout: float) -> bool:
        """Wait for it that long (seconds); whether it was set."""


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


class Clock(Protocol):
    """Time and chance, so that tests own both."""

    def now(self) -> int:
        """Nanoseconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Monotonic."""

    def new_id(self) -> str:
        """64 random hex digits."""

    def choice(self, bound: int) -> int:
        """A random number below `bound`."""


class Bus(Protocol):
    """Carries hints and work; never the record."""

    async def publish(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> None:
        """Fire and forget; lost while the server is away."""

    async def request(self, subject: str, payload: bytes, timeout: float) -> bytes:
        """Raises Unavailable when nobody answers in `timeout` seconds, NoResponders at once when nobody listens."""

    async def serve(self, subject: str, handler: "Callable[[Message], Awaitable[None]]", queue: str = "") -> None:
        """Call `handler` in a task of its own for every message."""


class Message(Protocol):
    """One message from the bus."""

    subject: str
    data: bytes
    headers: dict[str, str]
    reply: str

    async def respond(self, payload: bytes, headers: dict[str, str] | None = None) -> None:
        """Answer to the reply subject."""


class LogReader(Protocol):
    """Container output as it was written."""

    def frames(
        self,
        id: str,
        *,
        since: int | None = None,
        until: int | None = None,
        tail: int | None = None,
        start: int | None = None,
        follow: "Callable[[], Awaitable[bool]] | None" = None,
        begun: Callable[[int], None] = lambda position: None,
    ) -> "AsyncIterator[LogFrame]":
        """Frames in order, `tail` lines at most, or from position `start` on; `follow` is awaited at the end and says
        whether more may come. `begun` is told the position before which nothing is needed. Data may be empty."""

    async def end(self, id: str) -> int:
        """The position behind all that is stored."""

    def path(self, id: str, driver: str) -> str:
        """Where people and log shippers find it on this host; empty if nothing is kept."""


@dataclass(frozen=True, slots=True)
class LogFrame:
    """Bytes as read from the pipe: `stream` 1 stdout, 2 stderr; `time` ns since the epoch.

    `position` counts what the container had written with it, in all its runs. `missed` bytes that were asked for stood
    before it and are not stored any more (then the data may be empty: nothing follows).
    """

    time: int
    stream: int
    data: bytes
    position: int = field(default=0, compare=False)
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Passed:
    """What an archive has brought: its size in bytes, entries that were made, and those that nobody wants there."""

    size: int
    entries: int
    left_out: int = 0


class Access(Protocol):
    """The files of one container for one copy: after any number of looks one archive, in or out.

    Paths are clean and absolute (`domain.copying`); nothing that is called by them can lead out of the container,
    whatever its processes do meanwhile. One that ends in `/` or `/.` means what it leads to.
    """

    async def look(self, path: str, *, follow: bool = False) -> Found:
        """What is there, or where a link leads. Raises: Refused, KernelError."""

    def pack(self, path: str, name: str, *, follow: bool = False, fine: bool = False) -> AsyncIterator[bytes]:
        """What is there as a tar, called `name` in it; `follow` packs the target of a link, `fine` keeps the digits of
        times. Raises: NotFound, Refused, KernelError."""

    async def spread(self, directory: str, content: AsyncIterator[bytes], *, owners: bool = False) -> Passed:
        """Put the entries of a tar below `directory`; they belong to root and give nobody rights unless `owners` says
        that they are to be as they are. Raises: NotFound, Refused, KernelError."""


class Files(Protocol):
    """The way to containers' files."""

    def running(
        self, id: str, run: StartedProcess, *, whole: bool = True, writable: bool = False
    ) -> AbstractAsyncContextManager[Access]:
        """Of a container that runs: as its first process sees them (`whole`), or the root file system without what is
        mounted in it. The next start ends those that write.

        Raises: KernelError when that process has ended.
        """

    def resting(
        self, id: str, layers: Sequence[str], still: Callable[[], Awaitable[bool]], *, writable: bool = False,
        mounts: Sequence[Mount] = (), fresh: bool = False,
    ) -> AbstractAsyncContextManager[Access]:
        """Of one that does not run, as `still` says, with directories of the host and volumes among `mounts` where they
        will be; a `fresh` one was never started, so its empty volumes are still to begin with what the image has.
        Only one may write at a time, and a start ends it.

        Raises: Refused when a start has come first, or (later) has called the writing off.
        """


@dataclass(frozen=True, slots=True)
class Usage:
    """What the processes of a container have used and use; sizes in bytes, `cpu` in ns, `time` (ns, monotonic) when it
    was read, `limit` 0 for none. `received` and `sent` went through the interfaces of a network of its own."""

    time: int
    cpu: int
    memory: int
    limit: int
    read: int
    written: int
    processes: int
    received: int = 0
    sent: int = 0


class Meter(Protocol):
    """Reads control groups."""

    async def usage(self, ids: Sequence[str]) -> Mapping[str, Usage]:
        """Of each container that has processes, all at once; others are missing."""

    def memory(self) -> int:
        """Bytes that the host has."""



@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a new network must respect: `subnets` of the host's routes, addresses and resolvers (`10.0.0.0/8`), and the
    MTU of its way out. `default_link` and `default_subnet` are for the default network: engines side by side on one
    host have different ones."""

    subnets: tuple[str, ...]
    mtu: int
    default_link: str = DEFAULT_LINK
    default_subnet: str = str(DEFAULT_BRIDGE)


class NetworkDriver(Protocol):
    """Links, addresses, rules, ports and names in the kernel of this host. Everything twice is fine.

    It goes on by itself for containers that run while nobody tells it anything, and finds again what an earlier driver
    has made.
    """

    async def surroundings(self) -> Surroundings:
        """What is there besides us. Raises: KernelError."""

    async def add_bridge(self, bridge: Bridge) -> None:
        """Make a network, or make it as it should be. Raises: Refused for what this kernel lacks, KernelError."""

    async def remove_bridge(self, id: str) -> None:
        """Take a network away with everything that belongs to it alone. Raises: KernelError."""

    async def reserve(self, id: str, attempt: int, wanted: Sequence[Publication],
                      preferred: Mapping[Publication, int]) -> Sequence[Binding]:
        """Ports of the host for a run that is about to start, held against every other program from now on until
        `close`; of any free one those in `preferred` come first.

        Raises: Refused, naming who has the port (pid and command, where visible), or that this host has no such
        address; then none is held.
        """

    async def open(self, sandbox: Sandbox) -> Place:
        """A network namespace with everything in it, for the process that is about to start. Raises: Refused (the
        network is full), KernelError; then nothing of it is left."""

    async def change(self, sandbox: Sandbox, pid: int) -> None:
        """A run that goes on, whose first process is `pid`, is to have this from now on: interfaces more or fewer,
        another way out, which is where its ports lead, other names.

        Raises: NotFound for a run or network that is not there, Refused (a network is full), KernelError; then no
        interface was added.
        """

    async def close(self, id: str, attempt: int) -> None:
        """Let go of everything of a run: ports, interfaces, rules, sockets."""

    async def names(self, zones: Mapping[str, Zone]) -> None:
        """From now on these are the names on each network (id → zone)."""

    async def settle(self, bridges: Sequence[Bridge], sandboxes: Mapping[int, Sandbox]) -> None:
        """Make the kernel agree: exactly these networks, and these runs by the pids of their first processes; all else
        of ours goes away. Below 0 it is no pid: that run is about to start, and what there is for it already stays.

        Raises: KernelError, naming what stays.
        """

    def on_lost(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call `callback` when what does the work was gone and is there again, knowing nothing: `settle` is due."""

    async def clean(self) -> None:
        """Take away every rule, link and address, and end what runs for it."""

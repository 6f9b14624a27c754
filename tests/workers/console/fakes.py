"""A call and an engine without kernel, disk and bus: the real state machine on a log in memory."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from adapters.memory.network import MemoryNetwork
from adapters.memory.runtime import CONTROL
from adapters.memory.volumes import MemoryVolumes
from domain.accesses import Accessed
from domain.container import LIVE, Container, State
from domain.errors import (
    Ambiguous,
    CommandFailed,
    KernelError,
    LadingError,
    NameTaken,
    NotFound,
    Refused,
    Unavailable,
)
from domain.health import Verdict
from domain.images.config import platform_of
from domain.images.credentials import Credentials
from domain.images.events import ImageRegistered, Tagged
from domain.images.manifest import Platform, parse_platform, suits
from domain.images.model import Image, Layer, Registered
from domain.images.progress import Part, Progress
from domain.images.reference import Reference, parse, split_key
from domain.images.registries import Registries
from domain.images.search import Hit
from domain.lifecycle import MACHINE
from domain.lifecycle.attach import Attach
from domain.lifecycle.commit import Commit, CommitRequested, Committed
from domain.lifecycle.create import Create
from domain.lifecycle.exec import Exec, ExecExited, ExecFailed, ExecStarted
from domain.lifecycle.exit import Exited, ReportExit
from domain.lifecycle.kill import KillRequested, SignalSent
from domain.lifecycle.network import Connect, Disconnect, Unlink
from domain.lifecycle.pause import Paused, PauseRequested
from domain.lifecycle.remove import Removed, RemoveRequested
from domain.lifecycle.start import Start, Started, StartFailed, StartRequested
from domain.lifecycle.stop import StopRequested
from domain.lifecycle.unpause import Unpaused, UnpauseRequested
from domain.lifecycle.update import Update
from domain.limits import changed, check
from domain.messages import Actor, Append, Command, Event, Meta, Recorded, StreamId
from domain.mounts import Mount
from domain.names import container_name, is_id_prefix
from domain.network.asked import NetworkWish, attachment, parse_link
from domain.policies.follow_up import follow_up
from domain.ports.events import OpenIntent, Reply
from domain.ports.images import Sent
from domain.ports.logs import LogFrame
from domain.ports.network import NetworkDriver
from domain.projections.addresses import Addresses, Tenures
from domain.projections.containers import Containers
from domain.projections.fold import Projection, Row
from domain.projections.names import Names, Past
from domain.projections.networks import Networks as NetworkRows
from domain.projections.networks import PastNetworks
from domain.projections.refs import Refs
from domain.projections.spans import Spans
from domain.projections.volumes import Volumes as VolumeRows
from domain.resources import Resources
from domain.volumes.wanted import inherited, volumes_from
from tests.workers.console.filefakes import ClientTree, FakeFiles, archive
from workers.accesses import Accesses, Register, Unrecorded
from workers.blueprint import blueprint, exec_spec
from workers.build.builder import Builder, Kept, Pruned, Usage
from workers.console.board import Board
from workers.console.dispatch import dispatch
from workers.imagedesk import Content
from workers.mover import Caller, Mover, Origin
from workers.networks import Networks
from workers.requests import CreateRequest, ExecRequest
from workers.tidings import Tidings
from workers.transfers import Arrived, Described, Keys
from workers.volumedesk import VolumeDesk
from workers.volumes import Volumes

SECOND = 1_000_000_000
EPOCH = 1_764_087_362 * SECOND  # 2025-11-25 16:16:02 UTC
ROOT = Actor(via="socket", user="root", uid=0, gid=0, pid=4711, command="lading …", host="here")


@dataclass
class Terminal:
    """A terminal, or none."""

    cols: int = 80
    rows: int = 24
    stdin_tty: bool = False
    stdout_tty: bool = False
    stderr_tty: bool = False


@dataclass
class FakeCall:
    """Keeps what was said; files and variables are dictionaries."""

    argv: Sequence[str]
    files: dict[str, bytes] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    input: bytes = b""
    stays: bool = False
    terminal: Terminal = field(default_factory=Terminal)
    who: Caller = field(default_factory=lambda: Caller(ROOT))
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    deserted: bool = False
    stdout: bytes = b""
    stderr: bytes = b""
    on_signal: Callable[[int], Awaitable[None]] | None = None
    on_resize: Callable[[int, int], Awaitable[None]] | None = None
    modes: list[str] = field(default_factory=list)
    cwd: str = "/ann"
    is_near: bool = False
    side: ClientTree = field(default_factory=ClientTree)
    answers: list[str] = field(default_factory=list)
    asked: list[tuple[str, bool]] = field(default_factory=list)
    helpers: dict[str, bytes] = field(default_factory=dict)
    helped: list[tuple[str, str, str]] = field(default_factory=list)
    agents: dict[str, bytes] = field(default_factory=dict)

    async def look(self, path: str, *, follow: bool) -> tuple[str, str]:
        """In the client's tree, or among its files."""
        return ("file", path) if path in self.files else self.side.look(path, follow=follow)

    async def look_all(self, paths: Sequence[tuple[str, bool]]) -> list[tuple[str, str]]:
        """One after the other."""
        return [await self.look(path, follow=follow) for path, follow in paths]

    async def pack(
        self, path: str, name: str, options: str, ignored: str = "", known: bytes | None = None
    ) -> AsyncIterator[bytes]:
        """An archive that says what it is."""
        yield archive(path, name, options)

    async def spread(self, directory: str, content: AsyncIterator[bytes], options: str) -> tuple[int, int]:
        """Keep it."""
        self.side.spreads.append((directory, b"".join([piece async for piece in content]), options))
        return 1, self.side.left_out

    async def write_file(
        self, path: str, mode: int, content: AsyncIterator[bytes], *, parents: bool = False
    ) -> None:
        """Keep it."""
        self.side.written[path] = mode, b"".join([piece async for piece in content])

    async def ask(self, text: str, *, hidden: bool = False) -> str:
        """The next answer, or what was typed; a question that is no secret is shown."""
        self.asked.append((text, hidden))
        if self.answers:
            return self.answers.pop(0)
        self.stdout += text.encode()
        return self.input.decode().partition("\n")[0]

    async def credential_helper(self, name: str, verb: str, text: str) -> bytes:
        """What a test has set for it."""
        self.helped.append((name, verb, text))
        answer = self.helpers.get(f"{name} {verb}")
        if answer is None:
            raise Refused(f"docker-credential-{name}: credentials not found in native keychain")
        return answer

    async def agent(self, path: str, message: bytes) -> bytes:
        """What a test has set for the socket."""
        if path not in self.agents:
            raise Refused("Connection refused")
        return self.agents[path]

    async def out(self, data: bytes) -> None:
        """Keep it."""
        self.stdout += data

    async def err(self, data: bytes) -> None:
        """Keep it."""
        self.stderr += data

    async def getenv(self, names: Sequence[str]) -> dict[str, str]:
        """From the dictionary."""
        return {name: self.environment[name] for name in names if name in self.environment}

    async def open_file(self, path: str) -> AsyncIterator[bytes]:
        """In pieces of three bytes, so that nobody relies on whole files."""
        if path not in self.files:
            raise Refused(f"open {path}: no such file or directory")
        for at in range(0, len(self.files[path]), 3):
            yield self.files[path][at : at + 3]

    async def lend_file(self, path: str) -> int:
        """Nothing is lent."""
        return -1

    async def stdin(self) -> AsyncIterator[bytes]:
        """The whole input at once; then its end, unless the client `stays`."""
        if self.input:
            yield self.input
        if self.stays:
            await self.closed.wait()
            raise Unavailable("the client went away")

    async def create_file(self, path: str, mode: int, content: bytes) -> None:
        """Exclusive."""
        if path in self.files:
            raise Refused("file exists")
        self.files[path] = content

    async def unlink(self, path: str) -> None:
        """Gone if it was there."""
        self.files.pop(path, None)

    async def forward_signals(self, callback: Callable[[int], Awaitable[None]]) -> None:
        """Keep the callback."""
        self.on_signal = callback

    async def use_terminal(self, resized: Callable[[int, int], Awaitable[None]], *, raw: bool) -> None:
        """Keep the callback, and say the size as it is."""
        self.modes.append("raw" if raw else "size")
        self.on_resize = resized
        await resized(self.terminal.rows, self.terminal.cols)

    async def release_terminal(self) -> None:
        """Noted."""
        self.modes.append("back")


class FakeStore:
    """A log in memory; every event is a second after the one before."""

    def __init__(self) -> None:
        self.records: list[Recorded] = []
        self.projections: tuple[Projection, ...] = (
            Containers(), Names(), Past(), Refs(), NetworkRows(), PastNetworks(), Addresses(), Tenures(), VolumeRows(),
        )
        self.rows: dict[str, dict[str, Row]] = {projection.name: {} for projection in self.projections}
        self.reply: dict[str, Reply] = {}
        self.now = EPOCH

    def add(self, stream: StreamId, event: Event, meta: Meta) -> Recorded:
        """Append one event."""
        version = sum(record.stream == stream for record in self.records) + 1
        self.now += SECOND
        record = Recorded(len(self.records) + 1, stream, version, self.now, event, meta)
        self.records.append(record)
        for projection in self.projections:
            self._fold(projection, record)
        return record

    def _fold(self, projection: Projection, record: Recorded) -> None:
        rows = self.rows[projection.name]
        for key in projection.keys(record):
            row = projection.fold(rows.get(key), record, key)
            if row is None:
                rows.pop(key, None)
            else:
                rows[key] = row

    async def append(self, batch: Sequence[Append], meta: Meta, *, reply: str | None = None) -> Sequence[Recorded]:
        """All events."""
        return [self.add(part.stream, event, meta) for part in batch for event in part.events]

    async def load(self, stream: StreamId) -> Sequence[Recorded]:
        """One stream."""
        return [record for record in self.records if record.stream == stream]

    async def replied(self, command_id: str) -> Reply | None:
        """Never."""
        return self.reply.get(command_id)

    async def read(
        self, after: int, limit: int = 1000, *, streams: Sequence[StreamId] | None = None
    ) -> Sequence[Recorded]:
        """A page."""
        return self.records[after : after + limit]

    async def open_intents(self) -> Sequence[OpenIntent]:
        """None."""
        return ()

    async def head(self) -> int:
        """The last position."""
        return len(self.records)

    async def position_at(self, time: int) -> int:
        """The last position at or before a time."""
        return sum(record.time <= time for record in self.records)


class FakeViews:
    """The rows of the store's projections."""

    def __init__(self, store: FakeStore) -> None:
        self._store, self._rows = store, store.rows

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
        """All rows of the spans at that position."""
        spans, rows = Spans(), dict[str, Row]()
        for record in await self._store.read(0, position):
            for key in spans.keys(record):
                row = spans.fold(rows.pop(key, None), record, key)
                rows |= {key: row} if row is not None else {}
        return list(rows.values())

    async def get(self, projection: str, key: str) -> Row | None:
        """By key."""
        return self._rows[projection].get(key)

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
        """Like the real one."""
        rows = [row for row in self._rows[projection].values() if _fits(row, where or {}, prefix)]
        if order:
            sign = -1 if descending else 1
            if any(isinstance(row[order], str) for row in rows):
                rows.sort(key=lambda row: str(row[order]), reverse=descending)
            else:
                rows.sort(key=lambda row: (sign * int(str(row[order])), str(next(iter(row.values())))))
        return rows[:limit]


def _fits(row: Row, where: Mapping[str, object], prefix: tuple[str, str] | None) -> bool:
    for column, wanted in where.items():
        if row[column] not in (wanted if isinstance(wanted, list | tuple) else (wanted,)):
            return False
    return prefix is None or str(row[prefix[0]]).startswith(prefix[1])


class FakeImages:
    """Images and their names; `done` keeps what was asked for."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store
        self.entries: dict[str, Registered] = {}
        self.done: list[tuple[object, ...]] = []
        self.remote: dict[str, str] = {}
        self.registries = Registries()
        self.slow = 0.0
        self.unknown = self.build = 0
        self.faults: list[str] = []

    def add(self, digit: str, *references: str, created: int = EPOCH, size: int = 1_990_000, **config: object) -> Image:
        """An image whose id consists of one digit."""
        id = f"sha256:{digit * 64}"
        document: dict[str, object] = {"architecture": "amd64", "os": "linux", "config": config}
        layer = Layer(diff_id=f"sha256:{digit * 64}", chain_id=digit * 64, size=size)
        image = Image(id=id, config=document, layers=(layer,), created=created, size=size)
        self._store.add(StreamId("image", id), ImageRegistered(image=image, how="imported"), Meta(actor=ROOT))
        for name in references:
            self._store.add(StreamId("ref", name), Tagged(image_id=id), Meta(actor=ROOT))
        self.entries[id] = Registered(image=image, references=references)
        return image

    async def find(self, name: str) -> Registered:
        """By reference or id."""
        for entry in self.entries.values():
            if entry.image.id.removeprefix("sha256:").startswith(name.removeprefix("sha256:")):
                return entry
            if parse(name).key in entry.references:
                return entry
        raise NotFound(f"No such image: {parse(name).key}")

    async def all(self) -> Sequence[Registered]:
        """All."""
        return tuple(self.entries.values())

    async def tag(self, source: str, target: str, who: Caller) -> None:
        """Noted."""
        self.done.append(("tag", (await self.find(source)).image.id, target))

    async def remove(self, name: str, who: Caller, *, force: bool, prune: bool) -> Sequence[str]:
        """Noted."""
        entry = await self.find(name)
        self.done.append(("remove", name, force, prune))
        return [f"Untagged: {parse(name).key}", f"Deleted: {entry.image.id}"]

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
        """Noted."""
        assert not isinstance(content, int)
        data = b"".join([chunk async for chunk in content])
        self.done.append(("import", data, reference, message, tuple(changes), str(platform or "")))
        return f"sha256:{'e' * 64}"

    async def require(self, name: str, platform: Platform) -> None:
        """By the config."""
        offered = platform_of((await self.find(name)).image.config)
        if not suits(offered, platform):
            raise NotFound(f"No such image: {name} for {platform}", hint=f"what is called so here is for {offered}")

    async def load_stream(
        self, content: Content, who: Caller, platform: Platform | None = None
    ) -> Sequence[str]:
        """Everything that is there."""
        assert not isinstance(content, int)
        self.done.append(("load", b"".join([chunk async for chunk in content]), str(platform or "")))
        return [f"Loaded image: {name}" for entry in self.entries.values() for name in entry.references]

    async def would_remove(self, name: str, *, force: bool, prune: bool) -> Sequence[str]:
        """As `remove`."""
        entry = await self.find(name)
        return [f"Untagged: {parse(name).key}", f"Deleted: {entry.image.id}"]

    async def unused(
        self, test: Callable[[Image], bool], *, everything: bool, gone: Collection[str] = ()
    ) -> Sequence[str]:
        """By the rows of containers."""
        used = {row["image_id"] for id, row in self._store.rows["containers"].items() if id not in gone}
        return [
            id
            for id, entry in self.entries.items()
            if id not in used and test(entry.image) and (everything or not entry.references)
        ]

    async def prune(self, image_ids: Sequence[str], who: Caller) -> tuple[Sequence[str], Sequence[str], int]:
        """They go."""
        size = await self.would_free(image_ids)
        gone = [self.entries.pop(id) for id in image_ids]
        return [name for entry in gone for name in entry.references], [entry.image.id for entry in gone], size

    async def would_free(self, image_ids: Sequence[str]) -> int:
        """Their sizes."""
        return sum(self.entries[id].image.size for id in image_ids)

    async def inventory(self) -> Mapping[str, int]:
        """A few bytes."""
        kinds = {"layers": 9_000_000, "blobs": 3_000_000, "ingest": 0, "stubs": 0, "build": self.build, "other": 0}
        return {**kinds, "unknown": self.unknown}

    async def check(self) -> Sequence[str]:
        """What a test has set."""
        return self.faults

    def expand(self, name: str, *, default_tag: bool = True) -> Reference:
        """With the registries that a test has set."""
        return self.registries.expand(name, default_tag=default_tag)

    def hosts(self, reference: Reference) -> Sequence[str]:
        """The registry and its mirrors."""
        return [endpoint.host for endpoint in self.registries.endpoints(reference.host)]

    async def pull(
        self, reference: Reference, who: Caller, keys: Keys, progress: Progress, platform: Platform | None
    ) -> Arrived:
        """What `remote` has; its layers go through all states."""
        self.done.append(("pull", str(reference), dict(keys), str(platform or "")))
        if reference.full not in self.remote:
            raise NotFound(f"manifest for {reference} not found: manifest unknown")
        progress.parts[:] = [Part(f"sha256:{digit * 64}", 1_000_000) for digit in "12"]
        await asyncio.sleep(0.11)
        progress.parts[0].state, progress.parts[1].state = "exists", "downloading"
        progress.parts[1].done = 500_000
        await asyncio.sleep(self.slow)
        progress.parts[1].state, progress.parts[1].done = "complete", 1_000_000
        digit = self.remote[reference.full]
        known = next((entry.image.id for entry in self.entries.values() if reference.key in entry.references), "")
        image = self.add(digit, reference.key, Cmd=["sh"])
        return Arrived(reference, image.id, f"sha256:{'9' * 64}", known)

    async def push(self, reference: Reference, who: Caller, credentials: Credentials, progress: Progress) -> Sent:
        """Noted."""
        self.done.append(("push", str(reference), credentials))
        if not any(reference.key in entry.references for entry in self.entries.values()):
            raise NotFound(f"An image does not exist locally with the tag: {reference.repository}")
        progress.parts[:] = [
            Part(f"sha256:{'1' * 64}", 5, "exists"),
            Part(f"sha256:{'2' * 64}", 5, "pushed"),
            Part(f"sha256:{'3' * 64}", 5, "mounted", source="team/other"),
        ]
        return Sent(f"sha256:{'9' * 64}", 735)

    async def digest_for(self, reference: Reference, keys: Keys, platform: Platform) -> str:
        """Another one for each platform."""
        return "sha256:" + hashlib.sha256(f"{reference} {platform}".encode()).hexdigest()

    async def remote_tags(self, reference: Reference, keys: Keys) -> Sequence[str]:
        """Those in `remote`."""
        names = [parse(name) for name in self.remote]
        return [one.tag for one in names if (one.host, one.path) == (reference.host, reference.path)]

    async def described(self, reference: Reference, keys: Keys) -> Described:
        """What a test has set for it."""
        digest = self.remote.get(reference.full)
        if digest is None:
            raise NotFound(f"manifest for {reference} not found: manifest unknown")
        return Described("application/vnd.oci.image.index.v1+json", f"sha256:{digest * 64}", 7,
                         (Platform(os="linux", architecture="amd64"),))

    async def local_tags(self, repository: str) -> Sequence[str]:
        """Those here."""
        names = [split_key(key) for entry in self.entries.values() for key in entry.references]
        return [tag for name, tag, _ in names if name == repository and tag]

    async def login(self, host: str, credentials: Credentials) -> None:
        """One password is right."""
        self.done.append(("login", host, credentials.user))
        if credentials.password != "right":
            raise Refused(f"cannot log in to {host}: unauthorized")

    async def search(self, host: str, term: str, limit: int, credentials: Credentials) -> Sequence[Hit]:
        """Two."""
        self.done.append(("search", host, term, limit))
        return (Hit("alpine", "A minimal \x1b[2J image", 11_000, True), Hit(f"team/{term}", "", 3))[:limit]

    async def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        """Their names."""
        for name in names:
            await self.find(name)
            yield name.encode()


class FakeLogs:
    """Frames in memory."""

    def __init__(self) -> None:
        self.written: dict[str, list[LogFrame]] = {}

    async def frames(
        self,
        id: str,
        *,
        since: int | None = None,
        until: int | None = None,
        tail: int | None = None,
        start: int | None = None,
        follow: Callable[[], Awaitable[bool]] | None = None,
        begun: Callable[[int], None] = lambda position: None,
    ) -> AsyncIterator[LogFrame]:
        """Whole frames count as lines here."""
        found, position = [], 0
        for frame in self.written.get(id, []):
            position += len(frame.data)
            if (since or 0) <= frame.time and (until is None or frame.time <= until) and (start or 0) < position:
                found.append(frame)
        for frame in found if tail is None else found[-tail:] if tail else []:
            yield frame

    async def end(self, id: str) -> int:
        """All bytes."""
        return sum(len(frame.data) for frame in self.written.get(id, []))

    def path(self, id: str, driver: str) -> str:
        """Somewhere."""
        return "" if driver == "none" else f"/logs/{id}"


@dataclass
class FakeReport:
    """A check of the log."""

    checked: int
    findings: Sequence[object] = ()
    only_tables: bool = False


class FakeInput:
    """Keeps what was typed and how large the terminal was made."""

    def __init__(self) -> None:
        self.got = b""
        self.ended = self.closed = False
        self.resized: list[tuple[int, int]] = []
        self.react: Callable[[bytes], None] = lambda data: None

    async def write(self, data: bytes) -> None:
        """Kept."""
        if self.ended:
            raise Refused("the input was ended")
        self.got += data
        self.react(data)

    async def end(self) -> None:
        """Noted."""
        self.ended = True
        self.react(b"")

    async def resize(self, rows: int, cols: int) -> None:
        """Noted."""
        self.resized.append((rows, cols))

    def close(self) -> None:
        """Noted."""
        self.closed = True


class FakeClock:
    """Ids that count upwards."""

    def __init__(self) -> None:
        self._ids = 0

    def now(self) -> int:
        """A moment."""
        return EPOCH

    async def sleep(self, seconds: float) -> None:
        """No waiting."""

    def new_id(self) -> str:
        """64 digits, of which the first ones differ."""
        self._ids += 1
        return f"{self._ids:04x}" + "e" * 60

    def choice(self, bound: int) -> int:
        """The first."""
        return 0


class FakeGateway:
    """Listens nowhere, and says where it would."""

    def __init__(self) -> None:
        self.path, self.pid = "", 0

    async def start(self, path: str) -> str:
        """There."""
        self.path, self.pid = path or "/run/lading/docker.sock", 4242
        return self.path

    async def stop(self) -> None:
        """Nowhere."""
        self.path, self.pid = "", 0


class FakeBuilder(Builder):
    """A cache of builds; `kept` is what is in it."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []

    async def usage(self) -> Usage:
        """The sum of what nothing else needs."""
        return Usage(tuple(self.kept), 1, sum(entry.size for entry in self.kept if not entry.shared))

    async def would_prune(self, *, all: bool, until: int | None = None, gone: Collection[str] = ()) -> Pruned:
        """By what is shared and the last use."""
        old = [entry for entry in self.kept if until is None or entry.used <= until]
        going = [entry for entry in old if all or not entry.shared]
        return Pruned(tuple(entry.key for entry in going), sum(entry.size for entry in going))

    async def prune(self, who: Caller, *, all: bool, until: int | None = None) -> Pruned:
        """They go."""
        pruned = await self.would_prune(all=all, until=until)
        self.kept = [entry for entry in self.kept if entry.key not in pruned.keys]
        return pruned


class FakeEngine:
    """Decides with the real machine and carries everything out at once."""

    host, version = "here", "0.1.0"

    def __init__(self) -> None:
        self.store = FakeStore()
        self.views = FakeViews(self.store)
        self.accesses: Register = Unrecorded()
        self.board = Board(self.store, self.views)
        self.tidings = Tidings(self.store)
        self.images = FakeImages(self.store)
        self.contents = MemoryVolumes()
        self.clock = FakeClock()
        self.volumes = VolumeDesk(
            Volumes(self.store, self.views, self.contents, self.clock),
            Mover(self.store, self.clock, Origin(version="0.1.0")),
        )
        self.driver = MemoryNetwork(subnets=("192.0.2.0/24",))
        self.networks = Networks(
            self.store, self.views, self._reach, FakeClock(), Mover(self.store, FakeClock(), Origin(version="0.1.0"))
        )
        self.files = FakeFiles()
        self.logs = FakeLogs()
        self.start_error: StartFailed | None = None
        self.pids: list[int] = []
        self.report = FakeReport(0)
        self.ids = 0
        self.changed = asyncio.Event()
        self.after_start: Callable[[str], None] = lambda id: None
        self.signals: list[int] = []
        self.sizes: list[tuple[int, int]] = []
        self.expected: dict[str, int] = {}
        self.inputs: dict[str, FakeInput] = {}
        self.execs: list[ExecRequest] = []
        self.exec_error: LadingError | None = None
        self.exec_writes: list[tuple[int, bytes]] = []
        self.exec_lasts = asyncio.Event()
        self.exec_lasts.set()
        self.exec_status = 0
        self.verdicts: dict[str, Verdict] = {}
        self.gateway = FakeGateway()
        self.cache = FakeBuilder()

    async def _reach(self) -> NetworkDriver:
        return self.driver

    def record_accesses(self) -> None:
        """From now on it is recorded who only looks, as real engines do."""
        self.accesses = Accesses(self.store, self.host, Origin(version="0.1.0"), now=self.now)

    async def recorded(self) -> list[tuple[str, str, str]]:
        """Of each look that was recorded its stream, what it was, and a reason for a refusal."""
        await self.accesses.settled()
        return [(str(record.stream), record.event.what, record.event.reason)
                for record in self.store.records if isinstance(record.event, Accessed)]

    @property
    def builder(self) -> Builder:
        """It has only a cache: builds are tested with everything that they need."""
        return self.cache

    def now(self) -> int:
        """The time of the last event, or what a test has set."""
        return self.store.now

    async def advice(self, limits: Resources) -> Sequence[str]:
        """As on a host with everything of version 2."""
        return check(limits, CONTROL)

    async def advice_on(self, id: str, wish: Update) -> Sequence[str]:
        """The same for what an update leaves."""
        return await self.advice(changed((await self.container(id)).settled.limits, wish.limits))

    async def create(self, request: CreateRequest, who: Caller) -> str:
        """Written down."""
        image = (await self.images.find(request.image)).image
        if request.platform:
            await self.images.require(request.image, parse_platform(request.platform))
        self.ids += 1
        id = f"{self.ids:x}" * 64
        spec, env = blueprint(request, image, id, others=await self._shared(request), new_name=self.clock.new_id)
        name = container_name(request.name) if request.name else f"calm_name{self.ids}"
        for row in self.store.rows["containers"].values():
            if row["name"] == name:
                raise NameTaken(
                    f'Conflict. The container name "/{name}" is already in use by container "{row["id"]}".',
                    holder=str(row["id"]),
                    hint=f"lading rm {str(row['id'])[:12]}",
                )
        claims = await self.volumes.volumes.claims(id, name, spec.mounts)
        self._append(id, MACHINE.decide(Container(id=id), Create(name=name, spec=spec, env=env)), who)
        await self.store.append(claims, Meta(actor=who.actor))
        return id

    async def _shared(self, request: CreateRequest) -> list[Mount]:
        named = [volumes_from(text) for text in request.volumes_from]
        return [mount for name, read_only in named
                for mount in inherited((await self.container(await self.resolve(name))).settled.mounts,
                                       read_only=read_only)]

    async def run(
        self, request: CreateRequest, who: Caller, *, attach: Attach | None = None, size: tuple[int, int] = (0, 0)
    ) -> str:
        """Create and start."""
        id = await self.create(request, who)
        await self.execute(id, Start(size=size), who, attach=attach)
        return id

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
        """Decided and noted; what a test has set decides whether it works."""
        exec_id = exec_id or f"{len(self.execs) + 1:x}" * 64
        command = Exec(exec_id=exec_id, exec=exec_spec(request), env=request.env, size=size)
        (requested,) = self._append(id, MACHINE.decide(self._fold(id), command), who)
        if self.exec_error is not None:
            failed = ExecFailed(exec_id=exec_id, reason=self.exec_error.message)
            self._engine(id, requested.position, failed)
            raise self.exec_error
        self._engine(id, requested.position, ExecStarted(exec_id=exec_id, pid=2000 + len(self.execs), start_time=7))
        self.execs.append(request)
        self.sizes.append(size)
        return exec_id

    async def exec_output(self, id: str, exec_id: str) -> AsyncIterator[LogFrame]:
        """What a test has set, at once."""
        for stream, data in self.exec_writes:
            yield LogFrame(self.store.now, stream, data)
        await self.exec_lasts.wait()

    async def exec_exit(self, id: str, exec_id: str) -> int:
        """What a test has set."""
        if exec_id in self._fold(id).execs:
            self._engine(id, 0, ExecExited(exec_id=exec_id, code=self.exec_status, ended=self.now()))
        return self.exec_status

    async def input(self, id: str, exec_id: str = "") -> FakeInput:
        """One for each container or exec."""
        return self.input_of(exec_id or id)

    def input_of(self, id: str) -> FakeInput:
        """The one of a container or an exec."""
        return self.inputs.setdefault(id, FakeInput())

    async def execute(
        self, id: str, command: Command, who: Caller, *, wait: bool = True, attach: Attach | None = None
    ) -> Container:
        """Decide, append, and append the outcome."""
        if attach is not None:
            self.expected[id] = len(self.logs.written.get(id, []))
            watched = attach.model_copy(update={"starting": True})
            self._append(id, MACHINE.decide(await self.container(id), watched), who)
        for event in self._append(id, MACHINE.decide(await self.container(id), command), who):
            self._outcome(id, event)
        return await self.container(id)

    def _append(self, id: str, events: Sequence[Event], who: Caller, cause: int = 0) -> Sequence[Recorded]:
        meta = Meta(actor=who.actor, command_id=who.command_id, cause=cause, version=self.version)
        records = [self.store.add(StreamId("container", id), event, meta) for event in events]
        for record in records:
            self.tidings.hear(record)
        self.changed.set()
        self.changed = asyncio.Event()
        return records

    def _engine(self, id: str, cause: int, *events: Event) -> None:
        for record in self._append(id, events, Caller(Actor()), cause):
            self._outcome(id, record)

    def _outcome(self, id: str, record: Recorded) -> None:
        match record.event:
            case StartRequested(attempt=attempt) if self.start_error is not None:
                failed = self.start_error.model_copy(update={"attempt": attempt})
                ahead = MACHINE.fold(id, [*self._stream(id)])
                self._engine(id, record.position, failed, *follow_up(ahead, failed, self.now()))
                error = KernelError(failed.reason)
                raise CommandFailed(failed.reason, exit_code=failed.exit_code) if failed.exit_code != 125 else error
            case StartRequested(attempt=attempt, size=size):
                self.sizes.append(size)
                self._engine(id, record.position, Started(attempt=attempt, pid=1000 + self.ids, start_time=7))
                self.after_start(id)
            case StopRequested(signal=signal):
                self.exit(id, 128 + signal, signal=signal)
            case KillRequested(signal=signal):
                self.signals.append(signal)
                self._engine(id, record.position, SignalSent(signal=signal))
                if signal in (9, 15):
                    self.exit(id, 128 + signal, signal=signal)
            case PauseRequested():
                self._engine(id, record.position, Paused())
            case UnpauseRequested():
                self._engine(id, record.position, Unpaused())
            case RemoveRequested():
                if self._fold(id).pid:
                    self.exit(id, 137, signal=9)
                self._engine(id, record.position, Removed())
            case CommitRequested(reference=reference):
                self._engine(id, record.position, Committed(image_id=f"sha256:{'c' * 64}", reference=reference))

    def exit(self, id: str, code: int, *, signal: int = 0, oom: bool = False, how: str = "") -> None:
        """The first process ends."""
        container = self._fold(id)
        how = how or ("oom" if oom else "signal" if signal else "self")
        fact = ReportExit(
            attempt=container.attempt, code=code, signal=signal, oom=oom, how=how, time=self.store.now + SECOND
        )
        self._engine(id, container.requested, *MACHINE.decide(container, fact))

    async def connect(self, network: str, id: str, wish: NetworkWish, links: Sequence[str], who: Caller) -> None:
        """Of what rests."""
        known = await self.networks.find(network)
        called = tuple((name, container) for container, name in map(parse_link, links))
        asked = attachment(wish.model_copy(update={"name": known.name})).model_copy(
            update={"id": known.id, "linked": called})
        await self.execute(id, Connect(attachment=asked), who)

    async def disconnect(self, network: str, id: str, who: Caller, *, force: bool) -> None:
        """Of what rests."""
        known = await self.networks.find(network)
        await self.execute(id, Disconnect(network=known.id, name=known.name, force=force), who)

    async def unlink(self, id: str, name: str, who: Caller) -> None:
        """Of what rests."""
        await self.execute(id, Unlink(name=name), who)

    async def commit(self, id: str, command: Commit, who: Caller) -> str:
        """An image of c's."""
        await self.execute(id, command, who)
        return f"sha256:{'c' * 64}"

    def _stream(self, id: str) -> list[Recorded]:
        return [record for record in self.store.records if record.stream == StreamId("container", id)]

    def _fold(self, id: str) -> Container:
        return MACHINE.fold(id, self._stream(id))

    async def container(self, id: str) -> Container:
        """The fold."""
        return self._fold(id)

    async def history(self, id: str) -> Sequence[Recorded]:
        """The stream."""
        return self._stream(id)

    async def resolve(self, name: str) -> str:
        """Id, name or prefix."""
        wanted = name.removeprefix("/")
        rows = self.store.rows["containers"]
        named = [id for id, row in rows.items() if wanted in (id, row["name"])]
        found = named or [id for id in rows if is_id_prefix(wanted) and id.startswith(wanted)]
        return _one(found, name)

    async def resolve_past(self, name: str) -> str:
        """Also what is gone."""
        try:
            return await self.resolve(name)
        except NotFound:
            rows = self.store.rows["names"].values()
            return _one(sorted({str(row["id"]) for row in rows if name in (row["name"], row["id"])}), name)

    async def _until(self, id: str, ready: Callable[[Container], bool]) -> Container:
        while not ready(container := self._fold(id)):
            await self.changed.wait()
        return container

    async def wait(self, id: str) -> int:
        """Until it does not run."""
        return (await self._until(id, lambda c: c.state not in LIVE)).exit_code

    async def wait_exit(self, id: str, attempt: int) -> int:
        """The status of one run."""
        ended = await self._until(id, lambda c: c.attempt > attempt or not c.pid)
        exits = [r.event for r in self._stream(ended.id) if isinstance(r.event, Exited) and r.event.attempt == attempt]
        return exits[0].code if exits else ended.exit_code

    async def until_run(self, id: str, attempt: int) -> Container:
        """Until it runs for that time."""
        return await self._until(id, lambda c: c.attempt >= attempt or c.state in (State.REMOVED, State.DEAD))

    async def wait_removed(self, id: str) -> None:
        """Until it is gone."""
        await self._until(id, lambda c: c.state in (State.REMOVED, State.DEAD))

    async def upcoming(
        self, id: str, *, run: int, hold: float, begun: Callable[[], None] = lambda: None
    ) -> AsyncIterator[LogFrame]:
        """What is written from now on, until that run has ended."""
        written = self.logs.written.setdefault(id, [])
        seen = len(written)
        begun()
        await self.wait_exit(id, run) if (await self.until_run(id, run)).attempt else None
        for frame in written[seen:]:
            yield frame

    async def output(
        self, id: str, *, from_start: bool, hold: float | None = None, begun: Callable[[], None] = lambda: None
    ) -> AsyncIterator[LogFrame]:
        """Everything, or what comes."""
        written = self.logs.written.setdefault(id, [])
        start = self.expected.pop(id, 0) if from_start else len(written)
        begun()
        for frame in written[start:]:
            yield frame
        seen = len(written)
        await self._until(id, lambda c: c.state not in LIVE)
        for frame in written[seen:]:
            yield frame

    def stored(
        self, id: str, *, since: int | None = None, until: int | None = None, tail: int | None = None
    ) -> AsyncIterator[LogFrame]:
        """What is there."""
        return self.logs.frames(id, since=since, until=until, tail=tail)

    async def follow(
        self, id: str, *, since: int | None = None, until: int | None = None, tail: int | None = None,
        restarts: bool = False, hold: float | None = None,
    ) -> AsyncIterator[LogFrame]:
        """What is there, then wait for the end."""
        async for frame in self.logs.frames(id, since=since, until=until, tail=tail):
            yield frame
        seen = len(self.logs.written.get(id, []))
        await self._until(id, lambda c: c.state not in LIVE)
        for frame in self.logs.written.get(id, [])[seen:]:
            yield frame

    def write(self, id: str, data: bytes, stream: int = 1) -> None:
        """The container writes."""
        self.logs.written.setdefault(id, []).append(LogFrame(self.store.now, stream, data))

    def health(self, id: str) -> Verdict | None:
        """What a test has set."""
        return self.verdicts.get(id)

    async def processes(self, id: str) -> Sequence[int]:
        """What a test has set."""
        return self.pids

    async def writable_size(self, id: str) -> int:
        """Five bytes."""
        return 5

    async def info(self) -> Mapping[str, object]:
        """A few facts."""
        return {
            "ServerVersion": self.version,
            "Containers": 2,
            "ContainersRunning": 1,
            "MemTotal": 1024**3,
            "Driver": "overlay2",
            "KernelVersion": "6.1.0",
        }

    async def verify(self) -> FakeReport:
        """What a test has set."""
        return self.report


def _one(ids: Sequence[str], name: str) -> str:
    if not ids:
        raise NotFound(f"No such container: {name}")
    if len(ids) > 1:
        raise Ambiguous(f"multiple IDs found with provided prefix: {name}")
    return ids[0]


@dataclass(frozen=True)
class Answer:
    """What a command line has given."""

    status: int
    out: str
    err: str
    call: FakeCall

    @property
    def lines(self) -> list[str]:
        """The lines of stdout."""
        return self.out.splitlines()


class Prompt:
    """Types command lines."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine

    def call(self, *argv: str) -> FakeCall:
        """A call to be used by hand."""
        return FakeCall(argv)

    async def __call__(self, *argv: str, call: FakeCall | None = None) -> Answer:
        """Run to its end."""
        call = call or FakeCall(argv)
        status = await dispatch(call, self.engine, self.engine.now)
        return Answer(status, call.stdout.decode(), call.stderr.decode(), call)

    async def ok(self, *argv: str) -> Answer:
        """The same, and it must succeed without a word on stderr."""
        answer = await self(*argv)
        assert (answer.status, answer.err) == (0, "")
        return answer


__all__ = ["EPOCH", "ROOT", "SECOND", "Answer", "FakeCall", "FakeEngine", "FakeReport", "LadingError", "Prompt"]

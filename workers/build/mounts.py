"""What `RUN --mount` puts beside a step: files of the context or of a stage, a directory that lasts between builds,
memory, secrets, agents of ssh. None of it is a part of the layer, nor are the places that were made for it.

Files are copied out, never mounted from where they lie: a step may write to its copy, and that vanishes. Secrets lie in
the run directory for as long as the step lasts, and are in neither key nor event.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

from adapters.images.building import BuildFiles
from adapters.system.agent import agent_socket
from domain.agents import Ask
from domain.build import keys
from domain.build.ignore import Rules
from domain.build.placing import Node, Owner, Placed, Placing, clean, origins
from domain.build.scope import Bring, Execute
from domain.errors import InvalidValue, Refused
from domain.mounts import Mount
from domain.mounts import clean as clean_target
from domain.text.safe import safe
from domain.text.units import parse_size
from workers.build.agents import DEFAULT
from workers.build.files import Tree, Workshop

SCRIPT = "/dev/lading-script"
_SOCKETS = "/run/buildkit/ssh_agent."
"""Where programs of other builders look for it, too."""
_SHARING = ("shared", "private", "locked")
_LARGEST_ID = 2147483647


@dataclass
class Caches:
    """Directories that last between builds, by their ids, and who uses them now."""

    root: Path
    _locks: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    _users: Counter[str] = field(default_factory=Counter)
    _going: dict[str, asyncio.Event] = field(default_factory=dict)

    @asynccontextmanager
    async def use(self, id: str, sharing: str) -> AsyncIterator[Path]:
        """`locked` waits until nobody else has it, `private` takes another one if somebody has; everybody waits while
        it is deleted."""
        name = hashlib.sha256(id.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        if sharing == "private":
            number = 0
            while self._users[f"{name}-{number}" if number else name]:
                number += 1
            name = f"{name}-{number}" if number else name
        lock = self._locks.setdefault(name, asyncio.Lock()) if sharing == "locked" else asyncio.Lock()
        async with lock:
            while (going := self._going.get(name)) is not None:
                await going.wait()
            self._users[name] += 1
            try:
                yield self.root / name
            finally:
                self._users -= Counter((name,))  # which forgets those that nobody uses

    async def delete(self, path: Path, work: Callable[[Path], int]) -> int | None:
        """The bytes that `work` has freed in a thread; None if somebody uses it. Whoever wants it meanwhile waits, also
        when who asked for this goes away: a thread ends its work."""
        if self._users[path.name] or path.name in self._going or not path.is_dir():
            return None
        self._going[path.name] = asyncio.Event()
        return await asyncio.shield(self._delete(path, work))

    async def _delete(self, path: Path, work: Callable[[Path], int]) -> int:
        try:
            return await asyncio.to_thread(work, path)
        finally:
            self._going.pop(path.name).set()

    def all(self) -> list[Path]:
        """Every one that there is."""
        return sorted(self.root.iterdir()) if self.root.is_dir() else []

    def idle(self) -> list[Path]:
        """Those that nobody uses at the moment."""
        return [path for path in self.all() if not self._users[path.name]]


@dataclass(frozen=True, slots=True)
class _Bind:
    things: Sequence[Placed]
    source: Tree
    file: str


class _Nothing:
    """A tree without anything in it."""

    def look(self, path: str) -> Node | None:
        """See `domain.build.placing.Tree`."""
        return None

    def names(self, path: str) -> Sequence[str]:
        """See `domain.build.placing.Tree`."""
        return ()


@dataclass(frozen=True, slots=True)
class Ready:
    """Mounts and variables for one step; `places` are those that may have to be taken out of its layer."""

    mounts: tuple[Mount, ...] = ()
    env: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


class Mounts:
    """Those of one step."""

    def __init__(
        self, work: Execute, files: BuildFiles, workshop: Workshop, ignore: str, caches: Caches,
        secrets: Mapping[str, bytes], agents: Mapping[str, Ask],
    ) -> None:
        self._work, self._files, self._workshop, self._caches = work, files, workshop, caches
        self._hidden = Rules(ignore) if ignore else None
        self._secrets, self._agents = secrets, agents
        self._binds: dict[int, _Bind] = {}
        self._targets = [self._target(number, options) for number, options in enumerate(work.mounts)]

    async def look(self, stack: ExitStack) -> list[tuple[str, str]]:
        """Find what is to be mounted from elsewhere; (place, digest of its content). Raises: Refused, NotFound."""
        found = []
        for number, options in enumerate(self._work.mounts):
            if options["type"] != "bind":
                continue
            bind = self._binds[number] = await self._bind(options, stack)
            told = await asyncio.to_thread(lambda bind=bind: self._files.files(bind.things, bind.source))  # type: ignore[misc]
            found.append((self._targets[number], keys.digest(sorted((one.path, one.digest) for one in told))))
        return found

    async def _bind(self, options: Mapping[str, str], stack: ExitStack) -> _Bind:
        source: Tree
        owner: Owner | None = None
        if options.get("from"):
            origin = await self._workshop.source(options["from"])
            source = stack.enter_context(self._files.tree(origin.layers))
        else:
            source, owner = await self._workshop.context(), Owner(0, 0)
        path = clean(options.get("source", ""), "RUN --mount")
        work = Bring("RUN --mount", (path or ".",), (), "/source", source=options.get("from", ""))

        def place() -> _Bind:
            found = origins(work, source, hidden=self._hidden)
            things = list(Placing(work, source, _Nothing(), owner).all(found))
            return _Bind(things, source, "source" if things and things[0].kind == "file" else "")

        return await asyncio.to_thread(place)

    async def ready(self, stack: AsyncExitStack) -> Ready:
        """Have everything where it can be mounted, for as long as the stack lasts. Raises: Refused, InvalidValue."""
        mounts: list[Mount] = []
        env: list[str] = []
        if self._work.script:
            path = stack.enter_context(self._files.temporary_file(self._work.script.encode("utf-8", "surrogateescape")))
            mounts.append(Mount(type="bind", source=str(path), target=SCRIPT, read_only=True))
        for number, options in enumerate(self._work.mounts):
            match options["type"]:
                case "bind":
                    mounts.append(await self._ready_bind(number, options, stack))
                case "cache":
                    mounts.append(await self._ready_cache(number, options, stack))
                case "tmpfs":
                    size = f"size={parse_size(options['size'])}" if options.get("size") else ""
                    mounts.append(Mount(type="tmpfs", target=self._targets[number], options=size))
                case "secret":
                    self._ready_secret(number, options, stack, mounts, env)
                case _:
                    await self._ready_ssh(number, options, stack, mounts, env)
        places = tuple(mount.target for mount in mounts if not mount.target.startswith("/dev/"))
        return Ready(tuple(mounts), tuple(env), places)

    async def _ready_bind(self, number: int, options: Mapping[str, str], stack: AsyncExitStack) -> Mount:
        bind = self._binds[number]
        directory = await stack.enter_async_context(self._files.laid_out(bind.things, bind.source))
        writable = _said(options, "readwrite") or options.get("readonly", "true") == "false"
        return Mount(type="bind", source=str(directory / "source"), target=self._targets[number],
                     read_only=not writable)

    async def _ready_cache(self, number: int, options: Mapping[str, str], stack: AsyncExitStack) -> Mount:
        if options.get("from") or options.get("source"):
            raise Refused("RUN --mount=type=cache: from and source are not supported by this version")
        sharing = options.get("sharing", "shared")
        if sharing not in _SHARING:
            raise InvalidValue(f"RUN --mount: unknown sharing {safe(sharing)}", hint=f"use {', '.join(_SHARING)}")
        target = self._targets[number]
        path = await stack.enter_async_context(self._caches.use(options.get("id") or target, sharing))
        self._files.make_cache(path, _octal(options, "mode", 0o755), _id(options, "uid"), _id(options, "gid"))
        return Mount(type="bind", source=str(path), target=target, read_only=_said(options, "readonly"))

    def _ready_secret(
        self, number: int, options: Mapping[str, str], stack: AsyncExitStack, mounts: list[Mount], env: list[str]
    ) -> None:
        id = options.get("id") or options.get("target", "").rpartition("/")[2]
        if not id:
            raise InvalidValue("RUN --mount=type=secret needs an id")
        if id not in self._secrets:
            self._refuse_if_required(options, f"secret {safe(id)}", f"give it with --secret id={safe(id)},src=FILE")
            return
        if options.get("env"):
            env.append(f"{options['env']}={self._secrets[id].decode('utf-8', 'surrogateescape')}")
        if not options.get("env") or options.get("target"):
            mode, uid, gid = _octal(options, "mode", 0o400), _id(options, "uid"), _id(options, "gid")
            path = stack.enter_context(self._files.secret_file(self._secrets[id], mode, uid, gid))
            mounts.append(Mount(type="bind", source=str(path), target=self._targets[number], read_only=True))

    async def _ready_ssh(
        self, number: int, options: Mapping[str, str], stack: AsyncExitStack, mounts: list[Mount], env: list[str]
    ) -> None:
        """The socket of an agent, and the variable by which programs find it; the last one of a step has that."""
        id = options.get("id") or DEFAULT
        if id not in self._agents:
            self._refuse_if_required(options, f"the ssh agent {safe(id)}", f"give it with --ssh {safe(id)}")
            return
        folder, mark = self._files.private
        mode, uid, gid = _octal(options, "mode", 0o600), _id(options, "uid"), _id(options, "gid")
        socket = agent_socket(folder, mark, self._agents[id], mode=mode, uid=uid, gid=gid)
        path = await stack.enter_async_context(socket)
        mounts.append(Mount(type="bind", source=str(path), target=self._targets[number], read_only=True))
        env[:] = [item for item in env if not item.startswith("SSH_AUTH_SOCK=")]
        env.append(f"SSH_AUTH_SOCK={self._targets[number]}")

    def _refuse_if_required(self, options: Mapping[str, str], what: str, hint: str) -> None:
        if _said(options, "required"):
            raise Refused(f"RUN --mount: {what} is required and not there", hint=hint)

    def _target(self, number: int, options: Mapping[str, str]) -> str:
        target = options.get("target", "")
        if options["type"] == "ssh" and not target:
            target = f"{_SOCKETS}{number}"
        if options["type"] == "secret" and not target:
            target = f"/run/secrets/{options.get('id', '')}"
        if not target:
            raise InvalidValue(f"RUN --mount=type={options['type']} needs a target")
        return clean_target(target if target.startswith("/") else f"{self._work.workdir}/{target}")


def _said(options: Mapping[str, str], name: str) -> bool:
    value = options.get(name, "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise InvalidValue(f"RUN --mount: {name} is true or false, not {safe(value)[:50]}")
    return value in ("true", "1")


def _octal(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name, "")
    if not text:
        return default
    if not all(c in "01234567" for c in text) or int(text, 8) > 0o7777:
        raise InvalidValue(f"RUN --mount: invalid mode {safe(text)[:50]}", hint="write it in octal digits: mode=0755")
    return int(text, 8)


def _id(options: Mapping[str, str], name: str) -> int:
    text = options.get(name, "0")
    if not (text.isascii() and text.isdigit()) or int(text[:12]) > _LARGEST_ID:
        raise InvalidValue(f"RUN --mount: {name} is a number, not {safe(text)[:50]}")
    return int(text)

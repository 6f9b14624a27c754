r"""The daemon's end of the console protocol: argv comes in, text and an exit status go out, files and questions go
through the client.

A call is one message on `lading.<host>.call.<who>`, a list of items that each end in NUL:

    1\0cols=80\0rows=24\0stdin=1\0stdout=1\0stderr=1\0color=1\0cwd=/home/ann\0umask=22\0session=1\0\0ps\0-a\0

Daemon to client, on the call's inbox, by the first byte:

    O bytes           for stdout                            E bytes       for stderr
    X 0               the exit status: end of the call      S 1 / S 0     forward signals from now on / no more
    G name\0name      tell the values of these variables    ? text        ask the person on the terminal
    ! text            ask, and do not show what is typed    H name\0verb\0input   run docker-credential-NAME VERB
    K path\0message   ask the agent of ssh at that socket
    R path            stream that file                      I             stream standard input
    r path            lend that file, if that can be: answered by `l`, with its descriptor (SCM_RIGHTS) or without
    N path\0mode\0…   make that file, it must be new        U path        delete it again
    w 65536           that many bytes of a stream have been taken so far
    - text            something was lost on the way: the call has ended, for that reason
    M 1               terminal of stdin into raw mode, and tell its size now and at every change
    M 2               only its size                         M 0           back to how it was
    L 1\0path\0…      tell what is there, following links (1) or not    P options\0path\0name   stream it as a tar,
                      without what a fourth text, a `.dockerignore`, hides; with the option `known` what follows in
                      pieces `B bytes`, until an empty one, says which files need not come
    T options\0path   spread the tar that follows in that directory: pieces `B bytes`, until an empty one
    W mode\0path      write what follows, likewise, to a file that has this name once it is whole (`mode,parents`
                      makes its directory, too)
    A 200\0name: v\0… of a request that the gateway passes on: the head of its answer, whose body are the O that follow
    H 101\0name: v\0… the same, and from there on I and O are a stream in both directions

Client to daemon, on `lading.<host>.io.<who>.<session>`:

    d bytes  e  f text    a piece, the end, or the failure of a stream; `f` also answers N
    k fields              N, L, T, W, H or K worked          a line        the answer to a question (nothing at its end)
    l                     a file that is lent comes along, or none
    v =value\0\0=value    a `=` and the value of each variable, nothing for one that is not set
    s 15                  a signal that was asked for       c             the person pressed ^C
    w 262144              that many bytes of O and E have been written so far
    z 24 80               rows and columns of the terminal

What a local client says on `io`, and what is said to it, does not travel over the bus but from socket to console and
back (see `adapters.control.frames`); the call itself does, and everything of a client elsewhere.

Neither side has more than `WINDOW` bytes on the way: a writer waits for the other's `w`. Only one stream and one
question at a time. The client puts its terminal back at every end of the call, also when the daemon vanishes.

A call with `api=1` in its head is a request of the Docker Engine API: method, target and header lines stand in the
place of words, and an empty item and the body follow (which may hold NULs, and is a stream instead when the head says
`body=stream`); see `adapters.gateway`. `X 0` says that its answer is whole, another status that it broke off.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from domain import subjects
from domain.errors import InvalidValue, LadingError, NoResponders, Refused, Unavailable
from domain.messages import Actor
from domain.ports.bus import Bus, Message

log = logging.getLogger(__name__)

VERSION = "1"
WINDOW = 1024 * 1024
_CHUNK = 128 * 1024
_ACKNOWLEDGE = 256 * 1024
_INTERRUPTED = 130
_LOOK_EVERY = 5.0
_LOOK_PATIENCE = 2.0


class Gone(Unavailable):
    """The client went away: nobody reads what the call still says."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """What the client's terminal can do; `cols` and `rows` are those of standard output, or else of standard input, and
    0 when neither is a terminal."""

    cols: int = 0
    rows: int = 0
    stdin_tty: bool = False
    stdout_tty: bool = False
    stderr_tty: bool = False
    color: bool = False


class Call:
    """One command line that is being answered.

    Texts are UTF-8 with surrogate escapes, as in `os.fsdecode`, so bytes survive. When the client goes away, `closed`
    is set, what is said to it from then on is dropped, what is asked of it raises Gone, and the handler's task is
    cancelled; the first ^C cancels it too, but there the client still listens: `interrupted` tells the cases apart.
    `deserted` says that the client went by itself, and not because the engine goes down.
    `call_id` is new for each call.
    """

    def __init__(
        self,
        message: Message,
        actor: Actor,
        respond: Callable[[bytes], Awaitable[None]],
        borrow: "Callable[[], AbstractContextManager[Callable[[], int]]] | None" = None,
    ) -> None:
        """`borrow` is how a client lends a file: None for one that cannot."""
        self._respond, self._borrow = respond, borrow
        self.actor, self.call_id = actor, secrets.token_hex(16)
        head, self.argv = _parse(message.data)
        self.actor_id = subjects.who(message.subject)
        self.session = head.get("session", "1")
        self.api, self.streams_body = head.get("api") == "1", head.get("body") == "stream"
        self.cwd = head.get("cwd", "")
        self._lends = head.get("lends") == "1"
        self.umask = _number(head.get("umask", ""), 8) & 0o777
        self.terminal = Terminal(
            _number(head.get("cols", "")), _number(head.get("rows", "")),
            *(head.get(name) == "1" for name in ("stdin", "stdout", "stderr", "color")))
        self.closed = asyncio.Event()
        self.interrupted = self.deserted = False
        self.exit_status: int | None = None
        self._sent = self._written = 0
        self._room = asyncio.Event()
        self._on_signal: Callable[[int], Awaitable[None]] | None = None
        self._on_resize: Callable[[int, int], Awaitable[None]] | None = None
        self._told: set[asyncio.Task[None]] = set()
        self._stream: _Stream | None = None
        self._answer: asyncio.Future[tuple[bytes, bytes]] | None = None
        self._asking = asyncio.Lock()
        self._streaming = asyncio.Lock()

    async def out(self, data: bytes) -> None:
        """To standard output; returns when it is on its way, which may mean waiting for a slow reader."""
        await self._put(b"O", data)

    async def err(self, data: bytes) -> None:
        """To standard error."""
        await self._put(b"E", data)

    async def head(self, status: int, headers: Sequence[tuple[str, str]], *, hijack: bool = False) -> None:
        """Begin to answer a request of the API; with `hijack` its connection becomes a stream in both directions."""
        lines = "\0".join((str(status), *(f"{name}: {value}" for name, value in headers)))
        await self._tell((b"H" if hijack else b"A") + lines.encode("utf-8", "surrogateescape"))

    async def exit(self, status: int) -> None:
        """End the call with this exit status. Only the first one counts."""
        if self.exit_status is None:
            self.exit_status = status & 0xFF
            if not self.closed.is_set():
                await self._respond(b"X%d" % self.exit_status)

    async def getenv(self, names: Sequence[str]) -> dict[str, str]:
        """The values of the client's environment variables; those that are not set are missing. Raises Gone."""
        if not names:
            return {}
        answer = await self._ask(b"G" + "\0".join(names).encode("utf-8", "surrogateescape"), b"v")
        values = answer.split(b"\0")
        return {name: _text(value[1:]) for name, value in zip(names, values, strict=False) if value}

    def open_file(self, path: str) -> AsyncIterator[bytes]:
        """The content of one of the client's files, in pieces. Raises Refused (the client cannot read it), Gone."""
        return self._pieces(b"R" + path.encode("utf-8", "surrogateescape"))

    async def lend_file(self, path: str) -> int:
        """The descriptor of a file that the client lends, for reading alone; -1 when it has to be streamed. The caller
        closes it. Raises Refused (the client cannot read it), Gone."""
        if self._borrow is None or not self._lends:
            return -1
        with self._borrow() as take:
            await self._ask(b"r" + path.encode("utf-8", "surrogateescape"), b"l")
            return take()

    def stdin(self) -> AsyncIterator[bytes]:
        """The client's standard input, in pieces, until its end. Raises Gone."""
        return self._pieces(b"I")

    async def create_file(self, path: str, mode: int, content: bytes) -> None:
        """Make a new file on the client's side. Raises Refused (it exists, or cannot be made), Gone."""
        named = path.encode("utf-8", "surrogateescape")
        await self._ask(b"N" + named + b"\0%o\0" % mode + content, b"k")

    async def unlink(self, path: str) -> None:
        """Delete a file that this call made; no answer, and no error when it cannot be done."""
        await self._tell(b"U" + path.encode("utf-8", "surrogateescape"))

    async def look(self, path: str, *, follow: bool) -> tuple[str, str]:
        """What one of the client's paths is (see `domain.copying.Found`), and where it leads. Raises Gone."""
        return (await self.look_all([(path, follow)]))[0]

    async def look_all(self, paths: Sequence[tuple[str, bool]]) -> list[tuple[str, str]]:
        """The same of several paths, each with whether it is followed, in one question. Raises Refused, Gone."""
        words = [b"%d\0" % follow + path.encode("utf-8", "surrogateescape") for path, follow in paths]
        answer = [_text(word) for word in (await self._ask(b"L" + b"\0".join(words), b"k")).split(b"\0")]
        if len(answer) != 2 * len(paths):
            raise Refused("the client gave an answer that was not asked for")
        return list(zip(answer[::2], answer[1::2], strict=True))

    def pack(
        self, path: str, name: str, options: str, ignored: str = "", known: bytes | None = None
    ) -> AsyncIterator[bytes]:
        """One of the client's files or trees as a tar, called `name` there, without what the rules of a
        `.dockerignore` hide, and without files that are `known`: see `adapters.tar.unchanged`. Raises Refused, Gone."""
        options = options if known is None else ",".join(filter(None, (options, "known")))
        words = (options, path, name, ignored) if ignored else (options, path, name)
        return self._pieces(b"P" + "\0".join(words).encode("utf-8", "surrogateescape"), known)

    @property
    def is_near(self) -> bool:
        """Whether the client and its files are on this machine."""
        return self._borrow is not None and self._lends

    async def spread(self, directory: str, content: AsyncIterator[bytes], options: str) -> tuple[int, int]:
        """Make the files of a tar in one of the client's directories; how many, and how many were left out.

        Raises Refused (the client cannot, or does not want to), Gone.
        """
        asked = b"T" + f"{options}\0{directory}".encode("utf-8", "surrogateescape")
        made, _, left_out = (await self._bring(asked, content)).partition(b"\0")
        return _number(_text(made)), _number(_text(left_out))

    async def write_file(
        self, path: str, mode: int, content: AsyncIterator[bytes], *, parents: bool = False
    ) -> None:
        """Write a file on the client's side, in the place of one that is there; with `parents` its directory is made
        (0700) if it is missing. Raises Refused, Gone."""
        how = b"W%o%b\0" % (mode, b",parents" if parents else b"")
        await self._bring(how + path.encode("utf-8", "surrogateescape"), content)

    async def ask(self, text: str, *, hidden: bool = False) -> str:
        """A line from the person on the terminal, without its end; empty at the end of input. What is typed is not
        shown if it is to be `hidden`. Raises Gone."""
        kind = b"!" if hidden else b"?"
        return _text(await self._ask(kind + text.encode("utf-8", "surrogateescape"), b"a"))

    async def credential_helper(self, name: str, verb: str, text: str) -> bytes:
        """What `docker-credential-NAME VERB`, run as the client with `text` for its input, has printed. Raises Refused
        (there is none, or it failed), Gone."""
        return await self._ask(b"H" + "\0".join((name, verb, text)).encode("utf-8", "surrogateescape"), b"k")

    async def agent(self, path: str, message: bytes) -> bytes:
        """What the agent of ssh behind one of the client's sockets answers to a message (`domain.agents`). Raises
        Refused (it does not), Gone."""
        return await self._ask(b"K" + path.encode("utf-8", "surrogateescape") + b"\0" + message, b"k")

    async def forward_signals(self, callback: Callable[[int], Awaitable[None]] | None) -> None:
        """From now on await `callback` with the number of each signal the client gets; None: no more."""
        self._on_signal = callback
        await self._tell(b"S1" if callback is not None else b"S0")

    async def use_terminal(self, resized: Callable[[int, int], Awaitable[None]], *, raw: bool) -> None:
        """From now on await `resized` with rows and columns of the client's terminal, first with what they are now;
        with `raw` every key comes as bytes through `stdin`, also those that would be signals."""
        self._on_resize = resized
        await self._tell(b"M1" if raw else b"M2")

    async def release_terminal(self) -> None:
        """The client's terminal is as it was before."""
        if self._on_resize is not None:
            self._on_resize = None
            await self._tell(b"M0")

    def take(self, data: bytes) -> bool:
        """Something from the client. Whether the call goes on: False means that its task is to be cancelled."""
        kind, rest = data[:1], data[1:]
        if kind == b"w":
            self._written = max(self._written, min(_number(_text(rest)), self._sent))
            self._room.set()
        elif kind in (b"d", b"e", b"f") and self._stream is not None:
            self._stream.take(kind, rest)
        elif kind in (b"k", b"f", b"v", b"a", b"l"):
            if self._answer is not None and not self._answer.done():
                self._answer.set_result((kind, rest))
        elif kind == b"s":
            self._signalled(_number(_text(rest)))
        elif kind == b"z":
            self._resized(rest)
        elif kind == b"c":
            self.interrupted = True
            return False
        return True

    async def cut_off(self, reason: str) -> None:
        """The last thing that is said, after the call was lost."""
        await self._respond(b"-" + reason.encode())

    def lose(self) -> None:
        """The client has gone: wake up everything that waits for it."""
        self.closed.set()
        self._room.set()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Gone("the client went away"))
        if self._stream is not None:
            self._stream.lose()
        for task in self._told:
            task.cancel()

    async def _put(self, kind: bytes, data: bytes) -> None:
        for at in range(0, len(data), _CHUNK):
            piece = data[at:at + _CHUNK]
            while self._sent - self._written + len(piece) > WINDOW and not self.closed.is_set():
                self._room.clear()
                await self._room.wait()
            self._sent += len(piece)
            await self._tell(kind + piece)

    async def _tell(self, data: bytes) -> None:
        if not self.closed.is_set():
            await self._respond(data)

    def _require_client(self) -> None:
        if self.closed.is_set():
            raise Gone("the client went away")

    async def _bring(self, question: bytes, content: AsyncIterator[bytes]) -> bytes:
        """What the client answers to a question that content follows, which may be before all of it was sent."""
        async with self._asked(question) as answer:
            async for piece in content:
                await self._put(b"B", piece)
                if answer.done():
                    break
            else:
                await self._tell(b"B")
            return _wanted(await answer, b"k")

    async def _ask(self, question: bytes, wanted: bytes) -> bytes:
        async with self._asked(question) as answer:
            return _wanted(await answer, wanted)

    @asynccontextmanager
    async def _asked(self, question: bytes) -> "AsyncIterator[asyncio.Future[tuple[bytes, bytes]]]":
        async with self._asking:
            answer = self._answer = asyncio.get_running_loop().create_future()
            try:
                self._require_client()
                await self._tell(question)
                yield answer
            finally:
                answer.cancel()
                self._answer = None

    async def _pieces(self, request: bytes, known: bytes | None = None) -> AsyncIterator[bytes]:
        async with self._streaming:
            stream = self._stream = _Stream()
            taken = reported = 0
            try:
                self._require_client()
                await self._tell(request)
                if known is not None:
                    await self._put(b"B", known)
                    await self._tell(b"B")
                while (piece := await stream.next()) is not None:
                    yield piece
                    taken += len(piece)
                    if taken - reported >= _ACKNOWLEDGE:
                        reported = taken
                        await self._tell(b"w%d" % taken)
            finally:
                self._stream = None

    def _signalled(self, number: int) -> None:
        if self._on_signal is not None and 0 < number < 65:
            self._deliver(self._on_signal(number), f"signal {number}")

    def _resized(self, size: bytes) -> None:
        rows, _, cols = _text(size).partition(" ")
        if self._on_resize is not None:
            self._deliver(self._on_resize(_extent(rows), _extent(cols)), "the size of the terminal")

    def _deliver(self, work: Awaitable[None], what: str) -> None:
        async def quietly() -> None:
            try:
                await work
            except LadingError as error:
                log.info("%s of %s was not delivered: %s", what, self.actor_id, error)

        task = asyncio.ensure_future(quietly())
        self._told.add(task)
        task.add_done_callback(self._told.discard)


class _Stream:
    """Pieces that the client sent and nobody has taken yet; a client that ignores the window ends it."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._error: LadingError | None = None
        self._news = asyncio.Event()

    def take(self, kind: bytes, rest: bytes) -> None:
        """One message of the stream."""
        if kind == b"d":
            self._pieces.append(rest)
            self._size += len(rest)
            if self._size > 2 * WINDOW:
                self._pieces.clear()
                self._error = InvalidValue("the client sends faster than it may")
        elif kind == b"f":
            self._error = Refused(_text(rest))
        else:
            self._ended = True
        self._news.set()

    def lose(self) -> None:
        """Nothing more will come; what has come is still there, and so is its end."""
        if not self._ended:
            self._error = Gone("the client went away")
        self._news.set()

    async def next(self) -> bytes | None:
        """The next piece; None at the end."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            self._news.clear()
            await self._news.wait()
        piece = self._pieces.popleft()
        self._size -= len(piece)
        return piece


Handler = Callable[[Call], Awaitable[None]]


class Clients(Protocol):
    """Who the local clients are and whether they are still there: the control socket, seen from here."""

    def identity(self, number: str) -> Actor:
        """Who `c<number>` is. Raises NotFound."""

    def connected(self, number: str) -> bool:
        """Whether the client is still there."""

    def on_gone(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the number of each client that hung up."""

    def on_part(self, take: Callable[[str, str, bytes], bool]) -> None:
        """Call `take` with number, session and payload of what a client says during a call, at once."""

    async def say(self, number: str, subject: str, payload: bytes) -> bool:
        """Say something to a client on its inbox, at once; False when that can only be done over the bus."""

    def borrow(self, number: str) -> AbstractContextManager[Callable[[], int]]:
        """While the block lasts, a client may lend a file: what is given tells its descriptor, or -1."""


class Console:
    """All calls that are being answered."""

    def __init__(self, host: str, handler: Handler, clients: Clients) -> None:
        self._host, self._handler, self._clients = host, handler, clients
        self._calls: dict[tuple[str, str], tuple[Call, asyncio.Task[None]]] = {}
        self._cut_off: list[Call] = []
        self._bus: Bus | None = None

    async def serve(self, bus: Bus) -> None:
        """Answer from now on."""
        self._clients.on_gone(self._client_gone)
        self._clients.on_part(self._take_part)
        self._bus = bus
        await bus.serve(subjects.area(self._host, "io"), self._take)
        await bus.serve(subjects.area(self._host, "call"), self._answer)

    @property
    def running(self) -> int:
        """How many calls there are at the moment."""
        return len(self._calls)

    def _client_gone(self, who: str) -> None:
        """A local client hung up: its calls end."""
        for (asker, _), (call, task) in list(self._calls.items()):
            if asker == who:
                call.deserted = True
                call.lose()
                task.cancel()

    async def bus_lost(self) -> None:
        """What is said over the bus from now on is lost: calls of clients elsewhere would go on with a hole in them, so
        they end."""
        for (who, _), (call, task) in list(self._calls.items()):
            if not subjects.is_local(who):
                self._cut_off.append(call)
                call.lose()
                task.cancel()

    async def bus_back(self) -> None:
        """Whoever still listens for the answer to a call that was cut off hears of that."""
        cut_off, self._cut_off = self._cut_off, []
        for call in cut_off:
            await call.cut_off("the bus was away for a moment")

    async def close(self) -> None:
        """End every call: its client is told that the engine goes down by the end of its connection."""
        calls = list(self._calls.values())
        for call, task in calls:
            call.lose()
            task.cancel()
        await asyncio.gather(*(task for _, task in calls), return_exceptions=True)

    async def _take(self, message: Message) -> None:
        """Without any await before the call has it: pieces of a stream must stay in order."""
        self._take_part(subjects.who(message.subject), subjects.session(message.subject), message.data)

    def _take_part(self, who: str, session: str, data: bytes) -> bool:
        found = self._calls.get((who, session))
        if found is not None:
            call, task = found
            if not call.take(data):
                task.cancel()
        return found is not None

    async def _answer(self, message: Message) -> None:
        who = subjects.who(message.subject)
        if subjects.is_local(who) and not self._clients.connected(who):
            return
        try:
            borrow = partial(self._clients.borrow, who) if subjects.is_local(who) else None
            call = Call(message, self._actor(who), self._way_back(who, message), borrow)
        except ValueError as error:
            await message.respond(b"Elading: %s\n" % str(error).encode())
            await message.respond(b"X125")
            return
        key = (who, call.session)
        if key in self._calls:
            log.warning("%s began a second call in session %s", *key)
            return
        task = asyncio.get_running_loop().create_task(self._run(call))
        self._calls[key] = (call, task)
        task.add_done_callback(lambda _: self._calls.pop(key, None))
        if self._bus is not None and not subjects.is_local(who) and subjects.answers_to(message.reply, who):
            looking = asyncio.get_running_loop().create_task(self._look_after(self._bus, call, task, message.reply))
            task.add_done_callback(lambda _: looking.cancel())

    async def _look_after(self, bus: Bus, call: Call, task: asyncio.Task[None], reply: str) -> None:
        """A client elsewhere has no connection here whose end would tell of its own: the bus is asked now and then
        whether anybody still listens to the answers."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            try:
                await bus.request(reply, b"", _LOOK_PATIENCE)
            except NoResponders:
                call.deserted = True
                call.lose()
                task.cancel()
                return
            except Unavailable:
                continue  # it listens, and has nothing to say to that; or the bus is away

    def _way_back(self, who: str, message: Message) -> Callable[[bytes], Awaitable[None]]:
        """How to answer: straight to a client of our own socket, else over the bus."""
        reply = message.reply if subjects.is_local(who) and subjects.answers_to(message.reply, who) else ""

        async def respond(data: bytes) -> None:
            if not reply or not await self._clients.say(who, reply, data):
                await message.respond(data)

        return respond

    def _actor(self, who: str) -> Actor:
        return self._clients.identity(who) if subjects.is_local(who) else Actor("nats", who, host=self._host)

    async def _run(self, call: Call) -> None:
        try:
            await self._handler(call)
        except asyncio.CancelledError:
            if call.interrupted and not call.closed.is_set():
                await call.exit(_INTERRUPTED)
            raise
        except Gone:
            log.debug("%s went away", call.actor_id)
        except Exception as error:
            await self._failed(call, error)
        else:
            await call.exit(0)

    async def _failed(self, call: Call, error: Exception) -> None:
        """Handlers word their own refusals; this is for what they did not expect."""
        if isinstance(error, LadingError):
            text = error.message
        else:
            log.exception("the call of %s failed", call.actor_id)
            text = "the engine failed on this command; its log says why"
        await call.release_terminal()
        await call.err(f"lading: {text}\n".encode("utf-8", "replace"))
        await call.exit(125 if call.argv[:1] == ["run"] else 1)


async def serve_calls(bus: Bus, host: str, handler: Handler, clients: Clients) -> Console:
    """Answer every call of the host's console with `handler`, until the result is closed; `clients` is the control
    socket. A handler that returns without `exit` ends its call with status 0."""
    console = Console(host, handler, clients)
    await console.serve(bus)
    return console


def _parse(payload: bytes) -> tuple[dict[str, str], list[str]]:
    """The head and the argv of a call. Raises ValueError."""
    if not payload.endswith(b"\0"):
        raise ValueError("this client speaks another protocol than the engine")
    items = payload[:-1].split(b"\0")
    if items[0] != VERSION.encode() or b"" not in items:
        raise ValueError("this client speaks another protocol than the engine")
    end = items.index(b"")
    pairs = (_text(item).partition("=") for item in items[1:end])
    head = {key: value for key, _, value in pairs}
    return head, [_text(item) for item in items[end + 1:]]


def _wanted(answer: tuple[bytes, bytes], wanted: bytes) -> bytes:
    """What was answered, if it is an answer of that kind. Raises Refused."""
    kind, rest = answer
    if kind != wanted:
        raise Refused(_text(rest) if kind == b"f" else "the client gave an answer that was not asked for")
    return rest


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _number(text: str, base: int = 10) -> int:
    """0 for what is no number: the head of a call is a claim, nothing depends on it."""
    digits = "0123456789"[:base]
    return int(text, base) if 0 < len(text) <= 18 and not set(text) - set(digits) else 0


def _extent(text: str) -> int:
    """Rows or columns, as far as the kernel can count them."""
    return min(_number(text), 0xFFFF)

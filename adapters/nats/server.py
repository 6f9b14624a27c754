"""The embedded nats-server: configured, started, watched and ended by the daemon, and never alive without it.

    <run>/nats/          0700
      server.conf        0600   written anew for every start of the server
      server.pid         0600   `pid start-time`, so that a left-over of a killed daemon can be recognised
      server.log         0600   the server's own log, rotated by it
      start.log          0600   what it wrote before it had a log
      worker.json …      0600   access for programs (adapters.nats.access)

Three things keep others out of the daemon's place. Passwords are new for every start of the daemon. The server proves
itself by a name that is new for every start of the server and stands only in the configuration: nobody gets to see a
password without it. And the port is held: the daemon keeps a bound, silent socket on it, so that no other user can take
the port, and play the server, in the moment when the server is down. (Linux lets a second socket bind an address when
both have SO_REUSEADDR and neither listens; ours has it only while the server starts. socket(7), inet_csk_bind_conflict)
"""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from adapters.nats import tether
from adapters.nats.access import Access, write_access, write_private
from adapters.nats.binary import find_nats_server
from adapters.nats.rights import User, permissions
from domain import subjects
from domain.errors import InvalidValue, Unavailable

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
MAX_PAYLOAD = 1024 * 1024
_MAX_PENDING = 32 * 1024 * 1024
_ROLES = ("daemon", "proxy", "worker", "reader")
_START_SECONDS = 10.0
_QUICK_DEATH_SECONDS = 10.0
_LONGEST_PAUSE = 2.0


class EmbeddedServer:
    """One nats-server on the loopback device, restarted when it dies, ended with the daemon."""

    def __init__(self, directory: Path, host: str, users: Sequence[User] = (), *, program: str = "") -> None:
        for user in users:
            if not subjects.is_user(user.name):
                raise InvalidValue(f"{user.name!r} cannot be the name of a user of the bus")
        self._directory, self._host, self._users, self._program = directory, host, tuple(users), program
        self._passwords = {role: secrets.token_urlsafe(32) for role in _ROLES}
        self._place: socket.socket | None = None
        self._name = ""
        self._process: _Process | None = None
        self._up = asyncio.Event()
        self._stopping = False
        self._restarting: asyncio.Task[None] | None = None
        self._quick_deaths = 0

    @property
    def pid(self) -> int:
        """The process id of the server, 0 while it is down."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Start the server and return when it answers. Raises Unavailable."""
        self._prepare_directory()
        await _end_left_over(self._directory / "server.pid")
        self._take_place()
        try:
            await self._launch()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the server, and delete what was written for it. Twice is fine."""
        self._stopping = True
        self._up.clear()
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.gather(self._restarting, return_exceptions=True)
        if self._process is not None:
            await self._process.end()
            self._process = None
        if self._place is not None:
            self._place.close()
            self._place = None
        for name in ("server.conf", "server.pid", *(f"{role}.json" for role in _ROLES)):
            (self._directory / name).unlink(missing_ok=True)

    async def locate(self, role: str) -> Access:
        """How `role` reaches the server; waits while it is down."""
        await self._up.wait()
        return self._access(role)

    def _access(self, role: str) -> Access:
        return Access(LOOPBACK, self._port, role, self._passwords[role], server_name=self._name)

    @property
    def _port(self) -> int:
        if self._place is None:
            raise Unavailable("the bus is not running")
        port: int = self._place.getsockname()[1]
        return port

    def _prepare_directory(self) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        state = self._directory.lstat()
        if not self._directory.is_dir() or self._directory.is_symlink() or state.st_uid != os.geteuid():
            raise Unavailable(f"{self._directory} is not a directory of this user")
        self._directory.chmod(0o700)

    def _take_place(self) -> None:
        if self._place is not None:
            self._place.close()
        self._place = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._place.bind((LOOPBACK, 0))

    def _share_place(self, share: bool) -> None:
        if self._place is not None:
            self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(share))

    async def _launch(self) -> None:
        self._name = f"lading-{secrets.token_hex(16)}"
        write_private(self._directory / "server.conf", self._configuration())
        for role in ("worker", "reader"):
            write_access(self._directory / f"{role}.json", self._access(role))
        self._share_place(True)
        try:
            self._process = self._spawn()
            await self._until_it_answers(self._process)
        finally:
            self._share_place(False)
        self._process.when_it_ends(self._died)
        self._up.set()
        log.info("nats-server %d answers on port %d", self._process.pid, self._port)

    def _spawn(self) -> "_Process":
        program = str(find_nats_server(self._program))
        process = _Process.start(
            [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()),
             program, "-c", str(self._directory / "server.conf")], self._directory / "start.log")
        write_private(self._directory / "server.pid", f"{process.pid} {_start_time(process.pid)}\n")
        return process

    async def _until_it_answers(self, process: "_Process") -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if process.ended:
                raise Unavailable(f"nats-server ended at once: {self._last_words()}")
            if await _server_name(LOOPBACK, self._port) == self._name:
                return
            await asyncio.sleep(0.001)
        await process.end()
        raise Unavailable(f"nats-server does not answer after {_START_SECONDS:.0f} s: {self._last_words()}")

    def _last_words(self) -> str:
        """The last line the server wrote, from either log."""
        lines = [line for name in ("start.log", "server.log")
                 for line in _read(self._directory / name).splitlines() if line.strip()]
        return ascii(lines[-1])[1:-1][:300] if lines else "it said nothing"

    def _died(self) -> None:
        self._up.clear()
        process, self._process = self._process, None
        if self._stopping or process is None:
            return
        lived = time.monotonic() - process.started
        self._quick_deaths = 0 if lived > _QUICK_DEATH_SECONDS else self._quick_deaths + 1
        log.error("nats-server %d ended after %.1f s: starting it again", process.pid, lived)
        self._restarting = asyncio.get_running_loop().create_task(self._restart())

    async def _restart(self) -> None:
        """The same port and passwords, so that clients come back by themselves; another port only when somebody was
        quick enough to take it in the moment it was shared."""
        while not self._up.is_set():
            await asyncio.sleep(self._pause())
            try:
                await self._launch()
            except (Unavailable, OSError) as error:
                self._quick_deaths += 1
                log.error("cannot start nats-server again: %s", error)
                if self._process is not None:
                    await self._process.end()
                    self._process = None
                self._take_place()

    def _pause(self) -> float:
        """No pause after a first death: the bus must be back within a tenth of a second."""
        return 0.0 if self._quick_deaths < 3 else min(0.05 * 2.0 ** (self._quick_deaths - 3), _LONGEST_PAUSE)

    def _configuration(self) -> str:
        """JSON is valid nats-server configuration, and quotes whatever a path or a name holds.

        Neither monitoring nor websocket, leafnode, gateway, cluster or mqtt listener appears here, so there is none.
        The system account exists, but nobody can log into it. Pings are rare: loopback tells at once when a peer ends,
        and a client that was stopped by its terminal must not lose its connection.
        """
        engine = [(role, self._passwords[role], role) for role in _ROLES]
        operators = [(user.name, user.password, user.role) for user in self._users]
        return json.dumps({
            "server_name": self._name, "host": LOOPBACK, "port": self._port,
            "max_payload": MAX_PAYLOAD, "max_pending": _MAX_PENDING, "max_control_line": 4096,
            "write_deadline": "10s", "ping_interval": "1h", "ping_max": 24,
            "authorization": {"timeout": 2},
            "log_file": str(self._directory / "server.log"), "logfile_size_limit": 1024 * 1024, "logfile_max_num": 2,
            "accounts": {
                "LADING": {"users": [{"user": name, "password": password,
                                      "permissions": permissions(name, self._host, role)}
                                     for name, password, role in (*engine, *operators)]},
                "SYS": {"users": []},
            },
            "system_account": "SYS",
        }, indent=1)


class _Process:
    """A child by its pidfd: never signalled by a bare number."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid, self._pidfd, self.started = pid, pidfd, time.monotonic()
        self.ended = False
        self._gone = asyncio.Event()
        self._listener: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(pidfd, self._reap)

    @classmethod
    def start(cls, argv: list[str], output: Path) -> "_Process":
        """Without environment, in a session of its own (the daemon's terminal must not interrupt it), output to a
        file. posix_spawn does not copy the daemon, and Python's descriptors are closed on exec."""
        quiet = (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        told = [(os.POSIX_SPAWN_OPEN, descriptor, str(output), flags, 0o600) for descriptor in (1, 2)]
        pid = os.posix_spawn(argv[0], argv, {}, file_actions=[quiet, *told], setsid=True,
                             setsigdef=[signal.SIGPIPE, signal.SIGXFSZ], setsigmask=[])
        return cls(pid, os.pidfd_open(pid))

    def when_it_ends(self, listener: Callable[[], None]) -> None:
        """Call `listener` once, from the loop; at once when it is too late to wait."""
        if self.ended:
            listener()
        else:
            self._listener = listener

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        self.ended = True
        self._gone.set()
        if self._listener is not None:
            self._listener()

    async def end(self) -> None:
        """TERM, KILL a second later, and reap."""
        for sig, seconds in ((signal.SIGTERM, 1.0), (signal.SIGKILL, 10.0)):
            if self.ended:
                return
            signal.pidfd_send_signal(self._pidfd, sig)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), seconds)


async def _server_name(host: str, port: int) -> str:
    """The name in the greeting of whoever listens there; empty when nobody (sensible) does."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return ""
    try:
        line = await asyncio.wait_for(reader.readline(), 1.0)
        name = json.loads(line.removeprefix(b"INFO ")).get("server_name", "")
        return name if isinstance(name, str) else ""
    except (OSError, ValueError, AttributeError, TimeoutError):
        return ""
    finally:
        writer.close()


async def _end_left_over(pid_file: Path) -> None:
    """End the server of a daemon that was killed before it could tie it to its own life.

    A pid alone may belong to a stranger by now: only the pid with the start time that was written down is ended, and
    the pidfd is opened before the comparison, so that the number cannot change hands in between.
    """
    pid, _, started = _read(pid_file).strip().partition(" ")
    if not pid.isdigit():
        return
    try:
        pidfd = os.pidfd_open(int(pid))
    except (ProcessLookupError, OverflowError, OSError):
        return
    try:
        if _start_time(int(pid)) == started:
            log.warning("ending nats-server %s, left over from a daemon that was killed", pid)
            with contextlib.suppress(ProcessLookupError):  # it ends with its daemon, perhaps just now
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            await _until_readable(pidfd)
    finally:
        os.close(pidfd)


async def _until_readable(descriptor: int, seconds: float = 5.0) -> None:
    ready, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(descriptor, ready.set)
    try:
        await asyncio.wait_for(ready.wait(), seconds)
    finally:
        loop.remove_reader(descriptor)


def _start_time(pid: int) -> str:
    """Field 22 of /proc/PID/stat, clock ticks since boot; field 2 may hold spaces and brackets (proc_pid_stat(5))."""
    return (_read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split() + [""] * 20)[19]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

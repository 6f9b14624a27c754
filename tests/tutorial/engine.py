"""An engine of its own for end-to-end tests: started from this checkout, used as people and programs use it, and
looked at from outside, as an administrator would with /proc, the control groups and the files.

Nothing here imports the engine. Whatever carries this engine's data root or run directory belongs to it and to nobody
else on the machine; that is how its processes are found, killed and counted.
"""

import hashlib
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.nftables.main import NFTables

from tests.tutorial.line import Line

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent
HOST = "box"
PATIENCE = 30.0
CGROUPS = Path("/sys/fs/cgroup")
SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SMALL = ("keeper", "warden", "zygote", "net")


@dataclass(frozen=True)
class Done:
    """A command line that has ended."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Of standard output."""
        return self.out.splitlines()


@dataclass
class Processes:
    """Who of the engine lives: pid by role (0: nobody), what runs in its containers (pid to `<id>.<attempt>`), and
    anything else of its."""

    roles: dict[str, int] = field(default_factory=dict)
    contained: dict[int, str] = field(default_factory=dict)
    others: dict[int, str] = field(default_factory=dict)

    def __getitem__(self, role: str) -> int:
        return self.roles.get(role, 0)

    def everyone(self) -> list[int]:
        """All pids."""
        return [*self.roles.values(), *self.contained, *self.others]


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE, pause: float = 0.01) -> Any:
    """Poll until the condition holds and return what it gave; the test fails by name otherwise."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(pause)
    return found


class Engine:
    """One data root, one run directory, and a daemon that may be killed and started again."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="lt-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        self.data, self.run_dir = self.folder / "d", self.folder / "r"
        self._digest = hashlib.sha256(str(self.data).encode()).hexdigest()[:8]
        self.group_root = f"lading-{self._digest}"
        self.configure()
        self.environment = {
            "PATH": SEARCHED,
            "LADING_DATA_ROOT": str(self.data),
            "LADING_RUN_DIR": str(self.run_dir),
            "LADING_CONFIG": str(self.folder / "config.toml"),
            "LADING_HOST_NAME": HOST,
            "LADING_AUTOSTART": "0",
        }
        self._daemon: subprocess.Popen[bytes] | None = None
        self._started: list[subprocess.Popen[str]] = []

    def configure(self, text: str = "") -> None:
        """Write the configuration, for the next start. Names without a registry lead to this machine, where nobody
        listens: no test asks the network for anything."""
        default = "" if "[registries]" in text else '[registries]\ndefault = "127.0.0.1:1"\n'
        (self.folder / "config.toml").write_text(f"{text}\n{default}")

    # The daemon ------------------------------------------------------------------------------------------------------

    def start(self, failpoints: str = "", *, wait: bool = True) -> None:
        """Start the daemon; returns when it answers."""
        if self._daemon is not None:
            self._daemon.wait(PATIENCE)  # the former one is dead, or about to be
        # One that a command line has started is nobody's child here, and its threads die one after the other.
        until(lambda: not wait or not self.listens(), "nobody listens any more", pause=0.005)
        environment = {**self.environment, **({"LADING_FAILPOINTS": failpoints} if failpoints else {})}
        with (self.folder / "daemon.out").open("ab") as output:
            self._daemon = subprocess.Popen(
                [str(PROGRAMS / "ladingd")], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, cwd="/",
            )
        if wait:
            until(self.answers, "the daemon answers", pause=0.005)

    def answers(self) -> bool:
        """Whether somebody listens; the socket comes last, so who can connect is answered."""
        ended = self._daemon is not None and self._daemon.poll() is not None
        assert not ended, f"the daemon has ended: {self.said()}"
        return self.listens()

    def listens(self) -> bool:
        """Whether a client could connect, whoever has started the daemon."""
        try:
            Line(self.socket).close()
        except OSError:
            return False
        return True

    def dead(self) -> bool:
        """Whether the daemon that was started here has ended; one that was killed takes a moment."""
        assert self._daemon is not None
        try:
            self._daemon.wait(0.2)
        except subprocess.TimeoutExpired:
            return False
        return True

    def said(self) -> str:
        """The last words of the daemon."""
        texts = [path.read_text(errors="replace") for path in
                 (self.data / "state" / "daemon.log", self.folder / "daemon.out") if path.exists()]
        return "\n".join(texts)[-3000:]

    @property
    def socket(self) -> Path:
        """Where clients connect."""
        return self.run_dir / "lading.sock"

    def died(self, seconds: float = PATIENCE) -> None:
        """Wait until the daemon that was started here is dead."""
        assert self._daemon is not None
        self._daemon.wait(seconds)

    def crash(self) -> None:
        """Kill the daemon, whoever has started it; returns when it is gone."""
        self.kill("daemon")
        until(lambda: not self.processes()["daemon"], "the killed daemon is gone", pause=0.002)
        if self._daemon is not None:
            self._daemon.wait(PATIENCE)

    def stop(self) -> None:
        """End the daemon in peace; containers go on."""
        self.ok("daemon", "stop")
        if self._daemon is not None:
            self._daemon.wait(PATIENCE)
        self._daemon = None

    def restart(self, failpoints: str = "") -> None:
        """The daemon ends (in peace if it can) and another one comes."""
        if self.listens():
            self.stop()
        self.start(failpoints)

    def shut_down(self) -> None:
        """End the processes that outlive the daemon, and what runs in containers with them."""
        done = subprocess.run(
            [sys.executable, "-I", "-m", "lading_engine", "shutdown", "--kill"], env=self.environment,
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )
        assert done.returncode == 0, done.stderr
        until(lambda: not any(self.processes()[role] for role in SMALL), "the supervisors are gone")

    def close(self, *, keep: bool = False) -> list[str]:
        """End everything and delete the folder, unless it is to be kept.

        What should not have been left is returned, and taken away as well.
        """
        try:
            for process in self._started:
                process.kill()
                process.communicate()
            with suppress(AssertionError, subprocess.TimeoutExpired):
                if self.listens():
                    self.stop()
            if self._daemon is not None and self._daemon.poll() is None:
                self._daemon.kill()
                self._daemon.wait()
            with suppress(AssertionError, subprocess.TimeoutExpired):
                if any(self.processes()[role] for role in SMALL):
                    self.shut_down()
            return self.left_behind()
        finally:
            if not keep:
                self.erase()

    def left_behind(self) -> list[str]:
        """What is still there of an engine that has ended."""
        found = [f"process {pid}: {_command_line(pid)}" for pid in self.processes().everyone()]
        found += [f"control group {path}" for path in CGROUPS.glob(f"*/{self.group_root}")]
        found += [f"mount {line}" for line in self.mounts()]
        found += [f"interface {name}" for name in self.interfaces()] + self.tables()
        found += [f"socket {path}" for path in (self.socket, self.run_dir / "warden.sock") if path.exists()]
        return found

    def interfaces(self) -> list[str]:
        """Links on the host that are this engine's, also those that wait to be deleted: it has a group of them."""
        group = 0x1A000000 | int(self._digest, 16) & 0xFFFFFE
        found = []
        for path in Path("/sys/class/net").glob("l*/netdev_group"):
            with suppress(OSError, ValueError):
                if int(path.read_text()) & ~1 == group:
                    found.append(path.parent.name)
        return sorted(found)

    def tables(self) -> list[str]:
        """Tables of nftables on the host that are this engine's; none where the kernel has no nftables."""
        try:
            with NFTables(nfgen_family=0) as nft:
                names = [table.get_attr("NFTA_TABLE_NAME") for table in nft.get_tables()]
        except (OSError, NetlinkError):
            return []
        return [f"table {name}" for name in names if name == f"lading-{self._digest}"]

    def erase(self) -> None:
        """Take away whatever is there."""
        for _ in range(200):
            left = self.processes().everyone()
            if not left:
                break
            for pid in left:
                _kill(pid)
            time.sleep(0.02)
        for group in sorted(CGROUPS.glob(f"*/{self.group_root}/**/"), key=lambda path: -len(path.parts)):
            with suppress(OSError):
                group.rmdir()
        for line in reversed(self.mounts()):
            subprocess.run(["umount", "-l", line.split()[4]], check=False, timeout=PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)

    # As people use it ------------------------------------------------------------------------------------------------

    def cli(self, *words: str, env: Mapping[str, str] | None = None, timeout: float = PATIENCE, stdin: str = "",
            cwd: str | Path = "/") -> Done:
        """Run a command line to its end."""
        done = subprocess.run(
            [str(PROGRAMS / "lading"), *words], env={**self.environment, **(env or {})}, input=stdin,
            capture_output=True, text=True, errors="surrogateescape", timeout=timeout, check=False, cwd=cwd,
        )
        return Done(words, done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str, env: Mapping[str, str] | None = None, timeout: float = PATIENCE) -> str:
        """What a command line prints that must succeed, without the last line end."""
        done = self.cli(*words, env=env, timeout=timeout)
        assert done.code == 0, f"{words}: {done.code}: {done.err}" + ("" if self.listens() else f"\n{self.said()}")
        return done.out.removesuffix("\n")

    def refused(self, *words: str, code: int = 1, env: Mapping[str, str] | None = None) -> str:
        """The complaint of a command line that must end with this status and say one thing on standard error."""
        done = self.cli(*words, env=env)
        assert (done.code, done.out) == (code, ""), f"{words}: {done}"
        assert done.err.strip(), f"{words} said nothing"
        return done.err

    def begin(self, *words: str, env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """Start a command line that goes on; it is ended with the engine at the latest."""
        process = subprocess.Popen(
            [str(PROGRAMS / "lading"), *words], env={**self.environment, **(env or {})}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/",
        )
        self._started.append(process)
        return process

    def shell(self, script: str, *options: str, name: str = "") -> str:
        """`run -d` of a shell script in the base image; the id."""
        named = ("--name", name) if name else ()
        return self.ok("run", "-d", *named, *options, "busybox", "sh", "-c", script)

    def written(self, name: str, text: str, seconds: float = PATIENCE) -> None:
        """Wait until a container has written `text`."""
        def holds() -> bool:
            done = self.cli("logs", name)
            return text in done.out + done.err

        until(holds, f"{name} writes {text!r}", seconds)

    def state(self, name: str) -> str:
        """The state of one container."""
        return self.ok("inspect", "-f", "{{.State.Status}}", name)

    def pid(self, name: str) -> int:
        """The first process of one container, as the host counts."""
        return int(self.ok("inspect", "-f", "{{.State.Pid}}", name))

    def reaches(self, name: str, state: str, seconds: float = PATIENCE) -> None:
        """Wait for a state."""
        until(lambda: self.state(name) == state, f"{name} becomes {state}", seconds)

    def steps(self, name: str) -> list[str]:
        """The names of a container's events, oldest first, without who has only looked."""
        return self.ok("audit", "--access", "none", "--format", "{{.Event}}", name).splitlines()

    def everything(self) -> list[str]:
        """Full ids of all containers."""
        return self.ok("ps", "-aq", "--no-trunc").split()

    def remove_all(self) -> None:
        """Every container, running or not."""
        if ids := self.everything():
            done = self.cli("rm", "-f", *ids, timeout=120)
            assert done.code == 0 or not self.everything(), done.err
        self.cli("volume", "prune", "-af")

    # As programs use it ----------------------------------------------------------------------------------------------

    def ask(self, verb: str, _seconds: float = PATIENCE, **payload: Any) -> dict[str, Any]:
        """A wish as JSON, through the socket; the answer as it came."""
        with closing(Line(self.socket)) as line:
            return line.ask(f"lading.@.cmd.@.{verb}", payload, _seconds)

    def query(self, view: str, **payload: Any) -> dict[str, Any]:
        """A question as JSON, through the socket."""
        with closing(Line(self.socket)) as line:
            return line.ask(f"lading.@.q.@.{view}", payload)

    def rows(self) -> dict[str, dict[str, Any]]:
        """Every container by its id."""
        answer = self.query("containers")
        assert answer["ok"], answer
        return {row["id"]: row for row in answer["rows"]}

    def history(self, id: str) -> list[dict[str, Any]]:
        """The events of a container, as programs see them."""
        answer = self.query("history", container=id)
        assert answer["ok"], answer
        events: list[dict[str, Any]] = answer["events"]
        return events

    # As an administrator looks at it ---------------------------------------------------------------------------------

    def processes(self) -> Processes:
        """One look at /proc."""
        found = Processes()
        marks = {f"LADING_DATA_ROOT={self.data}", f"data={self.data}"}
        parents: dict[int, int] = {}
        daemons: list[int] = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            pid = int(entry)
            argv = _words(pid, "cmdline")
            if not argv:
                continue  # a kernel thread, or a zombie
            parents[pid] = _parent(pid)
            if f"data={self.data}" in argv:
                found.roles.setdefault(argv[argv.index("-S") + 2], pid)
            elif f"/{self.group_root}/" in (groups := _text(pid, "cgroup")):
                found.contained[pid] = groups.partition(f"/{self.group_root}/")[2].split()[0].split("/")[0]
            elif argv[-1] == str(self.run_dir / "nats" / "server.conf") and "nats-server" in argv[0]:
                found.roles["nats"] = pid
            elif ("net", str(self.run_dir)) in pairwise(argv):
                found.roles["net"] = pid
            elif str(PROGRAMS / "ladingd") in argv or argv[-2:] == ["lading_engine", "daemon"]:
                if marks & set(_words(pid, "environ")):
                    daemons.append(pid)
            elif "zygote" in argv and found["warden"] and parents[pid] == found["warden"]:
                found.roles["zygote"] = pid
        for pid in daemons:
            if parents[pid] not in daemons:  # a child that is about to execute something still looks like its parent
                found.roles["daemon"] = pid
        for pid, parent in parents.items():
            known = found.everyone()
            if pid in known:
                continue
            if parent == found["warden"] and parent and "zygote" in _words(pid, "cmdline"):
                found.roles["zygote"] = pid
            elif parent in (found["daemon"], found["warden"], found["keeper"]) and parent:
                found.others[pid] = _command_line(pid)
        return found

    def kill(self, *roles: str, stopped: bool = False) -> dict[str, int]:
        """SIGKILL for these processes of exactly this engine; who was not there is left out.

        With `stopped` all of them are halted first, so that none can do anything about the death of another.
        """
        processes = self.processes()
        hit = {role: processes[role] for role in roles if processes[role]}
        for pid in hit.values() if stopped else ():
            _kill(pid, signal.SIGSTOP)
        for pid in hit.values():
            _kill(pid)
        return hit

    def mounts(self) -> list[str]:
        """Mounts of the host below our folder, but for one that the data root itself may be."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in lines if f" {self.folder}/" in line and f" {self.data} " not in line]

    def groups(self) -> dict[str, set[int]]:
        """`<id>.<attempt>` of every control group of this engine, in any hierarchy, with the processes in it."""
        found: dict[str, set[int]] = {}
        for path in CGROUPS.glob(f"*/{self.group_root}/*.*"):
            if path.is_dir() and path.name.split(".")[0].isalnum():
                with suppress(OSError):
                    pids = {int(pid) for pid in (path / "cgroup.procs").read_text().split()}
                    found.setdefault(path.name, set()).update(pids)
        return {name: pids for name, pids in found.items() if len(name.split(".")[0]) == 64}

    def open_intents(self) -> int:
        """What the log says is still to be done."""
        return int(self.select("SELECT count(*) FROM open_intents")[0][0])

    def select(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the database beside the daemon, reading only."""
        with closing(sqlite3.connect(f"file:{self.data}/lading.db?mode=ro", uri=True, timeout=10)) as connection:
            return list(connection.execute(statement))

    def descriptors(self) -> dict[str, int]:
        """How many namespaces, pidfds and pipes the small processes hold, by role and kind."""
        processes = self.processes()
        found: dict[str, int] = {}
        for role in SMALL:
            for target in _links(processes[role]):
                kind = target.split(":")[0]
                if kind in ("mnt", "net", "ipc", "pipe") or "pidfd" in target:
                    key = f"{role} {'pidfd' if 'pidfd' in target else kind}"
                    found[key] = found.get(key, 0) + 1
        return found

    def logged(self, id: str) -> list[str]:
        """All lines that a container has ever written, both streams."""
        done = self.cli("logs", id)
        return (done.out + done.err).splitlines()

    def ruled_paths(self) -> set[str]:
        """What lies in the data root and belongs to a container or to work in progress, relative to it."""
        folders = ("containers", "logs", "tmp", "store/tmp", "store/ingest")
        return {f"{name}/{entry}" for name in folders
                if (self.data / name).is_dir() for entry in os.listdir(self.data / name)}

    def stored_layers(self) -> set[str]:
        """Layers and blobs of the image store."""
        folders = ("store/layers", "store/blobs/sha256", "store/stubs")
        return {f"{name}/{entry}" for name in folders
                if (self.data / name).is_dir() for entry in os.listdir(self.data / name)}


def in_group(path: Path) -> Iterator[int]:
    """Processes of one control group."""
    with suppress(OSError):
        yield from (int(pid) for pid in (path / "cgroup.procs").read_text().split())


def start_time(pid: int) -> int:
    """With the pid it names a process for ever; 0 for none."""
    fields = _text(pid, "stat").rpartition(")")[2].split()
    return int(fields[19]) if fields else 0


def alive(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    fields = _text(pid, "stat").rpartition(")")[2].split()
    return bool(fields) and fields[0] not in "ZX"


def readable(stream: Any, seconds: float) -> bool:
    """Whether something can be read (or the end was reached) in time."""
    return bool(select.select([stream], [], [], seconds)[0])


def _kill(pid: int, number: int = signal.SIGKILL) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _text(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _words(pid: int, name: str) -> list[str]:
    return [word for word in _text(pid, name).split("\0") if word]


def _command_line(pid: int) -> str:
    return " ".join(_words(pid, "cmdline"))


def _parent(pid: int) -> int:
    fields = _text(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def _links(pid: int) -> list[str]:
    found = []
    if pid:
        with suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found

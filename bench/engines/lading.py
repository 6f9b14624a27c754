"""Lading itself, from this checkout, with a data root and a run directory of its own."""

import hashlib
import os
import signal
from pathlib import Path

from bench.image import REFERENCE, ROOT
from bench.process import Command, Failed, Nursery, alive, executable, until

PROGRAMS = ROOT / ".venv/bin"
ALONE = ("/usr/bin/unshare", "-n", "/bin/sh", "-c", 'ip link set lo up && exec "$@"', "sh")
"""In front of a daemon: it gets a network namespace of its own."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Lading:
    """A daemon and all it needs; `start` may be called again after `stop` or `crash`. `alone` it has a network
    namespace of its own."""

    name = "lading"

    def __init__(self, folder: Path, *, alone: bool = False) -> None:
        self._alone = alone
        self.data = folder / "data"
        self._folder = folder
        folder.mkdir()
        config = folder / "config.toml"
        config.touch()
        self._env = {
            "PATH": PATH,
            "LADING_DATA_ROOT": str(self.data),
            "LADING_RUN_DIR": str(folder / "run"),
            "LADING_CONFIG": str(config),
            "LADING_AUTOSTART": "0",
        }
        self._nursery = Nursery(folder)
        self._pid = 0

    @property
    def pid(self) -> int:
        """The daemon's."""
        return self._pid

    def start(self, patience: float = 60.0) -> None:
        """Start the daemon; returns when it answers. Raises Failed."""
        argv = [*(ALONE if self._alone else ()), str(PROGRAMS / "ladingd")]
        self._pid = self._nursery.start(argv, self._env, "ladingd.log")
        until(self.answers, "the daemon to answer", patience)

    def answers(self) -> bool:
        """Whether a client gets a list. Raises Failed when the daemon has ended."""
        if not alive(self._pid):
            raise Failed(f"the daemon has ended:\n{self.log()}")
        try:
            self.command("ps", "-q")()
        except Failed:
            return False
        return True

    def log(self) -> str:
        """The end of the daemon's log."""
        try:
            return (self._folder / "ladingd.log").read_text(encoding="utf-8", errors="replace")[-2000:]
        except OSError:
            return ""

    def command(self, *arguments: str) -> Command:
        """A command line of the client."""
        return Command([str(PROGRAMS / "lading"), *arguments], self._env)

    def import_image(self, archive: Path) -> None:
        """Make the image of the bench."""
        self.command("import", str(archive), REFERENCE).output()

    def engine_processes(self) -> list[int]:
        """Daemon, bus, supervisors: everything but what runs in containers."""
        return [pid for pid in self._nursery.processes() if executable(pid) != "busybox"]

    def container_processes(self) -> list[int]:
        """What runs in containers."""
        return [pid for pid in self._nursery.processes() if executable(pid) == "busybox"]

    def remove_all(self) -> None:
        """Every container, running or not."""
        ids = self.command("ps", "-aq").output().split()
        for at in range(0, len(ids), 100):
            self.command("rm", "-f", *ids[at : at + 100]).output()

    def crash(self) -> None:
        """Kill the daemon; returns when the kernel has taken it away."""
        os.kill(self._pid, signal.SIGKILL)
        until(lambda: not alive(self._pid), "the killed daemon to vanish", pause=0.001)

    def stop(self) -> None:
        """End the daemon in peace; the supervisors stay."""
        if self._pid and alive(self._pid):
            os.kill(self._pid, signal.SIGTERM)
            until(lambda: not alive(self._pid), "the daemon to end")

    def close(self) -> None:
        """Leave no process."""
        try:
            self.stop()
        finally:
            self._nursery.close()

    def cgroup(self) -> str:
        """The name of its control groups, which depends on the data root."""
        return f"lading-{hashlib.sha256(str(self.data).encode()).hexdigest()[:8]}"

"""Docker, started by hand: own data root, no networks unless they are measured, its fixed directories covered."""

import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bench.engines.lading import ALONE, PATH
from bench.image import REFERENCE
from bench.process import Command, Failed, Nursery, alive, executable, until

COVERED = ("/etc/docker", "/opt/containerd", "/run/containerd", "/run/docker")
PROGRAMS = ("dockerd", "containerd", "containerd-shim", "containerd-shim-runc-v2", "docker-proxy", "docker-init")
_WITHOUT_NETWORKS = {
    "bridge": "none", "iptables": "false", "ip6tables": "false", "ip-forward": "false", "userland-proxy": "false",
}


class Docker:
    """A dockerd of its own; what it leaves at fixed places vanishes with it. With `networks` it has its bridges and
    rules, in a network namespace of its own."""

    name = "docker"

    def __init__(self, folder: Path, client: str, daemon: str, *, networks: bool = False) -> None:
        self._folder, self._client, self._daemon, self._networks = folder, client, daemon, networks
        folder.mkdir()
        (folder / "client").mkdir()
        (folder / "daemon.json").write_text("{}", encoding="ascii")
        self._env = {
            "PATH": PATH,
            "HOME": str(folder / "client"),
            "DOCKER_CONFIG": str(folder / "client"),
            "DOCKER_BUILDKIT": "0",
            "DOCKER_HOST": f"unix://{folder}/docker.sock",
        }
        self._made = make_missing(COVERED)
        self._nursery = Nursery(folder, COVERED)
        self._pid = 0

    def start(self) -> None:
        """Start dockerd, which starts its containerd; returns when it answers."""
        here = self._folder
        arguments = {
            "config-file": here / "daemon.json", "data-root": here / "data", "exec-root": here / "exec",
            "pidfile": here / "docker.pid", "host": self._env["DOCKER_HOST"], "storage-driver": "overlay2",
            "exec-opt": "native.cgroupdriver=cgroupfs", "cgroup-parent": f"/{self.cgroup()}",
            **({} if self._networks else _WITHOUT_NETWORKS),
        }
        argv = [*(ALONE if self._networks else ()), self._daemon, *(f"--{name}={value}" for name, value in
                                                                    arguments.items())]
        self._pid = self._nursery.start(argv, self._env, "dockerd.log")
        until(self._answers, "dockerd to answer", patience=60)

    def _answers(self) -> bool:
        if not alive(self._pid):
            log = (self._folder / "dockerd.log").read_text(encoding="utf-8", errors="replace")
            raise Failed(f"dockerd has ended:\n{log[-1000:]}")
        try:
            self.command("ps", "-q")()
        except Failed:
            return False
        return True

    @property
    def pid(self) -> int:
        """The daemon's."""
        return self._pid

    def command(self, *arguments: str) -> Command:
        """A command line of the client."""
        return Command([self._client, *arguments], self._env)

    def buildkit(self) -> Callable[..., Command] | None:
        """What makes command lines that build with BuildKit, if there is a client that speaks to the daemon's own:
        later ones leave that to a program of its own."""
        client = next((path for path in _clients() if _has_buildkit(path)), None)
        if client is None:
            return None
        return lambda *arguments: Command([client, *arguments], {**self._env, "DOCKER_BUILDKIT": "1"})

    def import_image(self, archive: Path) -> None:
        """Make the image of the bench."""
        self.command("import", str(archive), REFERENCE).output()

    def version(self) -> str:
        """Client and daemon."""
        text = self.command("version", "--format", "{{.Client.Version}} / {{.Server.Version}}").output()
        return text.replace("\n", " ")

    def engine_processes(self) -> list[int]:
        """Daemons and shims."""
        return [pid for pid in self._nursery.processes() if executable(pid) in PROGRAMS]

    def container_processes(self) -> list[int]:
        """What runs in containers."""
        return [pid for pid in self._nursery.processes() if executable(pid) == "busybox"]

    def remove_all(self) -> None:
        """Every container, running or not."""
        ids = self.command("ps", "-aq").output().split()
        if ids:
            self.command("rm", "-f", *ids).output()

    def close(self) -> None:
        """Leave no process and no directory."""
        try:
            if self._pid and alive(self._pid):
                os.kill(self._pid, signal.SIGTERM)
                until(lambda: not alive(self._pid), "dockerd to end")
        finally:
            self._nursery.close()
            for made in reversed(self._made):
                with suppress(OSError):  # somebody else's docker has come to use it meanwhile
                    made.rmdir()

    def cgroup(self) -> str:
        """The name of its control groups."""
        return self._folder.parent.name


def find() -> tuple[str, str] | None:
    """Paths of client and daemon, if both are installed."""
    client, daemon = shutil.which("docker"), shutil.which("dockerd")
    return (client, daemon) if client and daemon else None


def _clients() -> list[str]:
    """Every docker on the path."""
    found = (shutil.which("docker", path=folder) for folder in PATH.split(":"))
    return [path for path in found if path is not None]


def _has_buildkit(client: str) -> bool:
    version = Command([client, "--version"], {"PATH": PATH}).output().removeprefix("Docker version ")
    return int(version.partition(".")[0]) in range(19, 23)


def make_missing(directories: tuple[str, ...]) -> list[Path]:
    """Make those that are not there; returns what was made, parents first."""
    made = []
    for directory in map(Path, directories):
        missing = [path for path in (directory, *directory.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir()
            made.append(path)
    return made

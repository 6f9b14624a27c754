"""The setting of all cases: a folder on a real disk, the engines that are there, the image in each of them.

Engines are started when a case first asks for them and are gone, with all they have left, when the setting is closed.
"""

import secrets
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from bench import image, machine
from bench.engines import docker, runc
from bench.engines.docker import Docker
from bench.engines.lading import Lading
from bench.engines.runc import Runc

FOLDER = Path("/var/tmp")  # on a disk where /tmp is not


class Setting:
    """`scale` multiplies the number of rounds and of containers; `say` tells what is going on."""

    def __init__(
        self, *, below: Path = FOLDER, scale: float = 1.0, peers: bool = True, say: Callable[[str], None] = print
    ) -> None:
        self.scale, self.say = scale, say
        self._below, self._peers = below, peers
        self._stack = ExitStack()
        self._groups: list[str] = []
        self.left: list[str] = []

    def __enter__(self) -> "Setting":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @cached_property
    def folder(self) -> Path:
        """All files of the bench."""
        if machine.file_system(self._below) in ("tmpfs", "ramfs"):
            self.say(f"{self._below} is not on a disk: figures of durable writes mean nothing there")
        folder = self._below / f"lading-bench-{secrets.token_hex(4)}"
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)  # first: ^C may come right after the next line
        folder.mkdir(mode=0o755)
        self._stack.callback(lambda: self.left.extend(machine.clean(folder, self._groups)))
        return folder

    @cached_property
    def archive(self) -> Path:
        """The image."""
        return image.archive(self.folder)

    @cached_property
    def lading(self) -> Lading:
        """The engine under test, running, with the image."""
        return self.another_lading("lading")

    def another_lading(
        self, name: str, prepare: Callable[[Lading], None] | None = None, *, alone: bool = False
    ) -> Lading:
        """One more engine beside the first; `prepare` may write its history before it starts."""
        engine = Lading(self.folder / name, alone=alone)
        self._groups.append(engine.cgroup())
        self._stack.callback(engine.close)
        if prepare is not None:
            prepare(engine)
        engine.start()
        engine.import_image(self.archive)
        self.say(f"{name} runs")
        return engine

    @cached_property
    def docker(self) -> Docker | None:
        """The peer, if it is installed."""
        programs = docker.find()
        if not self._peers or programs is None:
            self.say("measured without docker" if not self._peers else "docker and dockerd are not both installed")
            return None
        return self._another_docker("docker", programs)

    def _another_docker(self, name: str, programs: tuple[str, str], *, networks: bool = False) -> Docker:
        engine = Docker(self.folder / name, *programs, networks=networks)
        self._groups.append(engine.cgroup())
        self._stack.callback(engine.close)
        engine.start()
        engine.import_image(self.archive)
        self.say(f"docker {engine.version()} runs")
        return engine

    @cached_property
    def runc(self) -> Runc | None:
        """The bare runtime, if it is installed."""
        program = runc.find()
        if not self._peers or program is None:
            self.say("measured without runc" if not self._peers else "runc is not installed")
            return None
        engine = Runc(self.folder / "runc", program)
        self._groups.append(engine.cgroup())
        image.unpack(self.archive, engine.root)
        engine.prepare()
        self.say(f"runc {engine.version()} is ready")
        return engine

    @cached_property
    def networked(self) -> "list[Lading | Docker]":
        """Engines with networks, apart from each other and from the machine's; ours first."""
        found: list[Lading | Docker] = [self.another_lading("lading-net", alone=True)]
        programs = docker.find()
        if self._peers and programs is not None:
            found.append(self._another_docker("docker-net", programs, networks=True))
        return found

    @property
    def engines(self) -> "list[Lading | Docker]":
        """Those with a command line like Docker's, ours first."""
        return [self.lading, self.docker] if self.docker is not None else [self.lading]

    def times(self, count: int, least: int = 3) -> int:
        """A number of rounds or containers, scaled."""
        return max(least, round(count * self.scale))

    def facts(self) -> dict[str, object]:
        """For the report; peers are named only if they were measured."""
        peers = (self.__dict__.get(name) for name in ("docker", "runc"))
        return {"scale": self.scale, "peers": {peer.name: peer.version() for peer in peers if peer is not None}}

    def close(self) -> None:
        """Stop every engine and delete every file."""
        self._stack.close()

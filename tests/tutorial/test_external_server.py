"""The same engine over a nats-server that somebody else runs."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.tutorial.engine import PROGRAMS, Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


@dataclass
class Operator:
    """Who runs the bus: starts and kills it."""

    engine: Engine
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self) -> None:
        """The same port every time, so that the engine finds it again."""
        ports = self.engine.folder / "ports"
        ports.mkdir(exist_ok=True)
        config = self.engine.folder / "nats.conf"
        config.write_text(
            json.dumps(
                {
                    "listen": f"127.0.0.1:{self.port or -1}",
                    "ports_file_dir": str(ports),
                    "authorization": {"users": [{"user": "engine", "password": "a long password"}]},
                }
            )
        )
        self.process = subprocess.Popen(
            [str(PROGRAMS / "nats-server"), "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if not self.port:
            written = until(lambda: [*ports.glob("*.ports")], "the server says where it listens")
            self.port = until(lambda: _port(written[0]), "the port is written")

    def kill(self) -> None:
        """At once."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def _port(path: Path) -> int:
    try:
        (url, *_) = json.loads(path.read_text())["nats"]
    except (ValueError, KeyError):
        return 0
    return int(url.rpartition(":")[2])


@pytest.fixture
def operator(base_image: Path) -> Iterator[Operator]:
    """An engine whose configuration names an external server."""
    engine = Engine()
    operator = Operator(engine)
    operator.start()
    credentials = engine.folder / "credentials.json"
    credentials.write_text(json.dumps({"daemon": {"user": "engine", "password": "a long password"}}))
    os.chmod(credentials, 0o600)
    (engine.folder / "config.toml").write_text(
        f'nats_url = "nats://127.0.0.1:{operator.port}"\nnats_credentials = "{credentials}"\n'
    )
    try:
        engine.start()
        engine.ok("import", str(base_image), "busybox")
        yield operator
    finally:
        left = engine.close()
        operator.kill()
    assert not left, left


def test_an_external_server_carries_everything_and_may_die(operator: Operator) -> None:
    """The bus is not the record: when it is back, the engine goes on where it was."""
    engine = operator.engine
    assert engine.ok("run", "--rm", "busybox", "echo", "over there") == "over there"
    assert not (engine.run_dir / "nats").exists()
    engine.ok("run", "-d", "--name", "stays", "busybox", "sleep", "300")
    pid = engine.pid("stays")
    operator.kill()
    operator.start()
    until(lambda: engine.cli("run", "--rm", "busybox", "echo", "back").out == "back\n", "the bus is back")
    assert engine.pid("stays") == pid
    engine.ok("rm", "--force", "stays")

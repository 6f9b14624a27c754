"""A daemon, and the client as the launcher starts it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.adapters.control.engine import Engine, engine

ROOT = Path(__file__).resolve().parents[3]
LAUNCHER = ("import sys\nfrom posix import _exit\n"
            f"sys.path.insert(0, {str(ROOT)!r})\n"
            "from adapters.cli.main import main\n"
            "daemon = ()\n"
            "if '--daemon' in sys.argv:\n"
            "    at = sys.argv.index('--daemon')\n"
            "    sys.argv, daemon = sys.argv[:at], tuple(sys.argv[at + 1:])\n"
            "_exit(main(sys.argv[1:], daemon))\n")


@dataclass(frozen=True)
class Ended:
    """What a client left behind."""

    status: int
    out: bytes
    err: bytes


@dataclass(frozen=True)
class Lading:
    """Starts clients of the daemon in `run`."""

    run_directory: Path
    launcher: Path

    async def start(self, *argv: str | bytes, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.PIPE,
                    daemon: tuple[str, ...] = (), environment: dict[str, str] | None = None,
                    cwd: Path | None = None) -> asyncio.subprocess.Process:
        """A client that runs. Its SIGINT is not ignored, as that of a shell's background job would be."""
        words = [*argv, "--daemon", *daemon] if daemon else list(argv)
        return await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", self.launcher, *words, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE,
            env={"LADING_RUN_DIR": str(self.run_directory), "PATH": "/usr/bin:/bin", **(environment or {})}, cwd=cwd)

    async def __call__(self, *argv: str | bytes, input: bytes | None = None, daemon: tuple[str, ...] = (),
                       environment: dict[str, str] | None = None, cwd: Path | None = None) -> Ended:
        """Run a client to its end."""
        process = await self.start(*argv, stdin=subprocess.DEVNULL if input is None else subprocess.PIPE, daemon=daemon,
                                   environment=environment, cwd=cwd)
        out, err = await asyncio.wait_for(process.communicate(input), 30)
        assert process.returncode is not None
        return Ended(process.returncode, out, err)


@pytest.fixture
def lading(tmp_path: Path) -> Lading:
    """The client, whether there is a daemon or not."""
    launcher = tmp_path / "lading"
    launcher.write_text(LAUNCHER)
    return Lading(tmp_path / "run", launcher)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Engine]:
    """Bus, control socket and console."""
    async with engine(tmp_path / "run") as running:
        yield running

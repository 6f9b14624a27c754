"""What the thin client imports: next to nothing for a plain answer, a little more for signals and files."""

import subprocess

import pytest

from tests.adapters.cli.conftest import Lading
from tests.adapters.control.engine import Engine

HOT = {"_socket", "adapters", "adapters.cli", "adapters.cli.main"}
SESSION = {*HOT, "select", "adapters.cli.session"}


async def _imported(lading: Lading, *argv: str) -> set[str]:
    """The modules that are loaded at the end, beyond those of a bare interpreter."""
    listing = "import sys\nbefore = set(sys.modules)\nimport posix, _signal\n"
    text = lading.launcher.read_text().replace("import sys\n", listing, 1)
    text = text.replace("_exit(main(sys.argv[1:], daemon))",
                        "main(sys.argv[1:], daemon)\nposix.write(2, ' '.join(set(sys.modules) - before).encode())")
    lading.launcher.write_text(text)
    process = await lading.start(*argv, stdin=subprocess.DEVNULL)
    _, err = await process.communicate()
    return set(err.decode().rpartition("\n")[2].split())


@pytest.mark.parametrize(("argv", "allowed"), [(["echo", "x"], HOT), (["fail", "3"], HOT),
                                               (["count"], SESSION), (["env", "A"], SESSION)])
async def test_each_way_through_the_client_has_its_budget(daemon: Engine, lading: Lading, argv: list[str],
                                                          allowed: set[str]) -> None:
    """Each further module costs every command a look-up, an open and a read."""
    assert await _imported(lading, *argv) <= allowed


async def test_without_a_daemon_nothing_more_is_imported(lading: Lading) -> None:
    """An error is no reason to be slow."""
    assert await _imported(lading, "ps") <= HOT

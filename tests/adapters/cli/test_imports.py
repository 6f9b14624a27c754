"""What the thin client imports: next to nothing for a plain answer, a little more for signals and files."""

import subprocess

import pytest

from tests.adapters.cli.conftest import Lading
from tests.adapters.cli.test_screen import Screen
from tests.adapters.control.engine import Engine

HOT = {"_socket", "adapters", "adapters.cli", "adapters.cli.main"}
SESSION = {*HOT, "select", "adapters.cli.session"}


def _let_it_list(lading: Lading) -> None:
    """From now on clients tell at their end which modules are loaded, beyond those of a bare interpreter."""
    listing = "import sys\nbefore = set(sys.modules)\nimport posix, _signal\n"
    text = lading.launcher.read_text().replace("import sys\n", listing, 1)
    text = text.replace("_exit(main(sys.argv[1:], daemon))",
                        "main(sys.argv[1:], daemon)\nposix.write(2, ' '.join(set(sys.modules) - before).encode())")
    lading.launcher.write_text(text)


async def _imported(lading: Lading, *argv: str) -> set[str]:
    """The modules of a client that has ended."""
    _let_it_list(lading)
    process = await lading.start(*argv, stdin=subprocess.DEVNULL)
    _, err = await process.communicate()
    return set(err.decode().rpartition("\n")[2].split())


@pytest.mark.parametrize(("argv", "allowed"), [(["echo", "x"], HOT), (["fail", "3"], HOT),
                                               (["count"], SESSION), (["env", "A"], SESSION)])
async def test_each_way_through_the_client_has_its_budget(daemon: Engine, lading: Lading, argv: list[str],
                                                          allowed: set[str]) -> None:
    """Each further module costs every command a look-up, an open and a read."""
    assert await _imported(lading, *argv) <= allowed


async def test_a_terminal_costs_one_module_more(daemon: Engine, lading: Lading) -> None:
    """And that of the kernel's modes."""
    _let_it_list(lading)
    screen = Screen(lading, "keys")
    await screen.sees("[24x80]")
    screen.keyboard.type(b"\x04")
    await screen.ends()
    screen.keyboard.close()
    told = screen.keyboard.shown.decode().rpartition("bye\r\n")[2]
    assert "adapters.cli.screen" in told
    assert set(told.split()) <= {*SESSION, "adapters.cli.screen", "termios"}


async def test_without_a_daemon_nothing_more_is_imported(lading: Lading) -> None:
    """An error is no reason to be slow."""
    assert await _imported(lading, "ps") <= HOT

"""What the client answers when there is no daemon."""

import subprocess
import sys

import pytest

REASON = "Cannot connect to the lading daemon"


def lading(*argv: str) -> subprocess.CompletedProcess[str]:
    """What the client becomes when nobody answers."""
    words = (sys.executable, "-I", "-m", "lading_engine", "offline", REASON, *argv)
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "first"),
    [
        (["--help"], "Usage:  lading [OPTIONS] COMMAND"),
        (["help", "stop"], "Usage:  lading stop [OPTIONS] CONTAINER [CONTAINER...]"),
        (["container", "ls", "--help"], "Usage:  lading container ls [OPTIONS]"),
        (["--version"], "lading version "),
    ],
)
def test_help_needs_no_engine(argv: list[str], first: str) -> None:
    """Nor does the version of the client."""
    ended = lading(*argv)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[0].startswith(first)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "out"),
    [
        (["version"], "Client:\n Version: "),
        (["version", "-f", "{{.Client.APIVersion}} {{.Server}}"], "1.50 <no value>\n"),
        (["info"], "Client:\n Version: "),
        (["info", "-f", "{{.Driver}}"], ""),
        (["ps"], ""),
    ],
)
def test_the_clients_part_is_told_before_the_refusal(argv: list[str], out: str) -> None:
    """Scripts ask for the client's version where no engine runs."""
    ended = lading(*argv)
    assert (ended.returncode, ended.stderr) == (1, f"{REASON}\n")
    assert ended.stdout.startswith(out)
    assert bool(ended.stdout) == bool(out)

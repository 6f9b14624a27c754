"""info, version, top."""

import json
import os

import pytest

from domain.errors import Refused
from tests.workers.console.fakes import FakeEngine, Prompt
from workers.console import processes


async def test_info_in_every_form(prompt: Prompt) -> None:
    """Words for people, keys for scripts."""
    text = (await prompt.ok("info")).out
    assert text.startswith(
        "Client:\n Version:    0.1.0\n\nServer:\n Server Version: 0.1.0\n Containers: 2\n  Running: 1\n"
    )
    assert " Total Memory: 1GiB\n" in text
    assert (await prompt.ok("info", "-f", "{{.Driver}} {{.MemTotal}}")).out == "overlay2 1073741824\n"
    assert json.loads((await prompt.ok("info", "-f", "json")).out)["Containers"] == 2
    assert (await prompt("info", "-f", "{{.Nope}}")).status == 1


async def test_version_in_every_form(prompt: Prompt) -> None:
    """Client and server are one program here."""
    text = (await prompt.ok("version")).out
    assert text.startswith("Client:\n Version:           0.1.0\n")
    assert "\nServer: Lading\n Engine:\n  Version:          0.1.0\n" in text
    assert (await prompt.ok("version", "--format", "{{.Client.Version}} {{.Server.Version}}")).out == "0.1.0 0.1.0\n"
    assert json.loads((await prompt.ok("version", "-f", "json")).out)["Server"]["Os"] == "linux"


async def test_top_shows_processes_as_ps_does(engine: FakeEngine, prompt: Prompt) -> None:
    """Columns 20 wide; pids of the host."""
    await prompt.ok("run", "-d", "--name", "web", "alpine:3.10")
    engine.pids = [os.getpid(), 2**22 + 1]
    lines = (await prompt.ok("top", "web")).lines
    assert lines[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert lines[0].startswith("UID                 PID                 PPID")
    assert lines[1].split()[1:3] == [str(os.getpid()), str(os.getppid())]
    assert len(lines) == 2
    assert (await prompt.ok("top", "web", "-eo", "pid,comm")).lines[0].split() == ["PID", "COMMAND"]
    assert (await prompt.ok("top", "web", "-o", "pid,cmd")).lines[0].split() == ["PID", "CMD"]


async def test_top_of_what_does_not_run_is_refused(prompt: Prompt) -> None:
    """There is nothing to see."""
    await prompt.ok("create", "--name", "web", "alpine:3.10")
    answer = await prompt("top", "web")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err == f"Error response from daemon: container {'1' * 64} is not running\n"


@pytest.mark.parametrize(
    ("options", "titles"),
    [
        ([], "UID PID PPID C STIME TTY TIME CMD"),
        (["-ef"], "UID PID PPID C STIME TTY TIME CMD"),
        (["-e"], "PID TTY TIME CMD"),
        (["aux"], "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
        (["-o", "pid,ppid,args"], "PID PPID COMMAND"),
        (["-opid", "-o", "user=WHO"], "PID WHO"),
        (["-eo", "pid,etime,rss"], "PID ELAPSED RSS"),
    ],
)
def test_options_of_ps_choose_the_columns(options: list[str], titles: str) -> None:
    """The common ones."""
    assert [column.title for column in processes.columns(options)] == titles.split()


@pytest.mark.parametrize(
    ("options", "told"),
    [(["-o", "comm"], "Couldn't find PID field"), (["--forest"], "--forest"), (["-z"], "-z"), (["-o", "nope"], "nope")],
)
def test_other_options_of_ps_are_refused(options: list[str], told: str) -> None:
    """With the known ones."""
    with pytest.raises(Refused, match=told):
        processes.columns(options)


def test_processes_that_are_gone_are_left_out() -> None:
    """A list does not fail because somebody exits meanwhile."""
    (process,) = processes.read([2**22 + 1, os.getpid()])
    assert (process.pid, process.ppid, process.uid) == (os.getpid(), os.getppid(), os.getuid())
    assert process.resident > 0
    assert "python" in process.line or "pytest" in process.line
    assert all(column.text(process) for column in processes.columns(["aux"]))

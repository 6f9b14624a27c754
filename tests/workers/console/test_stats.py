"""stats: once, again and again, in every form."""

import asyncio
import json

import pytest

from tests.workers.console.fakes import FakeCall, FakeEngine, Prompt, Terminal


@pytest.fixture(autouse=True)
async def containers(engine: FakeEngine, prompt: Prompt) -> list[str]:
    """Two that run and one that was never started."""
    ids = [(await prompt.ok("run", "-d", "--name", name, "alpine:3.10")).out.strip() for name in ("one", "two")]
    await prompt.ok("create", "--name", "idle", "alpine:3.10")
    engine.files.live.extend(ids)
    return ids


async def test_the_table_has_the_columns_that_scripts_know(prompt: Prompt) -> None:
    """Newest first."""
    lines = (await prompt.ok("stats", "--no-stream")).lines
    assert [" ".join(line.split()) for line in lines] == [
        "CONTAINER ID NAME CPU % MEM USAGE / LIMIT MEM % NET I/O BLOCK I/O PIDS",
        "222222222222 two 50.00% 1MiB / 1GiB 0.10% 5kB / 600B 2kB / 3MB 4",
        "111111111111 one 50.00% 1MiB / 1GiB 0.10% 5kB / 600B 2kB / 3MB 4",
    ]


async def test_who_does_not_run_shows_zeros_when_asked_for(prompt: Prompt) -> None:
    """With -a, or by name."""
    for argv in (["-a"], ["idle"]):
        lines = (await prompt.ok("stats", "--no-stream", *argv)).lines
        assert " ".join(lines[1].split()) == "333333333333 idle 0.00% 0B / 0B 0.00% 0B / 0B 0B / 0B 0"


async def test_named_ones_come_in_the_order_they_were_named(prompt: Prompt) -> None:
    """And are called what they were called."""
    form = "{{.Container}} {{.Name}} {{.ID}}"
    lines = (await prompt.ok("stats", "--no-stream", "--format", form, "one", "2222")).lines
    assert lines == ["one one 111111111111", "2222 two 222222222222"]


async def test_json_has_the_fields_of_the_industry(prompt: Prompt, containers: list[str]) -> None:
    """All of them text; the whole id on request."""
    line = (await prompt.ok("stats", "--no-stream", "--format", "json", "--no-trunc", "one")).out
    assert json.loads(line) == {
        "BlockIO": "2kB / 3MB", "CPUPerc": "50.00%", "Container": "one", "ID": containers[0], "MemPerc": "0.10%",
        "MemUsage": "1MiB / 1GiB", "Name": "one", "NetIO": "5kB / 600B", "PIDs": "4",
    }  # fmt: skip


async def test_a_table_of_chosen_fields(prompt: Prompt) -> None:
    """With their titles."""
    lines = (await prompt.ok("stats", "--no-stream", "--format", "table {{.Name}}\t{{.PIDs}}", "one")).lines
    assert lines == ["NAME      PIDS", "one       4"]


async def test_a_terminal_is_painted_over_and_fits(engine: FakeEngine, prompt: Prompt) -> None:
    """The screen is cleared once; what does not fit on it is left out."""
    call = FakeCall(["stats"], terminal=Terminal(cols=200, rows=2, stdout_tty=True))
    task = asyncio.ensure_future(prompt("stats", call=call))
    while call.stdout.count(b"\x1b[H") < 3:
        await asyncio.sleep(0)
    call.closed.set()
    assert (await task).status == 0
    assert call.stdout.count(b"\x1b[2J") == 1
    first = call.stdout.split(b"\x1b[H")[1].decode()
    assert first.endswith("PIDS\x1b[K\n\x1b[J")


async def test_who_begins_comes_and_who_ends_goes(engine: FakeEngine, prompt: Prompt, containers: list[str]) -> None:
    """Without anybody asking again; the one that was named and is removed ends the command."""
    call = FakeCall(["stats", "--format", "{{.Name}}"])
    task = asyncio.ensure_future(prompt(*call.argv, call=call))
    while not call.stdout:
        await asyncio.sleep(0)
    await prompt.ok("rm", "-f", "one")
    engine.files.live.remove(containers[0])
    at = len(call.stdout)
    while call.stdout[at:].count(b"\n") < 20:
        await asyncio.sleep(0)
    assert call.stdout.endswith(b"two\ntwo\ntwo\n")
    call.closed.set()
    await task
    call = FakeCall(["stats", "two"])
    task = asyncio.ensure_future(prompt(*call.argv, call=call))
    while not call.stdout:
        await asyncio.sleep(0)
    await prompt.ok("rm", "-f", "two")
    assert (await asyncio.wait_for(task, 5)).status == 0


async def test_there_must_be_such_a_container(prompt: Prompt) -> None:
    """Status 1 before anything is measured."""
    answer = await prompt("stats", "nobody")
    assert (answer.status, answer.err) == (1, "Error response from daemon: No such container: nobody\n")


async def test_a_bad_template_is_refused(prompt: Prompt) -> None:
    """As everywhere."""
    assert (await prompt("stats", "--no-stream", "--format", "{{.Nope}}")).status == 1

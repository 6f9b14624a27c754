"""ps: columns, words, filters, formats, and the past."""

import json
import re

import pytest

from domain.container import State
from domain.lifecycle.start import StartFailed
from tests.workers.console.fakes import SECOND, FakeCall, FakeEngine, Prompt, Terminal
from workers.console.containers import Listed, listed, reason, status, status_with_reason

NOW = 1_000_000 * SECOND


def container(state: State, **more: object) -> Listed:
    """A container of a list."""
    row: dict[str, object] = {
        "id": "1" * 64,
        "name": "web",
        "image": "alpine",
        "image_id": "sha256:a",
        "command": ["sleep", "9"],
        "labels": {},
        "network": "none",
        "created_at": NOW - 3600 * SECOND,
        "state": state.value,
        "started_at": NOW - 5 * SECOND,
        "finished_at": NOW - 120 * SECOND,
        "exit_code": 3,
        "error": "",
        "reason": "",
        "restarts": 0,
        "health": "",
    }
    return listed({**row, **more})


@pytest.mark.parametrize(
    ("state", "more", "name", "text"),
    [
        (State.CREATED, {}, "created", "Created"),
        (State.STARTING, {"started_at": 0}, "created", "Created"),
        (State.STARTING, {}, "restarting", "Restarting (3) 2 minutes ago"),
        (State.RUNNING, {}, "running", "Up 5 seconds"),
        (State.PAUSING, {}, "running", "Up 5 seconds"),
        (State.PAUSED, {}, "paused", "Up 5 seconds (Paused)"),
        (State.UNPAUSING, {}, "paused", "Up 5 seconds (Paused)"),
        (State.STOPPING, {}, "running", "Up 5 seconds"),
        (State.EXITED, {}, "exited", "Exited (3) 2 minutes ago"),
        (State.EXITED, {"exit_code": 137, "reason": "out of memory"}, "exited", "Exited (137) 2 minutes ago"),
        (State.RESTARTING, {}, "restarting", "Restarting (3) 2 minutes ago"),
        (State.REMOVING, {}, "removing", "Removal In Progress"),
        (State.DEAD, {}, "dead", "Dead"),
    ],
)
def test_the_status_has_the_words_that_scripts_match(
    state: State, more: dict[str, object], name: str, text: str
) -> None:
    """Every state of ours is one of the seven that clients know."""
    one = container(state, **more)
    assert (one.status_name, status(one, NOW)) == (name, text)


def test_the_reason_follows_the_status() -> None:
    """A list says why, behind what scripts match."""
    killed = container(State.EXITED, exit_code=137, reason="out of memory")
    assert status_with_reason(killed, NOW) == "Exited (137) 2 minutes ago: out of memory"
    failed = container(State.CREATED, exit_code=127, error="executable file not found")
    assert status_with_reason(failed, NOW) == "Created: start failed (127)"
    assert reason(container(State.RUNNING, reason="out of memory")) == ""


async def test_the_table_has_the_columns_in_their_order(engine: FakeEngine, prompt: Prompt) -> None:
    """Newest first; a header even when empty."""
    header = "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n"
    assert (await prompt.ok("ps")).out == header
    await prompt.ok("run", "-d", "--name", "old", "alpine:3.10", "sleep", "1000")
    await prompt.ok("run", "-d", "--name", "new", "alpine:3.10", "echo", "a long line of words")
    engine.store.now += 65 * SECOND
    assert (await prompt.ok("ps")).out == (
        "CONTAINER ID   IMAGE         COMMAND                  CREATED              STATUS              PORTS     "
        "NAMES\n"
        "222222222222   alpine:3.10   \"echo 'a long line o…\"   About a minute ago   Up About a minute             "
        "new\n"
        '111111111111   alpine:3.10   "sleep 1000"             About a minute ago   Up About a minute             old\n'
    )


@pytest.mark.parametrize(
    ("argv", "short", "full"),
    [
        (["sh", "-c", "sleep 9; date"], "\"sh -c 'sleep 9; dat…\"", "\"sh -c 'sleep 9; date'\""),
        (["my tool", "x"], '"my tool x"', '"my tool x"'),
        (["echo", 'say "hi"\\'], '"echo \'say \\"hi\\"\\\\\'"', '"echo \'say \\"hi\\"\\\\\'"'),
        (["echo", "a\nb\x1b[0m\a"], '"echo a\\nb\\x1b[0m\\a"', '"echo a\\nb\\x1b[0m\\a"'),
        (["echo", "漢字漢字漢字漢字漢字"], '"echo 漢字漢字漢字漢…"', '"echo 漢字漢字漢字漢字漢字"'),
    ],
)
async def test_the_command_is_shown_as_the_industrys_list_shows_it(
    prompt: Prompt, argv: list[str], short: str, full: str
) -> None:
    """Arguments with a blank in single quotes, the whole in double ones, at most 20 columns of it, nothing obeyed."""
    await prompt.ok("create", "alpine:3.10", *argv)
    assert (await prompt.ok("ps", "-a", "--format", "{{.Command}}")).out == short + "\n"
    assert (await prompt.ok("ps", "-a", "--no-trunc", "--format", "{{.Command}}")).out == full + "\n"


async def test_only_what_lives_is_shown_unless_asked(prompt: Prompt) -> None:
    """Paused counts as living."""
    for name in ("run1", "paused1", "ended1"):
        await prompt.ok("run", "-d", "--name", name, "alpine:3.10")
    await prompt.ok("create", "--name", "created1", "alpine:3.10")
    await prompt.ok("pause", "paused1")
    await prompt.ok("stop", "ended1")
    names = "{{.Names}}"
    for options, shown in [
        ([], ["paused1", "run1"]),
        (["-a"], ["created1", "ended1", "paused1", "run1"]),
        (["-l"], ["created1"]),
        (["-n", "2"], ["created1", "ended1"]),
        (["-n", "-1"], ["paused1", "run1"]),
        (["-n", "0"], ["paused1", "run1"]),
        (["-a", "-n", "0"], ["created1", "ended1", "paused1", "run1"]),
        (["-f", "status=exited"], ["ended1"]),
        (["-f", "status=created", "-f", "status=paused"], ["created1", "paused1"]),
        (["-f", "exited=143"], ["ended1"]),
        (["-f", "exited=0"], []),
        (["-f", "name=run"], ["run1"]),
        (["-a", "-f", "name=^/?run1$"], ["run1"]),
        (["-a", "-f", "name=ed1$"], ["created1", "ended1", "paused1"]),
        (["-a", "-f", "id=4"], ["created1"]),
        (["-a", "-f", "before=paused1"], ["run1"]),
        (["-a", "-f", "since=paused1"], ["created1", "ended1"]),
        (["-f", "ancestor=alpine:3.10"], ["paused1", "run1"]),
        (["-f", "ancestor=aaaaaaaaaaaa"], ["paused1", "run1"]),
        (["-f", "ancestor=other"], []),
        (["-f", "network=bridge"], ["paused1", "run1"]),
        (["-f", "health=none"], ["paused1", "run1"]),
        (["-f", "volume=x"], []),
        (["-f", "status=running", "-f", "name=paused"], []),
        (["-f", "is-task=false"], ["paused1", "run1"]),
    ]:
        assert (await prompt.ok("ps", *options, "--format", names)).lines == shown, options


@pytest.mark.parametrize(
    "value",
    [
        "nope=x",
        "status=sleepy",
        "exited=x",
        "health=fine",
        "name=" + "(a+)+$",
        "name=(a)\\1",
        "name=a*b*c*d*",
        "before=missing",
    ],
)
async def test_a_filter_that_cannot_be_meant_is_refused_by_the_engine(prompt: Prompt, value: str) -> None:
    """Status 1; a pattern that could keep the daemon busy is one of them."""
    answer = await prompt("ps", "-f", value)
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.startswith("Error response from daemon: ")


async def test_labels_can_be_filtered_and_shown(prompt: Prompt) -> None:
    """With and without a value."""
    await prompt.ok("run", "-d", "--name", "web", "-l", "tier=front", "-l", "a", "alpine:3.10")
    await prompt.ok("run", "-d", "--name", "db", "-l", "tier=back", "alpine:3.10")
    assert (
        await prompt.ok("ps", "-f", "label=tier=front", "--format", "{{.Names}} {{.Labels}}")
    ).out == "web a=,tier=front\n"
    assert (await prompt.ok("ps", "-f", "label=tier", "--format", '{{.Label "tier"}}')).lines == ["back", "front"]
    table = await prompt.ok("ps", "--format", 'table {{.ID}}\t{{.Label "com.x.my-tier"}}')
    assert table.lines[0] == "CONTAINER ID   my tier"


async def test_ids_are_short_unless_asked(prompt: Prompt) -> None:
    """-q prints 12 digits; --no-trunc 64, and the whole command."""
    await prompt.ok("run", "-d", "alpine:3.10", "echo", "one", "two", "three", "four", "five")
    assert (await prompt.ok("ps", "-q")).out == "1" * 12 + "\n"
    assert (await prompt.ok("ps", "-q", "--no-trunc")).out == "1" * 64 + "\n"
    assert (await prompt.ok("ps", "--format", "{{.ID}} {{.Command}}")).out == "1" * 12 + ' "echo one two three …"\n'
    full = await prompt.ok("ps", "--no-trunc", "--format", "{{.ID}} {{.Command}}")
    assert full.out == "1" * 64 + ' "echo one two three four five"\n'


async def test_every_format_is_there(prompt: Prompt) -> None:
    """table, raw, json, templates with literal \\t."""
    await prompt.ok("run", "-d", "--name", "web", "alpine:3.10", "sleep", "9")
    assert (
        await prompt.ok("ps", "--format", "table {{.ID}}\\t{{.Names}}")
    ).out == "CONTAINER ID   NAMES\n111111111111   web\n"
    assert (await prompt.ok("ps", "--format", "table")).lines[0].startswith("CONTAINER ID   IMAGE")
    assert (await prompt.ok("ps", "--format", "{{.ID}}\\t{{.State}}")).out == "111111111111\trunning\n"
    raw = (await prompt.ok("ps", "--format", "raw")).lines
    assert raw[:2] == ["container_id: 111111111111", "image: alpine:3.10"]
    assert raw[-1] == ""
    document = json.loads((await prompt.ok("ps", "--format", "json")).out)
    assert list(document) == sorted(document)
    assert {key: document[key] for key in ("ID", "Names", "State", "Image", "Networks", "Size", "Command")} == {
        "ID": "111111111111",
        "Names": "web",
        "State": "running",
        "Image": "alpine:3.10",
        "Networks": "bridge",
        "Size": "0B",
        "Command": '"sleep 9"',
    }
    assert json.loads((await prompt.ok("ps", "--format", "{{json .}}")).out) == document
    assert all(isinstance(value, str) for value in document.values())


async def test_a_format_that_does_not_fit_is_status_1(prompt: Prompt) -> None:
    """With the place."""
    await prompt.ok("run", "-d", "alpine:3.10")
    for form, told in (("{{.Nope}}", "can't evaluate field Nope"), ("{{.ID", "unclosed action")):
        answer = await prompt("ps", "--format", form)
        assert (answer.status, answer.out) == (1, "")
        assert told in answer.err


async def test_sizes_are_shown_on_request(prompt: Prompt) -> None:
    """What was written, and all of it with the image."""
    await prompt.ok("run", "-d", "alpine:3.10")
    answer = await prompt.ok("ps", "-s")
    assert answer.lines[0].endswith("NAMES        SIZE")
    assert answer.lines[1].endswith("5B (virtual 1.99MB)")


async def test_the_image_is_shown_as_an_id_once_its_name_has_moved(engine: FakeEngine, prompt: Prompt) -> None:
    """A list does not claim that old containers run the new image."""
    await prompt.ok("run", "-d", "--name", "one", "alpine:3.10")
    engine.images.add("b", "alpine:3.10")
    assert (await prompt.ok("ps", "--format", "{{.Image}}")).out == "a" * 12 + "\n"


async def test_a_row_is_one_line_whatever_is_in_it(prompt: Prompt) -> None:
    """Labels and commands come from images and people."""
    await prompt.ok("run", "-d", "-l", "x=\x1b[2J\nfake row", "alpine:3.10", "sh", "-c", "a\nb\x1b[31m")
    for options in (
        [],
        ["--format", "{{.Labels}} {{.Command}}"],
        ["--no-trunc"],
        ["--format", "json"],
        ["--format", "raw"],
    ):
        answer = await prompt.ok("ps", *options)
        assert "\x1b" not in answer.out
        assert len(answer.lines) == {"raw": 10}.get(options[-1] if options else "", len(answer.lines))
    assert len((await prompt.ok("ps", "--format", "{{.Labels}} {{.Command}}")).lines) == 1


async def test_the_past_can_be_listed(engine: FakeEngine, prompt: Prompt) -> None:
    """By the number of an event or a time; what is gone since then is there again."""
    await prompt.ok("run", "-d", "--name", "web", "alpine:3.10", "sleep", "9")
    running = await engine.store.head()
    time = engine.store.now
    engine.store.now += 60 * SECOND
    await prompt.ok("rm", "-f", "web")
    for at in (str(running), f"#{running}", f"{time // SECOND}.5"):
        answer = await prompt("ps", "--at", at, "--format", "{{.Names}} {{.Status}}")
        assert (answer.status, answer.out) == (0, "web Up Less than a second\n")
        assert answer.err.startswith(f"As of event {running}, ")
    assert (await prompt("ps", "-a", "--at", "1", "-q")).out == ""
    assert (await prompt.ok("ps", "-q", "--at", str(running))).out == "1" * 12 + "\n"


async def test_the_future_has_not_happened(prompt: Prompt) -> None:
    """An answer would be a lie."""
    answer = await prompt("ps", "--at", "999")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err == "event 999 has not happened: the last one is 2\n"


async def test_a_start_that_failed_is_seen_in_the_list(engine: FakeEngine, prompt: Prompt) -> None:
    """The container is Created, and the list says why it is not more than that."""
    engine.start_error = StartFailed(attempt=1, reason="executable file not found", exit_code=127)
    await prompt("run", "--name", "web", "alpine:3.10", "nope")
    assert "Created: start failed (127)" in (await prompt.ok("ps", "-a")).out
    assert (await prompt.ok("ps", "-a", "--format", "{{.Status}}|{{.Reason}}")).out == "Created|start failed (127)\n"


@pytest.mark.parametrize(
    ("columns", "titles"),
    [
        (200, ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]),
        (105, ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAMES"]),
        (90, ["CONTAINER ID", "IMAGE", "CREATED", "STATUS", "NAMES"]),
        (30, ["CONTAINER ID", "CREATED", "STATUS", "NAMES"]),
    ],
)
async def test_a_narrow_terminal_gets_fewer_columns(prompt: Prompt, columns: int, titles: list[str]) -> None:
    """Rows are not wrapped, ids and names are never cut; what is piped is always whole."""
    await prompt.ok("run", "-d", "--name", "a_name_of_20_letters", "alpine:3.10", "sleep", "100")
    shown = await prompt(call=FakeCall(["ps"], terminal=Terminal(cols=columns, stdout_tty=True)))
    assert re.split(" {2,}", shown.lines[0]) == titles
    assert "111111111111" in shown.lines[1]
    assert shown.lines[1].endswith("a_name_of_20_letters")
    for call in (
        FakeCall(["ps"], terminal=Terminal(cols=columns)),
        FakeCall(["ps", "--no-trunc"], terminal=Terminal(cols=columns, stdout_tty=True)),
    ):
        assert "PORTS" in (await prompt(call=call)).lines[0]

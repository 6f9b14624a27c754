"""events, audit, why: what has happened, who asked, and why it ended."""

import asyncio
import json

import pytest

from domain.lifecycle.start import StartFailed
from tests.workers.console.fakes import FakeCall, FakeEngine, FakeReport, Prompt

ID = "1" * 64


@pytest.fixture
async def web(prompt: Prompt) -> None:
    """A container that was run, paused, unpaused, renamed, stopped and removed; its environment is secret."""
    await prompt.ok(
        "run", "-d", "--name", "old", "-e", "TOKEN=hunter2", "-l", "tier=front", "alpine:3.10", "sleep", "9"
    )
    for line in ("pause old", "unpause old", "rename old web", "stop web", "rm web"):
        await prompt.ok(*line.split())


@pytest.mark.usefixtures("web")
async def test_events_tell_everything_since_the_first(prompt: Prompt) -> None:
    """Nothing is forgotten, not even what is removed."""
    lines = (await prompt.ok("events", "--since", "0", "--until", "0s")).lines
    words = [" ".join(line.split()[1:3]) for line in lines]
    assert words == [
        "image import",
        "image tag",
        "container create",
        "container start",
        "container pause",
        "container unpause",
        "container rename",
        "container kill",
        "container die",
        "container stop",
        "container destroy",
    ]
    assert lines[2] == f"2025-11-25T16:16:05.000000000Z container create {ID} (image=alpine:3.10, name=old, tier=front)"
    assert lines[8].endswith(
        f"container die {ID} (execDuration=7, exitCode=143, image=alpine:3.10, name=web, tier=front)"
    )
    assert "oldName=/old" in lines[6]
    assert "hunter2" not in "".join(lines)


@pytest.mark.parametrize(
    ("options", "actions"), [([], ["pause", "commit", "unpause"]), (["--pause=false"], ["commit"])]
)
async def test_a_commit_is_told_with_the_pause_around_it(
    prompt: Prompt, options: list[str], actions: list[str]
) -> None:
    """Whoever watches learns that the container stood still."""
    await prompt.ok("run", "-d", "--name", "web", "alpine:3.10")
    await prompt.ok("commit", *options, "web")
    lines = (await prompt.ok("events", "--since", "0", "--until", "0s", "--format", "{{.Action}}")).lines
    assert lines[lines.index("start") + 1 :] == actions
    await prompt.ok("stop", "web")
    await prompt.ok("commit", "web")
    lines = (await prompt.ok("events", "--since", "0", "--until", "0s", "--format", "{{.Action}}")).lines
    assert lines[-1] == "commit"
    assert lines.count("pause") == actions.count("pause")


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize(
    ("filters", "actions"),
    [
        (["event=die", "event=start"], ["start", "die"]),
        (["type=image"], ["import", "tag"]),
        (["container=web", "event=rename"], ["rename"]),
        (["container=111", "event=create"], ["create"]),
        (["label=tier=front", "event=kill"], ["kill"]),
        (["label=tier=back"], []),
        (["image=alpine:3.10", "event=create"], ["create"]),
        (["image=alpine:3.10", "type=image"], ["tag"]),
        (["scope=swarm"], []),
        (["network=x"], []),
        (["volume=x"], []),
    ],
)
async def test_events_can_be_chosen(prompt: Prompt, filters: list[str], actions: list[str]) -> None:
    """One key or-ed, several and-ed."""
    words = [word for value in filters for word in ("-f", value)]
    assert (
        await prompt.ok("events", "--since", "0", "--until", "0s", *words, "--format", "{{.Action}}")
    ).lines == actions


@pytest.mark.usefixtures("web")
async def test_events_have_the_keys_of_the_industry(prompt: Prompt) -> None:
    """For programs."""
    line = (await prompt.ok("events", "--since", "0", "--until", "0s", "-f", "event=create", "--format", "json")).out
    document = json.loads(line)
    assert document["Actor"] == {"ID": ID, "Attributes": {"image": "alpine:3.10", "name": "old", "tier": "front"}}
    assert {document[key] for key in ("status", "id", "from", "Type", "Action", "scope")} == {
        "create",
        ID,
        "alpine:3.10",
        "container",
        "local",
    }
    assert document["timeNano"] // 10**9 == document["time"]


@pytest.mark.usefixtures("web")
async def test_events_may_begin_in_the_middle_of_a_life(prompt: Prompt) -> None:
    """The attributes are those of that moment."""
    lines = (
        await prompt.ok(
            "events", "--since", "12", "--until", "0s", "--format", "{{.Action}} {{.Actor.Attributes.name}}"
        )
    ).lines
    assert lines == ["die web", "stop web", "destroy web"]


async def test_events_follow_and_end_with_the_client(engine: FakeEngine, prompt: Prompt) -> None:
    """Only what comes, without --since."""
    await prompt.ok("create", "alpine:3.10")
    call = FakeCall(["events", "--format", "{{.Action}}"])
    following = asyncio.ensure_future(prompt(call=call))
    await asyncio.sleep(0.01)
    await prompt.ok("start", ID)
    await asyncio.sleep(0.01)
    call.closed.set()
    async with asyncio.timeout(5):
        assert (await following).out == "start\n"


async def test_a_foreign_signal_and_a_restart_are_told_as_clients_expect(engine: FakeEngine, prompt: Prompt) -> None:
    """kill, die, stop, start, restart; oom before die."""
    await prompt.ok("run", "-d", "--name", "web", "alpine:3.10")
    await prompt.ok("restart", "web")
    engine.exit(ID, 137, signal=9, oom=True)
    await prompt.ok("start", "web")
    await prompt.ok("rm", "-f", "web")
    answer = await prompt.ok("events", "--since", "3", "--until", "0s", "--format", "{{.Action}}")
    assert answer.lines == [
        "create",
        "start",
        "kill",
        "die",
        "stop",
        "start",
        "restart",
        "oom",
        "die",
        "start",
        "kill",
        "die",
        "destroy",
    ]


async def test_a_bad_filter_of_events_is_refused(prompt: Prompt) -> None:
    """Before anything is waited for."""
    assert (await prompt("events", "-f", "nope=x")).status == 1
    assert (await prompt("events", "-f", "nope")).status == 125
    assert (await prompt("events", "--format", "{{")).status == 1


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize("name", ["web", "old", ID])
async def test_audit_tells_the_whole_life_also_afterwards(prompt: Prompt, name: str) -> None:
    """Under every name it had; who asked, what caused it, how long it took; no secret."""
    answer = await prompt.ok("audit", name)
    assert answer.lines[0].split() == ["EVENT", "TIME", "WHAT", "STATE", "TOOK", "BY", "CAUSE", "COMMAND", "DETAIL"]
    rows = await prompt.ok(
        "audit", "--format", "{{.Position}} {{.Event}} {{.State}} {{.Took}} {{.By}} {{.Cause}}", name
    )
    assert rows.lines[0] == "3 created created  root "
    assert rows.lines[2] == "5 started running 1s engine #4"
    assert rows.lines[-2:] == ["13 remove-requested removing  root ", "14 removed removed 1s engine #13"]
    assert "hunter2" not in answer.out
    assert "env=PATH,TOKEN" in (await prompt.ok("audit", "--no-trunc", name)).out


@pytest.mark.usefixtures("web")
async def test_audit_as_json_has_everything_but_secrets(prompt: Prompt) -> None:
    """One object a line."""
    documents = [json.loads(line) for line in (await prompt.ok("audit", "--json", "web")).lines]
    assert [d["event"] for d in documents][:3] == ["created", "start-requested", "started"]
    assert documents[0]["data"]["env"] == ["PATH=(secret)", "TOKEN=(secret)"]
    assert documents[0]["actor"] == {
        "user": "root",
        "uid": 0,
        "gid": 0,
        "pid": 4711,
        "via": "socket",
        "host": "here",
        "command": "lading …",
    }
    exited = next(d for d in documents if d["event"] == "exited")
    assert (exited["data"]["code"], exited["took_ns"], exited["cause"]) == (143, 7 * 10**9, 11)


@pytest.mark.usefixtures("web")
async def test_an_empty_audit_says_which_window_it_looked_at(prompt: Prompt) -> None:
    """Nothing found is not nothing there."""
    answer = await prompt("audit", "--until", "1", "web")
    assert (answer.status, len(answer.lines)) == (0, 1)
    assert answer.err.startswith("none of its 12 events lies in this window: the first is of 2025-11-25 ")


async def test_audit_knows_names_of_images(prompt: Prompt) -> None:
    """Where a tag has pointed."""
    assert (await prompt.ok("audit", "--format", "{{.Event}}", "alpine:3.10")).out == "tagged\n"
    answer = await prompt("audit", "nothing")
    assert (answer.status, answer.err) == (1, "Error response from daemon: No such container: nothing\n")


async def test_audit_verify_proves_or_names_what_is_wrong(engine: FakeEngine, prompt: Prompt) -> None:
    """Status 1 when the log was changed."""
    engine.report = FakeReport(1207)
    assert (await prompt.ok("audit", "verify")).out == "1207 events were checked: the chain is whole\n"
    engine.report = FakeReport(1207, ["event 12: the hash does not fit"])
    answer = await prompt("audit", "verify")
    assert (answer.status, answer.out) == (1, "event 12: the hash does not fit\n")
    assert answer.err == "1207 events were checked: the log was changed or damaged, see above\n"
    engine.report = FakeReport(1207, ["the table images has lost row x"], only_tables=True)
    answer = await prompt("audit", "verify")
    assert (answer.status, answer.out) == (1, "the table images has lost row x\n")
    assert "the log is whole" in answer.err
    assert "lading daemon start --rebuild" in answer.err


async def test_why_says_it_in_one_sentence_first(engine: FakeEngine, prompt: Prompt) -> None:
    """Then who, the signal, the last lines, the steps, one suggestion."""
    await prompt.ok("run", "-d", "--name", "web", "alpine:3.10")
    for line in (b"one\n", b"two\x1b[2J\n"):
        engine.write(ID, line)
    engine.exit(ID, 137, signal=9, oom=True)
    lines = (await prompt.ok("why", "web")).lines
    assert lines[0] == "web was killed by the kernel: it ran out of memory (known)"
    assert lines[1:6] == [
        "Asked by: nobody",
        "Signal: SIGKILL, sent by the kernel",
        "Last lines:",
        "  one",
        "  two\\x1b[2J",
    ]
    assert lines[6] == "Steps:"
    assert [line.split()[4] for line in lines[7:10]] == ["start-requested", "started", "exited"]
    assert lines[-1].startswith("Try: ")


@pytest.mark.usefixtures("web")
async def test_why_works_for_what_is_removed_and_names_who_asked(prompt: Prompt) -> None:
    """With the proven user and the command line."""
    lines = (await prompt.ok("why", "web")).lines
    assert lines[0] == "web ended by SIGTERM, which root sent with stop (known)"
    assert lines[1].startswith("Asked by: root (uid 0, pid 4711) on here: lading …, 2025-11-25 ")
    assert lines[2] == "Signal: SIGTERM, sent by the engine, for root"
    assert lines[3] == "Last lines: it has written nothing"


async def test_why_of_a_failed_start_is_its_error(engine: FakeEngine, prompt: Prompt) -> None:
    """And what to look at."""
    engine.start_error = StartFailed(attempt=1, reason='exec: "nope": executable file not found', exit_code=127)
    await prompt("run", "--name", "web", "alpine:3.10", "nope")
    lines = (await prompt.ok("why", "web")).lines
    assert lines[0] == 'web could not be started: exec: "nope": executable file not found (known)'
    assert lines[-1] == "Try: check the spelling of the command, and that the image has it"


async def test_a_name_that_several_had_is_not_guessed_at(prompt: Prompt) -> None:
    """The candidates have dates, and nothing is picked."""
    for _ in range(2):
        await prompt.ok("run", "-d", "--name", "web", "alpine:3.10")
        await prompt.ok("rm", "-f", "web")
    for verb in ("why", "audit", "logs"):
        answer = await prompt(verb, "web")
        assert (answer.status, answer.out) == (1, "")
        first, *candidates = answer.err.splitlines()
        assert first == "web was the name of 2 containers: say which one by its id"
        assert [line.split()[0] for line in candidates] == ["2" * 12, "1" * 12]
        assert all(" created 2025-11-25 " in line and ", removed 2025-11-25 " in line for line in candidates)
    assert (await prompt.ok("why", "2" * 64)).out.startswith("web ended by SIGKILL")
    await prompt.ok("run", "-d", "--name", "web", "alpine:3.10")
    assert (await prompt.ok("why", "web")).out.startswith("web is running")  # who has the name now comes first

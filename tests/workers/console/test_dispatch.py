"""The way in: finding the verb, help, and what is told about a line that cannot be read."""

import asyncio

import pytest

from domain.errors import Unavailable
from domain.lifecycle.start import StartFailed
from tests.workers.console.fakes import FakeEngine, Prompt
from workers.console.commands import LATER, NOUNS, VERBS


async def test_help_goes_to_stdout(prompt: Prompt) -> None:
    """So that it can be piped into a pager."""
    for line in (["--help"], ["help"], ["rm", "--help"], ["rm", "-h"], ["help", "rm"], ["container", "--help"]):
        answer = await prompt.ok(*line)
        assert answer.out.startswith("Usage:  lading")


@pytest.mark.parametrize("line", [[], ["container"], ["image"], ["system"]])
async def test_a_bare_noun_shows_usage_on_stderr_and_is_no_failure(prompt: Prompt, line: list[str]) -> None:
    """As the standard CLI does it."""
    answer = await prompt(*line)
    assert (answer.status, answer.out) == (0, "")
    assert answer.err.startswith("Usage:  lading")


@pytest.mark.parametrize("line", [["--version"], ["-v"]])
async def test_the_version_is_one_line(prompt: Prompt, line: list[str]) -> None:
    """Scripts ask for it first."""
    assert (await prompt.ok(*line)).out == "lading version 0.1.0\n"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            ["rnu"],
            "unknown command: lading rnu\ndid you mean lading run?\n\nRun 'lading --help' for more information\n",
        ),
        (["zzzz"], "unknown command: lading zzzz\n\nRun 'lading --help' for more information\n"),
        (
            ["container", "sstart"],
            "unknown command: lading container sstart\ndid you mean lading container start?\n\n"
            "Run 'lading container --help' for more information\n",
        ),
        (["x\x1b[2J"], "unknown command: lading x\\x1b[2J\n\nRun 'lading --help' for more information\n"),
    ],
)
async def test_an_unknown_command_gets_the_nearest_one(prompt: Prompt, line: list[str], told: str) -> None:
    """A typo never becomes anything else."""
    answer = await prompt(*line)
    assert (answer.status, answer.out, answer.err) == (1, "", told)


@pytest.mark.parametrize("name", sorted(LATER))
async def test_a_command_of_a_later_version_is_refused_by_name(prompt: Prompt, name: str) -> None:
    """It is no typo, and it did nothing."""
    answer = await prompt(*name.split(), "x")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err == f"lading {name} is not supported by this version of lading\n"


@pytest.mark.parametrize(
    ("line", "first"),
    [
        (["rm"], "'lading rm' requires at least 1 argument"),
        (["rename", "a"], "'lading rename' requires 2 arguments"),
        (["container", "rename", "a", "b", "c"], "'lading container rename' requires 2 arguments"),
        (["ps", "x"], "'lading ps' accepts no arguments"),
        (["images", "a", "b"], "'lading images' accepts at most 1 argument"),
        (["logs"], "'lading logs' requires 1 argument"),
        (["run"], "'lading run' requires at least 1 argument"),
    ],
)
async def test_a_wrong_number_of_arguments_shows_the_usage(prompt: Prompt, line: list[str], first: str) -> None:
    """Exit status 1, as scripts know it, also for run."""
    answer = await prompt(*line)
    spelling = " ".join(line[: 2 if line[0] == "container" else 1])
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.splitlines()[0] == first
    assert answer.err.splitlines()[2].startswith(f"Usage:  lading {spelling} ")
    assert answer.err.splitlines()[4] == f"Run 'lading {spelling} --help' for more information"


@pytest.mark.parametrize(
    ("line", "first"),
    [
        (["rm", "--forse", "x"], "unknown flag: --forse"),
        (["ps", "-n", "x"], 'invalid argument "x" for "-n, --last" flag: a whole number is expected'),
        (["run", "--nmae", "x", "alpine"], "unknown flag: --nmae"),
        (["stop", "-t"], "flag needs an argument: 't' in -t"),
        (["--nope", "ps"], "unknown flag: --nope"),
        (
            ["ps", "--filter", "name"],
            'invalid argument "name" for "-f, --filter" flag: bad format of filter (expected name=value)',
        ),
        (["logs", "--since", "soon", "x"], 'invalid argument "soon" for "--since" flag: invalid time \'soon\''),
    ],
)
async def test_a_flag_that_cannot_be_read_is_125_everywhere(prompt: Prompt, line: list[str], first: str) -> None:
    """Not only for run."""
    answer = await prompt(*line)
    assert (answer.status, answer.out) == (125, "")
    assert answer.err.splitlines()[0] == first
    assert "Usage:  lading" in answer.err


@pytest.mark.parametrize(
    "line",
    [
        ["run", "--cpu-rt-period", "5", "alpine"],
        ["update", "--cpu-rt-runtime=5", "x"],
        ["run", "--storage-opt", "size=1g", "alpine"],
        ["create", "--cpu-rt-runtime=2", "alpine"],
        ["run", "--cgroup-parent", "x", "alpine"],
        ["-H", "unix:///x", "ps"],
        ["--context", "x", "ps"],
    ],
)
async def test_a_flag_of_a_later_version_is_refused_in_one_line(prompt: Prompt, line: list[str]) -> None:
    """Nothing is accepted silently; nothing was created."""
    answer = await prompt(*line)
    assert (answer.status, answer.out) == (125, "")
    (told,) = answer.err.splitlines()
    assert "is not supported by this version of lading" in told
    assert (await prompt.ok("ps", "-aq")).out == ""


def test_no_flag_without_effect_is_in_a_help_text() -> None:
    """Help lists what works."""
    for verb in {*VERBS.values(), *(verb for _, below, _ in NOUNS.values() for verb in below.values())}:
        assert [o.name for o in verb.options if o.refused and not o.hidden] == []
        names = [o.name for o in verb.options] + [o.short for o in verb.options if o.short]
        assert len(names) == len(set(names)), verb.name


async def test_a_defect_in_a_verb_is_one_line_and_the_daemon_goes_on(
    engine: FakeEngine, prompt: Prompt, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No stack trace reaches a user; the log has it."""

    async def broken() -> dict[str, object]:
        raise ZeroDivisionError("surprise")

    monkeypatch.setattr(engine, "info", broken)
    answer = await prompt("info")
    assert (answer.status, answer.err) == (1, "lading: internal error in info: ZeroDivisionError: surprise\n")
    assert "ZeroDivisionError" in caplog.text


async def test_debug_tells_what_lies_below_an_error(
    engine: FakeEngine, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only on request."""

    async def away() -> dict[str, object]:
        raise Unavailable("the engine does not answer", hint="try again") from OSError("pipe")

    monkeypatch.setattr(engine, "info", away)
    assert (await prompt("info")).err == "Error response from daemon: the engine does not answer\ntry again\n"
    assert "because of OSError: pipe" in (await prompt("-D", "info")).err


@pytest.mark.parametrize(
    "line", ["run alpine:3.10 nope", "run nothing", "create nothing", "run --rm --name a1 alpine:3.10"]
)
async def test_debug_comes_to_an_end(engine: FakeEngine, prompt: Prompt, line: str) -> None:
    """An error that is raised again, or is its own cause, is told once: the daemon must not tell it for ever."""
    engine.start_error = StartFailed(attempt=1, reason="no", exit_code=127)
    answer = await asyncio.wait_for(prompt("-D", *line.split()), 5)
    assert answer.status
    assert answer.err.count("because of") <= 2


async def test_an_error_that_is_its_own_cause_is_told_once(
    engine: FakeEngine, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python allows such rings."""

    async def away() -> dict[str, object]:
        error = Unavailable("the engine does not answer")
        error.__cause__, other = OSError("pipe"), error
        error.__cause__.__cause__ = other
        raise error

    monkeypatch.setattr(engine, "info", away)
    assert (await prompt("-D", "info")).err.count("because of") == 1


async def test_every_verb_under_a_noun_is_the_verb_itself(prompt: Prompt) -> None:
    """`container ls` is `ps`."""
    await prompt.ok("run", "-d", "--name", "web", "alpine:3.10")
    for first, second in [
        (["ps"], ["container", "ls"]),
        (["ps", "-a"], ["container", "list", "-a"]),
        (["images"], ["image", "ls"]),
        (["info"], ["system", "info"]),
        (["inspect", "web"], ["container", "inspect", "web"]),
    ]:
        assert (await prompt.ok(*first)).out == (await prompt.ok(*second)).out

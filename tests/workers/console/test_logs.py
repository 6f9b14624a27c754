"""logs: the very bytes, on their streams, with times and bounds."""

import asyncio
from dataclasses import replace

import pytest

from tests.workers.console.fakes import SECOND, FakeCall, FakeEngine, Prompt
from workers.console.dispatch import dispatch

ID = "1" * 64


@pytest.fixture
async def web(engine: FakeEngine, prompt: Prompt) -> int:
    """A container that has written four times; gives the time of the first."""
    await prompt.ok("run", "-d", "--name", "web", "alpine:3.10")
    first = engine.store.now
    for stream, data in ((1, b"one\n"), (2, b"two\n"), (1, b"thr"), (1, b"ee\nfour")):
        engine.write(ID, data, stream)
        engine.store.now += SECOND
    return first


async def raw(prompt: Prompt, *argv: str) -> tuple[int, bytes, bytes]:
    """Status and bytes."""
    call = FakeCall(argv)
    return await dispatch(call, prompt.engine, prompt.engine.now), call.stdout, call.stderr


@pytest.mark.usefixtures("web")
async def test_streams_stay_apart_and_the_last_line_stays_open(prompt: Prompt) -> None:
    """Nothing is added, nothing is lost."""
    assert await raw(prompt, "logs", "web") == (0, b"one\nthree\nfour", b"two\n")


async def test_bytes_are_untouched(engine: FakeEngine, prompt: Prompt) -> None:
    """Also what is no text; escapes of the program are the program's own."""
    await prompt.ok("run", "-d", "--name", "web", "alpine:3.10")
    data = bytes(range(256))
    engine.write(ID, data)
    assert await raw(prompt, "logs", "web") == (0, data, b"")


async def test_every_line_gets_the_time_of_its_beginning(prompt: Prompt, web: int) -> None:
    """A line that came in two pieces has one time."""
    _, out, err = await raw(prompt, "logs", "-t", "web")
    stamps = [f"2025-11-25T16:16:{(web // SECOND + i) % 60:02d}.000000000Z".encode() for i in range(4)]
    assert out == b"%s one\n%s three\n%s four" % (stamps[0], stamps[2], stamps[3])
    assert err == b"%s two\n" % stamps[1]


async def test_bounds_are_moments_and_events(engine: FakeEngine, prompt: Prompt, web: int) -> None:
    """Seconds, durations ago, numbers of events."""
    second = web // SECOND
    assert (await raw(prompt, "logs", "--since", str(second + 2), "web"))[1] == b"three\nfour"
    assert (await raw(prompt, "logs", "--until", str(second + 1), "web"))[1:] == (b"one\n", b"two\n")
    assert (await raw(prompt, "logs", "--since", "1s", "web"))[1] == b"ee\nfour"
    assert (await raw(prompt, "logs", "--since", "1", "web"))[1] == b"one\nthree\nfour"
    assert (await raw(prompt, "logs", "--since", "999", "web"))[0] == 1


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize(
    ("tail", "out"),
    [
        ("1", b"ee\nfour"),
        ("0", b""),
        ("all", b"one\nthree\nfour"),
        ("-1", b"one\nthree\nfour"),
        ("x", b"one\nthree\nfour"),
    ],
)
async def test_a_tail_that_is_no_number_means_all(prompt: Prompt, tail: str, out: bytes) -> None:
    """As on the standard CLI."""
    assert (await raw(prompt, "logs", "--tail", tail, "web"))[1] == out


@pytest.mark.usefixtures("web")
async def test_a_removed_container_still_has_its_logs(prompt: Prompt) -> None:
    """Under the name that it had."""
    await prompt.ok("rm", "-f", "web")
    assert (await raw(prompt, "logs", "web"))[1] == b"one\nthree\nfour"


@pytest.mark.usefixtures("web")
async def test_following_ends_with_the_container(engine: FakeEngine, prompt: Prompt) -> None:
    """What comes is shown, then it is over."""
    following = asyncio.ensure_future(raw(prompt, "logs", "-f", "-n", "1", "web"))
    await asyncio.sleep(0.01)
    engine.write(ID, b"five\n")
    engine.exit(ID, 0)
    assert await following == (0, b"ee\nfourfive\n", b"")


@pytest.mark.usefixtures("web")
async def test_following_ends_when_the_client_is_gone(prompt: Prompt) -> None:
    """Nobody keeps reading for nobody."""
    call = FakeCall(["logs", "-f", "web"])
    following = asyncio.ensure_future(prompt(call=call))
    await asyncio.sleep(0.01)
    call.closed.set()
    async with asyncio.timeout(5):
        await following


async def test_a_missing_container_is_named(prompt: Prompt) -> None:
    """Status 1."""
    assert await raw(prompt, "logs", "web") == (1, b"", b"Error response from daemon: No such container: web\n")


@pytest.mark.usefixtures("web")
async def test_that_a_container_is_removed_is_said_beside_its_output(prompt: Prompt) -> None:
    """On standard error, in one line, before anything else."""
    await prompt.ok("rm", "-f", "web")
    _, out, err = await raw(prompt, "logs", "--tail", "1", "web")
    assert out == b"ee\nfour"
    assert err == b"container web (111111111111) is removed; its output is kept for a while\n"


@pytest.mark.usefixtures("web")
async def test_what_is_gone_is_said_once_where_it_is_missing(engine: FakeEngine, prompt: Prompt) -> None:
    """On standard error; the output itself stays as it is."""
    engine.logs.written[ID][0] = replace(engine.logs.written[ID][0], missed=12_300_000)
    _, out, err = await raw(prompt, "logs", "web")
    assert out == b"one\nthree\nfour"
    assert err.splitlines() == [
        b"12.3MB of output before this is not kept any more (see --log-opt max-size and max-file)", b"two"]


async def test_output_that_is_not_kept_cannot_be_read(engine: FakeEngine, prompt: Prompt) -> None:
    """Status 1 and the words that scripts look for."""
    await prompt.ok("run", "-d", "--name", "web", "--log-driver", "none", "alpine:3.10")
    status, out, err = await raw(prompt, "logs", "web")
    assert (status, out) == (1, b"")
    assert err.startswith(b"Error response from daemon: configured logging driver does not support reading\n")


@pytest.mark.usefixtures("web")
async def test_details_stand_between_time_and_line(prompt: Prompt, web: int) -> None:
    """There are none yet: a blank, as on the standard CLI."""
    assert (await raw(prompt, "logs", "--details", "web"))[1] == b" one\n three\n four"
    _, out, _ = await raw(prompt, "logs", "--details", "-t", "--until", str(web // SECOND), "web")
    assert out.endswith(b"Z  one\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--log-driver", "syslog"], b"no log driver named 'syslog' is registered"),
        (["--log-opt", "max-size=x"], b"invalid value for max-size: 'x'"),
        (["--log-opt", "max-size"], b"invalid log opt: 'max-size'"),
        (["--log-opt", "=1"], b"invalid log opt: '=1'"),
        (["--log-opt", "tag=x"], b"unknown log opt 'tag' for local log driver"),
    ],
)
async def test_a_log_option_that_cannot_be_met_is_refused(prompt: Prompt, words: list[str], complaint: bytes) -> None:
    """By both verbs, with 125; nothing is made."""
    for verb in ("run", "create"):
        status, out, err = await raw(prompt, verb, *words, "alpine:3.10")
        assert (status, out) == (125, b"")
        assert err.splitlines()[0].removeprefix(b"lading: ") == complaint


async def test_inspect_shows_where_output_is_and_how_it_is_kept(prompt: Prompt) -> None:
    """Log shippers and scripts ask for both."""
    options = ("--log-driver", "json-file", "--log-opt", "max-size=1m")
    await prompt.ok("run", "-d", "--name", "web", *options, "alpine:3.10")
    answer = await prompt.ok("inspect", "-f", "{{.LogPath}} {{json .HostConfig.LogConfig}}", "web")
    assert answer.out == f'/logs/{ID} {{"Type":"json-file","Config":{{"max-size":"1m"}}}}\n'
